"""The only writer of status: the newest one of each object, when and if it is worth a write."""

from __future__ import annotations

import asyncio
import heapq
import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from backstay.controllers.budget import Budget
from backstay.controllers.registry import Registry
from backstay.domain.errors import BackstayError, Stalled
from backstay.ports.clock import Clock
from backstay.ports.kube import Gone, KubePort, Notice, ObjectRef
from backstay.report.conditions import NoWrite, WriteAfter, WriteNow, worth_writing
from backstay.report.events import turns
from backstay.report.metrics import View, view_of

log = structlog.get_logger(__name__)

# 10,000 pairs with an RPO of five minutes want 33 writes a second while nothing changes, or readers
# take them for forgotten. 100 objects may turn at once without waiting.
RATE_PER_S = 50.0
BURST = 100
AT_ONCE = 8
RANKS: Mapping[str, int] = {"transition": 0, "as-of": 2}
"""Who goes first among what is worth a write; all else is between."""
RETRY_S = 2.0
RETRY_CAP_S = 60.0
# An API server that refuses a value refuses it again; the next pass may bring another one.
REFUSED_PAUSE_S = 300.0
SHORTEST_PAUSE_S = 0.01
NEVER_S = -1e9


@dataclass(slots=True)
class _Slot:
    """What is known of one object's writes."""

    ref: ObjectRef
    status: Mapping[str, Any]
    rpo_s: float | None
    not_before: float = 0.0
    written: float = NEVER_S
    failures: int = 0
    busy: bool = False
    look_at: float = math.inf
    """When the heap has it looked at next."""


