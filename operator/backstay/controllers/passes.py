"""The loop over one route: observe, plan, act, report; then look again.

A pass makes a constant number of requests to each host, whatever the number of members. What it
decides is in `plan`; what it does, in `act`; here is only the order of things.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog

from backstay.act.route import Hands
from backstay.controllers.cycle import Cycle, CycleHooks
from backstay.controllers.lanes import LaneEnd, Lanes
from backstay.controllers.scheduler import Again
from backstay.controllers.shares import RouteShare, Shares
from backstay.domain.errors import Refused, Stalled, Unreachable, Waiting
from backstay.domain.pairs import Conflict, HostKey, Route, RouteObservation, RouteTask, Unseen
from backstay.domain.steps import Transfer
from backstay.observe.route import observe_route
from backstay.plan.direction import reversed_pairs
from backstay.plan.replication import Seen, lineage_of, see_route
from backstay.ports.clock import Clock
from backstay.ports.host import HostPort, TransferPort
from backstay.report.state import Outcome, RouteView, pair_states

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PassHooks:
    """Whom a pass tells what: the scheduler, the report, the leader, the progress display."""

    ring: Callable[[Route], None]
    reported: Callable[[str], None]
    """Called with the key of a pair whose state is new."""
    superseded: Callable[[int], None]
    """Called with a higher term of ours that a host knows."""
    progress: Callable[[Route, str, int], None] = lambda _route, _target, _bytes: None
    """Called with the bytes that have moved into a target dataset."""


class RoutePasses:
    """Runs passes; one instance serves all routes of one leader."""

    def __init__(
        self, shares: Shares, transfers: TransferPort, clock: Clock, hooks: PassHooks
    ) -> None:
        self._shares = shares
        self._finder = shares.finder
        self._transfers = transfers
        self._clock = clock
        self._book = shares.book
        self._hooks = hooks
        self._locks: dict[Route, asyncio.Lock] = {}
        self.lanes = Lanes(self._lane_ended, hooks.progress)

    def alone(self, route: Route) -> asyncio.Lock:
        """Held while anything works on the route: passes, and the farewell of a pair."""
        return self._locks.setdefault(route, asyncio.Lock())

    async def run(self, route: Route) -> Again | None:
        """One pass over the route's due pairs; returns when it is due again."""
        now_s = self._clock.monotonic_s()
        share = self._shares.due(route, self._clock.now(), now_s)
        if share is None:
            return None
        if share.task.pairs:
            async with self.alone(route):
                await self._pass(route, share)
        return self._shares.next_due(route, self._clock.now(), self._clock.monotonic_s())

    async def stop(self) -> None:
        """No stream of this leader runs, and nothing is remembered of its time."""
        await self.lanes.stop()
        self._book.forget_all()

    async def _pass(self, route: Route, share: RouteShare) -> None:
        began_s = self._clock.monotonic_s()
        task = replace(
            share.task,
            in_flight=self.lanes.in_flight(route) | self._book.cooling(route, began_s),
        )
        try:
            view = await self._serve(route, task)
        except Refused as error:
            view = _nothing_seen(task, error.reason, error.message, self._clock)
            if error.higher_term is not None:
                self._hooks.superseded(error.higher_term)
        except (Unreachable, Waiting, Stalled) as error:
            view = _nothing_seen(task, error.reason, error.message, self._clock)
        self._book.record(route, pair_states(view))
        self._book.add_duration(route, self._clock.monotonic_s() - began_s)
        self._shares.passed(route, share)
        for pair in task.pairs:
            self._hooks.reported(pair.key)

    async def _serve(self, route: Route, task: RouteTask) -> RouteView:
        source, target = await self._open(route.source), await self._open(route.target)
        foreign: dict[str, str] = {}
        if not isinstance(source, Unseen):
            source = await self._reach(source, ())
        if not isinstance(target, Unseen):
            claimed = await self._claim_roots(target, task.receive_roots)
            target, foreign = (claimed, {}) if isinstance(claimed, Unseen) else (target, claimed)
        observation = await observe_route(task, source, target, self._clock)
        observation = replace(observation, foreign_writers=foreign)
        seen = see_route(task, observation)
        if seen is None or isinstance(source, Unseen) or isinstance(target, Unseen):
            return RouteView(task=task, observation=observation, seen=None, outcome=Outcome())
        for pair in reversed_pairs(seen):
            self._book.active_site[pair] = route.target.site
        self._remember_lineages(seen)
        cycle = Cycle(
            route=route,
            hands=Hands(source=source, target=target, transfers=self._transfers),
            seen=seen,
            observation=observation,
            clock=self._clock,
            hooks=self._cycle_hooks(route, seen),
        )
        cut_short = None
        try:
            await cycle.run()
        except (Unreachable, Waiting, Stalled) as error:
            log.warning("pass-cut-short", route=str(route), reason=error.reason)
            cut_short = Unseen(reason=error.reason, message=error.message)
        cycle.failures = {**self._book.failures(route), **cycle.failures}
        return RouteView(
            task=task,
            observation=cycle.observation,
            seen=cycle.seen,
            outcome=cycle.outcome(),
            cut_short=cut_short,
        )

    def _cycle_hooks(self, route: Route, seen: Seen) -> CycleHooks:
        pair_of = {m.target: m.pair for m in seen.members}

        def failed(transfer: Transfer, why: Conflict) -> None:
            target = transfer.target_dataset
            self._fail(route, target, (pair_of[target], transfer.member), why)

        return CycleHooks(
            start_lane=lambda lane, hands: self.lanes.start(route, lane, hands),
            arrived=lambda target: self._book.healed(route, target),
            failed=failed,
            progress=lambda target, moved: self._hooks.progress(route, target, moved),
        )

    async def _open(self, key: HostKey) -> HostPort | Unseen:
        try:
            return await self._finder.find(key)
        except (Stalled, Unreachable, Waiting) as error:
            return Unseen(reason=error.reason, message=error.message)

    async def _reach(self, host: HostPort, roots: tuple[str, ...]) -> HostPort | Unseen:
        claimed = await self._claim_roots(host, roots)
        return claimed if isinstance(claimed, Unseen) else host

    async def _claim_roots(self, host: HostPort, roots: tuple[str, ...]) -> dict[str, str] | Unseen:
        try:
            return await self._finder.claim(host, roots)
        except (Stalled, Unreachable, Waiting) as error:
            return Unseen(reason=error.reason, message=error.message)

    def _remember_lineages(self, seen: Seen) -> None:
        for pair in seen.task.pairs:
            mine = [
                m for m in seen.members if m.pair == pair.key and m.source in seen.source.datasets
            ]
            self._book.lineages[pair.key] = self._book.lineages.get(
                pair.key, frozenset()
            ) | frozenset(lineage_of(m, seen) for m in mine)

    def _lane_ended(self, end: LaneEnd) -> None:
        """A background stream has ended: what it brought is found by the next pass."""
        for target in end.targets:
            if target == end.failed_target:
                member = self._shares.member_at(end.route, target)
                why = Conflict(reason=end.reason, message=end.message)
                self._fail(end.route, target, member, why)
                break
            self._book.healed(end.route, target)
        self._shares.wake(end.route, end.targets)
        self._hooks.ring(end.route)

    def _fail(self, route: Route, target: str, member: tuple[str, str], why: Conflict) -> None:
        self._book.failed((route, target), member, why, self._clock.monotonic_s())
        log.warning("member-failed", route=str(route), target=target, reason=why.reason)


def _nothing_seen(task: RouteTask, reason: str, message: str, clock: Clock) -> RouteView:
    unseen = Unseen(reason=reason, message=message)
    observation = RouteObservation(source=unseen, target=unseen, synced_at=clock.now())
    return RouteView(task=task, observation=observation, seen=None, outcome=Outcome())
