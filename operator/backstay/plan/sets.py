"""Which snapshot each member of a group is sent, and when a new one is taken.

A lone member is a group of one, so this is the only place that decides it. A *set* is one
snapshot name over the members of a group (rule *Atomic groups*).

    newest set   at the target            -> decision
    none                                  -> take one of all members
    n            some lack it             -> send n to those, take nothing newer (frozen at n)
    n            some lack it for good    -> n is abandoned: take a new one
    n            all have it, unchanged   -> nothing; n is good as of the sync
    n            all have it, changed     -> take n+1
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from backstay.domain.pairs import Member
from backstay.domain.zfs import Dataset, HostListing, ResumeToken, Snapshot
from backstay.plan.naming import is_ours


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupDecision:
    """What a group needs: existing snapshots to send by member, members to snapshot together."""

    send: Mapping[str, Snapshot]
    """Member name → snapshot of its source dataset."""
    take: tuple[tuple[Member, ...], ...]
    """Each inner tuple is one new set."""
    unchanged: bool
    """Every member's newest point is at the target, and nothing was written since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seat:
    """One member with what both sides have of it; `replica` None: not there or not yet whole."""

    member: Member
    source: Dataset
    replica: Dataset | None
    token: ResumeToken | None
    ours: tuple[Snapshot, ...]


def decide_group(
    members: Sequence[Member], source: HostListing, target: HostListing, short_id: str
) -> GroupDecision:
    """Decide for one group whose members are free of conflicts and of useless tokens."""
    seats = [_seat(m, source, target, short_id) for m in members]
    core = _core(seats)
    joiners = [s for s in seats if s not in core]
    newest = _newest_set(core)
    send = _resumed(seats)
    take: list[tuple[Member, ...]] = []
    lacking = [s for s in core if newest is not None and not _has(s, newest)]
    abandoned = any(_own(s, newest) is None and s.member.name not in send for s in lacking)
    unchanged = newest is not None and not lacking and all(_unchanged(s, newest) for s in core)
    if newest is None or abandoned or not (lacking or unchanged):
        if not any(s.token for s in core):
            take.append(tuple(s.member for s in core))
    else:
        send |= {s.member.name: p for s in lacking if (p := _own(s, newest)) is not None}
    solo = tuple(s.member for s in joiners if not s.ours and s.member.name not in send)
    if solo:
        take.append(solo)
    send |= {s.member.name: s.ours[-1] for s in joiners if s.ours and s.member.name not in send}
    return GroupDecision(send=send, take=tuple(take), unchanged=unchanged and not joiners)


def _seat(member: Member, source: HostListing, target: HostListing, short_id: str) -> _Seat:
    dataset = source.datasets[member.source]
    replica = target.datasets.get(member.target)
    return _Seat(
        member=member,
        source=dataset,
        replica=replica if replica is not None and replica.snapshots else None,
        token=None if replica is None else replica.token,
        ours=tuple(s for s in dataset.snapshots if is_ours(s, short_id)),
    )


def _core(seats: list[_Seat]) -> list[_Seat]:
    """Members that share the group's newest set: the seeded ones, and who has that set already.

    Who joins later is seeded alone meanwhile, so that a long seed does not hold the others up.
    """
    established = [s for s in seats if s.replica is not None]
    if not established:
        return seats
    newest = _newest_set(established)
    return [s for s in seats if s.replica is not None or (newest and _own(s, newest) is not None)]


def _newest_set(seats: Sequence[_Seat]) -> str | None:
    """Name of the newest set; all members of a group lie in one pool, so createtxg orders."""
    points = [s.ours[-1] for s in seats if s.ours]
    return max(points, key=lambda p: p.createtxg).name if points else None


def _own(seat: _Seat, name: str | None) -> Snapshot | None:
    return next((s for s in seat.ours if s.name == name), None)


def _has(seat: _Seat, name: str) -> bool:
    own = _own(seat, name)
    if own is None or seat.replica is None:
        return False
    return seat.replica.snapshot_by_guid(own.guid) is not None


def _unchanged(seat: _Seat, name: str) -> bool:
    since = seat.source.written_since
    return since is not None and since.snapshot == name and since.size_bytes == 0


def _resumed(seats: Sequence[_Seat]) -> dict[str, Snapshot]:
    """Members with a live token go on with the token's own snapshot (rule *Pruning keeps …*)."""
    return {
        s.member.name: point
        for s in seats
        if s.token is not None and (point := s.source.snapshot_by_guid(s.token.to_guid))
    }
