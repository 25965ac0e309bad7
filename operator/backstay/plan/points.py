"""Recovery points: what the target's listing says it holds (*Commit truth*, *RPO truth*)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from backstay.domain.pairs import Point
from backstay.domain.zfs import LINEAGE, Dataset, Snapshot
from backstay.plan.naming import is_ours, snapshot_time


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What is known of one member for judging points; a side is None when absent or not seen."""

    source: Dataset | None
    source_seen: bool
    target: Dataset | None


def newest_point(target: Dataset | None, short_id: str) -> Point | None:
    """The newest of our points in a replica, by createtxg; None when it holds none."""
    if target is None:
        return None
    for snapshot in reversed(target.snapshots):
        point = _point(snapshot, short_id)
        if point is not None:
            return point
    return None


def lone_point(members: Sequence[Held], short_id: str) -> Point | None:
    """The recovery point of members without a group: the oldest of their newest points.

    None while any member has none.
    """
    points = [newest_point(m.target, short_id) for m in members]
    if not points or any(p is None for p in points):
        return None
    return min((p for p in points if p is not None), key=lambda p: p.at)


def group_point(members: Sequence[Held], short_id: str) -> Point | None:
    """The newest set that is whole for its own members; None while there is none.

    The oldest replica is the reference, even while its first stream is under way: who joins later
    is younger, and its own first points are no sets of the group. A member is required from the
    first of the reference's sets that it knows; one that knows none has not joined yet, unless the
    source could not be asked and the target holds nothing of it.
    """
    histories = [_history(m, short_id) for m in members]
    replicas = [h for h in histories if h.created_txg is not None]
    if not replicas:
        return None
    reference = min(replicas, key=lambda h: h.created_txg or 0)
    order = list(reference.held)
    for index in range(len(order) - 1, -1, -1):
        if all(_satisfied(h, order, index) for h in histories):
            return reference.held[order[index]]
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _History:
    """Our points of one member at the target, oldest first, and the names known on either side."""

    held: Mapping[str, Point]
    known: frozenset[str]
    blind: bool
    created_txg: int | None
    """Of the replica; None while there is none of ours."""


def _history(member: Held, short_id: str) -> _History:
    source = () if member.source is None else member.source.snapshots
    taken = {s.name: s.guid for s in source if is_ours(s, short_id)}
    snapshots = () if member.target is None else member.target.snapshots
    held = {
        s.name: p
        for s in snapshots
        if (p := _point(s, short_id)) is not None and taken.get(s.name, s.guid) == s.guid
    }
    is_replica = member.target is not None and LINEAGE in member.target.properties
    return _History(
        held=held,
        known=frozenset(held) | frozenset(taken),
        blind=not member.source_seen and not held,
        created_txg=member.target.createtxg if member.target and is_replica else None,
    )


def _satisfied(history: _History, order: Sequence[str], index: int) -> bool:
    if order[index] in history.held:
        return True
    if history.blind:
        return False
    joined = next((i for i, name in enumerate(order) if name in history.known), len(order))
    return joined > index


def _point(snapshot: Snapshot, short_id: str) -> Point | None:
    at = snapshot_time(snapshot.name)
    if at is None or not is_ours(snapshot, short_id):
        return None
    return Point(snapshot=snapshot.name, guid=snapshot.guid, at=at)
