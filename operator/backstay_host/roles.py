"""`roles`, `readonly`: who is the primary, by compare and swap; and that a source stands still."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from backstay_host.fence import DatasetLock
from backstay_host.identity import (
    check_owner,
    owner_of,
    read_identities,
    read_local_properties,
    with_parents,
)
from backstay_host.programs import may_run_programs, on_stdin
from backstay_host.protocol import (
    Done,
    ItemOutcome,
    Named,
    RoleChange,
    SetReadonly,
    SwapRoles,
)
from backstay_host.refusal import Refused
from backstay_host.request import Request
from backstay_host.zfs import argv, names, parsing
from backstay_host.zfs.programs import SWAP_ROLES

PRIMARY, SECONDARY = "primary", "secondary"
MAX_EPOCH = 10**18


def swap(request: Request, body: SwapRoles) -> Done:
    """All members have the role and the epoch, and it was read back.

    Raises `RoleChanged` when one is not what was planned: then nothing was changed. When ZFS
    itself refuses in between some may have changed; a look tells, and it can be asked for again.
    The locks keep every other swap out from the reading to the last change, and let sends go on;
    as root a channel program keeps everybody else out, too.
    """
    _validate(body)
    locks = [DatasetLock(m.dataset, m.guid, shared=True) for m in body.members]
    locks += [DatasetLock(f"@role/{m.dataset}", None, shared=False) for m in body.members]
    with request.fenced() as term_fds, request.locked(locks) as lock_fds:
        _check(request, body)
        fds = term_fds + lock_fds
        if may_run_programs():
            _by_program(request, body, fds)
        else:
            _by_commands(request, body, fds)
        if not request.dry_run:
            _read_back(request, body)
    return Done([ItemOutcome(m.dataset, "", "") for m in body.members])


def _validate(body: SwapRoles) -> None:
    pools = {names.dataset(m.dataset).split("/")[0] for m in body.members}
    if len(pools) != 1:
        raise Refused("BadRequest", f"members lie in one pool, not in {sorted(pools)}")
    if body.role not in (PRIMARY, SECONDARY):
        raise Refused("BadRequest", f"{body.role[:80]!r} is no role")
    if not 1 <= body.epoch < MAX_EPOCH:
        raise Refused("BadRequest", f"a roleEpoch is at least 1 and below {MAX_EPOCH}")
    for member in body.members:
        if member.role not in ("", PRIMARY, SECONDARY) or not 0 <= member.epoch < MAX_EPOCH:
            raise Refused("BadRequest", f"{member.dataset}: no role or epoch to expect")
    if not argv.fits_one_command(_program(body)):
        raise Refused("GroupTooLarge", f"{len(body.members)} members do not fit into one command")


def _check(request: Request, body: SwapRoles) -> None:
    """Every member is the planned one, says what was planned, and is ours to change."""
    datasets = [m.dataset for m in body.members]
    found = read_identities(request, datasets)
    for member in body.members:
        here = found.get(member.dataset)
        if here is None or here.guid != member.guid:
            what = "does not exist" if here is None else f"has GUID {here.guid}"
            raise _changed(member, f"{what}, planned was GUID {member.guid}")
    properties = read_local_properties(request, with_parents(datasets))
    for member in body.members:
        own = properties.get(member.dataset, {})
        if _state(own) != (member.role, _text(member.epoch)):
            raise _changed(member, f"has {_said(own)}")
        if body.role == PRIMARY and argv.LINEAGE in own:
            raise Refused("IsReplica", f"{member.dataset} is a replica: only a clone is promoted")
        check_ours(request, member.dataset, properties)


def check_ours(request: Request, dataset: str, properties: dict[str, dict[str, str]]) -> None:
    """No other writer's receive root holds the dataset; below none our term alone counts."""
    fence = request.host.fence
    if fence is None or request.dry_run or owner_of(dataset, properties) is None:
        return
    check_owner(fence, dataset, properties)


def _by_program(request: Request, body: SwapRoles, fds: tuple[int, ...]) -> None:
    with on_stdin(SWAP_ROLES) as program:
        said = request.change(_program(body), fds, stdin=program).checked().out
    if request.dry_run:
        return
    differs = parsing.differing(parsing.returned(said))
    if differs is None:
        raise Refused("UnexpectedOutput", f"zfs program printed {said[:200]!r}")
    if differs:
        raise Refused("RoleChanged", f"nothing was changed: {json.dumps(differs)[:2000]}")


