"""What goes at the end of a pass: by identity, and never what something needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from backstay.domain.pairs import Keep, Member, PairTask
from backstay.domain.steps import Prune
from backstay.domain.zfs import (
    LINEAGE,
    Bookmark,
    BookmarkRef,
    Dataset,
    Snapshot,
    SnapshotRef,
)
from backstay.plan.basis import common_base
from backstay.plan.naming import bookmark_tag, is_ours
from backstay.plan.points import Held, group_point
from backstay.plan.replication import Seen
from backstay.plan.retention import judge_points

_NOTHING = Prune(snapshots=(), bookmarks=())


@dataclass(frozen=True, slots=True, kw_only=True)
class PruningPlan:
    """What to destroy at each side."""

    source: Prune
    target: Prune


@dataclass(frozen=True, slots=True, kw_only=True)
class _Linked:
    """A member whose replica is whole and shares `base` with its source."""

    member: Member
    source: Dataset
    target: Dataset
    base: Snapshot
    lineage: str


def plan_pruning(seen: Seen) -> PruningPlan:
    """Both sides' prunes of every pair of the route, from a listing made after the transfers.

    A member that is in conflict, in flight or not whole at the target keeps everything.
    """
    source, target = _NOTHING, _NOTHING
    for pair in seen.task.pairs:
        linked = [x for m in seen.members if m.pair == pair.key and (x := _link(m, seen))]
        groups = [linked] if pair.grouped else [[x] for x in linked]
        for group in groups:
            source = _join(source, _prune_source(group, pair.keep_source, seen))
            target = _join(target, _prune_target(group, pair, seen))
    return PruningPlan(source=source, target=target)


def _link(member: Member, seen: Seen) -> _Linked | None:
    replica = seen.target.datasets.get(member.target)
    if replica is None or not seen.free(member) or replica.token is not None:
        return None
    source = seen.source.datasets[member.source]
    base = common_base(source, replica)
    lineage = replica.properties.get(LINEAGE)
    if base is None or lineage is None or replica.unreadable_token is not None:
        return None
    return _Linked(member=member, source=source, target=replica, base=base, lineage=lineage)


def _prune_source(group: Sequence[_Linked], keep: Keep, seen: Seen) -> Prune:
    """Older points by policy; the common ones, unsent ones and other targets' bases stay."""
    needed: dict[str, str] = {}
    for link in group:
        for snapshot in link.source.snapshots:
            why = _needed_at_source(link, snapshot)
            if why is not None:
                needed[snapshot.name] = why
    removed = _judge([x.source for x in group], keep, needed, seen.task.short_id)
    return Prune(
        snapshots=_refs([x.source for x in group], removed),
        bookmarks=tuple(ref for x in group for ref in _old_bookmarks(x)),
    )


def _needed_at_source(link: _Linked, snapshot: Snapshot) -> str | None:
    if snapshot.guid == link.base.guid:
        return f"newest in common with {link.target.name}"
    if snapshot == link.source.newest_snapshot:
        return "newest of the source"
    for bookmark in link.source.bookmarks:
        tag = bookmark_tag(bookmark)
        if tag is not None and tag.guid == snapshot.guid and tag.lineage != link.lineage:
            return f"base of another target (lineage {tag.lineage})"
    return None


def _prune_target(group: Sequence[_Linked], pair: PairTask, seen: Seen) -> Prune:
    """Older points by policy; the base and the newest whole set stay."""
    needed = {x.base.name: "newest in common with the source" for x in group}
    newest = [x.target.newest_snapshot for x in group]
    needed |= {s.name: "newest of the replica" for s in newest if s is not None}
    if pair.grouped:
        held = [
            Held(
                source=seen.source.datasets.get(m.source),
                source_seen=True,
                target=seen.target.datasets.get(m.target),
            )
            for m in seen.members
            if m.pair == pair.key
        ]
        point = group_point(held, seen.task.short_id)
        if point is not None:
            needed[point.snapshot] = "newest whole set of the group"
    removed = _judge([x.target for x in group], pair.keep_target, needed, seen.task.short_id)
    return Prune(snapshots=_refs([x.target for x in group], removed), bookmarks=())


def _judge(
    datasets: Sequence[Dataset], keep: Keep, needed: Mapping[str, str], short_id: str
) -> frozenset[str]:
    """Names of our sets that go; a group's datasets share a pool, so createtxg orders them."""
    order: dict[str, int] = {}
    for dataset in datasets:
        for snapshot in dataset.snapshots:
            if is_ours(snapshot, short_id):
                order[snapshot.name] = max(order.get(snapshot.name, 0), snapshot.createtxg)
    names = sorted(order, key=lambda name: order[name])
    return frozenset(judge_points(names, keep, needed).remove)


def _refs(datasets: Sequence[Dataset], names: frozenset[str]) -> tuple[SnapshotRef, ...]:
    return tuple(
        SnapshotRef(dataset=d.name, name=s.name, guid=s.guid)
        for d in datasets
        for s in d.snapshots
        if s.name in names
    )


def _old_bookmarks(link: _Linked) -> tuple[BookmarkRef, ...]:
    """Bookmarks of this lineage but the last confirmed one and the last attempted one."""
    ours = [b for b in link.source.bookmarks if _lineage(b) == link.lineage]
    keep = {link.base.guid} | {b.guid for b in ours[-1:]}
    return tuple(
        BookmarkRef(dataset=b.dataset, name=b.name, guid=b.guid) for b in ours if b.guid not in keep
    )


def _lineage(bookmark: Bookmark) -> str | None:
    tag = bookmark_tag(bookmark)
    return None if tag is None else tag.lineage


def plan_farewell(seen_source: Mapping[str, Dataset], lineages: frozenset[str]) -> Prune:
    """The bookmarks of a deleted pair's lineages; its snapshots and replicas stay."""
    return Prune(
        snapshots=(),
        bookmarks=tuple(
            BookmarkRef(dataset=b.dataset, name=b.name, guid=b.guid)
            for dataset in seen_source.values()
            for b in dataset.bookmarks
            if _lineage(b) in lineages
        ),
    )


def _join(one: Prune, other: Prune) -> Prune:
    return Prune(
        snapshots=one.snapshots + other.snapshots, bookmarks=one.bookmarks + other.bookmarks
    )
