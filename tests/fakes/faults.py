"""Faults to inject into a fake host or transfer, counted and seeded, so that a failure replays."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from random import Random
from typing import Literal

from backstay.domain.errors import BackstayError, Unreachable

When = Literal["before", "middle", "after"]
"""Before any effect, between two effects of one request, or after all (the answer is lost)."""


@dataclass(slots=True)
class RequestFault:
    """Fails the `nth` coming request of a name ("*": any)."""

    request: str
    nth: int
    when: When
    error: BackstayError


@dataclass(slots=True)
class RequestFaults:
    """The faults of one host's requests."""

    planned: list[RequestFault] = field(default_factory=list)
    rate: float = 0.0
    rng: Random = field(default_factory=lambda: Random(0))

    def fail(
        self,
        request: str = "*",
        *,
        nth: int = 1,
        when: When = "before",
        error: BackstayError | None = None,
    ) -> None:
        """Let the nth coming request of this name fail, once."""
        lost = error or Unreachable("Unreachable", "the connection was lost")
        self.planned.append(RequestFault(request, nth, when, lost))

    def fail_randomly(self, rate: float, rng: Random) -> None:
        """Let each request fail with this chance, before, amid or after its effect."""
        self.rate, self.rng = rate, rng

    def draw(self, request: str) -> RequestFault | None:
        """The fault that hits this request, if any; counts down the planned ones."""
        for fault in list(self.planned):
            if fault.request in (request, "*"):
                fault.nth -= 1
                if fault.nth <= 0:
                    self.planned.remove(fault)
                    return fault
        if self.rate and self.rng.random() < self.rate:
            whens: tuple[When, ...] = ("before", "middle", "after")
            lost = Unreachable("Unreachable", "the connection was lost (by chance)")
            return RequestFault(request, 0, self.rng.choice(whens), lost)
        return None


@dataclass(slots=True)
class TransferFault:
    """What happens to a coming pipe at one member after some of its bytes.

    `after_bytes` beyond the stream's size: the member arrives whole but its acknowledgement is
    lost. `pause`: the stream waits there until the event is set, or until it is killed. `stalls`:
    no more bytes come, for as long as the watches of both ends take it.
    """

    member: int
    after_bytes: int
    nth: int = 1
    pause: asyncio.Event | None = None
    reached: asyncio.Event | None = None
    garbled: bool = False
    stalls: bool = False


@dataclass(slots=True)
class TransferFaults:
    """The faults of a world's pipes."""

    planned: list[TransferFault] = field(default_factory=list)
    rate: float = 0.0
    rng: Random = field(default_factory=lambda: Random(0))

    def cut(self, *, member: int = 0, after_bytes: int = 0, nth: int = 1) -> None:
        """Break the nth coming pipe at this member after so many bytes of it."""
        self.planned.append(TransferFault(member, after_bytes, nth))

    def lose_acknowledgement(self, *, member: int = 0, nth: int = 1) -> None:
        """Break the nth coming pipe when this member has arrived but before it is said so."""
        self.planned.append(TransferFault(member, 1 << 62, nth))

    def stall(self, *, member: int = 0, after_bytes: int = 0, nth: int = 1) -> None:
        """Let no more bytes of the nth coming pipe move, until its watches end it."""
        self.planned.append(TransferFault(member, after_bytes, nth, stalls=True))

    def garble(self, *, member: int = 0, nth: int = 1) -> None:
        """Flip one byte of this member: the receive rejects it and commits nothing."""
        self.planned.append(TransferFault(member, 0, nth, garbled=True))

    def pause(
        self, *, member: int = 0, after_bytes: int = 0, nth: int = 1
    ) -> tuple[asyncio.Event, asyncio.Event]:
        """Hold the nth coming pipe there: (is reached, set it to go on)."""
        reached, go_on = asyncio.Event(), asyncio.Event()
        self.planned.append(TransferFault(member, after_bytes, nth, go_on, reached))
        return reached, go_on

    def cut_randomly(self, rate: float, rng: Random) -> None:
        """Cut each pipe with this chance, at a random member and byte."""
        self.rate, self.rng = rate, rng

    def draw(self, members: int) -> list[TransferFault]:
        """The faults that hit the pipe that begins now; counts down the planned ones."""
        hit = []
        for fault in list(self.planned):
            fault.nth -= 1
            if fault.nth <= 0:
                self.planned.remove(fault)
                hit.append(fault)
        if self.rate and self.rng.random() < self.rate:
            # Sizes from nothing to gigabytes with equal weight to each magnitude.
            size = int(2 ** self.rng.uniform(0, 32)) - 1
            hit.append(TransferFault(self.rng.randrange(members), size))
        return hit
