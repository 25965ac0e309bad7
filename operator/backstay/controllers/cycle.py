"""The stages of one pass over a route that both sides answered on: plan, act, look again.

The operator and the preview run this same code: the preview's ports only say what they would do.
"""

from __future__ import annotations

import re
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

import structlog

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
from backstay.observe.route import confirm_targets, with_made
from backstay.plan.local import Alone, plan_local_pruning, plan_local_snapshots
from backstay.plan.pruning import plan_pruning
from backstay.plan.replication import Seen, plan_preparation, plan_snapshots, see_route
from backstay.plan.transfers import Lane, plan_transfers
from backstay.ports.clock import Clock
from backstay.ports.host import HostPort
from backstay.report.state import Outcome

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleHooks:
    """What the stages leave to their caller."""

    start_lane: Callable[[Lane, Hands], None]
    """Begin streams that may outlast the pass."""
    failed: Callable[[Transfer, Conflict], None]
    progress: Callable[[str, int], None]
    """Called with a target dataset and the bytes that have moved into it."""


async def go_on_alone(source: HostPort, alone: Alone, now: datetime) -> Done:
    """The source has the local points that are due, and no more than the policy wants."""
    done = await take_snapshots(source, plan_local_snapshots(alone, now, secrets.token_hex(2)))
    alone = replace(alone, source=with_made(alone.source, done.made))
    pruned = await prune_side(source, plan_local_pruning(alone))
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
    failures: dict[str, Conflict] = field(default_factory=dict)
    unpruned: dict[str, Conflict] = field(default_factory=dict)
    """Dataset of either side → why something of it is still there that was to go."""
    moved: dict[str, Moved] = field(default_factory=dict)
    """By pair: its last transfer that has ended."""

    async def run(self) -> None:
        """Every stage was planned from the newest listing and carried out.

        Raises `Unreachable` or `Refused` when nothing more is to be learnt in this pass.
        """
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

    async def _transfer(self) -> None:
        plan = plan_transfers(self.seen)
        self.failures |= plan.conflicts
        for lane in plan.lanes:
            self.hooks.start_lane(lane, self.hands)
        lanes = [t for lane in plan.lanes for pipe in lane.pipes for t in pipe.transfers]
        flying = {t.target_dataset: t.size_bytes for t in lanes}
        task = replace(self.seen.task, in_flight={**self.seen.task.in_flight, **flying})
        self.seen = replace(self.seen, task=task)
        pipe = plan.increments
        if not pipe.transfers:
            return
        log.info("sending", route=str(self.route), members=len(pipe.transfers))
        outcome = await send_pipe(self.hands, pipe, self._progress_of(pipe))
        self._look_again(
            target=await self._read_target(tuple(t.target_dataset for t in pipe.transfers))
        )
        self._judge(pipe, outcome)

    async def _prune(self) -> None:
        """What could not go is said at its dataset, all of a side when its request failed.

        What others hold, clone or use is passed over: they have a right to.
        """
        plan = plan_pruning(self.seen)
        done = await prune_sides(self.hands, plan.source, plan.target)
        sides = ((self.hands.source, plan.source), (self.hands.target, plan.target))
        for name, why in done.failures.items():
            if why.reason == Reason.SOURCE_BUSY:
                continue
            said = replace(why, message=f"{name} was not pruned: {why.message}")
            of_host = [d for host, step in sides if host.name == name for d in _datasets(step)]
            for dataset in of_host or [re.split("[@#]", name)[0]]:
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
        share = outcome.sent_bytes // max(len(pipe.transfers), 1)
        missing = missing_transfers(pipe, self.seen.target)
        arrived = Counter(pair_of[t.target_dataset] for t in pipe.transfers if t not in missing)
        for pair, members in arrived.items():
            self.moved[pair] = Moved(members * share, outcome.duration_s)
        if missing:
            # The first one ended the pipe; those behind it were never tried.
            why = why_missing(missing[0], outcome)
            self.hooks.failed(missing[0], why)
            self.failures[missing[0].target_dataset] = why

    async def _read_target(self, datasets: tuple[str, ...]) -> HostListing:
        return await confirm_targets(self.seen.target, self.hands.target, datasets)

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

    def _progress_of(self, pipe: Pipe) -> Callable[[int, int], None]:
        def report(index: int, moved: int) -> None:
            self.hooks.progress(pipe.transfers[index].target_dataset, moved)

        return report


def _datasets(step: Prune) -> list[str]:
    return [s.dataset for s in step.snapshots] + [b.dataset for b in step.bookmarks]
