"""The stages of one pass over a route that both sides answered on: plan, act, look again.

The operator and the preview run this same code: the preview's ports only say what they would do.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeAlias

import structlog

from backstay.act.resolution import carry_out
from backstay.act.route import (
    Done,
    Hands,
    missing_transfers,
    prepare_target,
    prune_side,
    prune_sides,
    send_pipe,
    take_snapshots,
    why_missing,
)
from backstay.api.words import Reason
from backstay.domain.pairs import Conflict, Moved, Route, RouteObservation
from backstay.domain.steps import Pipe, PipeOutcome, Prune, Transfer
from backstay.domain.zfs import HostListing
from backstay.observe.route import read_anew, read_target, with_made
from backstay.plan.local import Alone, plan_local_pruning, plan_local_snapshots
from backstay.plan.pruning import plan_pruning, shared_with_neighbours, touched_sources
from backstay.plan.replication import Seen, plan_preparation, plan_snapshots, see_route
from backstay.plan.resolution import Round, plan_renames, plan_round
from backstay.plan.transfers import Lane, plan_transfers
from backstay.plan.yielding import plan_room
from backstay.ports.clock import Clock
from backstay.ports.host import HostPort, Progress
from backstay.report.state import Outcome

log = structlog.get_logger(__name__)

ROUNDS = 8
"""Five set a replica aside, four swap two names; the next pass goes on with what is left."""
Rounds: TypeAlias = Callable[[Seen, Collection[str]], Round | None]
"""The next round, from what is seen and the members that are done with."""


_OF_THE_LINE = frozenset({Reason.SECRET_MISSING, Reason.HOST_KEY_CHANGED, Reason.KEY_REFUSED})
"""What keeps a source from logging in to its target: no member is at fault or set apart for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleHooks:
    """What the stages leave to their caller."""

    start_lane: Callable[[Lane, Hands], None]
    """Begin streams that may outlast the pass."""
    failed: Callable[[Transfer, Conflict], None]
    carry: Callable[[Pipe], AbstractContextManager[Progress]]
    """The stream of the pipe is known while it runs, and told its progress."""


async def go_on_alone(source: HostPort, alone: Alone, now: datetime, pruning: asyncio.Lock) -> Done:
    """The source has the local points that are due, and no more than the policy wants.

    `pruning`: as of `Cycle`.
    """
    done = await take_snapshots(source, plan_local_snapshots(alone, now, secrets.token_hex(2)))
    alone = replace(alone, source=with_made(alone.source, done.made))
    step = plan_local_pruning(alone)
    if not (shared := shared_with_neighbours({s.dataset for s in step.snapshots}, alone.task)):
        pruned = await prune_side(source, step)
    else:
        async with pruning:
            fresh = await read_anew(alone.source, source, shared)
            pruned = await prune_side(source, plan_local_pruning(replace(alone, source=fresh)))
    return replace(done, failures={**done.failures, **pruned.failures})


