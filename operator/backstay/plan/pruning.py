"""What goes at the end of a pass: by identity, and never what something needs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from backstay.domain.pairs import Keep, Member, PairTask, RouteTask
from backstay.domain.steps import Prune
from backstay.domain.zfs import (
    LINEAGE,
    Bookmark,
    BookmarkRef,
    Dataset,
    Guid,
    HostListing,
    Snapshot,
    SnapshotRef,
)
from backstay.plan.basis import common_base, source_point
from backstay.plan.naming import bookmark_tag, is_ours
from backstay.plan.points import Held, group_point
from backstay.plan.replication import Seen, lineage_of
from backstay.plan.retention import judge_points


@dataclass(frozen=True, slots=True, kw_only=True)
class PruningPlan:
    """What to destroy at each side."""

    source: Prune
    target: Prune


@dataclass(frozen=True, slots=True, kw_only=True)
class _Linked:
    """A member whose replica is whole and shares a base with its source.

    `common`: the GUIDs of the base and of the newest that both sides have as a snapshot; a
    failback needs one, a bookmark is not enough. `base_txg` is of the source's pool.
    """

    source: Dataset
    target: Dataset
    common: frozenset[Guid]
    base_txg: int
    lineage: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """The members of a group that may be pruned, and the datasets of those that are at rest."""

    links: tuple[_Linked, ...]
    resting_sources: tuple[Dataset, ...]
    resting_targets: tuple[Dataset, ...]
    newest_whole: str | None
    """The point of the group, else the newest set that all its links have at the target."""
    keep_source: Keep
    keep_target: Keep


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Our snapshots of some datasets: those that stay and those that may go."""

    keep: tuple[SnapshotRef, ...]
    remove: tuple[SnapshotRef, ...]


def plan_pruning(seen: Seen) -> PruningPlan:
    """Both sides' prunes of every pair of the route, from a listing made after the transfers.

    A member that is in conflict, in flight or not whole at the target keeps everything; so does
    its group with the sets that it has. What several members share at the source goes only when
    the policy of none of them wants it, be it at rest or not served by this pass.
    """
    groups = [group for pair in seen.task.pairs for group in _groups(pair, seen)]
    clones = _clones(seen.source)
    sources = [_judge_source(group, clones, seen.task.short_id) for group in groups]
    wanted = {ref for judged in sources for ref in judged.keep}
    doomed = dict.fromkeys(ref for judged in sources for ref in judged.remove)
    resting = [(d, group.keep_source) for group in groups for d in group.resting_sources]
    wanted |= _wanted(resting, seen.task.short_id)
    wanted |= wanted_by_neighbours({ref.dataset for ref in doomed}, seen.source, seen.task)
    clones = _clones(seen.target)
    targets = [_judge_target(group, clones, seen.task.short_id) for group in groups]
    links = [link for group in groups for link in group.links]
    return PruningPlan(
        source=Prune(
            snapshots=tuple(ref for ref in doomed if ref not in wanted),
            bookmarks=(
                *(ref for link in links for ref in _old_bookmarks(link)),
                *_vain_bookmarks(seen),
            ),
        ),
        target=Prune(
            snapshots=tuple(ref for judged in targets for ref in judged.remove), bookmarks=()
        ),
    )


def _clones(listing: HostListing) -> dict[str, str]:
    """Full name of a snapshot → a clone of it."""
    return {d.origin: d.name for d in listing.datasets.values() if d.origin is not None}


def _groups(pair: PairTask, seen: Seen) -> Iterator[_Group]:
    groups: dict[str, list[Member]] = {}
    for member in seen.members:
        if member.pair == pair.key:
            groups.setdefault(member.group, []).append(member)
    for members in groups.values():
        linked = {m.target: link for m in members if (link := _link(m, seen)) is not None}
        rest = [m for m in members if m.target not in linked]
        point = group_point([_held(m, seen) for m in members], seen.task.short_id)
        yield _Group(
            links=tuple(linked.values()),
            resting_sources=tuple(d for m in rest if (d := seen.source.datasets.get(m.source))),
            resting_targets=tuple(d for m in rest if (d := seen.target.datasets.get(m.target))),
            newest_whole=_newest_common(list(linked.values())) if point is None else point.snapshot,
            keep_source=pair.keep_source,
            keep_target=pair.keep_target,
        )


