"""More verbs of the fake `zfs`: a channel program, `mount`, and what moves whole datasets.

What stands behind `VERBS` becomes part of the program that `fake_zfs` is.
"""

from __future__ import annotations

import json
import sys

from unit.host.fake_zfs import fail, new, parse, pool

VERBS = "# --- verbs ---\n"

# --- verbs ---


def zfs_program(words: list[str]) -> int:
    """Swaps roles as the text of `programs.SWAP_ROLES` would."""
    _, _, script, role, epoch, *rest = words
    text = sys.stdin.read()
    if script != "-" or "zfs.sync.set_prop" not in text:
        fail("Channel program execution failed: not the text that was expected")
    differs: dict[str, str] = {}
    with pool() as state:
        members = [rest[i : i + 4] for i in range(0, len(rest), 4)]
        for name, guid, old_role, old_epoch in members:
            thing = state["things"].get(name, {"guid": 0, "props": {}})
            own = [thing["props"].get(f"dev.backstay:{p}", "") for p in ("role", "roleepoch")]
            if f"{thing['guid']:016x}" != guid or own != [old_role, old_epoch]:
                differs[name] = f"has {own}"
        for name, *_ in members if not differs else []:
            props = state["things"][name]["props"]
            props["dev.backstay:role"], props["dev.backstay:roleepoch"] = role, epoch
    print(json.dumps({"return": differs}))
    return 0


def zfs_mount(words: list[str]) -> int:
    with pool() as state:
        state["things"][words[0]]["mounted"] = "yes"
    return 0


def zfs_rename(words: list[str]) -> int:
    options, (old, name) = parse(words, "")
    with pool() as state:
        things = state["things"]
        if old not in things or ("u" in options and things[old].get("type") == "volume"):
            fail(f"cannot open '{old}': dataset does not exist")
        for known in [n for n in things if n == old or n.startswith(tuple(old + m for m in "/@#"))]:
            things[name + known[len(old) :]] = things.pop(known)
    return 0


def zfs_clone(words: list[str]) -> int:
    options, (snapshot, target) = parse(words, "o")
    with pool() as state:
        kind = state["things"][snapshot.partition("@")[0]].get("type", "filesystem")
        new(state, target, type=kind, origin=snapshot)
        made = state["things"][target]
        for key, text in (pair.split("=", 1) for pair in options.get("o", [])):
            (made["props"] if ":" in key else made)[key] = text
    return 0


def zfs_promote(words: list[str]) -> int:
    with pool() as state:
        things, (clone,) = state["things"], words
        old, _, point = (origin := things[clone]["origin"]).partition("@")
        last = things[origin]["createtxg"]
        names = [n for n in things if n.startswith(f"{old}@") and things[n]["createtxg"] <= last]
        for name in names:
            things[f"{clone}@{name.partition('@')[2]}"] = things.pop(name)
        things[clone]["origin"], things[old]["origin"] = "-", f"{clone}@{point}"
    return 0


def zfs_rollback(words: list[str]) -> int:
    with pool() as state:
        things, (dataset, _, short) = state["things"], words[0].partition("@")
        points = [n for n in things if n.startswith((f"{dataset}@", f"{dataset}#"))]
        if max(things[n]["createtxg"] for n in points) > things[f"{dataset}@{short}"]["createtxg"]:
            fail(f"cannot rollback to '{words[0]}': more recent snapshots or bookmarks exist")
        things[dataset]["written"] = 0
    return 0


def zfs_inherit(words: list[str]) -> int:
    with pool() as state:
        state["things"][words[1]]["props"].pop(words[0], None)
    return 0
