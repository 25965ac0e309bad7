"""An event loop whose time jumps to whatever is due next: hours pass in seconds, in one order."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any

from fakes.world import World


class Deadlock(AssertionError):
    """Everybody waits for somebody, and no time is due."""


class _Jump(selectors.SelectSelector):
    """Nothing is read from anywhere: waiting is letting the world grow older."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """So much time has passed."""
        if timeout is None:
            raise Deadlock("nothing is due any more")
        if timeout > 0:
            self._world.advance(timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop that tells the world's time."""

    def __init__(self, world: World) -> None:
        self._world = world
        super().__init__(_Jump(world))

    def time(self) -> float:
        """Seconds since the world began."""
        return self._world.monotonic_s


class OpenWorld(World):
    """A world in which others go on while a request takes its time."""

    async def wait(self, seconds: float) -> None:
        """The request takes so long."""
        await asyncio.sleep(seconds)


def run(world: World, story: Coroutine[Any, Any, None]) -> None:
    """The story was told from its beginning to its end, in the world's own time."""
    loop = VirtualLoop(world)
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(story)
    finally:
        rest = asyncio.all_tasks(loop)
        for task in rest:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*rest, return_exceptions=True))
        asyncio.set_event_loop(None)
        loop.close()
