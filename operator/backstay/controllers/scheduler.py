"""When what runs: one heap of due times, one run a key at a time, a bound on everything."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import structlog

from backstay.domain.errors import BackstayError, Waiting
from backstay.ports.clock import Clock

K = TypeVar("K", bound=Hashable)
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Again:
    """When a key is due again, in seconds from the end of its run.

    `deadline_in_s`: by when it should have started, for the order among what is due; the due time
    when absent.
    """

    in_s: float
    deadline_in_s: float | None = None


Outcome: TypeAlias = Again | None
"""What a run says: when it is due again, or None: not before it is rung."""


@dataclass(frozen=True, kw_only=True)
class Limits(Generic[K]):
    """How much may run at once: overall, and on each resource that a key uses."""

    resources: Callable[[K], Collection[Hashable]]
    overall: int = 96
    per_resource: int = 4
    rooms: Mapping[Hashable, int] = field(default_factory=dict)
    """Resources that take more or less than `per_resource`."""
    backoff_s: float = 2.0
    """After the first failure; doubled with each further one, up to `backoff_cap_s`."""
    backoff_cap_s: float = 300.0
    calm_s: Callable[[K], float] = lambda _key: 0.0
    """How long a key that is rung waits for what comes along with it."""

    def room(self, resource: Hashable) -> int:
        """How many runs the resource takes at once."""
        return self.rooms.get(resource, self.per_resource)


class SchedulerWatch(Protocol):
    """Who wants to know what the scheduler does, for metrics."""

    def run_started(self, key: Any, late_s: float) -> None:
        """A run of the key has started so many seconds after it was due."""
        ...

    def run_ended(self, key: Any, duration_s: float) -> None:
        """A run of the key has ended, however it did."""
        ...


@dataclass(slots=True)
class _Slot:
    """What is known of one key. `ticket` tells the heap's valid entry from older ones."""

    due: float | None = None
    deadline: float = 0.0
    ticket: int = 0
    task: asyncio.Task[Outcome] | None = None
    started: float = 0.0
    failures: int = 0
    removed: bool = False