def _link(member: Member, seen: Seen) -> _Linked | None:
    replica = seen.target.datasets.get(member.target)
    if replica is None or not seen.free(member) or replica.token is not None:
        return None
    source = seen.source.datasets[member.source]
    base = common_base(source, replica)
    point = None if base is None else source_point(source, base.guid)
    lineage = replica.properties.get(LINEAGE)
    if point is None or lineage is None or replica.unreadable_token is not None:
        return None
    at_source = {s.guid for s in source.snapshots}
    shared = next((s.guid for s in reversed(replica.snapshots) if s.guid in at_source), point.guid)
    return _Linked(
        source=source,
        target=replica,
        common=frozenset((point.guid, shared)),
        base_txg=point.createtxg,
        lineage=lineage,
    )


def _newest_common(links: Sequence[_Linked]) -> str | None:
    """While who joined with a history of its own hides the group's point (`group_point`)."""
    if not links:
        return None
    common = set.intersection(*({s.name for s in link.target.snapshots} for link in links))
    return next((s.name for s in reversed(links[0].target.snapshots) if s.name in common), None)


def _held(member: Member, seen: Seen) -> Held:
    return Held(
        source=seen.source.datasets.get(member.source),
        source_seen=True,
        target=seen.target.datasets.get(member.target),
    )


def _judge_source(group: _Group, clones: Mapping[str, str], short_id: str) -> Judged:
    """Older points by policy; what is common, unsent, a base of others or an origin stays."""
    needed = _names_of(group.resting_sources, "held by a member at rest")
    for link in group.links:
        for snapshot in link.source.snapshots:
            if (why := _needed_at_source(link, snapshot)) is not None:
                needed[snapshot.name] = why
            elif (clone := clones.get(snapshot.full_name)) is not None:
                needed[snapshot.name] = f"origin of {clone}"
    sources = [x.source for x in group.links if not x.source.is_replica]
    return judge_sets(sources, group.keep_source, needed, short_id)


def _needed_at_source(link: _Linked, snapshot: Snapshot) -> str | None:
    if snapshot.createtxg > link.base_txg:
        return f"not at {link.target.name} yet"
    if snapshot.guid in link.common:
        return f"newest in common with {link.target.name}"
    return _base_of_another(link.source, snapshot, link.lineage)


def _base_of_another(dataset: Dataset, snapshot: Snapshot, lineage: str) -> str | None:
    """Whether a bookmark of another lineage says that it was sent to somebody else."""
    for bookmark in dataset.bookmarks:
        tag = bookmark_tag(bookmark)
        if tag is not None and tag.guid == snapshot.guid and tag.lineage != lineage:
            return f"base of another target (lineage {tag.lineage})"
    return None


def _judge_target(group: _Group, clones: Mapping[str, str], short_id: str) -> Judged:
    """Older points by policy; the base, the newest whole set, and origins of clones stay.

    While there is no set that all have, nothing goes: the group waits for its next one.
    """
    needed = _names_of(group.resting_targets, "held by a member at rest")
    if group.newest_whole is None:
        needed |= _names_of([x.target for x in group.links], "no set is whole")
    else:
        needed[group.newest_whole] = "newest whole set of the group"
    for link in group.links:
        for snapshot in link.target.snapshots:
            if snapshot.guid in link.common:
                needed[snapshot.name] = f"newest in common with {link.source.name}"
            elif snapshot == link.target.newest_snapshot:
                needed[snapshot.name] = "newest of the replica"
            elif (clone := clones.get(snapshot.full_name)) is not None:
                needed[snapshot.name] = f"origin of {clone}"
            elif (why := _base_of_another(link.target, snapshot, link.lineage)) is not None:
                needed[snapshot.name] = why
    return judge_sets([x.target for x in group.links], group.keep_target, needed, short_id)


def _names_of(datasets: Sequence[Dataset], why: str) -> dict[str, str]:
    return {s.name: why for d in datasets for s in d.snapshots}


def judge_sets(
    datasets: Sequence[Dataset], keep: Keep, needed: Mapping[str, str], short_id: str
) -> Judged:
    """Judge our sets as wholes; a group's datasets share a pool, so createtxg orders them.

    `needed`: names that stay → why.
    """
    ours = [s for d in datasets for s in d.snapshots if is_ours(s, short_id)]
    order: dict[str, int] = {}
    for snapshot in ours:
        order[snapshot.name] = max(order.get(snapshot.name, 0), snapshot.createtxg)
    names = sorted(order, key=lambda name: order[name])
    removed = frozenset(judge_points(names, keep, needed).remove)
    return Judged(
        keep=tuple(_ref(s) for s in ours if s.name not in removed),
        remove=tuple(_ref(s) for s in ours if s.name in removed),
    )