@dataclass(slots=True, kw_only=True)
class Cycle:
    """One pass under way: the newest view of both sides, and what became of each step."""

    route: Route
    hands: Hands
    seen: Seen
    observation: RouteObservation
    clock: Clock
    hooks: CycleHooks
    pruning: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Of the source host: held from a fresh look at what other routes send, too, to its pruning."""
    failures: dict[str, Conflict] = field(default_factory=dict)
    unpruned: dict[str, Conflict] = field(default_factory=dict)
    """Dataset of either side → why something of it is still there that was to go."""
    moved: dict[str, Moved] = field(default_factory=dict)
    """By pair: its last transfer that has ended."""
    _confirmed: frozenset[str] = frozenset()
    """Replicas that were read after the streams of this pass."""

    async def run(self) -> None:
        """Every stage was planned from the newest listing and carried out.

        Raises `Unreachable` or `Refused` when nothing more is to be learnt in this pass.
        """
        await self._make_room()
        await self._in_rounds(plan_renames, "renaming")
        await self._in_rounds(plan_round, "resolving")

        preparation = plan_preparation(self.seen)
        done = await prepare_target(
            self.hands, preparation.aborts, preparation.parents, preparation.postures
        )
        self._note(done)
        if done.touched:
            self._look_again(target=await self._read_target(done.touched))

        # The point's time is our clock before its snapshot was asked for (rule *RPO truth*).
        steps = plan_snapshots(self.seen, self.clock.now(), secrets.token_hex(2))
        done = await take_snapshots(self.hands.source, steps)
        self._note(done)
        self._look_again(source=with_made(self.seen.source, done.made))

        await self._transfer()

        await self._prune()

    def outcome(self) -> Outcome:
        """What was done so far."""
        return Outcome(failures=self.failures, unpruned=self.unpruned, moved=self.moved)

    async def _make_room(self) -> None:
        """What somebody approved of is gone from the sources, or is among the failures."""
        if (step := self._plan_room()) is None:
            return
        datasets = tuple(sorted(set(_datasets(step))))
        async with self.pruning:
            await self._look_at_sources(datasets)
            if (step := self._plan_room()) is None:
                return
            log.info("yielding", route=str(self.route), sources=list(datasets))
            done = await prune_side(self.hands.source, step)
        for name, why in done.failures.items():
            for dataset in datasets if name == self.hands.source.name else [_dataset_of(name)]:
                said = replace(why, message=f"{name} is still there: {why.message}")
                self.failures.setdefault(dataset, said)
        await self._look_at_sources(datasets)

    def _plan_room(self) -> Prune | None:
        seen = self.seen
        return plan_room(seen.task, seen.source, seen.target, self.clock.now())

    async def _in_rounds(self, plan: Rounds, event: str) -> None:
        """What a plan does to the target round by round is done, or is among the failures.

        That is what somebody decided about replicas that diverged, and replicas that follow the
        renames of their sources; those come first, so that nothing is seeded in their place.
        """
        for _ in range(ROUNDS):
            planned = plan(self.seen, self.failures)
            if planned is None:
                return
            log.info(event, route=str(self.route), members=sorted(planned.member_of.values()))
            self.failures |= await carry_out(self.hands.target, planned)
            self._look_again(target=await self._after_round(planned))

    async def _after_round(self, _planned: Round) -> HostListing:
        return await read_target(self.hands.target, self.seen.task)

    async def _transfer(self) -> None:
        plan = plan_transfers(self.seen)
        self.failures |= plan.conflicts
        for lane in plan.lanes:
            self.hooks.start_lane(lane, self.hands)
        lanes = [t for lane in plan.lanes for pipe in lane.pipes for t in pipe.transfers]
        flying = {t.target_dataset: t.size_bytes for t in lanes}
        task = replace(self.seen.task, in_flight={**self.seen.task.in_flight, **flying})
        self.seen = replace(self.seen, task=task)
        pipes = plan.increments
        if not pipes:
            return
        sent = tuple(t.target_dataset for pipe in pipes for t in pipe.transfers)
        log.info("sending", route=str(self.route), members=len(sent))
        outcomes = await self._send(pipes)
        self._look_again(target=await self._read_target(sent))
        self._confirmed = frozenset(sent)
        for pipe, outcome in zip(pipes, outcomes, strict=True):
            self._judge(pipe, outcome)

    async def _send(self, pipes: tuple[Pipe, ...]) -> list[PipeOutcome]:
        """All pipes have ended, each as it could; raises the first failure of a side after that."""
        ends = await asyncio.gather(*map(self._send_one, pipes), return_exceptions=True)
        outcomes = []
        for end in ends:
            if isinstance(end, BaseException):
                raise end
            outcomes.append(end)
        return outcomes

    async def _send_one(self, pipe: Pipe) -> PipeOutcome:
        with self.hooks.carry(pipe) as progress:
            return await send_pipe(self.hands, pipe, progress)

    async def _prune(self) -> None:
        """What could not go is said at its dataset, all of a side when its request failed.

        What others hold, clone or use is passed over: they have a right to. Both sides are read
        anew first: streams took their time, in which somebody may have rolled back either one, and
        what was history before is the last common point now (rule *Pruning keeps the chain*).
        """
        sources = touched_sources(plan_pruning(self.seen), self.seen)
        if not sources:
            return
        shared = shared_with_neighbours(sources, self.seen.task)
        async with self.pruning if shared else nullcontext():
            await self._look_at_members(sources)
            plan = plan_pruning(self.seen)
            done = await prune_sides(self.hands, plan.source, plan.target)
        sides = ((self.hands.source, plan.source), (self.hands.target, plan.target))
        for name, why in done.failures.items():
            if why.reason == Reason.SOURCE_BUSY:
                continue
            said = replace(why, message=f"{name} was not pruned: {why.message}")
            of_host = [d for host, step in sides if host.name == name for d in _datasets(step)]
            for dataset in of_host or [_dataset_of(name)]:
                self.unpruned.setdefault(dataset, said)
        if done.failures:
            item, first = next(iter(done.failures.items()))
            log.warning(
                "prune-failed",
                route=str(self.route),
                items=len(done.failures),
                first=item,
                reason=first.reason,
                why=first.message,
            )

    def _judge(self, pipe: Pipe, outcome: PipeOutcome) -> None:
        """What the target holds counts, not exit codes (rule *Commit truth*)."""
        pair_of = {m.target: m.pair for m in self.seen.members}
        for sentence in outcome.left_out:
            log.warning("transport-left-out", route=str(self.route), why=sentence)
        share = outcome.sent_bytes // max(len(pipe.transfers), 1)
        missing = missing_transfers(pipe, self.seen.target)
        arrived = Counter(pair_of[t.target_dataset] for t in pipe.transfers if t not in missing)
        for pair, members in arrived.items():
            self.moved[pair] = Moved(members * share, outcome.duration_s)
        if missing:
            # The first one ended the pipe; those behind it were never tried.
            why = why_missing(missing[0], outcome)
            if why.reason in _OF_THE_LINE:
                self.failures |= {t.target_dataset: why for t in missing}
                return
            self.hooks.failed(missing[0], why)
            self.failures[missing[0].target_dataset] = why

    async def _look_at_members(self, sources: frozenset[str]) -> None:
        """The sources and their replicas are known as they are now."""
        replicas = {m.target for m in self.seen.members if m.source in sources}
        targets = tuple(replicas - self._confirmed)
        source, target = await asyncio.gather(
            read_anew(self.seen.source, self.hands.source, tuple(sources)),
            self._read_target(targets),
        )
        self._look_again(source=source, target=target)

    async def _look_at_sources(self, datasets: tuple[str, ...]) -> None:
        """Another route may have pruned what we just sent, or be sending what we would prune."""
        source = await read_anew(self.seen.source, self.hands.source, datasets)
        self._look_again(source=source)

    async def _read_target(self, datasets: tuple[str, ...]) -> HostListing:
        return await read_anew(self.seen.target, self.hands.target, datasets)

    def _look_again(
        self, *, source: HostListing | None = None, target: HostListing | None = None
    ) -> None:
        self.observation = replace(
            self.observation,
            source=source or self.observation.source,
            target=target or self.observation.target,
        )
        seen = see_route(self.seen.task, self.observation)
        assert seen is not None
        self.seen = seen

    def _note(self, done: Done) -> None:
        self.failures |= done.failures


def _datasets(step: Prune) -> list[str]:
    return [s.dataset for s in step.snapshots] + [b.dataset for b in step.bookmarks]


def _dataset_of(name: str) -> str:
    return re.split("[@#]", name)[0]
