"""One operator process: the parts of `app.wiring` over a simulated API server and fake hosts."""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import datetime, timedelta
from random import Random
from typing import Any

from backstay.app.lease import Candidate, Leadership
from backstay.app.wiring import STOP_S, _calm_s, _resources
from backstay.controllers.book import Book
from backstay.controllers.edge import Edge
from backstay.controllers.farewell import Farewell
from backstay.controllers.hosts import HostFinder
from backstay.controllers.keys import Key, ObjectKey
from backstay.controllers.objects import FINALIZER, ObjectHooks, ObjectRuns
from backstay.controllers.passes import PassHooks, RoutePasses
from backstay.controllers.registry import Registry
from backstay.controllers.scheduler import Limits, Outcome, Scheduler
from backstay.controllers.shares import Shares
from backstay.controllers.statuswriter import StatusWriter
from backstay.domain.pairs import Route
from backstay.ports.kube import Body
from fakes.world import SHORT_ID
from sim.links import Estate, Links
from sim.server import ApiLink, ApiServer
from sim.virtual import OpenWorld


class ProcessClock:
    """The world's time by the clock of one machine, which may be wrong; sleepers stop with it."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.ahead_s = 0.0

    def now(self) -> datetime:
        """What the machine's clock says."""
        return self._process.world.now + timedelta(seconds=self.ahead_s)

    def monotonic_s(self) -> float:
        """Seconds since the world began."""
        return self._process.world.monotonic_s

    async def sleep(self, seconds: float) -> None:
        """So much time has passed, and the process runs."""
        await asyncio.sleep(seconds)
        await self._process.awake()


class Engine:
    """What works on hosts in one term."""

    def __init__(self, process: Process) -> None:
        self.links = Links(process, process.estate)
        finder = HostFinder(process.registry, process.kube, self.links, process.term, process.clock)
        self.shares = Shares(process.registry, finder, Book(dice=process.dice), SHORT_ID)
        hooks = PassHooks(
            ring=process.scheduler.ring,
            reported=process.reported,
            superseded=process.leadership.superseded,
        )
        self.passes = RoutePasses(self.shares, self.links, process.clock, hooks)
        farewell = Farewell(self.shares, process.kube, self.passes, FINALIZER)
        told = ObjectHooks(ring=process.scheduler.ring, sink=process.sink)
        self.objects = ObjectRuns(self.shares, process.kube, process.clock, farewell, told)

    async def run(self, key: Key) -> Outcome:
        """A pass over a route, or the work on an object."""
        return await (self.passes.run(key) if isinstance(key, Route) else self.objects.run(key))


class Hooks:
    """Whom a process tells what it does."""

    def run_started(self, engine: Engine, key: Key) -> None:
        """A run begins."""

    def run_ended(self) -> None:
        """A run has ended."""

    def reported(self, engine: Engine, pair: str) -> None:
        """A pass has judged the pair (`namespace/name`)."""

    def published(self, process: Process, name: str, status: Body) -> None:
        """The status of a pair is to become this one."""


