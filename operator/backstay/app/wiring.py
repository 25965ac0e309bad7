"""The composition root: everything of one operator process, and its life from start to end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import uuid
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from typing import Any

import structlog

from backstay.adapters.kube.client import KubeClient
from backstay.adapters.kube.objects import KubeObjects
from backstay.api.v1alpha1 import ProtectionPolicy
from backstay.app.engine import Engine, MakeEngine, Post
from backstay.app.health import LoopPulse, serve_health
from backstay.app.lease import Candidate, Leadership
from backstay.app.metrics import Metrics
from backstay.app.settings import Settings
from backstay.controllers.edge import KIND_NAMES, Edge
from backstay.controllers.keys import Key, hosts_of
from backstay.controllers.kopf_edge import KopfWatch
from backstay.controllers.registry import Registry
from backstay.controllers.scheduler import Limits, Outcome, Scheduler
from backstay.controllers.statuswriter import StatusWriter
from backstay.domain.pairs import Route
from backstay.ports.clock import Clock

log = structlog.get_logger(__name__)

# Passes that run at once; each holds two ssh sessions of 10 MB. The rest of the scheduler's places
# are for objects, which are judged while passes take their time.
ROUTES_AT_ONCE = 32
# After this the leader is gone, whether or not its work has ended: the hosts end what it began.
STOP_S = 1.5
# A watch begins with every object, which with thousands of them takes half of the interpreter for
# half a minute: a leader's first passes come before. An edit is not noticed until then.
WATCH_WITHIN_S = 20.0
# The objects of one `kubectl apply` arrive within this; one pass serves all pairs of a route.
TOGETHER_S = 0.3


def _calm_s(key: Key) -> float:
    # A policy counts its pairs, all of them: once for all that come together.
    if isinstance(key, Route) or key.kind == ProtectionPolicy.info.kind:
        return TOGETHER_S
    return 0.0


def _resources(key: Key) -> tuple[object, ...]:
    return (*hosts_of(key), Route) if isinstance(key, Route) else ()


class Operator:
    """One process: watches always, acts while it holds the Lease."""

    def __init__(self, settings: Settings, clock: Clock, make_engine: MakeEngine) -> None:
        self._settings = settings
        self._clock = clock
        self._make_engine = make_engine
        self._engine: Engine | None = None
        self._listed = False
        self._unpassed: set[Key] = set()
        """Routes that a new leader has not passed yet."""
        self._has_passed = asyncio.Event()
        self.metrics = Metrics()
        self._client = KubeClient(settings.kubeconfig)
        self._kube = KubeObjects(self._client, clock, settings.namespaces, self.metrics.count_write)
        self._registry = Registry()
        self._writer = StatusWriter(
            self._kube, self._registry, clock, may_write=lambda: self._leadership.is_leader
        )
        limits: Limits[Key] = Limits(
            resources=_resources, rooms={Route: ROUTES_AT_ONCE}, calm_s=_calm_s
        )
        self._scheduler: Scheduler[Key] = Scheduler(clock, self._run, limits, self.metrics)
        self._edge = Edge(self._registry, self._scheduler, self._writer)
        candidate = Candidate(
            namespace=settings.namespace,
            name=settings.lease_name,
            identity=f"{socket.gethostname()}_{uuid.uuid4()}",
            times=settings.lease_times,
        )
        self._leadership = Leadership(self._kube, clock, candidate, self)
        self._watch = KopfWatch(self._edge.receive, settings.namespaces, settings.kubeconfig)
        self._pulse = LoopPulse(clock)
        self._measure()

    # --- what leadership starts and stops ---------------------------------------------------------

    def lead(self, term: int) -> None:
        """Everything is due, under this term."""
        self._engine = self._make_engine(
            Post(
                settings=self._settings,
                clock=self._clock,
                kube=self._kube,
                registry=self._registry,
                writer=self._writer,
                metrics=self.metrics,
                leadership=self._leadership,
                ring=self._scheduler.ring,
                ring_in=self._scheduler.ring_in,
            )
        )
        self._scheduler.start()
        self._unpassed = set(self._edge.ring_all(self._clock.monotonic_s()))
        self._passed()

    async def follow(self, because: str) -> None:
        """Nothing acts: all of it was told to stop at once, and got a moment to do so."""
        engine, self._engine = self._engine, None
        endings: list[Coroutine[Any, Any, object]] = [
            self._scheduler.stop(STOP_S),
            self._writer.clear(),
        ]
        if engine is not None:
            endings.append(engine.stop())
        tasks = [asyncio.create_task(ending) for ending in endings]
        _, late = await asyncio.wait(tasks, timeout=STOP_S)
        for task in late:
            task.cancel()
        if late:
            log.warning("work-ends-late", because=because, parts=len(late))

    async def _run(self, key: Key) -> Outcome:
        # A process that stood still wakes up here before its leadership notices.
        engine = self._engine if self._leadership.is_leader else None
        try:
            return await engine.run(key) if engine is not None else None
        finally:
            self._passed(key)

    def _passed(self, key: Key | None = None) -> None:
        self._unpassed.discard(key)
        if not self._unpassed:
            self._has_passed.set()

    # --- the life of the process ------------------------------------------------------------------

    async def live(self, ending: Callable[[], None]) -> int:
        """Runs until a signal or a failure, then calls `ending`; returns the exit code."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._client.close)
            await stack.enter_async_context(
                serve_health(
                    self._settings.http_port, self.metrics, self._pulse, lambda: self._listed
                )
            )
            parts = _Parts(stop)
            stack.push_async_callback(parts.end)
            parts.add("pulse", self._pulse.run())
            parts.add("operator", self._operate(parts))
            log.info(
                "started",
                pid=os.getpid(),
                installation=self._settings.installation_id,
                namespaces=list(self._settings.namespaces) or "all",
            )
            await stop.wait()
            ending()
            self._watch.stop()
        log.info("ended", failed=parts.failed)
        return 1 if parts.failed else 0

    async def _operate(self, parts: _Parts) -> None:
        """First know everything, then stand for leadership, then watch.

        What happens between the LIST and the watch is in what the watch begins with.
        """
        await self._edge.first_list(self._kube, self._clock)
        self._listed = True
        parts.add("heal", self._edge.heal_forever(self._kube, self._clock))
        parts.add("writer", self._writer.run())
        parts.add("scheduler", self._scheduler.failed())
        parts.add("leadership", self._leadership.run())
        with suppress(TimeoutError):
            async with asyncio.timeout(WATCH_WITHIN_S):
                await self._has_passed.wait()
        await self._watch.start()

    def _measure(self) -> None:
        metrics, scheduler = self.metrics, self._scheduler
        metrics.objects(self._writer.views, self._clock)
        for name, said, value in (
            ("leader", "1 while this process may act.", lambda: self._leadership.is_leader),
            ("leader_term", "The term of this leader; 0 for none.", self._leadership.term),
            ("host_sessions", "Hosts that are connected.", self._sessions),
            ("event_loop_lag_seconds", "Worst lag since the last scrape.", self._pulse.worst_s),
            ("registry_objects", "Objects that are known.", self._known),
            ("due", "Keys that are due and wait for a place.", lambda: scheduler.due),
            ("lateness_seconds", "For how long one has waited.", lambda: scheduler.lateness_s),
            ("runs", "Work under way on routes and objects.", lambda: scheduler.running),
            ("statuses_waiting", "Statuses not written yet.", lambda: self._writer.waiting),
        ):
            metrics.gauge(name, said, value)

    def _sessions(self) -> int:
        return self._engine.sessions() if self._engine is not None else 0

    def _known(self) -> int:
        return sum(len(self._registry.entries(kind)) for kind in KIND_NAMES)


class _Parts:
    """Tasks that never end by themselves: if one does, the process ends with a failure."""

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop
        self._tasks: list[asyncio.Task[None]] = []
        self.failed: str | None = None

    def add(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """The work runs from now on."""
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    async def end(self) -> None:
        """All of them have ended; leadership hands over on its way out."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or self._stop.is_set():
            return
        self.failed = task.get_name()
        log.critical("part-ended", part=self.failed, exc_info=task.exception())
        self._stop.set()
