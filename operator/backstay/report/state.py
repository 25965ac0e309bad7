"""From what a pass saw and did to the state of each pair's share of the route."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeVar

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


def pair_states(view: RouteView, before: Mapping[str, PairState]) -> tuple[PairState, ...]:
    """The state of each pair of the route, as its last listing tells.

    `before` has the pairs' states after the pass before this one. What they know stays true: a
    point that was good as of some moment is so for ever, and the lag grows from there, whether
    the source has changed since or cannot be seen.
    """
    unchanged = _unchanged_members(view.seen)
    return tuple(
        _pair_state(pair, view, unchanged, before.get(pair.key)) for pair in view.task.pairs
    )


def _remembered(state: PairState, before: PairState) -> PairState:
    """The state while the target is not seen: nothing that was confirmed is taken back."""
    return replace(
        state,
        members=before.members,
        point=before.point,
        as_of=before.as_of,
        ever_seen=before.ever_seen,
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
    )
    if before is not None and not state.target_seen:
        return _remembered(state, before)
    return _still_good(state, before)


StateT = TypeVar("StateT", MemberState, PairState)


def _still_good(state: StateT, before: StateT | None) -> StateT:
    if before is None or state.as_of is not None or state.point != before.point:
        return state
    return replace(state, as_of=before.as_of)


def _members(pair: PairTask, observation: RouteObservation) -> tuple[Member, ...]:
    if isinstance(observation.source, HostListing):
        return expand_members(pair, observation.source)
    if isinstance(observation.target, HostListing):
        return known_members(pair, observation.target)
    return ()


def _awaited(
    pair: PairTask, members: tuple[Member, ...], before: PairState | None, source: Side
) -> tuple[Member, ...]:
    """Members that the source had when it was seen and the target alone does not tell of.

    A child that waits for its first stream does not stop to count when the source is lost.
    """
    if before is None or isinstance(source, HostListing):
        return ()
    told = {m.target for m in members}
    return tuple(
        Member(
            pair=pair.key,
            name=m.name,
            source=m.source,
            target=m.target,
            group=pair.key if pair.grouped else f"{pair.key}:{m.name}",
        )
        for m in before.members
        if m.target not in told and has_member(pair, m.source, m.target)
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
    return MemberState(
        name=member.name,
        source=member.source,
        target=member.target,
        point=point,
        as_of=observation.synced_at if unchanged and point is not None else None,
        seeding=point is None and conflict is None,
        conflict=conflict,
        failure=failure,
    )


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
    """Orders members by the moment whose data can be recovered; one without a point first."""
    if state.point is None:
        return (False, 0.0)
    return (True, (state.as_of or state.point.at).timestamp())


def _held(member: Member, observation: RouteObservation) -> Held:
    source, target = observation.source, observation.target
    seen = isinstance(source, HostListing)
    return Held(
        source=source.datasets.get(member.source) if isinstance(source, HostListing) else None,
        source_seen=seen,
        target=target.datasets.get(member.target) if isinstance(target, HostListing) else None,
    )
