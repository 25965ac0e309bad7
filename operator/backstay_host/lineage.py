"""`rename`, `clone`, `promote`, `rollback`, `label`: by identity, within the fence.

Each request takes a list. What became of an item is its outcome; one failure isolates one item.
A dataset below a receive root must be of a root that our term has claimed; one that lies below
none (a source, or what was set aside) needs the term alone. A dry run says what would be run of
things that may not be there yet, and so looks at none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from backstay_host.fence import DatasetLock
from backstay_host.identity import (
    check_owner,
    owner_of,
    read_identities,
    read_local_properties,
    refuse_other_errors,
    with_parents,
)
from backstay_host.moves import (
    Clone,
    Label,
    Mark,
    Move,
    NewClone,
    Promote,
    Promotion,
    Rename,
    Rewind,
    Rollback,
    aside_root,
)
from backstay_host.protocol import Done, ItemOutcome
from backstay_host.refusal import Refused
from backstay_host.request import Request
from backstay_host.zfs import argv, names, parsing

Item = TypeVar("Item")
Fds = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Here:
    """What bears a name now."""

    guid: int
    origin: str
    written: int


def rename(request: Request, body: Rename) -> Done:
    """Each dataset has its new name, with all that is below it, or its outcome says why not."""
    for move in body.moves:
        if names.dataset(move.dataset).split("/")[0] != names.dataset(move.to).split("/")[0]:
            raise Refused("BadRequest", f"{move.dataset} cannot leave its pool for {move.to}")
        if "/" not in move.dataset or f"{move.to}/".startswith(f"{move.dataset}/"):
            raise Refused("BadRequest", f"{move.dataset} cannot become {move.to}")
    return _each(request, body.moves, lambda move: move.dataset, _rename)


def _rename(request: Request, move: Move, fds: Fds) -> None:
    locks = [DatasetLock(move.dataset, move.guid, False), DatasetLock(move.to, None, False)]
    with request.locked(locks) as lock_fds:
        here = _look(request, [move.dataset, move.to, aside_root(move.to)])
        there = here.get(move.to)
        is_done = move.dataset not in here and there is not None and there.guid == move.guid
        if is_done and not request.dry_run:  # which moved nothing away from where it goes back to
            return
        _planned(request, here, move.dataset, move.guid)
        _check_writers(request, [move.dataset, move.to])
        root = aside_root(move.to)
        if root not in here and names.parents(move.to)[0] == root:
            request.change(argv.create_aside(root), fds + lock_fds).checked()
        vector = argv.rename(move.dataset, move.to, volume=move.volume)
        request.change(vector, fds + lock_fds).checked()


def clone(request: Request, body: Clone) -> Done:
    """Each clone exists with its properties, or its outcome says why not."""
    for wanted in body.clones:
        names.snapshot(wanted.snapshot)
        names.dataset(wanted.dataset)
        names.properties(wanted.properties)
    return _each(request, body.clones, lambda wanted: wanted.dataset, _clone)


def _clone(request: Request, wanted: NewClone, fds: Fds) -> None:
    origin = names.dataset_of(wanted.snapshot)
    locks = [DatasetLock(origin, None, True), DatasetLock(wanted.dataset, None, False)]
    with request.locked(locks) as lock_fds:
        _check_point(request, wanted.snapshot, wanted.guid)
        there = _look(request, [wanted.dataset]).get(wanted.dataset)
        if request.dry_run:
            there = None  # what bears the name now will have been renamed
        if there is not None and there.origin == wanted.snapshot:
            return
        if there is not None:
            raise Refused("NameCollision", f"{wanted.dataset} exists with GUID {there.guid}")
        _check_writers(request, [origin, wanted.dataset])
        vector = argv.clone(wanted.snapshot, wanted.dataset, wanted.properties)
        request.change(vector, fds + lock_fds).checked()


def promote(request: Request, body: Promote) -> Done:
    """Each clone has the history of its origin, or its outcome says why not."""
    for item in body.items:
        names.dataset(item.dataset)
        names.snapshot(item.origin)
    return _each(request, body.items, lambda item: item.dataset, _promote)


def _promote(request: Request, item: Promotion, fds: Fds) -> None:
    origin, _, short = item.origin.partition("@")
    locks = [DatasetLock(item.dataset, item.guid, False), DatasetLock(origin, None, False)]
    with request.locked(locks) as lock_fds:
        here = _look(request, [item.dataset])
        found = _planned(request, here, item.dataset, item.guid)
        if found.origin != item.origin and not request.dry_run:
            _check_point(request, f"{item.dataset}@{short}", item.origin_guid)
            return
        _check_point(request, item.origin, item.origin_guid)
        _check_writers(request, [item.dataset, origin])
        request.change(argv.promote(item.dataset), fds + lock_fds).checked()


def rollback(request: Request, body: Rollback) -> Done:
    """Each dataset is at its snapshot, and what its item named is gone; or nothing of it is.

    `ListChanged` where the points that are newer, or the bytes since the newest snapshot, are not
    those of the item: somebody approved the loss of another list.
    """
    for item in body.items:
        names.dataset(item.dataset)
        names.short(item.snapshot)
        names.properties(item.properties)
        for doomed in item.lose:
            if names.dataset_of(names.point(doomed.name)) != item.dataset:
                raise Refused("BadRequest", f"{doomed.name} is not of {item.dataset}")
        if set(item.properties) & names.POSTURE_PROPERTIES:
            raise Refused("BadRequest", "a rollback sets properties of ours only")
    return _each(request, body.items, lambda item: item.dataset, _rollback)


def _rollback(request: Request, item: Rewind, fds: Fds) -> None:
    with request.locked([DatasetLock(item.dataset, item.guid, False)]) as lock_fds:
        here = _look(request, [item.dataset])
        found = _planned(request, here, item.dataset, item.guid)
        _check_writers(request, [item.dataset])
        _check_list(request, item, found)
        held = fds + lock_fds
        # A command destroys all that it names or, where one is held, none.
        snapshots = [d.name.partition("@")[2] for d in item.lose if "@" in d.name]
        for chunk in argv.chunks(snapshots):
            request.change(argv.destroy_snapshots(item.dataset, chunk), held).checked()
        marks = [argv.destroy_bookmark(d.name) for d in item.lose if "#" in d.name]
        for done in request.change_all(marks, held):
            done.checked()
        if item.properties:
            request.change(argv.set_properties(item.properties, [item.dataset]), held).checked()
        request.change(argv.rollback(f"{item.dataset}@{item.snapshot}"), held).checked()


def _check_list(request: Request, item: Rewind, found: _Here) -> None:
    base = f"{item.dataset}@{item.snapshot}"
    listed = request.read(argv.list_points([item.dataset], recursive=False)).checked()
    points = parsing.points(listed.out)
    if base not in points or points[base][0] != item.snapshot_guid:
        raise Refused("IdentityChanged", f"{base} is not there with GUID {item.snapshot_guid}")
    newer = {name: guid for name, (guid, txg) in points.items() if txg > points[base][1]}
    planned = {doomed.name: doomed.guid for doomed in item.lose}
    if newer != planned:
        other = sorted(newer.items() ^ planned.items())[:4]
        raise Refused(
            "ListChanged",
            f"{item.dataset} holds {len(newer)} points newer than {base}, approved was the loss "
            f"of {len(planned)}; they differ in {other}",
        )
    if found.written != item.written:
        said = f"holds {found.written} bytes since its newest snapshot, approved was the loss of "
        raise Refused("ListChanged", f"{item.dataset} {said}{item.written}")


def label(request: Request, body: Label) -> Done:
    """Each dataset has these properties and has lost those, or its outcome says why not."""
    for mark in body.items:
        names.dataset(mark.dataset)
        names.properties(mark.properties)
        names.properties(dict.fromkeys(mark.clear, "x"))
        if set(mark.clear) & names.POSTURE_PROPERTIES or not (mark.properties or mark.clear):
            raise Refused("BadRequest", "only properties of ours can be cleared")
    return _each(request, body.items, lambda mark: mark.dataset, _label)


def _label(request: Request, mark: Mark, fds: Fds) -> None:
    with request.locked([DatasetLock(mark.dataset, mark.guid, False)]) as lock_fds:
        _planned(request, _look(request, [mark.dataset]), mark.dataset, mark.guid)
        _check_writers(request, [mark.dataset])
        held = fds + lock_fds
        if mark.properties:
            request.change(argv.set_properties(mark.properties, [mark.dataset]), held).checked()
        for name in mark.clear:
            request.change(argv.inherit(name, mark.dataset), held).checked()


# --- what all have in common --------------------------------------------------------------------


def _each(
    request: Request,
    items: Sequence[Item],
    name_of: Callable[[Item], str],
    act: Callable[[Request, Item, Fds], None],
) -> Done:
    outcomes = []
    with request.fenced() as fds:
        for item in items:
            try:
                act(request, item, fds)
                outcomes.append(ItemOutcome(name_of(item), "", ""))
            except Refused as error:
                outcomes.append(ItemOutcome(name_of(item), error.reason, error.message))
    return Done(outcomes)


def _look(request: Request, wanted: Sequence[str]) -> dict[str, _Here]:
    """What bears these names now; those that nothing bears are left out."""
    done = request.read(argv.list_heads(wanted))
    refuse_other_errors("zfs list", done.status, done.err)
    return {
        name: _Here(parsing.number(guid), parsing.blank(origin), parsing.number(written))
        for name, guid, origin, written in parsing.rows(done.out, len(argv.HEAD_COLUMNS))
    }


def _planned(request: Request, here: dict[str, _Here], dataset: str, guid: int) -> _Here:
    found = here.get(dataset)
    if request.dry_run:
        return found or _Here(guid, "", -1)
    if found is None:
        raise Refused("NoSuchDataset", f"{dataset} does not exist")
    if found.guid != guid:
        raise Refused("IdentityChanged", f"{dataset} has GUID {found.guid}, planned was {guid}")
    return found


def _check_point(request: Request, name: str, guid: int) -> None:
    if request.dry_run:
        return
    found = read_identities(request, [name]).get(name)
    if found is None:
        raise Refused("NoSuchDataset", f"{name} does not exist")
    if found.guid != guid:
        raise Refused("IdentityChanged", f"{name} has GUID {found.guid}, planned was {guid}")


def _check_writers(request: Request, datasets: Sequence[str]) -> None:
    """No other writer's receive root holds any of these."""
    fence = request.host.fence
    if fence is None or request.dry_run:
        return
    properties = read_local_properties(request, with_parents(datasets))
    for dataset in datasets:
        if owner_of(dataset, properties) is not None:
            check_owner(fence, dataset, properties)
