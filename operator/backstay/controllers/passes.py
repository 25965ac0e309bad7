"""The loop over one route: observe, plan, act, report; then look again.

A pass makes a constant number of requests to each host, whatever the number of members. What it
decides is in `plan`; what it does, in `act`; here is only the order of things.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import structlog

from backstay.act.route import Hands
from backstay.api.words import Reason
from backstay.controllers.cycle import Cycle, CycleHooks, go_on_alone
from backstay.controllers.lanes import LaneEnd, Lanes
from backstay.controllers.machines import Machine, machine_of
from backstay.controllers.partings import Partings
from backstay.controllers.scheduler import Again
from backstay.controllers.shares import RouteShare, Shares
from backstay.controllers.underway import Owners, Sent, Stream
from backstay.domain.errors import Refused, Stalled, Unreachable, Waiting
from backstay.domain.pairs import (
    Conflict,
    HostKey,
    PairTask,
    Route,
    RouteObservation,
    RouteTask,
    Unseen,
)
from backstay.domain.steps import Pipe, Transfer
from backstay.domain.zfs import HostListing
from backstay.observe.route import observe_route
from backstay.plan.direction import replicas_alone, reversed_pairs
from backstay.plan.lineages import ties_of
from backstay.plan.local import Alone
from backstay.plan.members import expand_members, has_member
from backstay.plan.replication import Seen, decide_groups, see_route
from backstay.plan.transfers import Lane
from backstay.ports.clock import Clock
from backstay.ports.host import HostPort, Progress, TransferPort
from backstay.report.state import Outcome, RouteView, pair_states
from backstay.report.underway import SHOWN_AFTER_S

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PassHooks:
    """Whom a pass tells what: the scheduler, the report, the leader, the progress display."""

    ring: Callable[[Route], None]
    reported: Callable[[str], None]
    """Called with the key of a pair whose state is new."""
    superseded: Callable[[int], None]
    """Called with a higher term of ours that a host knows."""
    judge_in: Callable[[str, float], None] = lambda _pair, _seconds: None
    """Called with the key of a pair that is to be judged again in so many seconds."""


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
        self.lanes = Lanes(self._lane_ended, self._carry)
        self.partings = Partings(shares)
        self._pruning: dict[Machine, asyncio.Lock] = {}

    def alone(self, route: Route) -> asyncio.Lock:
        """Held while anything works on the route: passes, and the farewell of a pair."""
        return self._locks.setdefault(route, asyncio.Lock())

    async def run(self, route: Route) -> Again | None:
        """One pass over the route's due pairs; returns when it is due again."""
        async with self.alone(route):
            # Only now: who had the route before may have seen a pair off.
            share = self._shares.due(route, self._clock.now(), self._clock.monotonic_s())
            if share is None:
                return None
            if share.task.pairs:
                await self._pass(route, share)
        return self._shares.next_due(route, self._clock.now(), self._clock.monotonic_s())

    async def end_streams(self, pair: str, wanted: Mapping[Route, PairTask]) -> None:
        """No stream of the pair runs beside a pass but to what is wanted of it now."""

        def is_wanted(route: Route, transfer: Transfer) -> bool:
            share = wanted.get(route)
            return share is not None and has_member(
                share, transfer.source_dataset, transfer.target_dataset
            )

        await self.lanes.cancel(pair, unless=is_wanted)

    async def _pass(self, route: Route, share: RouteShare) -> None:
        began_s = self._clock.monotonic_s()
        self._shares.began(route, share)
        task = replace(
            share.task,
            in_flight=dict.fromkeys(self._book.cooling(route, began_s), 0)
            | self.lanes.in_flight(route.target),
        )
        view = await self._look(route, task)
        self._book.record(route, pair_states(view, self._book.route_states(route)), began_s)
        if view.seen is not None:
            # How soon a host refuses tells nothing about how long the work takes.
            self._book.add_duration(route, self._clock.monotonic_s() - began_s)
        self._shares.passed(route, share)
        for pair in task.pairs:
            self._hooks.reported(pair.key)

    async def _look(self, route: Route, task: RouteTask) -> RouteView:
        """What was seen and done, or why nothing was."""
        try:
            return await self._serve(route, task)
        except Refused as error:
            if error.higher_term is not None:
                self._hooks.superseded(error.higher_term)
            return _nothing_seen(task, error.reason, error.message, self._clock)
        except (Unreachable, Waiting, Stalled) as error:
            return _nothing_seen(task, error.reason, error.message, self._clock)
        except Exception as bug:
            # A fault of ours: it is said in the status, and other routes go on.
            log.exception("pass-failed", route=str(route))
            said = f"a fault of backstay itself, please report it: {bug!r}"
            return _nothing_seen(task, Reason.INTERNAL_ERROR, said, self._clock)

    async def _serve(self, route: Route, task: RouteTask) -> RouteView:
        (source, _), (target, foreign) = await asyncio.gather(
            self._reach(route.source, ()), self._reach(route.target, task.receive_roots)
        )
        observation = await observe_route(task, source, target, self._clock)
        if isinstance(observation.target, HostListing) and not isinstance(target, Unseen):
            foreign |= await self._finder.claim_lost(route.target, target, observation.target)
        observation = replace(observation, foreign_writers=foreign)
        task, seen = self._seen_forwards(route, task, observation)
        if seen is None or isinstance(source, Unseen) or isinstance(target, Unseen):
            if not isinstance(source, Unseen) and not foreign:
                await self._go_on_alone(route, task, source, observation)
            return RouteView(task=task, observation=observation, seen=None, outcome=Outcome())
        self._remember_ties(route, seen)
        cycle = Cycle(
            route=route,
            hands=Hands(source=source, target=target, transfers=self._transfers),
            seen=seen,
            observation=observation,
            clock=self._clock,
            hooks=self._cycle_hooks(route, seen),
            pruning=self._pruning_of(route.source),
            moved=self._book.moved_since(route, [pair.key for pair in task.pairs]),
        )
        cut_short = None
        try:
            await cycle.run()
        except (Unreachable, Waiting, Stalled) as error:
            log.warning("pass-cut-short", route=str(route), reason=error.reason)
            cut_short = Unseen(reason=error.reason, message=error.message)
        self._note_arrivals(route, cycle.seen)
        cycle.failures = {**self._book.failures(route), **cycle.failures}
        return RouteView(
            task=seen.task,
            observation=cycle.observation,
            seen=cycle.seen,
            outcome=cycle.outcome(),
            cut_short=cut_short,
            strays=self.partings.strays(route, cycle.seen),
        )

    async def _go_on_alone(
        self, route: Route, task: RouteTask, source: HostPort, observation: RouteObservation
    ) -> None:
        """While only the target cannot be seen, the source goes on with local points."""
        if not isinstance(observation.source, HostListing) or isinstance(
            observation.target, HostListing
        ):
            return
        now_s = self._clock.monotonic_s()
        alone = Alone(
            task=task,
            source=observation.source,
            due=self._book.due_alone(route, task.pairs, now_s),
            confirmed={
                key: frozenset(m.target for m in state.members if m.point is not None)
                for key, state in self._book.route_states(route).items()
                if state.ever_seen
            },
        )
        pruning = self._pruning_of(route.source)
        done = await go_on_alone(source, alone, self._clock.now(), pruning)
        made = {one.dataset for one in done.made}
        for pair in task.pairs:
            if any(m.source in made for m in expand_members(pair, alone.source)):
                self._book.alone_at[pair.key, route] = now_s
        for name, why in done.failures.items():
            log.warning("local-point-failed", route=str(route), item=name, reason=why.reason)

    def _pruning_of(self, source: HostKey) -> asyncio.Lock:
        machine = machine_of(source, self._shares.registry)
        return self._pruning.setdefault(machine, asyncio.Lock())

    def _seen_forwards(
        self, route: Route, task: RouteTask, observation: RouteObservation
    ) -> tuple[RouteTask, Seen | None]:
        """The pairs whose data does flow this way, and what is seen of them.

        The others are turned round.
        """
        seen = see_route(task, observation)
        if seen is not None:
            turned = reversed_pairs(seen)
        elif isinstance(observation.source, HostListing):
            turned = replicas_alone(task, observation.source)
        else:
            turned = frozenset()
        for pair in turned:
            self._book.active_site[pair] = route.target.site
        kept = replace(task, pairs=tuple(p for p in task.pairs if p.key not in turned))
        return kept, see_route(kept, observation) if turned else seen

    def _note_arrivals(self, route: Route, seen: Seen) -> None:
        """Members that nothing is to be sent to any more share a pipe again."""
        lacking = {
            member.target
            for members, decision in decide_groups(seen)
            for member in members
            if member.name in decision.send
        }
        for member in seen.members:
            if seen.free(member) and member.target not in lacking:
                self._book.healed(route, member.target)

    def _cycle_hooks(self, route: Route, seen: Seen) -> CycleHooks:
        owners = {m.target: (m.pair, m.name) for m in seen.members}

        def failed(transfer: Transfer, why: Conflict) -> None:
            self._fail(route, transfer, owners[transfer.target_dataset], why)

        return CycleHooks(
            start_lane=lambda lane, hands: self.lanes.start(
                route, self._patient(route, lane), hands, owners
            ),
            failed=failed,
            carry=lambda pipe: self._carry_increments(route, pipe, owners),
        )

    @contextmanager
    def _carry_increments(self, route: Route, pipe: Pipe, owners: Owners) -> Iterator[Progress]:
        sent = Sent(pipe.transfers, owners, in_pass=True)
        with self._carry(route, sent) as stream:
            yield lambda index, moved: stream.progress(pipe.transfers[index].target_dataset, moved)

    @contextmanager
    def _carry(self, route: Route, sent: Sent) -> Iterator[Stream]:
        """While it runs, its pairs are judged now and then: one that stands still is silent."""
        stream = Stream(route, sent, self._clock)
        for pair in stream.pairs:
            self._hooks.judge_in(pair, SHOWN_AFTER_S)
        with self._book.underway.carrying(stream):
            yield stream

    def _patient(self, route: Route, lane: Lane) -> Lane:
        """The lane, with how often it stood still where it begins: a slow disk needs more time."""
        counts = [self._book.stalls(route, pipe.transfers[0]) for pipe in lane.pipes]
        pipes = zip(lane.pipes, counts, strict=True)
        return Lane(pipes=tuple(replace(pipe, failed_before=count) for pipe, count in pipes))

    async def _reach(
        self, key: HostKey, roots: tuple[str, ...]
    ) -> tuple[HostPort | Unseen, dict[str, str]]:
        """The host under our term with the foreign writers of its roots, or why it is not seen."""
        try:
            host = await self._finder.find(key)
            return host, await self._finder.claim(key, host, roots)
        except (Stalled, Unreachable, Waiting) as error:
            return Unseen(reason=error.reason, message=error.message), {}

    def _remember_ties(self, route: Route, seen: Seen) -> None:
        for pair in seen.task.pairs:
            self._book.ties.setdefault(pair.key, {}).setdefault(route, {})
        for key, lineage, tie in ties_of(seen):
            ties = self._book.ties[key][route]
            ties.pop(lineage, None)  # The newest comes last.
            ties[lineage] = tie

    def _lane_ended(self, end: LaneEnd) -> None:
        """A background stream has ended: what it brought is found by the next pass."""
        if end.failed is not None and end.why is not None:
            self._fail(end.route, end.failed, end.owners[end.failed.target_dataset], end.why)
        self._book.moved |= {(pair, end.route): moved for pair, moved in end.moved.items()}
        self._shares.wake(end.route, {pair for pair, _ in end.owners.values()})
        self._hooks.ring(end.route)

    def _fail(
        self, route: Route, transfer: Transfer, member: tuple[str, str], why: Conflict
    ) -> None:
        target = transfer.target_dataset
        self._book.failed((route, target), member, why, self._clock.monotonic_s())
        if why.reason == Reason.TRANSFER_STALLED:
            self._book.stood_still(route, transfer)
        log.warning("member-failed", route=str(route), target=target, reason=why.reason)


def _nothing_seen(task: RouteTask, reason: str, message: str, clock: Clock) -> RouteView:
    unseen = Unseen(reason=reason, message=message)
    observation = RouteObservation(source=unseen, target=unseen, synced_at=clock.now())
    return RouteView(task=task, observation=observation, seen=None, outcome=Outcome())
