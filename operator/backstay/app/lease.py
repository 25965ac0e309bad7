"""Leadership: one operator of an installation acts, by a Lease and a term that only grows."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Protocol, TypeVar

import structlog

from backstay.domain.errors import BackstayError
from backstay.ports.clock import Clock
from backstay.ports.kube import Conflict, Gone, LeasePort, LeaseRecord

T = TypeVar("T")
log = structlog.get_logger(__name__)
# Leading for so long without meeting a higher term means that the last meeting was no quarrel.
QUARREL_OVER_S = 600.0
QUARREL_PAUSE_CAP_S = 300.0
LEAST_PAUSE_S = 0.001
RELEASE_TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTimes:
    """How long a Lease holds, when its holder gives up renewing it, and how often it tries.

    Others take over `duration_s` after the last renewal that they saw; the holder stops acting
    `renew_deadline_s` after the last one that it sent, so between the two nobody acts.
    """

    duration_s: float = 30.0
    renew_deadline_s: float = 20.0
    retry_s: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """Who stands for leadership of which Lease. `identity` is unique to the process."""

    namespace: str
    name: str
    identity: str
    times: LeaseTimes = LeaseTimes()


class Followers(Protocol):
    """What leadership starts and stops."""

    def lead(self, term: int) -> None:
        """Work has started under this term."""
        ...

    async def follow(self, because: str) -> None:
        """All work was stopped at once; returns after a bounded wait."""
        ...


class Leadership:
    """Holds the Lease whenever it can, and knows for how long that is still true.

    Only the monotonic clock decides: a Lease of another holder has run out when its record has
    not changed for its duration since this process first saw it so; our own holds from the moment
    before the last successful request was sent.
    """

    def __init__(
        self,
        leases: LeasePort,
        clock: Clock,
        candidate: Candidate,
        followers: Followers,
        dice: random.Random | None = None,
    ) -> None:
        self._leases = leases
        self._clock = clock
        self._who = candidate
        self._followers = followers
        self._dice = dice or random.Random()
        self._held: LeaseRecord | None = None
        self._renewed = 0.0
        self._elected = 0.0
        self._highest_term = 0
        self._quarrels = 0
        self._step_down = asyncio.Event()
        self._seen: LeaseRecord | None = None
        self._seen_at = 0.0

    @property
    def is_leader(self) -> bool:
        """Whether this process may act now."""
        return self._held is not None and not self._out_of_time()

    def remaining_s(self) -> float:
        """For how long nobody else can take the Lease, from now; 0 when it is not ours."""
        if self._held is None:
            return 0.0
        return max(0.0, self._who.times.duration_s - self._age_s())

    def term(self) -> int:
        """The term of this leader; 0 when it is none."""
        return self._held.term if self._held is not None else 0

    @property
    def process_id(self) -> str:
        """Tells this candidate from every other one at the hosts: 32 hex digits."""
        return sha256(self._who.identity.encode()).hexdigest()[:32]

    def superseded(self, term: int) -> None:
        """A host knows this term from another leader: we step down and are elected above it."""
        self._highest_term = max(self._highest_term, term)
        if self._held is not None and term >= self._held.term:
            self._step_down.set()

    async def run(self) -> None:
        """Campaigns and leads in turn, for ever; cancelling it hands the Lease over."""
        try:
            while True:
                await self._pause_after_quarrels()
                await self._campaign()
                log.info("elected", term=self.term(), identity=self._who.identity)
                self._followers.lead(self.term())
                because = await self._lead()
                log.warning("leadership-lost", because=because, highest_term=self._highest_term)
                await self._resign(because)
        except asyncio.CancelledError:
            await self._resign("shutdown")
            raise

    async def _campaign(self) -> None:
        while not await self._try(self._stand()):
            # Jitter: several candidates that saw the same end do not collide each time.
            await self._clock.sleep(self._who.times.retry_s * self._dice.uniform(0.8, 1.2))

    async def _stand(self) -> bool:
        """Whether we hold the Lease now."""
        record = await self._leases.read_lease(self._who.namespace, self._who.name)
        if record is None:
            return await self._take(self._leases.create_lease, self._new_record(None))
        if self._seen is None or self._seen.resource_version != record.resource_version:
            self._seen, self._seen_at = record, self._clock.monotonic_s()
        self._highest_term = max(self._highest_term, record.term)
        silent_s = self._clock.monotonic_s() - self._seen_at
        if record.holder not in {"", self._who.identity} and silent_s <= record.duration_s:
            return False
        return await self._take(self._leases.update_lease, self._new_record(record))

    def _new_record(self, before: LeaseRecord | None) -> LeaseRecord:
        now = self._clock.now()
        return LeaseRecord(
            namespace=self._who.namespace,
            name=self._who.name,
            holder=self._who.identity,
            duration_s=_whole_seconds(self._who.times.duration_s),
            term=max(self._highest_term, before.term if before else 0) + 1,
            transitions=before.transitions + 1 if before else 0,
            acquired_at=now,
            renewed_at=now,
            resource_version=before.resource_version if before else "",
        )

    async def _take(
        self, write: Callable[[LeaseRecord], Awaitable[LeaseRecord]], record: LeaseRecord
    ) -> bool:
        sent = self._clock.monotonic_s()
        try:
            held = await write(record)
        except (Conflict, Gone):
            return False
        if self._clock.monotonic_s() - sent >= self._who.times.renew_deadline_s:
            return False
        self._step_down.clear()
        self._held, self._renewed, self._elected = held, sent, sent
        self._highest_term = max(self._highest_term, held.term)
        return True

    async def _lead(self) -> str:
        """Renews until that fails; returns why."""
        while True:
            times = self._who.times
            pause = min(times.retry_s, times.renew_deadline_s - self._age_s())
            if await self._within(pause, self._step_down.wait()):
                return "a host knows a higher term"
            if self._out_of_time():
                return "the Lease could not be renewed in time"
            if not await self._try(self._renew()):
                if self._held is None:
                    return "the Lease has another holder"
                if self._out_of_time():
                    return "the Lease could not be renewed in time"

    async def _renew(self) -> bool:
        """Whether it was renewed; nothing is held any more when another holder was seen."""
        held = self._held
        if held is None:
            return False
        sent = self._clock.monotonic_s()
        try:
            renewed = await self._leases.update_lease(replace(held, renewed_at=self._clock.now()))
        except Gone:
            self._held = None
            return False
        except Conflict:
            return await self._look_again(held)
        self._held, self._renewed = renewed, sent
        return True

    async def _look_again(self, held: LeaseRecord) -> bool:
        """After a conflict: an answer of ours was lost, somebody labelled it, or it is not ours."""
        record = await self._leases.read_lease(self._who.namespace, self._who.name)
        if record is None or record.holder != self._who.identity or record.term != held.term:
            self._held = None
            return False
        self._held = replace(held, resource_version=record.resource_version)
        return await self._renew()

    async def _resign(self, because: str) -> None:
        """Nothing acts; then the Lease is free for others, if it was ours and can be reached."""
        held, released = self._held, self._clock.monotonic_s()
        self._count_quarrel(self._step_down.is_set(), released)
        self._step_down.clear()
        await self._followers.follow(because)
        self._held = None
        if held is None:
            return
        # Some API servers refuse a duration of 0; 1 s is the least that all take.
        empty = replace(held, holder="", duration_s=1, renewed_at=self._clock.now())
        await self._try(self._release(empty))

    async def _release(self, empty: LeaseRecord) -> bool:
        for _ in range(RELEASE_TRIES):
            try:
                await self._leases.update_lease(empty)
            except Gone:
                return False
            except Conflict:
                # A renewal whose answer we did not wait for has come first, or it is not ours.
                record = await self._leases.read_lease(self._who.namespace, self._who.name)
                ours = (self._who.identity, empty.term)
                if record is None or (record.holder, record.term) != ours:
                    return False
                empty = replace(empty, resource_version=record.resource_version)
            else:
                return True
        return False

    def _count_quarrel(self, superseded: bool, now: float) -> None:
        if now - self._elected > QUARREL_OVER_S:
            self._quarrels = 0
        self._quarrels = self._quarrels + 1 if superseded else 0

    async def _pause_after_quarrels(self) -> None:
        """Two clusters with one installation id do not outbid each other without a pause."""
        if self._quarrels > 1:
            pause = self._who.times.retry_s * 2.0 ** min(self._quarrels - 1, 10)
            await self._clock.sleep(min(QUARREL_PAUSE_CAP_S, pause))

    async def _try(self, attempt: Coroutine[Any, Any, bool]) -> bool:
        """What the attempt says; False when it failed or took too long."""
        times = self._who.times
        left = times.renew_deadline_s - self._age_s() if self._held else times.retry_s
        try:
            return bool(await self._within(min(times.retry_s, left), attempt))
        except BackstayError as error:
            log.warning("lease-failed", reason=error.reason, message=error.message)
            return False

    async def _within(self, seconds: float, attempt: Coroutine[Any, Any, T]) -> T | None:
        """What the attempt returns; None when it was cut off after so many seconds."""
        task = asyncio.create_task(attempt)
        timer = asyncio.create_task(self._clock.sleep(seconds))
        try:
            await asyncio.wait({task, timer}, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            timer.cancel()
            if not task.done():
                task.cancel()
                # Its own failure, if it has one on its way out, is of no interest any more.
                await asyncio.gather(task, return_exceptions=True)

    def _out_of_time(self) -> bool:
        # What is left may be less than a clock can tell from nothing: no pause would use it up.
        return self._who.times.renew_deadline_s - self._age_s() < LEAST_PAUSE_S

    def _age_s(self) -> float:
        return self._clock.monotonic_s() - self._renewed


def _whole_seconds(seconds: float) -> int:
    # The API knows whole seconds; rounded up, as others must never think it shorter than we do.
    return max(1, int(-(-seconds // 1)))
