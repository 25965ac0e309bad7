"""Streams that outlast a pass: seeds, resumed ones and those of quarantined members."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TypeAlias

import structlog

from backstay.act.route import Hands, missing_transfers, send_pipe, why_missing
from backstay.api.words import Reason
from backstay.controllers.underway import Sent, Stream
from backstay.domain.errors import BackstayError
from backstay.domain.pairs import Conflict, HostKey, Moved, Route
from backstay.domain.steps import Pipe, Transfer
from backstay.plan.transfers import Lane, is_seed
from backstay.ports.host import SurveyRequest

log = structlog.get_logger(__name__)

LANES_A_ROUTE = 2
"""Lanes of a kind side by side on one route: a second one fills the pauses of the first, more only
share. Seeds may take days, so increments beside passes have places of their own.
"""


Carry: TypeAlias = Callable[[Route, Sent], AbstractContextManager[Stream]]


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneEnd:
    """How a lane ended: whose targets it carried, and the first that did not arrive, and why.

    `moved`: what arrived, by pair.
    """

    route: Route
    owners: Mapping[str, tuple[str, str]]
    """Target dataset → (pair, member)."""
    failed: Transfer | None = None
    why: Conflict | None = None
    moved: Mapping[str, Moved] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Run:
    """A lane under way, or waiting for its place."""

    route: Route
    lane: Lane
    owners: Mapping[str, tuple[str, str]]
    to_come: dict[str, int]
    """Target dataset → bytes that are still to come, by the plan's estimate."""
    moved: dict[str, Moved] = field(default_factory=dict)
    """By pair: what has arrived."""


class Lanes:
    """Runs lanes beside the passes; a target dataset is in at most one lane."""

    def __init__(self, ended: Callable[[LaneEnd], None], carry: Carry) -> None:
        """`carry` makes a stream known from its first pipe to the end of its last one."""
        self._ended = ended
        self._carry = carry
        self._slots: dict[tuple[Route, bool], asyncio.Semaphore] = {}
        """By route and whether seeds are meant."""
        self._tasks: dict[asyncio.Task[None], _Run] = {}

    def start(
        self, route: Route, lane: Lane, hands: Hands, owners: Mapping[str, tuple[str, str]]
    ) -> None:
        """The lane runs as soon as one of the route's places for its kind is free.

        `owners` has the (pair, member) of each of its target datasets.
        """
        mine = {t.target_dataset: owners[t.target_dataset] for t in _transfers(lane)}
        to_come = {t.target_dataset: t.size_bytes for t in _transfers(lane)}
        run = _Run(route, lane, mine, to_come)
        task = asyncio.create_task(self._run(run, hands), name=f"lane {route}")
        self._tasks[task] = run
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    @property
    def running(self) -> int:
        """How many lanes run or wait for their place."""
        return len(self._tasks)

    def in_flight(self, host: HostKey) -> dict[str, int]:
        """Target datasets of all lanes to the host → bytes that are still to come."""
        return {
            target: size
            for run in self._tasks.values()
            if run.route.target == host
            for target, size in run.to_come.items()
        }

    async def cancel(self, pair: str, *, unless: Callable[[Route, Transfer], bool]) -> None:
        """The lanes that carry anything of the pair that is not wanted have ended, with all
        their children; what had arrived is kept and gone on with when it is wanted again.
        """
        await self._cancel(
            task
            for task, run in self._tasks.items()
            for transfer in _transfers(run.lane)
            if run.owners[transfer.target_dataset][0] == pair and not unless(run.route, transfer)
        )

    async def stop(self) -> None:
        """No lane runs."""
        await self._cancel(self._tasks)

    async def _cancel(self, tasks: Iterable[asyncio.Task[None]]) -> None:
        chosen = set(tasks)
        for task in chosen:
            task.cancel()
        if chosen:
            await asyncio.wait(chosen, timeout=30)

    async def _run(self, run: _Run, hands: Hands) -> None:
        failed: tuple[Transfer | None, Conflict | None] = (None, None)
        kind = run.route, _has_seed(run.lane)
        async with self._slots.setdefault(kind, asyncio.Semaphore(LANES_A_ROUTE)):
            sent = Sent(tuple(_transfers(run.lane)), run.owners, is_seed=kind[1])
            with self._carry(run.route, sent) as stream:
                for pipe in run.lane.pipes:
                    why = await self._send(run, pipe, hands, stream)
                    if why is not None:
                        failed = pipe.transfers[0], why
                        break
        end = LaneEnd(
            route=run.route,
            owners=run.owners,
            failed=failed[0],
            why=failed[1],
            moved=run.moved,
        )
        # After this callback the task counts as ended, so that the pass it rings sees it gone.
        asyncio.get_running_loop().call_soon(self._ended, end)

    async def _send(self, run: _Run, pipe: Pipe, hands: Hands, stream: Stream) -> Conflict | None:
        """Why the pipe's only member did not arrive; None when it was read back at the target."""
        transfer = pipe.transfers[0]
        target = transfer.target_dataset

        def progress(_index: int, moved: int) -> None:
            run.to_come[target] = max(transfer.size_bytes - moved, 0)
            stream.progress(target, moved)

        stream.next(target)
        try:
            outcome = await send_pipe(hands, pipe, progress)
            listing = await hands.target.survey(SurveyRequest(roots=((target, False),), sync=False))
        except BackstayError as error:
            return Conflict(reason=error.reason, message=error.message)
        except Exception as bug:
            # A fault of ours: said in the status, tried again ever later, and others go on.
            log.exception("lane-failed", route=str(run.route), target=target)
            return Conflict(
                reason=Reason.INTERNAL_ERROR,
                message=f"a fault of backstay itself, please report it: {bug!r}",
            )
        for sentence in outcome.left_out:
            log.warning("transport-left-out", route=str(run.route), why=sentence)
        if not missing_transfers(pipe, listing):
            run.to_come[target] = 0
            pair, _ = run.owners[target]
            before = run.moved.get(pair, Moved(0, 0.0))
            run.moved[pair] = Moved(
                before.size_bytes + outcome.sent_bytes, before.duration_s + outcome.duration_s
            )
            return None
        return why_missing(transfer, outcome)


def _has_seed(lane: Lane) -> bool:
    return any(is_seed(transfer.how) for transfer in _transfers(lane))


def _transfers(lane: Lane) -> list[Transfer]:
    return [transfer for pipe in lane.pipes for transfer in pipe.transfers]
