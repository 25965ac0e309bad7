"""Channel programs: check and act in one transaction group, zfs-program(8).

Fixed texts with arguments, read by `zfs program` from its standard input, never built from
strings. They are no transactions: what ran before an error stays (seen on 2.3.9), so each reads
and checks everything before its first `zfs.sync` call.
"""

from __future__ import annotations

SWAP_ROLES = """\
-- Arguments: role, epoch, then for each member: dataset, GUID, role and epoch expected now.
-- GUIDs in hexadecimal: as the signed numbers that they are here, half of them would pass for
-- options of the command. What is not set on the dataset itself is the empty string.
local args = ...
local argv = args["argv"]
local ROLE, EPOCH = "dev.backstay:role", "dev.backstay:roleepoch"

local function own(dataset, property)
  local value, source = zfs.get_prop(dataset, property)
  if value == nil or source ~= dataset then
    return ""
  end
  return value
end

local function why_not(dataset, guid, role, epoch)
  if not zfs.exists(dataset) then
    return "does not exist"
  end
  if string.format("%016x", zfs.get_prop(dataset, "guid")) ~= guid then
    return "is another dataset than planned"
  end
  if own(dataset, ROLE) ~= role or own(dataset, EPOCH) ~= epoch then
    return "has role '" .. own(dataset, ROLE) .. "' and epoch '" .. own(dataset, EPOCH) .. "'"
  end
  if zfs.check.set_prop(dataset, ROLE, argv[1]) ~= 0
      or zfs.check.set_prop(dataset, EPOCH, argv[2]) ~= 0 then
    return "cannot be changed"
  end
  return nil
end

local differs, count = {}, 0
for i = 3, #argv, 4 do
  local why = why_not(argv[i], argv[i + 1], argv[i + 2], argv[i + 3])
  if why ~= nil then
    differs[argv[i]] = why
    count = count + 1
  end
end
if count > 0 then
  return differs
end
for i = 3, #argv, 4 do
  zfs.sync.set_prop(argv[i], ROLE, argv[1])
  zfs.sync.set_prop(argv[i], EPOCH, argv[2])
end
return {}
"""
"""Every member has the role and the epoch, or none was changed and the answer says of whom why."""

MARK = """
-- For each snapshot: its name, the GUID its dataset must have ('-': any), how many lineages, they.
-- found[snapshot] = 'guid of dataset, guid, createtxg, IV set or -' in hexadecimal; no entry: it
-- is not there.
-- made[bookmark] = errno; empty unless every dataset is the planned one.
args = ...
words = args['argv']
found, wanted, made = {}, {}, {}
sound, at = true, 1
while at <= #words do
  local snapshot, planned, count = words[at], words[at + 1], tonumber(words[at + 2])
  local dataset = string.gsub(snapshot, '@.*', '')
  if zfs.exists(dataset) and zfs.exists(snapshot) then
    local whose = string.format('%016x', zfs.get_prop(dataset, 'guid'))
    local guid = string.format('%016x', zfs.get_prop(snapshot, 'guid'))
    local txg = zfs.get_prop(snapshot, 'createtxg')
    local ivset = zfs.get_prop(snapshot, 'ivsetguid')
    ivset = ivset and string.format('%016x', ivset) or '-'
    found[snapshot] = whose .. ' ' .. guid .. ' ' .. string.format('%x', txg) .. ' ' .. ivset
    sound = sound and (planned == '-' or planned == whose)
    for i = 1, count do
      local lineage = words[at + 2 + i]
      local mark = dataset .. '#backstay_' .. lineage .. '_' .. guid .. '_' .. tostring(txg)
      wanted[mark] = snapshot
    end
  else
    sound = false
  end
  at = at + 3 + count
end
if sound then
  for mark, snapshot in pairs(wanted) do
    made[mark] = zfs.check.bookmark(snapshot, mark)
  end
  for mark, snapshot in pairs(wanted) do
    if made[mark] == 0 then made[mark] = zfs.sync.bookmark(snapshot, mark) end
  end
end
return {found = found, made = made}
"""

DESTROY = """
-- For each snapshot: its name and the GUID that it must have.
-- gone[name] = errno; no entry: it has another GUID, or is not there.
args = ...
words = args['argv']
doomed, gone = {}, {}
for at = 1, #words, 2 do
  local name, planned = words[at], words[at + 1]
  if zfs.exists(name) and string.format('%016x', zfs.get_prop(name, 'guid')) == planned then
    doomed[#doomed + 1] = name
  end
end
for _, name in ipairs(doomed) do gone[name] = zfs.check.destroy(name) end
for _, name in ipairs(doomed) do
  if gone[name] == 0 then gone[name] = zfs.sync.destroy(name) end
end
return {gone = gone}
"""
"""Of snapshots only: seen on 2.3.9, `zfs.sync.destroy` does not find bookmarks."""
