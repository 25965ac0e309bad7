"""Which snapshot each member of a group is sent, and when a new one is taken.

A lone member is a group of one, so this is the only place that decides it. A *set* is one
snapshot name over the members of a group (rule *Atomic groups*). The current set is the newest of
which no member's snapshot was destroyed; snapshots of some members only, taken for another pair or
for the seed of a joiner, are no set of this group.

    current set   at the target            -> decision
    none                                   -> take one of all members
    n             some lack it             -> send n to those, take nothing newer (frozen at n)
    n             some are left alone      -> take nothing newer
    n             all have it, unchanged   -> nothing; n is good as of the sync
    n             all have it, at rest     -> take nothing newer: an interval is not over
    n             all have it, changed     -> take n+1

A set of which a snapshot was destroyed at the source is no longer current: it is abandoned for
all. A member without a replica that is not in the current set joins: it is seeded alone, holds
nobody up, and is in every set that is taken once it is there. Replicas as sources get their sets
from their own source (plan/chains.py): none is taken of them, and that they are unchanged says
nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import inf

from backstay.domain.pairs import Member
from backstay.domain.zfs import LINEAGE, Dataset, HostListing, ResumeToken, Snapshot
from backstay.plan.basis import common_base, source_point
from backstay.plan.naming import bookmark_tag, is_ours


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupDecision:
    """What a group needs: existing snapshots to send by member, members to snapshot together."""

    send: Mapping[str, Snapshot]
    """Member name → snapshot of its source dataset."""
    take: tuple[tuple[Member, ...], ...]
    """Each inner tuple is one new set."""
    unchanged: bool
    """Every member but joining ones has the current set at the target, and nothing was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seat:
    """One member with what both sides have of it; `replica` None: not there or not yet whole."""

    member: Member
    source: Dataset
    replica: Dataset | None
    token: ResumeToken | None
    ours: Mapping[str, Snapshot]
    """By name, oldest first."""
    base_txg: int
    """Of the newest point that both sides have, in the source's pool; -1 while there is none."""
    free: bool


def decide_group(
    members: Sequence[Member],
    free: Collection[str],
    source: HostListing,
    target: HostListing,
    short_id: str,
) -> GroupDecision:
    """Decide for one group; only its members named in `free` get anything to do."""
    seats = [
        _seat(member, dataset, target, is_free=member.name in free, short_id=short_id)
        for member in members
        if (dataset := source.datasets.get(member.source)) is not None
    ]
    current = _current_set(seats)
    core = [s for s in seats if s.replica or (current in s.ours if current else s.free)]
    joiners = [s for s in seats if s.free and s not in core]
    lacking = [s for s in core if _lacks(s, current)]
    held_up = any(not s.free for s in core) or _is_one_lost(members, source, target)
    is_chain = any(s.source.is_replica for s in seats)
    unchanged = not (held_up or is_chain) and all(_is_unchanged(s, current) for s in core)
    send = {s.member.name: s.ours[current] for s in lacking if s.free and current}
    send |= {s.member.name: list(s.ours.values())[-1] for s in joiners if s.ours}
    send |= _resumed(seats)
    take = [[s for s in joiners if s.member.name not in send]]
    is_at_rest = all(s.member.rests for s in core)
    if not (held_up or lacking or unchanged or is_at_rest or any(s.token for s in core)):
        take.append(core)
    sets = tuple(tuple(s.member for s in taken) for taken in take if taken and not is_chain)
    return GroupDecision(send=send, take=sets, unchanged=unchanged)


def _seat(
    member: Member, source: Dataset, target: HostListing, *, is_free: bool, short_id: str
) -> _Seat:
    replica = target.datasets.get(member.target)
    base = None if replica is None else common_base(source, replica)
    point = None if base is None else source_point(source, base.guid)
    return _Seat(
        member=member,
        source=source,
        replica=replica if replica is not None and replica.snapshots else None,
        token=None if replica is None else replica.token,
        ours={s.name: s for s in source.snapshots if is_ours(s, short_id)},
        base_txg=-1 if point is None else point.createtxg,
        free=is_free,
    )


def _current_set(seats: Sequence[_Seat]) -> str | None:
    """Name of the newest set that somebody still lacks, else of the newest there is.

    Only members with a replica tell which sets there are: who joins has a snapshot of its own
    until then. Before any replica is whole, all do, and all who had snapshots by then are in it.
    """
    owners = [s for s in seats if s.replica is not None]
    taken = {
        point.name: point
        for seat in owners or seats
        for point in seat.ours.values()
        if _is_of_group(seat, point, owners if len(seats) > 1 else [])
    }
    points = sorted(taken.values(), key=lambda p: p.createtxg, reverse=True)
    whole = [p.name for p in points if _is_whole_at_source(p, seats, is_first=not owners)]
    pending = (name for name in whole if any(_lacks(s, name) for s in seats))
    return next(pending, next(iter(whole), None))


def _is_whole_at_source(point: Snapshot, seats: Sequence[_Seat], *, is_first: bool) -> bool:
    others = [s for s in seats if point.name not in s.ours]
    if is_first and any(_first_txg(s) < point.createtxg for s in others):
        return False
    return not any(_has_lost(s, point) for s in others)


def _is_of_group(seat: _Seat, point: Snapshot, owners: Sequence[_Seat]) -> bool:
    """Whether the point was taken for this group: as its bookmarks tell or, without any, as all
    who have a replica have it. Another pair of the source takes points without a bookmark while
    its target cannot be seen (plan/local.py).
    """
    lineages = {
        tag.lineage
        for b in seat.source.bookmarks
        if b.guid == point.guid and (tag := bookmark_tag(b)) is not None
    }
    own = None if seat.replica is None else seat.replica.properties.get(LINEAGE)
    if own is None or own in lineages:
        return True
    return not owners or (not lineages and all(point.name in s.ours for s in owners))


def _has_lost(seat: _Seat, point: Snapshot) -> bool:
    """Whether a snapshot of that very moment was destroyed: its bookmark is still there."""
    return any(
        b.createtxg == point.createtxg and bookmark_tag(b) is not None
        for b in seat.source.bookmarks
    )


def _first_txg(seat: _Seat) -> float:
    """When the first of our points was taken that the source still knows of."""
    marks = [b.createtxg for b in seat.source.bookmarks if bookmark_tag(b) is not None]
    return min((*marks, *(p.createtxg for p in seat.ours.values())), default=inf)


def _is_one_lost(members: Sequence[Member], source: HostListing, target: HostListing) -> bool:
    """Whether a member that has a replica lost its source."""
    return any(
        m.source not in source.datasets
        and (replica := target.datasets.get(m.target)) is not None
        and bool(replica.snapshots)
        for m in members
    )


def _lacks(seat: _Seat, name: str | None) -> bool:
    """Whether the set is still to be sent: the target has neither it nor anything newer."""
    own = seat.ours.get(name or "")
    return own is not None and own.createtxg > seat.base_txg


def _is_unchanged(seat: _Seat, name: str | None) -> bool:
    own, since = seat.ours.get(name or ""), seat.source.written_since
    if own is None or since is None or seat.replica is None:
        return False
    at_target = seat.replica.snapshot_by_guid(own.guid) is not None
    return at_target and since.snapshot == name and since.size_bytes == 0


def _resumed(seats: Sequence[_Seat]) -> dict[str, Snapshot]:
    """Members with a live token go on with the token's own snapshot (rule *Pruning keeps …*)."""
    return {
        s.member.name: point
        for s in seats
        if s.free and s.token and (point := s.source.snapshot_by_guid(s.token.to_guid))
    }
