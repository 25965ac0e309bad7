"""Room for a rollback of a source: what of ours goes, and which sources take no point meanwhile.

ZFS refuses to roll back while anything newer exists, be it a bookmark (zfs-rollback(8)), and so
does Proxmox. What somebody approved of is judged anew in each pass, until its time is over:

    the source                                      -> the approval
    holds only what it names, or less               -> counts: that goes, no point is taken
    holds something newer of ours that it does not  -> void: nothing goes, points are taken
    is another one, or has lost the snapshot        -> void
    is sent to a target that was not counted in, or
    would leave this target another base            -> void while anything is still to go

What is gone does not come back, so the rest of a list that was cut short is still that list.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from backstay.api.values import is_below
from backstay.domain.pairs import PairTask, RouteTask
from backstay.domain.steps import Prune
from backstay.domain.yielding import YieldedMember, Yielding, YieldState
from backstay.domain.zfs import (
    Bookmark,
    BookmarkRef,
    Dataset,
    Guid,
    HostListing,
    Snapshot,
    SnapshotRef,
)
from backstay.plan.naming import bookmark_tag, is_ours

LONGEST = timedelta(hours=24)
"""No clock that is wrong, and nobody's hand, rests a pair for longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What of a source is newer than a snapshot: ours, and what of others is in the way."""

    snapshots: tuple[SnapshotRef, ...]
    bookmarks: tuple[BookmarkRef, ...]
    foreign: tuple[Snapshot | Bookmark, ...]


def room_after(source: Dataset, to: Snapshot, short_id: str, lineages: Collection[str]) -> Room:
    """All that is newer than `to` by createtxg; bookmarks of these lineages are ours."""
    snapshots = [s for s in source.snapshots if s.createtxg > to.createtxg]
    bookmarks = [b for b in source.bookmarks if b.createtxg > to.createtxg]
    ours = [s for s in snapshots if is_ours(s, short_id)]
    marks = [b for b in bookmarks if (t := bookmark_tag(b)) is not None and t.lineage in lineages]
    return Room(
        snapshots=tuple(SnapshotRef(dataset=s.dataset, name=s.name, guid=s.guid) for s in ours),
        bookmarks=tuple(BookmarkRef(dataset=b.dataset, name=b.name, guid=b.guid) for b in marks),
        foreign=(
            *(s for s in snapshots if s not in ours),
            *(b for b in bookmarks if b not in marks),
        ),
    )


def base_left(source: Dataset, replica: Dataset | None, to: Snapshot) -> Snapshot | None:
    """The newest point of the replica that the source keeps when all newer than `to` is gone."""
    points: list[Snapshot | Bookmark] = [*source.snapshots, *source.bookmarks]
    kept = {p.guid for p in points if p.createtxg <= to.createtxg}
    snapshots = () if replica is None else replica.snapshots
    return next((s for s in reversed(snapshots) if s.guid in kept), None)


def targets_of(source: str, task: RouteTask) -> frozenset[tuple[str, str]]:
    """Every (pair, target dataset) that a source is sent to, of this pass and of all others."""
    return frozenset(
        (pair.key, entry.target + source.removeprefix(entry.source))
        for pair in (*task.pairs, *task.neighbours)
        for entry in pair.entries
        if source == entry.source or (entry.recursive and is_below(source, entry.source))
    )


def yield_states(
    task: RouteTask, source: HostListing, target: HostListing | None, now: datetime
) -> tuple[YieldState, ...]:
    """What is true of each source in the listing that is asked to make room now."""
    return tuple(state for state, _ in _judged(task, source, target, now))


def making_room(task: RouteTask, source: HostListing, now: datetime) -> dict[str, Snapshot]:
    """Source → the oldest snapshot that it makes room for.

    No point is taken of it now, whichever pair wants one.
    """
    found: dict[str, Snapshot] = {}
    for state in yield_states(task, source, None, now):
        to = source.datasets[state.source].snapshot_by_name(state.to)
        before = found.get(state.source)
        if (
            to is not None
            and not state.void
            and (before is None or to.createtxg < before.createtxg)
        ):
            found[state.source] = to
    return found


