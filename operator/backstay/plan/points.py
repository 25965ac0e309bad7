"""Recovery points: what the target's listing says it holds (*Commit truth*, *RPO truth*)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from backstay.api.values import pool_of
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


def group_point(members: Sequence[Held], short_id: str) -> Point | None:
    """The newest set that is whole for its own members; None while there is none.

    The oldest replica is the reference, even while its first stream is under way: only its sets
    count. Another member is exempt from one of them while nothing tells that it was there then:

        it knows a set of the reference's up to that one    -> required
        a point of its own arrived no later than that set   -> required
        its own points arrived later                        -> exempt: it was seeded since
        it holds none, and its source was seen              -> exempt: it is being seeded

    So who joins with a replica that is older than the others' (it was a pair of its own) becomes
    the reference and proves nothing: no set counts until the next one that all have. Only where
    the others hold nothing as old as a point that it took alone does that one stand for them; it
    promises less than what they hold. Who left the pair is no longer asked (docs/adr/0006).
    """
    histories = [_history(m, short_id) for m in members]
    replicas = [h for h in histories if h.created_txg is not None]
    if not replicas:
        return None
    reference = min(replicas, key=lambda h: h.created_txg or 0)
    sets = list(reference.held.values())
    for index in range(len(sets) - 1, -1, -1):
        if all(_satisfied(h, sets[: index + 1]) for h in histories):
            return _point(sets[index], short_id)
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _History:
    """Our points of one member at the target, oldest first, and the names known on either side."""

    held: Mapping[str, Snapshot]
    known: frozenset[str]
    blind: bool
    created_txg: int | None
    """Of the replica; None while there is none of ours."""


def _history(member: Held, short_id: str) -> _History:
    source = () if member.source is None else member.source.snapshots
    taken = {s.name: s.guid for s in source if is_ours(s, short_id)}
    snapshots = () if member.target is None else member.target.snapshots
    held = {
        s.name: s
        for s in snapshots
        if _point(s, short_id) is not None and taken.get(s.name, s.guid) == s.guid
    }
    is_replica = member.target is not None and LINEAGE in member.target.properties
    return _History(
        held=held,
        known=frozenset(held) | frozenset(taken),
        blind=not member.source_seen and not held,
        created_txg=member.target.createtxg if member.target and is_replica else None,
    )


def _satisfied(history: _History, sets: Sequence[Snapshot]) -> bool:
    """Whether a member has the last of these sets of the reference, or was not there then."""
    if sets[-1].name in history.held:
        return True
    if history.blind or any(s.name in history.known for s in sets):
        return False
    first = next(iter(history.held.values()), None)
    return first is None or _arrived_before(sets[-1], first)


def _arrived_before(one: Snapshot, other: Snapshot) -> bool:
    """Of two snapshots at the target; across pools only the time in the names tells."""
    if pool_of(one.dataset) == pool_of(other.dataset):
        return one.createtxg < other.createtxg
    return one.name < other.name


def _point(snapshot: Snapshot, short_id: str) -> Point | None:
    at = snapshot_time(snapshot.name)
    if at is None or not is_ours(snapshot, short_id):
        return None
    return Point(snapshot=snapshot.name, guid=snapshot.guid, at=at)
