"""From what a pass saw and did to the state of each pair's share of the route."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeVar

from backstay.api.values import pool_of
from backstay.api.words import Reason
from backstay.domain.pairs import (
    Conflict,
    Member,
    MemberState,
    Moved,
    PairState,
    PairTask,
    Point,
    RouteObservation,
    RouteTask,
    Side,
    Unseen,
)
from backstay.domain.zfs import HostListing
from backstay.plan.members import expand_members, has_member, known_members
from backstay.plan.points import Held, group_point, newest_point
from backstay.plan.replication import Seen, decide_groups
from backstay.report.kept import asides_of, left_over, yields_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a pass did on its route.

    `failures`: dataset of either side → why its last step failed; `unpruned`: why something of it
    did not go. `moved`: by pair, its last transfer that has ended since the pass before.
    """

    failures: Mapping[str, Conflict] = field(default_factory=dict)
    unpruned: Mapping[str, Conflict] = field(default_factory=dict)
    moved: Mapping[str, Moved] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteView:
    """A route at the end of a pass: its last listings, and what the pass did.

    `seen` is None when a side was not seen; `cut_short` says why a pass ended early.
    """

    task: RouteTask
    observation: RouteObservation
    seen: Seen | None
    outcome: Outcome
    cut_short: Unseen | None = None
    strays: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Source dataset → bookmarks of ours for which no pair has a replica."""


def pair_states(view: RouteView, before: Mapping[str, PairState]) -> tuple[PairState, ...]:
    """The state of each pair of the route, as its last listing tells.

    `before` has the pairs' states after the pass before this one. What they know stays true: a
    point that was good as of some moment is so for ever, and the lag grows from there, whether
    the source has changed since or cannot be seen.
    """
    unchanged = _unchanged_members(view.seen)
    return tuple(
        _pair_state(pair, _without_lost_pools(pair, view), unchanged, before.get(pair.key))
        for pair in view.task.pairs
    )


def _without_lost_pools(pair: PairTask, view: RouteView) -> RouteView:
    """The view in which a side whose pool is not imported was not seen: nothing of it is absent."""
    task, observation = view.task, view.observation
    sources = {pool_of(e.source) for e in pair.entries}
    targets = {pool_of(e.target) for e in pair.entries}
    source = _lost(task.source_host, observation.source, sources)
    target = _lost(task.target_host, observation.target, targets)
    if source is observation.source and target is observation.target:
        return view
    seen = replace(observation, source=source, target=target)
    return replace(view, observation=seen, seen=None)


def _lost(host: str, side: Side, pools: set[str]) -> Side:
    if isinstance(side, Unseen):
        return side
    missing = sorted(pools - {pool.name for pool in side.pools})
    if not missing:
        return side
    return Unseen(
        reason=Reason.POOL_NOT_IMPORTED,
        message=f"{host}: pool {missing[0]} is not imported: see `zpool import`, then "
        f"`zpool import {missing[0]}`",
    )


def _remembered(pair: PairTask, state: PairState, before: PairState, source: Side) -> PairState:
    """The state while the target is not seen: nothing that was confirmed is lost.

    A member that was added meanwhile was never confirmed; a child that its tree got was not there.
    """
    known = {m.target: m for m in before.members}
    members = tuple(known.get(m.target, m) for m in state.members)
    is_whole = pair.grouped or _was_whole(pair, members, before, source)
    return replace(
        state,
        members=members,
        point=before.point if is_whole else None,
        as_of=before.as_of if is_whole else None,
        ever_seen=before.ever_seen,
        asides=before.asides,
        left_over=before.left_over,
        strays=before.strays,
    )


def _unchanged_members(seen: Seen | None) -> frozenset[str]:
    if seen is None:
        return frozenset()
    return frozenset(
        member.target
        for members, decision in decide_groups(seen)
        if decision.unchanged
        for member in members
    )


def _pair_state(
    pair: PairTask, view: RouteView, unchanged: frozenset[str], before: PairState | None
) -> PairState:
    source, target = view.observation.source, view.observation.target
    members = _members(pair, view.observation)
    known = {} if before is None else {m.target: m for m in before.members}
    states = tuple(
        _still_good(_member_state(m, view, m.target in unchanged), known.get(m.target))
        for m in (*members, *_awaited(pair, members, before, source))
    )
    problem = next((s for s in (target, source) if isinstance(s, Unseen)), None)
    point, as_of = _pair_point(pair, members, states, view)
    state = PairState(
        key=pair.key,
        members=states,
        point=point,
        as_of=as_of,
        source_seen=not isinstance(source, Unseen),
        target_seen=not isinstance(target, Unseen),
        ever_seen=not isinstance(target, Unseen),
        problem=problem or view.cut_short,
        moved=view.outcome.moved.get(pair.key),
        asides=asides_of(members, target),
        yields=yields_of(members, view.task, view.observation, view.outcome.failures),
        yield_fault=pair.yielding_fault,
        left_over=left_over(pair, view.task, view.seen, before),
        strays=_strays(members, view, before),
    )
    if before is None:
        return state
    if not state.target_seen:
        return _remembered(pair, state, before, source)
    is_whole = state.point is None and not pair.grouped and _was_whole(pair, states, before, source)
    if is_whole and _is_held(before.point, states, target):
        return replace(state, point=before.point, as_of=before.as_of)
    return _still_good(state, before)


def _is_held(point: Point | None, members: tuple[MemberState, ...], target: Side) -> bool:
    """Whether a replica still has the point: retention goes on while a child is seeded."""
    replicas = target.datasets if isinstance(target, HostListing) else {}
    held = (d for m in members if (d := replicas.get(m.target)) is not None)
    return point is not None and any(d.snapshot_by_guid(point.guid) for d in held)


def _was_whole(
    pair: PairTask, members: tuple[MemberState, ...], before: PairState, source: Side
) -> bool:
    """Whether all that have no point are children which came to their tree since the point before.

    That point is the tree as it was then: the lag grows from there while they are seeded. One
    that is older than the point's snapshot came while that was taken, or was moved here.
    """
    entries = {entry.target for entry in pair.entries}
    confirmed = {m.target for m in before.members if m.point is not None}
    lacking = [m for m in members if m.point is None]
    if before.point is None or any(m.target in entries | confirmed for m in lacking):
        return False
    datasets = source.datasets if isinstance(source, HostListing) else {}
    taken = [
        (d.pool, s.createtxg)
        for m in members
        if (d := datasets.get(m.source)) is not None
        and (s := d.snapshot_by_guid(before.point.guid)) is not None
    ]
    born = [(d.pool, d.createtxg) for m in lacking if (d := datasets.get(m.source)) is not None]
    return not any(pool == at and txg < point for pool, txg in born for at, point in taken)


def _strays(
    members: tuple[Member, ...], view: RouteView, before: PairState | None
) -> tuple[str, ...]:
    if view.seen is None:
        return () if before is None else before.strays
    return tuple(dict.fromkeys(s for m in members for s in view.strays.get(m.source, ())))


StateT = TypeVar("StateT", MemberState, PairState)


def _still_good(state: StateT, before: StateT | None) -> StateT:
    if before is None or state.as_of is not None or state.point != before.point:
        return state
    return replace(state, as_of=before.as_of)


def _members(pair: PairTask, observation: RouteObservation) -> tuple[Member, ...]:
    """Today's members: children of a tree are told by the source, else by the target.

    A source whose tree is gone, perhaps with its pool, tells nothing of the children.
    """
    source, target = observation.source, observation.target
    there = target if isinstance(target, HostListing) else HostListing(datasets={})
    if not isinstance(source, HostListing):
        return known_members(pair, there)
    told = tuple(e for e in pair.entries if e.source in source.datasets)
    lost = tuple(e for e in pair.entries if e.source not in source.datasets)
    return (
        *expand_members(replace(pair, entries=told), source),
        *known_members(replace(pair, entries=lost), there),
    )


def _awaited(
    pair: PairTask, members: tuple[Member, ...], before: PairState | None, source: Side
) -> tuple[Member, ...]:
    """Members that the source had when it was seen and the target alone does not tell of.

    A child that waits for its first stream does not stop to count when the source is lost, or
    the whole tree in it.
    """
    if before is None:
        return ()
    told = {m.target for m in members}
    seen = source.datasets if isinstance(source, HostListing) else {}
    lost = replace(pair, entries=tuple(e for e in pair.entries if e.source not in seen))
    return tuple(
        Member(
            pair=pair.key,
            name=m.name,
            source=m.source,
            target=m.target,
            group=pair.key if pair.grouped else f"{pair.key}:{m.name}",
        )
        for m in before.members
        if m.target not in told and has_member(lost, m.source, m.target)
    )


def _member_state(member: Member, view: RouteView, unchanged: bool) -> MemberState:
    observation, outcome = view.observation, view.outcome
    target = observation.target
    replica = target.datasets.get(member.target) if isinstance(target, HostListing) else None
    point = newest_point(replica, view.task.short_id)
    conflict = None if view.seen is None else view.seen.conflicts.get(member.target)
    whys = outcome.failures, outcome.unpruned  # what moves data comes first
    sides = member.target, member.source
    failure = next((why[side] for why in whys for side in sides if side in why), None)
    if conflict is not None and member.target in outcome.failures:
        why = outcome.failures[member.target]
        said = f"{conflict.message}; the last try failed: {why.reason}: {why.message}"
        conflict = replace(conflict, message=said)
    return MemberState(
        name=member.name,
        source=member.source,
        target=member.target,
        point=point,
        as_of=_as_of(member, point, unchanged, view),
        seeding=point is None and conflict is None,
        conflict=conflict,
        failure=failure,
        key_missing=replica is not None and replica.key_available is False,
    )


def _as_of(
    member: Member, point: Point | None, unchanged: bool, view: RouteView
) -> datetime | None:
    """Until when the point is good; of a chain when its first pair says so of the same point."""
    if point is None:
        return None
    if unchanged:
        return view.observation.synced_at
    guid, as_of = view.task.chained.upstream.get(member.source, (None, None))
    return as_of if guid == point.guid else None


def _pair_point(
    pair: PairTask,
    members: tuple[Member, ...],
    states: tuple[MemberState, ...],
    view: RouteView,
) -> tuple[Point | None, datetime | None]:
    """The pair's point and until when it is good: the group's whole set, else the oldest."""
    if pair.grouped:
        point = group_point([_held(m, view.observation) for m in members], view.task.short_id)
        # One that joins has no point yet and holds nobody up.
        moments = [s.as_of for s in states if s.point is not None]
        as_of = min((m for m in moments if m is not None), default=None)
        return point, as_of if point is not None and None not in moments else None
    oldest = min(states, key=_effective_key, default=None)
    if oldest is None or oldest.point is None:
        return None, None
    return oldest.point, oldest.as_of


def _effective_key(state: MemberState) -> tuple[bool, float]:
    """Orders members by the moment whose data can be recovered; one without a point first.

    A clock that was set back makes no point older than it is.
    """
    if state.point is None:
        return (False, 0.0)
    return (True, max(state.point.at, state.as_of or state.point.at).timestamp())


def _held(member: Member, observation: RouteObservation) -> Held:
    source, target = observation.source, observation.target
    seen = isinstance(source, HostListing)
    return Held(
        source=source.datasets.get(member.source) if isinstance(source, HostListing) else None,
        source_seen=seen,
        target=target.datasets.get(member.target) if isinstance(target, HostListing) else None,
    )
