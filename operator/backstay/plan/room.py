"""What it costs to make room for a rollback of a pair's sources, before anybody is asked.

    at the source after it          at a target                    -> it goes on
    the newest point of the target  that point                     -> incrementally, by itself
    an older point of the target    that point and newer ones      -> once somebody resolves that
                                                                      it diverged: only the delta
    none of its points              points                         -> only by a new full copy

Every target of a source counts, whichever pair it is of.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from backstay.domain.pairs import Member, Route, RouteObservation, RouteTask, Unseen
from backstay.domain.zfs import Dataset, HostListing, Snapshot
from backstay.plan.checks import source_conflict, writers_of_others
from backstay.plan.members import expand_members
from backstay.plan.naming import is_ours, snapshot_time
from backstay.plan.replication import Seen, lineage_of, see_route
from backstay.plan.yielding import Room, base_left, room_after


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteLook:
    """One route of a source host, as it was seen just now."""

    route: Route
    machine: Hashable
    """Of the source host, which may have other names."""
    task: RouteTask
    observation: RouteObservation


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetLeft:
    """What a target goes on from. `ahead`: its newer points, which the source then has not."""

    pair: str
    host: str
    dataset: str
    lineage: str
    base: Snapshot | None
    ahead: int
    has_points: bool

    @property
    def is_lost(self) -> bool:
        """Whether only a full copy leads on."""
        return self.has_points and self.base is None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberOffer:
    """One source that can make room. `targets`: all that it is sent to."""

    name: str
    source: Dataset
    to: Snapshot
    room: Room
    targets: tuple[TargetLeft, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """The sources of a pair that can make room, and why others cannot, by member."""

    members: tuple[MemberOffer, ...]
    left_out: Mapping[str, str]

    @property
    def lost(self) -> tuple[TargetLeft, ...]:
        """The targets that would have no base."""
        return tuple(t for m in self.members for t in m.targets if t.is_lost)


def offer_room(
    pair: str, looks: Sequence[RouteLook], to: str | None, only: Collection[str] = ()
) -> Offer:
    """What `pair` can make room for: the snapshot `to`, else each source's newest foreign one."""
    left_out = dict.fromkeys(only, "is no member")
    offers = []
    for look, member in _members_of(pair, looks):
        if only and member.name not in only:
            continue
        left_out.pop(member.name, None)
        made = _offer(look, member, looks, to)
        if isinstance(made, str):
            left_out[member.name] = made
        else:
            offers.append(made)
    return Offer(members=tuple(offers), left_out=left_out)


def _members_of(pair: str, looks: Sequence[RouteLook]) -> Iterator[tuple[RouteLook, Member]]:
    for look in looks:
        source = look.observation.source
        listing = source if isinstance(source, HostListing) else HostListing(datasets={})
        for task in look.task.pairs:
            if task.key == pair:
                yield from ((look, member) for member in expand_members(task, listing))


def _offer(
    look: RouteLook, member: Member, looks: Sequence[RouteLook], to: str | None
) -> MemberOffer | str:
    source = look.observation.source
    if isinstance(source, Unseen):
        return f"{look.route.source} was not seen: {source.reason}: {source.message}"
    dataset = source.datasets.get(member.source)
    if dataset is None:
        return f"{look.route.source} has no dataset {member.source}"
    if (conflict := source_conflict(dataset)) is not None:
        return f"{conflict.reason}: {conflict.message}"
    if dataset.is_replica:
        return f"{dataset.name} is a replica: its points are of its own source"
    snapshot = _wanted(dataset, to)
    if snapshot is None:
        return f"{dataset.name} has no snapshot {_named(to)}"
    targets = _targets(look.machine, dataset, snapshot, looks)
    if isinstance(targets, str):
        return targets
    lineages = {t.lineage for t in targets}
    return MemberOffer(
        name=member.name,
        source=dataset,
        to=snapshot,
        room=room_after(dataset, snapshot, look.task.short_id, lineages),
        targets=targets,
    )


def _wanted(source: Dataset, to: str | None) -> Snapshot | None:
    if to is not None:
        return source.snapshot_by_name(to)
    return next((s for s in reversed(source.snapshots) if snapshot_time(s.name) is None), None)


def _named(to: str | None) -> str:
    return "but those of backstay: name one with --to" if to is None else f"@{to}"


def _targets(
    machine: Hashable, source: Dataset, to: Snapshot, looks: Sequence[RouteLook]
) -> tuple[TargetLeft, ...] | str:
    """Every target of the source, or which of them nothing is known of."""
    found = []
    for look in (one for one in looks if one.machine == machine):
        for root, owner in writers_of_others(look.task, look.observation.target).items():
            return (
                f"{root} on {look.route.target} is written by the installation {owner}, and what "
                f"is ours would be told by another: say --installation {owner}, if that is the "
                f"operator of this pair"
            )
        seen = see_route(look.task, look.observation)
        if seen is None:
            side = look.observation.target
            why = f"{side.reason}: {side.message}" if isinstance(side, Unseen) else "see above"
            return f"what {look.route.target} would go on from is not known: {why}"
        found += [_left(look, m, seen, to) for m in seen.members if m.source == source.name]
    return tuple(found)


def _left(look: RouteLook, member: Member, seen: Seen, to: Snapshot) -> TargetLeft:
    source, replica = seen.source.datasets[member.source], seen.target.datasets.get(member.target)
    base = base_left(source, replica, to)
    points = () if replica is None else replica.snapshots
    after = -1 if base is None else base.createtxg
    ours = [s for s in points if s.createtxg > after and is_ours(s, seen.task.short_id)]
    return TargetLeft(
        pair=member.pair,
        host=str(look.route.target),
        dataset=member.target,
        lineage=lineage_of(member, seen),
        base=base,
        ahead=len(ours),
        has_points=bool(points),
    )
