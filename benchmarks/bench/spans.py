"""When which request to which host ran, and what a cycle spent its time on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from backstay.adapters.host.connection import Answer
from backstay.adapters.host.hosts import OpenSshHost, OpenSshHosts, Setup
from backstay.ports.host import Endpoint, RootState

PHASES = ("observe", "snapshot", "transfer", "confirm", "prune")
_READING = frozenset({"list", "get", "version"})
_FLUSH = ("zpool", "sync")


@dataclass(frozen=True, slots=True)
class Span:
    """One request (or `transfer`, both ends of a pipe together) with what it ran at the host."""

    host: str
    request: str
    began_s: float
    ended_s: float
    commands: tuple[tuple[str, ...], ...] = ()


@dataclass(slots=True)
class Record:
    """Everything that was noted down since the last `clear`."""

    spans: list[Span] = field(default_factory=list)
    sent: list[tuple[str, str]] = field(default_factory=list)
    """(host, request) of each request, as the operator's own counter gets them."""

    def clear(self) -> None:
        """Nothing is noted down."""
        self.spans.clear()
        self.sent.clear()

    @property
    def changing_commands(self) -> list[tuple[str, ...]]:
        """The commands that change a pool; a flush (`zpool sync`) changes none."""
        commands = [command for span in self.spans for command in span.commands]
        return [c for c in commands if c[1] not in _READING and tuple(c[:2]) != _FLUSH]

    @property
    def flushes(self) -> int:
        """How often a pool was asked to write out what it holds in memory."""
        return sum(tuple(c[:2]) == _FLUSH for span in self.spans for c in span.commands)


class TimedHosts(OpenSshHosts):
    """The operator's hosts, with each request noted down."""

    def __init__(self, setup: Setup, record: Record) -> None:
        """Nothing is open yet."""
        super().__init__(setup)
        self._timed: dict[Endpoint, TimedHost] = {}
        self._shared, self._record = setup, record

    def open(self, endpoint: Endpoint) -> OpenSshHost:
        """See `HostDirectory`."""
        if endpoint not in self._timed:
            self._timed[endpoint] = TimedHost(endpoint, self._shared, self._record)
        return self._timed[endpoint]

    async def close(self) -> None:
        """See `HostDirectory`."""
        await self.hang_up()
        self._timed.clear()

    async def hang_up(self) -> None:
        """No host is connected; what is known of them stays."""
        for host in self._timed.values():
            await host.close()

    async def connect(self) -> None:
        """Every host that was used before is connected and knows our claim."""
        await asyncio.gather(*(host.connect() for host in self._timed.values()))


class TimedHost(OpenSshHost):
    """One host whose requests are noted down."""

    def __init__(self, endpoint: Endpoint, setup: Setup, record: Record) -> None:
        """Not connected yet."""
        super().__init__(endpoint, setup)
        self._record = record
        self._last_claim: tuple[str, ...] | None = None

    async def claim(self, roots: Sequence[str]) -> tuple[RootState, ...]:
        """See `HostPort`; remembered for `connect`."""
        self._last_claim = tuple(roots)
        return await super().claim(roots)

    async def connect(self) -> None:
        """Connected, trunk and all, with the last claim made again."""
        await self.hello()
        async with self.connected():
            await self.stream_argv(())
        if self._last_claim is not None:
            await super().claim(self._last_claim)

    async def ask(self, request: str, body: object, *, dry_run: bool = False) -> Answer:
        """The answer, noted down with its times."""
        began = time.monotonic()
        answer = await super().ask(request, body, dry_run=dry_run)
        span = Span(self.name, request, began, time.monotonic(), answer.commands)
        self._record.spans.append(span)
        return answer


def breakdown(spans: Sequence[Span], began_s: float, ended_s: float) -> dict[str, float]:
    """Seconds by phase; `own` is what is left: planning, reporting, waiting for no host.

    Requests of one phase overlap (both sides are surveyed at once): a phase lasts from its first
    request to the end of its last one.
    """
    first_change = min((s.began_s for s in spans if s.request != "survey"), default=ended_s)
    by_phase: dict[str, list[Span]] = {phase: [] for phase in PHASES}
    for span in spans:
        phase = _phase(span, first_change)
        if phase:
            by_phase[phase].append(span)
    seconds = {
        phase: max(s.ended_s for s in of) - min(s.began_s for s in of) if of else 0.0
        for phase, of in by_phase.items()
    }
    return {**seconds, "own": ended_s - began_s - sum(seconds.values())}


def _phase(span: Span, first_change_s: float) -> str:
    match span.request:
        case "survey":
            return "observe" if span.began_s <= first_change_s else "confirm"
        case "snapshot" | "transfer" | "prune":
            return span.request
        case _:
            return ""  # tickets are a part of the transfer


def confirmed_s(spans: Sequence[Span]) -> float | None:
    """When the last reading of the target ended that confirmed a transfer; None without one."""
    transfers = [s.ended_s for s in spans if s.request == "transfer"]
    if not transfers:
        return None
    surveys = [s for s in spans if s.request == "survey" and s.began_s >= max(transfers)]
    return max((s.ended_s for s in surveys), default=None)
