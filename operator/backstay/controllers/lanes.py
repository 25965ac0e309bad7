"""Streams that outlast a pass: seeds, resumed ones and those of quarantined members."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from backstay.act.route import Hands, send_pipe
from backstay.domain.errors import BackstayError
from backstay.domain.pairs import Route
from backstay.domain.steps import Pipe
from backstay.plan.transfers import Lane

log = structlog.get_logger(__name__)

LANES_A_ROUTE = 2
"""Seeds side by side on one route: a second one fills the pauses of the first, more only share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneEnd:
    """How a lane ended: the targets that it carried, and the first failure with its target."""

    route: Route
    targets: tuple[str, ...]
    failed_target: str | None
    reason: str
    message: str


class Lanes:
    """Runs lanes beside the passes; a target dataset is in at most one lane."""

    def __init__(
        self,
        ended: Callable[[LaneEnd], None],
        progress: Callable[[Route, str, int], None],
    ) -> None:
        self._ended = ended
        self._progress = progress
        self._slots: dict[Route, asyncio.Semaphore] = {}
        self._tasks: dict[asyncio.Task[None], tuple[Route, frozenset[str]]] = {}

    def start(self, route: Route, lane: Lane, hands: Hands) -> None:
        """The lane runs as soon as one of the route's places is free."""
        targets = tuple(t.target_dataset for p in lane.pipes for t in p.transfers)
        task = asyncio.create_task(self._run(route, lane, hands, targets), name=f"lane {route}")
        self._tasks[task] = (route, frozenset(targets))
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    def in_flight(self, route: Route) -> frozenset[str]:
        """Target datasets of the route's lanes."""
        return frozenset(t for r, targets in self._tasks.values() if r == route for t in targets)

    def busy_targets(self) -> frozenset[str]:
        """Target datasets of all lanes."""
        return frozenset(t for _, targets in self._tasks.values() for t in targets)

    async def cancel(self, wanted: Callable[[Route, frozenset[str]], bool]) -> None:
        """The lanes for which `wanted` says so have ended, with their children."""
        tasks = [t for t, (route, targets) in self._tasks.items() if wanted(route, targets)]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=30)

    async def stop(self) -> None:
        """No lane runs."""
        await self.cancel(lambda _route, _targets: True)

    async def _run(self, route: Route, lane: Lane, hands: Hands, targets: tuple[str, ...]) -> None:
        failed: tuple[str | None, str, str] = (None, "", "")
        async with self._slots.setdefault(route, asyncio.Semaphore(LANES_A_ROUTE)):
            for pipe in lane.pipes:
                failed = await self._send(route, pipe, hands)
                if failed[0] is not None:
                    break
        end = LaneEnd(
            route=route,
            targets=targets,
            failed_target=failed[0],
            reason=failed[1],
            message=failed[2],
        )
        # After this callback the task counts as ended, so that the pass it rings sees it gone.
        asyncio.get_running_loop().call_soon(self._ended, end)

    async def _send(self, route: Route, pipe: Pipe, hands: Hands) -> tuple[str | None, str, str]:
        target = pipe.transfers[0].target_dataset
        try:
            outcome = await send_pipe(
                hands, pipe, lambda _index, moved: self._progress(route, target, moved)
            )
        except BackstayError as error:
            log.warning("stream-failed", route=str(route), target=target, reason=error.reason)
            return target, error.reason, error.message
        if outcome.failure is None:
            return None, "", ""
        log.warning("stream-failed", route=str(route), target=target, why=outcome.failure.message)
        return target, outcome.failure.reason, outcome.failure.message
