"""Which lineages tie a pair's sources to its replicas, those of unborn replicas included.

A tie ends when its member leaves the pair, or the pair goes: its bookmarks keep points from being
pruned for a replica that gets nothing any more. Only what is known of this very pair ends; of a
bookmark that nobody is known to need it is said that it is there (`stray_bookmarks`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from backstay.api.words import Reason
from backstay.domain.pairs import Entry, Keep, Member, PairTask
from backstay.domain.zfs import LINEAGE, Bookmark, Dataset, HostListing
from backstay.plan.members import expand_members
from backstay.plan.naming import bookmark_tag, is_ours, lineage_id
from backstay.plan.replication import Seen, lineage_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Tie:
    """The two ends of a lineage: the bookmarks are at the source, for this target."""

    source: str
    target: str


_NOT_OUR_PLACE = frozenset(
    {
        Reason.OUTSIDE_RECEIVE_ROOTS,
        Reason.NAME_TOO_LONG,
        Reason.FOREIGN_WRITER,
        Reason.RECEIVE_ROOT_MISSING,
        Reason.DATASET_CLAIMED,
    }
)
"""What lies there is another's, or was not seen. All other conflicts are about a replica of ours,
which keeps its lineage through them."""


def ties_of(seen: Seen) -> Iterator[tuple[str, str, Tie]]:
    """(pair, lineage, tie) of each member whose place is ours, whatever else is wrong with it."""
    for member in seen.members:
        conflict = seen.conflicts.get(member.target)
        if conflict is not None and conflict.reason in _NOT_OUR_PLACE:
            continue
        lineage = _lineage_of(member, seen)
        if lineage is not None:
            yield member.pair, lineage, _tie(member)


def _lineage_of(member: Member, seen: Seen) -> str | None:
    if member.source in seen.source.datasets:
        return lineage_of(member, seen)
    replica = seen.target.datasets.get(member.target)
    return None if replica is None else replica.properties.get(LINEAGE)


def ties_between(
    entries: Sequence[Entry], source: HostListing, target: HostListing
) -> dict[str, Tie]:
    """What the replicas carry, and what replicas that were never begun would be given.

    A seed that was killed at its start has left a bookmark of the latter kind.
    """
    pools = {pool.name: pool.guid for pool in target.pools}
    pair = PairTask(
        key="", entries=tuple(entries), grouped=False, keep_source=Keep(), keep_target=Keep()
    )
    ties = {
        lineage_id(source.datasets[m.source].guid, pools[pool], m.target): _tie(m)
        for m in expand_members(pair, source)
        if m.source in source.datasets and (pool := m.target.split("/")[0]) in pools
    }
    for entry in entries:
        for name, replica in target.datasets.items():
            below = name.removeprefix(entry.target)
            is_of_it = name == entry.target or (entry.recursive and below.startswith("/"))
            if is_of_it and (lineage := replica.properties.get(LINEAGE)) is not None:
                ties[lineage] = Tie(source=entry.source + below, target=name)
    return ties


def stray_sources(seen: Seen) -> Iterator[tuple[str, frozenset[str]]]:
    """Sources that may have strays, with the lineages that this route is known to need of them.

    Only where each of their members has its replica and nothing is wrong: else a lineage that is
    needed may be one that was not seen. What a replica bears that is nobody's is left to who
    decides about that.
    """
    carried = {d.properties.get(LINEAGE) for d in seen.target.datasets.values()}
    known = frozenset(lineage for lineage in carried if lineage is not None)
    sound: dict[str, bool] = {}
    for member in seen.members:
        replica = seen.target.datasets.get(member.target)
        is_sound = replica is not None and LINEAGE in replica.properties and seen.free(member)
        sound[member.source] = is_sound and sound.get(member.source, True)
    for source, is_sound in sound.items():
        dataset = seen.source.datasets.get(source)
        if is_sound and dataset and stray_bookmarks(dataset, known, seen.task.short_id):
            yield source, known


def stray_bookmarks(
    dataset: Dataset, known: Collection[str], short_id: str
) -> tuple[Bookmark, ...]:
    """Bookmarks that keep a point of ours for a lineage which is none of those that are known.

    Only this installation makes bookmarks of its own points, so they are ours.
    """
    return tuple(
        bookmark
        for bookmark in dataset.bookmarks
        if (tag := bookmark_tag(bookmark)) is not None
        and tag.lineage not in known
        and (point := dataset.snapshot_by_guid(bookmark.guid)) is not None
        and is_ours(point, short_id)
    )


def _tie(member: Member) -> Tie:
    return Tie(source=member.source, target=member.target)
