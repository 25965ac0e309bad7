"""The loop over one route: observe, plan, act, report; then look again.

A pass makes a constant number of requests to each host, whatever the number of members. What it
decides is in `plan`; what it does, in `act`; here is only the order of things.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import structlog

from backstay.act.route import Done, Hands, prepare_target, prune_sides, send_pipe, take_snapshots
from backstay.api.words import Reason
from backstay.controllers.lanes import LaneEnd, Lanes
from backstay.controllers.scheduler import Again
from backstay.controllers.shares import RouteShare, Shares
from backstay.domain.errors import Refused, Stalled, Unreachable, Waiting
from backstay.domain.pairs import Conflict, HostKey, Route, RouteObservation, RouteTask, Unseen
from backstay.domain.steps import Pipe, PipeOutcome
from backstay.domain.zfs import HostListing
from backstay.observe.route import confirm_targets, observe_route, with_made
from backstay.plan.direction import reversed_pairs
from backstay.plan.pruning import plan_pruning
from backstay.plan.replication import Seen, lineage_of, plan_preparation, plan_snapshots, see_route
from backstay.plan.transfers import plan_transfers
from backstay.ports.clock import Clock
from backstay.ports.host import HostPort, TransferPort
from backstay.report.state import Outcome, RouteView, pair_states

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Cycle:
    """One pass under way: the newest view of both sides, and what became of each step."""

    route: Route
    hands: Hands
    seen: Seen
    observation: RouteObservation
    failures: dict[str, Conflict] = field(default_factory=dict)
    moved: dict[str, int] = field(default_factory=dict)
    transfer_s: float = 0.0

    def look_again(
        self, *, source: HostListing | None = None, target: HostListing | None = None
    ) -> None:
        """The view is the newest listings."""
        self.observation = replace(
            self.observation,
            source=source or self.observation.source,
            target=target or self.observation.target,
        )
        seen = see_route(self.seen.task, self.observation)
        assert seen is not None
        self.seen = seen

    def note(self, done: Done) -> None:
        """The failures of a stage are part of the report."""
        self.failures |= done.failures


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
        hands = Hands(source=source, target=target, transfers=self._transfers)
        cycle = _Cycle(route=route, hands=hands, seen=seen, observation=observation)
        try:
            await self._stages(cycle)
        except (Unreachable, Waiting, Stalled) as error:
            problem = Unseen(reason=error.reason, message=error.message)
            cycle.observation = replace(cycle.observation, source=problem)
            log.warning("pass-cut-short", route=str(route), reason=error.reason)
            return RouteView(
                task=task, observation=cycle.observation, seen=None, outcome=_outcome(cycle)
            )
        cycle.failures = {**self._book.failures(route), **cycle.failures}
        return RouteView(
            task=task,
            observation=cycle.observation,
            seen=cycle.seen,
            outcome=_outcome(cycle),
        )

    async def _stages(self, cycle: _Cycle) -> None:
        """The four stages; each plans from the newest listing."""
        preparation = plan_preparation(cycle.seen)
        done = await prepare_target(
            cycle.hands, preparation.aborts, preparation.parents, preparation.postures
        )
        cycle.note(done)
        if done.touched:
            cycle.look_again(target=await self._read_target(cycle, done.touched))

        # The point's time is our clock before its snapshot was asked for (rule *RPO truth*).
        steps = plan_snapshots(cycle.seen, self._clock.now(), secrets.token_hex(2))
        done = await take_snapshots(cycle.hands, steps)
        cycle.note(done)
        cycle.look_again(source=with_made(cycle.seen.source, done.made))

        await self._transfer(cycle)

        pruning = plan_pruning(cycle.seen)
        cycle.note(await prune_sides(cycle.hands, pruning.source, pruning.target))

    async def _transfer(self, cycle: _Cycle) -> None:
        plan = plan_transfers(cycle.seen)
        cycle.failures |= plan.conflicts
        for lane in plan.lanes:
            self.lanes.start(cycle.route, lane, cycle.hands)
        if plan.lanes:
            flying = cycle.seen.task.in_flight | self.lanes.in_flight(cycle.route)
            cycle.seen = replace(cycle.seen, task=replace(cycle.seen.task, in_flight=flying))
        pipe = plan.increments
        if not pipe.transfers:
            return
        log.info("sending", route=str(cycle.route), members=len(pipe.transfers))
        outcome = await send_pipe(cycle.hands, pipe, self._pipe_progress(cycle.route, pipe))
        targets = tuple(t.target_dataset for t in pipe.transfers)
        cycle.look_again(target=await self._read_target(cycle, targets))
        self._judge_pipe(cycle, pipe, outcome)

    def _judge_pipe(self, cycle: _Cycle, pipe: Pipe, outcome: PipeOutcome) -> None:
        """What the target holds counts, not exit codes (rule *Commit truth*)."""
        pair_of = {m.target: m.pair for m in cycle.seen.members}
        share = outcome.sent_bytes // max(len(pipe.transfers), 1)
        missing = []
        for transfer in pipe.transfers:
            replica = cycle.seen.target.datasets.get(transfer.target_dataset)
            if replica is not None and replica.snapshot_by_guid(transfer.guid) is not None:
                self._book.healed(cycle.route, transfer.target_dataset)
                pair = pair_of[transfer.target_dataset]
                cycle.moved[pair] = cycle.moved.get(pair, 0) + share
            else:
                missing.append(transfer)
        cycle.transfer_s = outcome.duration_s
        if not missing:
            return
        # The first one that is missing ended the pipe; those behind it were never tried.
        first = missing[0]
        why = (
            Conflict(reason=outcome.failure.reason, message=outcome.failure.message)
            if outcome.failure is not None
            else Conflict(
                reason=Reason.TRANSFER_FAILED,
                message=f"{first.target_dataset}@{first.snapshot} did not arrive, though no "
                f"command failed: it is sent again",
            )
        )
        self._fail(
            cycle.route, first.target_dataset, (pair_of[first.target_dataset], first.member), why
        )
        cycle.failures[first.target_dataset] = why

    async def _read_target(self, cycle: _Cycle, datasets: tuple[str, ...]) -> HostListing:
        return await confirm_targets(cycle.seen.target, cycle.hands.target, datasets)

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

    def _pipe_progress(self, route: Route, pipe: Pipe) -> Callable[[int, int], None]:
        def report(index: int, moved: int) -> None:
            self._hooks.progress(route, pipe.transfers[index].target_dataset, moved)

        return report

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


def _outcome(cycle: _Cycle) -> Outcome:
    return Outcome(failures=cycle.failures, moved=cycle.moved, transfer_s=cycle.transfer_s)