def plan_room(
    task: RouteTask, source: HostListing, target: HostListing, now: datetime
) -> Prune | None:
    """What of ours is to go, of the pairs that this pass serves; None when nothing is."""
    served = {pair.key for pair in task.pairs}
    rooms = [
        room
        for state, room in _judged(task, source, target, now)
        if room is not None and not state.void and state.pair in served
    ]
    snapshots = dict.fromkeys(ref for room in rooms for ref in room.snapshots)
    bookmarks = dict.fromkeys(ref for room in rooms for ref in room.bookmarks)
    if not snapshots and not bookmarks:
        return None
    return Prune(snapshots=tuple(snapshots), bookmarks=tuple(bookmarks))


def _judged(
    task: RouteTask, source: HostListing, target: HostListing | None, now: datetime
) -> Iterator[tuple[YieldState, Room | None]]:
    for pair in (*task.pairs, *task.neighbours):
        if pair.yielding is None or pair.yielding.until <= now:
            continue
        for member in pair.yielding.members:
            found = source.datasets.get(member.dataset)
            if found is not None and any(p == pair.key for p, _ in targets_of(found.name, task)):
                yield _judge(pair, member, found, (task, target, now))


def _judge(
    pair: PairTask,
    member: YieldedMember,
    source: Dataset,
    seen: tuple[RouteTask, HostListing | None, datetime],
) -> tuple[YieldState, Room | None]:
    task, target, now = seen
    assert pair.yielding is not None
    to = source.snapshot_by_guid(member.to)
    state = YieldState(
        pair=pair.key,
        source=source.name,
        to="" if to is None else to.name,
        until=pair.yielding.until,
    )
    if to is None or source.guid != member.guid:
        why = "has another GUID" if to else f"has no snapshot with GUID {member.to} any more"
        return replace(state, void=f"{source.name} {why}"), None
    lineages = {t.lineage for t in member.targets}
    room = room_after(source, to, task.short_id, lineages)
    left = len(room.snapshots) + len(room.bookmarks)
    why = _why_void(pair.yielding, member, room, now)
    if not why and left:
        why = _what_changed(member, source, to, (task, target))
    foreign = next((point.full_name for point in room.foreign), "")
    return replace(state, left=left, foreign=foreign, void=why), room


def _why_void(yielding: Yielding, member: YieldedMember, room: Room, now: datetime) -> str:
    if yielding.until > now + LONGEST:
        return f"it ends at {yielding.until:%Y-%m-%dT%H:%M:%SZ}, in more than a day"
    more = [s.name for s in room.snapshots if s.guid not in member.snapshots]
    more += [b.name for b in room.bookmarks if b.name not in member.bookmarks]
    if more:
        return f"{member.dataset} has {len(more)} newer points that it does not name ({more[0]})"
    there = {s.guid for s in room.foreign if isinstance(s, Snapshot)} & member.snapshots
    marks = {b.name for b in room.foreign if isinstance(b, Bookmark)} & member.bookmarks
    if there or marks:
        named = next(iter(sorted(marks)), "") or f"GUID {min(there)}"
        return f"it names what is not ours at {member.dataset} ({named})"
    return ""


def _what_changed(
    member: YieldedMember,
    source: Dataset,
    to: Snapshot,
    seen: tuple[RouteTask, HostListing | None],
) -> str:
    """What of the cost that was shown is another by now."""
    task, target = seen
    counted: dict[tuple[str, str], Guid | None] = {
        (t.pair, t.dataset): t.base for t in member.targets
    }
    asked = targets_of(source.name, task)
    if missing := sorted(asked - counted.keys()):
        pair, dataset = missing[0]
        return f"{dataset} of {pair} was not counted in"
    if target is None:
        return ""
    for pair, dataset in sorted(targets_of(source.name, replace(task, neighbours=()))):
        base = base_left(source, target.datasets.get(dataset), to)
        if (base and base.guid) != counted[pair, dataset]:
            return f"the base that remains with {dataset} is another"
    return ""
