"""/livez, /readyz and /metrics, and the event loop's own pulse."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from backstay.app.metrics import Metrics
from backstay.ports.clock import Clock

BEAT_S = 1.0
# Nothing of ours may hold the loop for so long; the probe fails six times before a restart.
DEAD_LAG_S = 10.0


class LoopPulse:
    """How late the event loop is."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._worst_s = 0.0
        self.last_s = 0.0

    async def run(self) -> None:
        """Beats for ever."""
        while True:
            began = self._clock.monotonic_s()
            await self._clock.sleep(BEAT_S)
            self.last_s = max(0.0, self._clock.monotonic_s() - began - BEAT_S)
            self._worst_s = max(self._worst_s, self.last_s)

    def worst_s(self) -> float:
        """The worst lag since this was asked last."""
        worst, self._worst_s = self._worst_s, 0.0
        return worst


@asynccontextmanager
async def serve_health(
    port: int, metrics: Metrics, pulse: LoopPulse, ready: Callable[[], bool]
) -> AsyncIterator[None]:
    """The three paths are served on the port.

    | path     | 200                                   | else                         |
    |----------|---------------------------------------|------------------------------|
    | /livez   | the loop turns in time                | 500 with the lag             |
    | /readyz  | every object was listed once          | 503; leading is no condition |
    | /metrics | always                                |                              |
    """

    async def livez(_request: web.Request) -> web.Response:
        alive = pulse.last_s < DEAD_LAG_S
        return web.Response(status=200 if alive else 500, text=f"lag {pulse.last_s:.3f} s\n")

    async def readyz(_request: web.Request) -> web.Response:
        if ready():
            return web.Response(text="ready\n")
        return web.Response(status=503, text="the first LIST is not done\n")

    async def text(_request: web.Request) -> web.Response:
        return web.Response(
            body=await metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    app = web.Application()
    app.add_routes(
        [web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", text)]
    )
    # A scraper that keeps its connection open must not hold up the end.
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, None, port).start()
    try:
        yield
    finally:
        await runner.cleanup()