class Scheduler(Generic[K]):
    """Runs each key when it is due.

    | event                           | then                                                    |
    |---------------------------------|---------------------------------------------------------|
    | rung while idle                 | due now; further rings before it starts change nothing  |
    | rung while running              | one more run after this one                             |
    | run says in_s                   | due then, or earlier if it was rung meanwhile           |
    | run says None                   | forgotten, unless it was rung meanwhile                 |
    | run raises                      | due after a back-off with jitter; others are unaffected |
    | more due than may run           | earliest deadline first, skipping busy resources        |
    """

    def __init__(
        self,
        clock: Clock,
        run: Callable[[K], Awaitable[Outcome]],
        limits: Limits[K],
        watch: SchedulerWatch,
        dice: random.Random | None = None,
    ) -> None:
        self._clock = clock
        self._run = run
        self._limits = limits
        self._watch = watch
        self._dice = dice or random.Random()
        self._slots: dict[K, _Slot] = {}
        self._waiting: list[tuple[float, int, K]] = []
        self._ready: list[tuple[float, int, K]] = []
        self._busy: Counter[Hashable] = Counter()
        self._running = 0
        self._tickets = itertools.count(1)
        self._wake = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._broken = asyncio.Event()

    def start(self) -> None:
        """Keys run from now on when they are due."""
        if self._loop is None:
            self._loop = asyncio.create_task(self._dispatch_forever(), name="scheduler")
            self._loop.add_done_callback(self._loop_ended)

    async def failed(self) -> None:
        """The scheduler itself has failed, a fault of ours: nothing will run any more."""
        await self._broken.wait()

    async def stop(self, within_s: float) -> Collection[K]:
        """Nothing is due, and every run was cancelled at once.

        Returns the keys whose run had not ended within so many seconds; such a key runs again
        only after that run has ended.
        """
        if self._loop is not None:
            self._loop.cancel()
            self._loop = None
        running = {key: slot.task for key, slot in self._slots.items() if slot.task is not None}
        self._slots = {key: self._slots[key] for key in running}
        for key, task in running.items():
            self._slots[key].due = None
            self._slots[key].removed = True
            task.cancel()
        self._waiting.clear()
        self._ready.clear()
        if running:
            await asyncio.wait(running.values(), timeout=within_s)
        return [key for key, task in running.items() if not task.done()]

    def ring(self, key: K) -> None:
        """The key is due now, after a moment in which more may come that one run serves."""
        self.due_at(key, self._clock.monotonic_s() + self._limits.calm_s(key))

    def ring_in(self, key: K, seconds: float) -> None:
        """The key is due in so many seconds, or earlier if it already was."""
        self.due_at(key, self._clock.monotonic_s() + seconds)

    def due_at(self, key: K, monotonic_s: float) -> None:
        """The key is due at that time, or earlier if it already was."""
        slot = self._slots.setdefault(key, _Slot())
        slot.removed = False
        if slot.due is None or monotonic_s < slot.due:
            self._set_due(key, slot, monotonic_s, monotonic_s)

    def interrupt(self, key: K) -> None:
        """The key's run was cancelled, if there is one, and the key is due now."""
        self.ring(key)
        slot = self._slots[key]
        if slot.task is not None:
            slot.task.cancel()

    @property
    def running(self) -> int:
        """How many runs are under way."""
        return self._running

    @property
    def due(self) -> int:
        """How many keys wait although they are due."""
        now = self._clock.monotonic_s()
        return sum(
            slot.due is not None and slot.due <= now and slot.task is None
            for slot in self._slots.values()
        )

    @property
    def lateness_s(self) -> float:
        """For how long the key that waits longest has been due; 0 when none is."""
        now = self._clock.monotonic_s()
        dues = [s.due for s in self._slots.values() if s.due is not None and s.task is None]
        return max(0.0, now - min(dues, default=now))

    def _set_due(self, key: K, slot: _Slot, due: float, deadline: float) -> None:
        slot.due, slot.deadline, slot.ticket = due, deadline, next(self._tickets)
        if slot.task is None:
            heapq.heappush(self._waiting, (due, slot.ticket, key))
            self._wake.set()

    async def _dispatch_forever(self) -> None:
        while True:
            self._wake.clear()
            self._start_what_may_run()
            nap: asyncio.Task[None] | None = None
            if self._waiting:
                pause = self._waiting[0][0] - self._clock.monotonic_s()
                nap = asyncio.create_task(self._wake_after(pause))
            try:
                await self._wake.wait()
            finally:
                if nap is not None:
                    nap.cancel()

    def _loop_ended(self, loop: asyncio.Task[None]) -> None:
        if not loop.cancelled() and (failure := loop.exception()) is not None:
            log.critical("scheduler-broken", exc_info=failure)
            self._broken.set()

    async def _wake_after(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self._wake.set()

    def _start_what_may_run(self) -> None:
        now = self._clock.monotonic_s()
        while self._waiting and self._waiting[0][0] <= now:
            _, ticket, key = heapq.heappop(self._waiting)
            slot = self._slots.get(key)
            if slot is not None and slot.ticket == ticket and slot.due is not None:
                heapq.heappush(self._ready, (slot.deadline, ticket, key))
        blocked = []
        while self._ready and self._running < self._limits.overall:
            entry = heapq.heappop(self._ready)
            slot = self._slots.get(entry[2])
            if slot is None or slot.ticket != entry[1] or slot.due is None or slot.task:
                continue
            if self._has_room(entry[2]):
                self._start(entry[2], slot, now)
            else:
                blocked.append(entry)
        for entry in blocked:
            heapq.heappush(self._ready, entry)

    def _has_room(self, key: K) -> bool:
        return all(
            self._busy[resource] < self._limits.room(resource)
            for resource in self._limits.resources(key)
        )

    def _start(self, key: K, slot: _Slot, now: float) -> None:
        self._watch.run_started(key, max(0.0, now - (slot.due or now)))
        slot.due, slot.started = None, now
        self._running += 1
        resources = tuple(self._limits.resources(key))
        self._busy.update(resources)
        slot.task = asyncio.create_task(_await(self._run, key), name=f"run {key}")
        slot.task.add_done_callback(lambda done: self._ended(key, slot, resources, done))

    def _ended(
        self,
        key: K,
        slot: _Slot,
        resources: tuple[Hashable, ...],
        task: asyncio.Task[Outcome],
    ) -> None:
        now = self._clock.monotonic_s()
        self._running -= 1
        self._busy.subtract(resources)
        self._watch.run_ended(key, now - slot.started)
        slot.task = None
        rung, slot.due = slot.due, None
        again = self._judge(key, slot, task)
        if slot.removed:
            again = None
        if again is not None:
            deadline_in_s = again.in_s if again.deadline_in_s is None else again.deadline_in_s
            self._set_due(key, slot, now + again.in_s, now + deadline_in_s)
        if rung is not None:
            self.due_at(key, rung)
        if slot.due is None and self._slots.get(key) is slot:
            del self._slots[key]
        self._wake.set()

    def _judge(self, key: K, slot: _Slot, task: asyncio.Task[Outcome]) -> Again | None:
        if task.cancelled():
            return None
        failure = task.exception()
        if failure is None:
            slot.failures = 0
            return task.result()
        slot.failures += 1
        pause = self._backoff_s(slot.failures)
        if isinstance(failure, Waiting):
            pause = failure.retry_after_s
        # A failure with a name needs no traceback; anything else is a fault of ours.
        trace = None if isinstance(failure, BackstayError) else failure
        log.error(
            "run-failed",
            key=str(key),
            error=str(failure),
            retry_in_s=round(pause, 1),
            exc_info=trace,
        )
        return Again(pause)

    def _backoff_s(self, failures: int) -> float:
        limits = self._limits
        # The exponent is bounded: 2.0 ** 1024 overflows after a long outage.
        full = min(limits.backoff_cap_s, limits.backoff_s * 2.0 ** min(failures - 1, 30))
        return full * self._dice.uniform(0.5, 1.0)


async def _await(run: Callable[[K], Awaitable[Outcome]], key: K) -> Outcome:
    # One that is cancelled before its first step has nothing that was never awaited.
    return await run(key)