class StatusWriter:
    """Coalesces statuses: the latest wins, and nothing is written twice in meaning.

    Only for the leader: `clear` forgets everything as soon as leadership is lost.
    """

    def __init__(
        self,
        kube: KubePort,
        registry: Registry,
        clock: Clock,
        *,
        may_write: Callable[[], bool],
        dice: random.Random | None = None,
    ) -> None:
        self._may_write = may_write
        self._kube = kube
        self._registry = registry
        self._clock = clock
        self._dice = dice or random.Random()
        self._budget = Budget(clock, rate_per_s=RATE_PER_S, burst=BURST)
        self._slots: dict[str, _Slot] = {}
        # What is to be looked at now, oldest first, and what not before some time: with 10,000
        # objects, looking at all of them for each new status would take the whole core.
        self._pending: dict[str, None] = {}
        self._later: list[tuple[float, str]] = []
        # What is worth a write, by rank: where many points are only confirmed again, that must not
        # hold up a pair that turns.
        self._worth: tuple[dict[str, None], ...] = ({}, {}, {})
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()

    def publish(self, ref: ObjectRef, status: Mapping[str, Any], *, rpo_s: float | None) -> None:
        """The object's status is to become this one; an earlier one that waits is forgotten."""
        slot = self._slots.get(ref.uid)
        if slot is None:
            slot = self._slots[ref.uid] = _Slot(ref, status, rpo_s)
        slot.status, slot.rpo_s = status, rpo_s
        self._pending[ref.uid] = None
        self._wake.set()

    def forget(self, ref: ObjectRef) -> None:
        """Nothing is written any more for exactly this object."""
        self._slots.pop(ref.uid, None)
        self._pending.pop(ref.uid, None)
        self._rank(ref.uid, None)

    async def clear(self) -> None:
        """Nothing waits and nothing is being written."""
        self._slots.clear()
        self._pending.clear()
        self._later.clear()
        for rank in self._worth:
            rank.clear()
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def views(self) -> Iterator[View]:
        """Every object as last judged by this leader."""
        for slot in list(self._slots.values()):
            place = (slot.ref.namespace, slot.ref.name)
            yield view_of(slot.ref.kind, place, slot.status, slot.rpo_s)

    @property
    def waiting(self) -> int:
        """How many statuses wait for a place or for their time."""
        return len(self._pending) + len(self._later) + sum(map(len, self._worth))

    async def run(self) -> None:
        """Writes, for ever, what is worth it."""
        while True:
            self._wake.clear()
            pause = self._start_what_may_be_written()
            nap = None if pause is None else asyncio.create_task(self._wake_after(pause))
            try:
                await self._wake.wait()
            finally:
                if nap is not None:
                    nap.cancel()

    async def _wake_after(self, seconds: float) -> None:
        # Rounding may leave a pause that does not move the clock.
        await self._clock.sleep(max(seconds, SHORTEST_PAUSE_S))
        self._wake.set()

    def _start_what_may_be_written(self) -> float | None:
        """Seconds until something else may be; None when nothing waits for time to pass."""
        if not self._may_write():
            # Leadership is lost, or about to be: `clear` follows.
            return None
        now = self._clock.monotonic_s()
        while self._later and self._later[0][0] <= now:
            _, uid = heapq.heappop(self._later)
            if (due := self._slots.get(uid)) is not None and due.look_at <= now:
                due.look_at = math.inf
                self._pending[uid] = None
        for uid in list(self._pending):
            slot = self._slots.get(uid)
            if slot is None or not slot.busy:
                del self._pending[uid]
            if slot is not None and not slot.busy:
                self._consider(slot, now)
        while len(self._tasks) < AT_ONCE and (first := self._first()) is not None:
            if (wait := self._budget.wait_s()) > 0:
                return wait
            self._consider(first, now, start=True)
        return self._later[0][0] - now if self._later else None

    def _first(self) -> _Slot | None:
        """Who has waited longest of the highest rank."""
        return next((self._slots[next(iter(rank))] for rank in self._worth if rank), None)

    def _rank(self, uid: str, reason: str | None) -> None:
        """It waits among its like for a place; None: it does not wait."""
        rank = None if reason is None else self._worth[RANKS.get(reason, 1)]
        for other in self._worth:
            if other is not rank:
                other.pop(uid, None)
        if rank is not None:
            rank.setdefault(uid)

    def _consider(self, slot: _Slot, now: float, *, start: bool = False) -> None:
        """The write has started or waits for a place or its time, or it is not worth it."""
        observed = self._registry.status(slot.ref)
        if observed is None:
            self.forget(slot.ref)
            return
        worth = worth_writing(observed, slot.status, age_s=now - slot.written, rpo_s=slot.rpo_s)
        due = worth if isinstance(worth, WriteNow) and slot.not_before <= now else None
        self._rank(slot.ref.uid, None if due is None or start else due.reason)
        match worth:
            case NoWrite():
                pass
            case WriteAfter(seconds=seconds):
                self._look_again(slot, max(now + seconds, slot.not_before))
            case WriteNow() if due is None:
                self._look_again(slot, slot.not_before)
            case WriteNow(reason=reason) if start:
                self._start(slot, observed, reason)

    def _look_again(self, slot: _Slot, at: float) -> None:
        if at < slot.look_at:
            slot.look_at = at
            heapq.heappush(self._later, (at, slot.ref.uid))

    def _start(self, slot: _Slot, observed: Mapping[str, Any], reason: str) -> None:
        self._budget.spend()
        slot.busy = True
        task = asyncio.create_task(self._write(slot, observed, reason))
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._written(slot, done))

    def _written(self, slot: _Slot, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        slot.busy = False
        self._wake.set()
        if not task.cancelled() and (failure := task.exception()) is not None:
            self._try_later(slot, REFUSED_PAUSE_S)
            log.error("status-write-broke", object=str(slot.ref), exc_info=failure)

    async def _write(self, slot: _Slot, observed: Mapping[str, Any], reason: str) -> None:
        status, ref = slot.status, slot.ref
        try:
            stored = await self._kube.replace_status(ref, status, reason=reason)
        except Gone:
            self.forget(ref)
            return
        except Stalled as error:
            log.error("status-refused", object=str(ref), why=error.message)
            self._try_later(slot, REFUSED_PAUSE_S)
            return
        except BackstayError as error:
            slot.failures += 1
            pause = min(RETRY_CAP_S, RETRY_S * 2.0 ** min(slot.failures - 1, 10))
            log.warning("status-write-failed", object=str(ref), why=error.message)
            self._try_later(slot, pause * self._dice.uniform(0.5, 1.0))
            return
        slot.failures, slot.written = 0, self._clock.monotonic_s()
        self._registry.observe_status(ref, stored.get("status") or {})
        await self._announce(ref, observed, status)

    def _try_later(self, slot: _Slot, seconds: float) -> None:
        if self._slots.get(slot.ref.uid) is slot:
            slot.not_before = self._clock.monotonic_s() + seconds
            self._pending[slot.ref.uid] = None

    async def _announce(
        self, ref: ObjectRef, before: Mapping[str, Any], after: Mapping[str, Any]
    ) -> None:
        """An Event for each turn; one that cannot be written is lost, the status stands."""
        for turn in turns(before, after):
            notice = Notice(type=turn.type, reason=turn.reason, message=turn.message)
            self._budget.spend()
            try:
                await self._kube.emit_event(ref, notice)
            except BackstayError as error:
                log.warning("event-lost", object=str(ref), why=error.message)