def _program(body: SwapRoles) -> list[str]:
    words = [body.role, str(body.epoch)]
    for m in body.members:
        words += [m.dataset, f"{m.guid:016x}", m.role, _text(m.epoch)]
    return argv.run_program(body.members[0].dataset.split("/")[0], words)


def _by_commands(request: Request, body: SwapRoles, fds: tuple[int, ...]) -> None:
    wanted = {argv.ROLE: body.role, argv.ROLE_EPOCH: str(body.epoch)}
    for chunk in argv.chunks([m.dataset for m in body.members]):
        request.change(argv.set_properties(wanted, chunk), fds).checked()


def _read_back(request: Request, body: SwapRoles) -> None:
    properties = read_local_properties(request, [m.dataset for m in body.members])
    for member in body.members:
        own = properties.get(member.dataset, {})
        if _state(own) != (body.role, str(body.epoch)):
            raise _changed(member, f"has {_said(own)} right after it was set")


def _state(own: Mapping[str, str]) -> tuple[str, str]:
    return own.get(argv.ROLE, ""), own.get(argv.ROLE_EPOCH, "")


def _said(own: Mapping[str, str]) -> str:
    role, epoch = _state(own)
    return f"role {role or 'none'} and roleEpoch {epoch or 'none'}"


def _text(epoch: int) -> str:
    return str(epoch) if epoch else ""


def _changed(member: RoleChange, what: str) -> Refused:
    return Refused("RoleChanged", f"{member.dataset} {what}; nothing was planned for that")


# --- read-only ----------------------------------------------------------------------------------


def readonly(request: Request, body: SetReadonly) -> Done:
    """Every dataset is read-only, or writable again, and said so when it was asked.

    `readonly=on` stops even a writer that has a volume open already (seen on 2.3.9: EPERM). Sends
    go on meanwhile. Raises `NewLineage` for another dataset than planned, `RoleMismatch`, and
    `ReadonlyNotKept` when a dataset says otherwise right after it was set.
    """
    for target in body.targets:
        names.dataset(target.dataset)
    value = "on" if body.on else "off"
    locks = [DatasetLock(t.dataset, t.guid, shared=True) for t in body.targets]
    with request.fenced() as term_fds, request.locked(locks) as lock_fds:
        check_named(request, body.targets)
        if not body.on:
            _check_writable(request, [t.dataset for t in body.targets])
        for chunk in argv.chunks([t.dataset for t in body.targets]):
            vector = argv.set_properties({"readonly": value}, chunk)
            request.change(vector, term_fds + lock_fds).checked()
        if not request.dry_run:
            check_readonly(request, [t.dataset for t in body.targets], value)
    return Done([ItemOutcome(t.dataset, "", "") for t in body.targets])


def check_named(request: Request, targets: Sequence[Named]) -> None:
    """Each name is borne by the planned dataset; `NewLineage` otherwise."""
    found = read_identities(request, [t.dataset for t in targets])
    for target in targets:
        here = found.get(target.dataset)
        if here is None:
            raise Refused("NoSuchDataset", f"{target.dataset} does not exist")
        if here.guid != target.guid:
            said = f"{target.dataset} has GUID {here.guid}, planned was {target.guid}"
            raise Refused("NewLineage", said)


def check_readonly(request: Request, datasets: Sequence[str], value: str) -> None:
    """ZFS says this value of `readonly` for each; `ReadonlyNotKept` otherwise."""
    for chunk in argv.chunks(datasets):
        done = request.read(argv.list_readonly(chunk)).checked()
        said = {name: now for name, now in parsing.rows(done.out, 2)}
        wrong = [name for name in chunk if said.get(name) != value]
        if wrong:
            raise Refused("ReadonlyNotKept", f"{', '.join(wrong)}: readonly is not {value}")


def _check_writable(request: Request, datasets: Sequence[str]) -> None:
    properties = read_local_properties(request, datasets)
    for dataset in datasets:
        own = properties.get(dataset, {})
        if argv.LINEAGE in own or own.get(argv.ROLE) == SECONDARY:
            raise Refused("RoleMismatch", f"{dataset} is no primary: it stays read-only")
