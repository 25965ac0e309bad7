"""A clock that moves only when a test says so."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

START = datetime(2030, 1, 1, tzinfo=UTC)
# One wake-up of a sleeper may set off a chain of tasks, each of which needs a turn of the loop.
MAX_TURNS = 100_000


class FakeClock:
    """Virtual time: sleepers wake in order while a test advances it."""

    def __init__(self, start: datetime = START) -> None:
        self._start = start
        self._elapsed_s = 0.0
        self._wall_offset_s = 0.0
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        """The wall clock's time."""
        return self._start + timedelta(seconds=self._elapsed_s + self._wall_offset_s)

    def monotonic_s(self) -> float:
        """Seconds since the start, whatever the wall clock did."""
        return self._elapsed_s

    async def sleep(self, seconds: float) -> None:
        """The test has advanced the time by so much."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed_s + seconds, next(self._order), woken))
        await woken

    def step_wall(self, seconds: float) -> None:
        """The wall clock has jumped; durations have not."""
        self._wall_offset_s += seconds

    def freeze_and_jump(self, seconds: float) -> None:
        """Time has passed while nothing ran, as in a stopped process: no sleeper woke yet."""
        self._elapsed_s += seconds

    async def advance(self, seconds: float) -> None:
        """So much time has passed, and everything that was due in it has run, in order."""
        end = self._elapsed_s + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            due, _, woken = heapq.heappop(self._sleepers)
            self._elapsed_s = max(self._elapsed_s, due)
            if not woken.done():
                woken.set_result(None)
                await settle()
        self._elapsed_s = max(self._elapsed_s, end)
        await settle()

    async def advance_until(self, true: Callable[[], bool], *, within_s: float) -> None:
        """Time has passed, sleeper by sleeper, until something is true; AssertionError if late."""
        end = self._elapsed_s + within_s
        await settle()
        while not true():
            if not self._sleepers or self._sleepers[0][0] > end:
                raise AssertionError(f"not true within {within_s} s of virtual time")
            await self.advance(max(0.0, self._sleepers[0][0] - self._elapsed_s))


async def settle() -> None:
    """Every task that could run without time passing has run."""
    # The loop's queue of callbacks is private, but nothing public says that the loop is idle.
    ready = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]
    await asyncio.sleep(0)
    for _ in range(MAX_TURNS):
        if not ready:
            return
        await asyncio.sleep(0)
    raise AssertionError("tasks keep each other busy without time passing")