class Process:
    """One process, from its start to its death. `is_stopped` may be set at any moment."""

    def __init__(self, name: str, server: ApiServer, estate: Estate, hooks: Hooks) -> None:
        self.name, self.estate, self.hooks = name, estate, hooks
        self.world: OpenWorld = server.world
        self.server = server
        self.dice = Random(server.dice.random())
        self.clock = ProcessClock(self)
        self.kube: Any = ApiLink(server, self)
        self.registry = Registry()
        self.leadership = Leadership(
            self.kube,
            self.clock,
            Candidate(namespace="dr", name="lease", identity=name),
            self,
            dice=self.dice,
        )
        self.writer = StatusWriter(
            self.kube,
            self.registry,
            self.clock,
            may_write=lambda: self.leadership.is_leader,
            dice=self.dice,
        )
        self.sink = _Sink(self)
        limits: Limits[Key] = Limits(resources=_resources, rooms={Route: 32}, calm_s=_calm_s)
        self.scheduler: Scheduler[Key] = Scheduler(
            self.clock, self._run, limits, self, dice=self.dice
        )
        self.edge = Edge(self.registry, self.scheduler, self.writer)
        self.engine: Engine | None = None
        self.is_stopped = False
        self.is_dead = False
        self._go_on = asyncio.Event()
        self._events: deque[tuple[str, str | None, Body]] = deque()
        self._parts: list[asyncio.Task[None]] = []
        self._parts.append(asyncio.create_task(self._operate()))

    # --- life ------------------------------------------------------------------------------------

    async def _operate(self) -> None:
        await self.edge.first_list(self.kube, self.clock)
        self.server.watchers.append(self)
        self.server.list_to(self)
        for work in (
            self.edge.heal_forever(self.kube, self.clock),
            self.writer.run(),
            self.leadership.run(),
        ):
            self._parts.append(asyncio.create_task(work))

    def stop(self) -> None:
        """SIGSTOP: nothing of it moves, but what it sent to hosts goes on until its Lease ends."""
        self.is_stopped = True
        self._go_on.clear()
        if self.engine is not None:
            self.engine.links.abandon(max(0.0, self.lease_ends_s() - self.world.monotonic_s))

    def go_on(self) -> None:
        """SIGCONT."""
        self.is_stopped = False
        self._go_on.set()
        self._drain()

    def kill(self) -> None:
        """`kill -9`: it never moves again; what it sent goes on until its Lease ends."""
        self.is_dead = True
        self.stop()
        if self in self.server.watchers:
            self.server.watchers.remove(self)

    async def end(self) -> None:
        """SIGTERM: the Lease is handed over."""
        if self in self.server.watchers:
            self.server.watchers.remove(self)
        for part in self._parts:
            part.cancel()
        await asyncio.wait(self._parts)

    async def awake(self) -> None:
        """Returns when the process runs; never, when it is dead."""
        while self.is_stopped:
            await self._go_on.wait()

    # --- watches ---------------------------------------------------------------------------------

    def deliver(self, kind: str, event: str | None, body: Body) -> None:
        """An event is on its way; they arrive in order."""
        self._events.append((kind, event, body))
        asyncio.get_running_loop().call_later(0.01, self._drain)

    def _drain(self) -> None:
        while self._events and not self.is_stopped:
            self.edge.receive(*self._events.popleft())

    # --- leadership ------------------------------------------------------------------------------

    @property
    def leads(self) -> bool:
        """Whether it acts now."""
        return not self.is_stopped and self.leadership.is_leader and self.engine is not None

    def term(self) -> int:
        """The term of this leader; 0 when it is none."""
        return self.leadership.term()

    def lease_ends_s(self) -> float:
        """Until when nobody else can lead, as far as it knows."""
        return self.world.monotonic_s + self.leadership.remaining_s()

    def lead(self, term: int) -> None:
        """Everything is due, under this term."""
        self.engine = Engine(self)
        self.scheduler.start()
        self.edge.ring_all(self.clock.monotonic_s())

    async def follow(self, because: str) -> None:
        """Nothing acts any more."""
        engine, self.engine = self.engine, None
        endings = [self.scheduler.stop(STOP_S), self.writer.clear()]
        if engine is not None:
            endings.append(engine.passes.lanes.stop())
        tasks = [asyncio.ensure_future(ending) for ending in endings]
        _, late = await asyncio.wait(tasks, timeout=STOP_S)
        for task in late:
            task.cancel()
        await self.awake()

    async def _run(self, key: Key) -> Outcome:
        engine = self.engine if self.leadership.is_leader else None
        if engine is None:
            return None
        self.hooks.run_started(engine, key)
        return await engine.run(key)

    def reported(self, pair: str) -> None:
        """A pass has judged the pair."""
        if self.engine is not None:
            self.hooks.reported(self.engine, pair)
        self.scheduler.ring(ObjectKey("ReplicationPair", *pair.split("/", 1)))

    # --- SchedulerWatch --------------------------------------------------------------------------

    def run_started(self, key: Any, late_s: float) -> None:
        """See `SchedulerWatch`; `_run` counts, as it knows the key."""

    def run_ended(self, key: Any, duration_s: float) -> None:
        """See `SchedulerWatch`."""
        self.hooks.run_ended()


class _Sink:
    """`StatusSink`: what is published is told before it is written."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def publish(self, ref: Any, status: Body, *, rpo_s: float | None) -> None:
        """See `StatusSink`."""
        self._process.writer.publish(ref, status, rpo_s=rpo_s)
        if ref.kind == "ReplicationPair":
            self._process.hooks.published(self._process, ref.name, status)
