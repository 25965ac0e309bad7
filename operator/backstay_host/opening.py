"""`open`, `discard`: the two ends of a promotion: its clones become usable, or go again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from backstay_host.fence import DatasetLock
from backstay_host.identity import (
    read_identities,
    read_local_properties,
    refuse_other_errors,
    with_parents,
)
from backstay_host.protocol import (
    DiscardClones,
    Done,
    DoomedClone,
    ItemOutcome,
    Named,
    OpenPromoted,
)
from backstay_host.refusal import Refused
from backstay_host.request import Request
from backstay_host.roles import PRIMARY, check_named, check_ours, check_readonly
from backstay_host.zfs import argv, names, parsing


def open_promoted(request: Request, body: OpenPromoted) -> Done:
    """Each dataset can be used: it has its device or is mounted, its space, and is writable.

    In this order: refreservation of thick volumes (it may not fit), `volmode=default` or a mount
    (only where there is a mount point), `readonly=off`, which is read back. Raises `NewLineage`,
    `RoleMismatch`, `IsReplica`, and what ZFS said; asked again, it does what is left.
    """
    for target in body.targets:
        names.dataset(target.dataset)
    datasets = [t.dataset for t in body.targets]
    locks = [DatasetLock(t.dataset, t.guid, shared=False) for t in body.targets]
    with request.fenced() as term_fds, request.locked(locks) as lock_fds:
        check_named(request, [Named(t.dataset, t.guid) for t in body.targets])
        _check_primary(request, datasets, body.epoch)
        fds = term_fds + lock_fds
        thick = [t.dataset for t in body.targets if t.thick]
        for done in request.change_all([argv.reserve_volume(d) for d in thick], fds):
            done.checked()
        _show(request, datasets, fds)
        for chunk in argv.chunks(datasets):
            request.change(argv.set_properties({"readonly": "off"}, chunk), fds).checked()
        if not request.dry_run:
            check_readonly(request, datasets, "off")
    return Done([ItemOutcome(name, "", "") for name in datasets])


def _check_primary(request: Request, datasets: Sequence[str], epoch: int) -> None:
    properties = read_local_properties(request, with_parents(datasets))
    for dataset in datasets:
        own = properties.get(dataset, {})
        if argv.LINEAGE in own:
            raise Refused("IsReplica", f"{dataset} is a replica: only a clone is promoted")
        if (own.get(argv.ROLE), own.get(argv.ROLE_EPOCH)) != (PRIMARY, str(epoch)):
            raise Refused("RoleMismatch", f"{dataset} is not primary with roleEpoch {epoch}")
        check_ours(request, dataset, properties)


def _show(request: Request, datasets: Sequence[str], fds: tuple[int, ...]) -> None:
    """Volumes have their devices, file systems are mounted where they have a mount point."""
    places: list[list[str]] = []
    for chunk in argv.chunks(datasets):
        done = request.read(argv.list_mounts(chunk)).checked()
        places += parsing.rows(done.out, len(argv.MOUNT_COLUMNS))
    volumes = [name for name, kind, *_ in places if kind == "volume"]
    systems = [row for row in places if row[1] == "filesystem"]
    for chunk in argv.chunks(volumes):
        request.change(argv.set_properties({"volmode": "default"}, chunk), fds).checked()
    for chunk in argv.chunks([name for name, *_ in systems]):
        request.change(argv.set_properties({"canmount": "on"}, chunk), fds).checked()
    for name, _, mounted, where in sorted(systems):  # parents first
        if mounted == "no" and where not in ("none", "legacy", "-"):
            request.change(argv.mount(name), fds).checked()


# --- undo ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Clone:
    """A clone as ZFS shows it; `written`: bytes since its origin."""

    guid: int
    origin: str
    written: int


def discard(request: Request, body: DiscardClones) -> Done:
    """Each clone is gone, or its outcome says why not; children before their parents.

    | the name now                                   | outcome           |
    |------------------------------------------------|-------------------|
    | the planned clone, nothing was written to it   | destroyed         |
    | does not exist                                 | fine: it is gone  |
    | another dataset, or of another origin          | `IdentityChanged` |
    | something was written to it                    | `CloneModified`   |
    | has snapshots or children, or is busy          | what ZFS said     |
    """
    for clone in body.clones:
        names.dataset(clone.dataset)
        names.snapshot(clone.origin)
    ordered = sorted(body.clones, key=lambda c: c.dataset, reverse=True)
    outcomes: dict[str, ItemOutcome] = {}
    with request.fenced() as term_fds:
        for clone in ordered:
            lock = DatasetLock(clone.dataset, clone.guid, shared=False)
            try:
                with request.locked([lock]) as lock_fds:
                    outcomes[clone.dataset] = _discard_one(request, clone, term_fds + lock_fds)
            except Refused as error:
                outcomes[clone.dataset] = _outcome(clone, error)
    return Done([outcomes[clone.dataset] for clone in body.clones])


def _discard_one(request: Request, clone: DoomedClone, fds: tuple[int, ...]) -> ItemOutcome:
    here = _read_clones(request, [clone.dataset]).get(clone.dataset)
    if here is None:
        return _outcome(clone, None)
    origin = read_identities(request, [clone.origin]).get(clone.origin)
    is_planned = here.guid == clone.guid and here.origin == clone.origin
    if not is_planned or origin is None or origin.guid != clone.origin_guid:
        said = (
            f"{clone.dataset} (GUID {here.guid}, origin {here.origin or 'none'}) is not the clone"
        )
        raise Refused("IdentityChanged", f"{said} of {clone.origin} that was planned")
    if here.written != 0:
        said = f"{clone.dataset} holds {here.written} bytes of its own"
        raise Refused("CloneModified", f"{said}: look at it, then destroy it by hand")
    properties = read_local_properties(request, with_parents([clone.dataset]))
    check_ours(request, clone.dataset, properties)
    done = request.change(argv.destroy_clone(clone.dataset), fds)
    return _outcome(clone, None if done.ok else done.refusal())


def _read_clones(request: Request, datasets: Sequence[str]) -> Mapping[str, _Clone]:
    done = request.read(argv.list_heads(datasets))
    refuse_other_errors("zfs list", done.status, done.err)
    return {
        name: _Clone(parsing.number(guid), parsing.blank(origin), parsing.number(written))
        for name, guid, origin, written in parsing.rows(done.out, len(argv.HEAD_COLUMNS))
    }


def _outcome(clone: DoomedClone, error: Refused | None) -> ItemOutcome:
    if error is None or error.reason == "NoSuchDataset":
        return ItemOutcome(clone.dataset, "", "")
    return ItemOutcome(clone.dataset, error.reason, error.message)