def wanted_by_neighbours(
    names: Collection[str], source: HostListing, task: RouteTask
) -> frozenset[SnapshotRef]:
    """What the policies of pairs that a pass does not serve want of these datasets.

    Each dataset is judged by itself: of a group's sets that keeps no less than judging the group.
    """
    lone: dict[str, list[Keep]] = {}
    trees: dict[str, list[Keep]] = {}
    for pair in task.neighbours:
        for entry in pair.entries:
            keeps = trees if entry.recursive else lone
            keeps.setdefault(entry.source, []).append(pair.keep_source)
    asked = [
        (source.datasets[name], keep)
        for name in names
        for keep in (
            *lone.get(name, ()),
            *(keep for above in _with_parents(name) for keep in trees.get(above, ())),
        )
    ]
    return _wanted(asked, task.short_id)


def shared_with_neighbours(names: Collection[str], task: RouteTask) -> tuple[str, ...]:
    """Those of these source datasets that a pair asks for which a pass does not serve.

    Another route may be about to need what is to go: they are pruned by a listing that is fresh.
    """
    entries = [entry for pair in task.neighbours for entry in pair.entries]
    lone = {entry.source for entry in entries}
    trees = {entry.source for entry in entries if entry.recursive}
    return tuple(
        sorted(n for n in set(names) if n in lone or not trees.isdisjoint(_with_parents(n)))
    )


def touched_sources(plan: PruningPlan, seen: Seen) -> frozenset[str]:
    """The sources of the members of which a plan destroys something on either side."""
    replicas = {ref.dataset for ref in plan.target.snapshots}
    points = {ref.dataset for ref in plan.source.snapshots}
    marks = {ref.dataset for ref in plan.source.bookmarks}
    return frozenset(points | marks | {m.source for m in seen.members if m.target in replicas})


def _wanted(asked: Sequence[tuple[Dataset, Keep]], short_id: str) -> frozenset[SnapshotRef]:
    return frozenset(
        ref for dataset, keep in asked for ref in judge_sets([dataset], keep, {}, short_id).keep
    )


def _with_parents(dataset: str) -> Iterator[str]:
    while dataset:
        yield dataset
        dataset = dataset.rpartition("/")[0]


def _ref(snapshot: Snapshot) -> SnapshotRef:
    return SnapshotRef(dataset=snapshot.dataset, name=snapshot.name, guid=snapshot.guid)


def _old_bookmarks(link: _Linked) -> tuple[BookmarkRef, ...]:
    """Bookmarks of this lineage but the last confirmed one and the last attempted one."""
    ours = [b for b in link.source.bookmarks if _lineage(b) == link.lineage]
    last = max(ours, key=lambda b: b.createtxg, default=None)
    keep = link.common | ({last.guid} if last is not None else set())
    return tuple(
        BookmarkRef(dataset=b.dataset, name=b.name, guid=b.guid) for b in ours if b.guid not in keep
    )


def _vain_bookmarks(seen: Seen) -> Iterator[BookmarkRef]:
    """Those of seeds that never arrived, which would pile up while each try has a newer point.

    Where there is no replica nobody can tell the last confirmed one from those attempted since. It
    is the oldest, unless the last passes that saw a replica were cut short before they pruned; that
    one stays, for a replica that somebody has renamed, and the newest for the next stream.
    """
    for member in seen.members:
        source = seen.source.datasets.get(member.source)
        if source is None or member.target in seen.target.datasets or not seen.free(member):
            continue
        lineage = lineage_of(member, seen)
        ours = [b for b in source.bookmarks if _lineage(b) == lineage]
        for bookmark in sorted(ours, key=lambda b: b.createtxg)[1:-1]:
            yield BookmarkRef(dataset=bookmark.dataset, name=bookmark.name, guid=bookmark.guid)


def _lineage(bookmark: Bookmark) -> str | None:
    tag = bookmark_tag(bookmark)
    return None if tag is None else tag.lineage


def plan_farewell(seen_source: Mapping[str, Dataset], lineages: Collection[str]) -> Prune:
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
