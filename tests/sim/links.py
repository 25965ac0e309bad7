"""Connections of one process to the fake hosts: what it sent goes on there when it is gone.

A request takes its time, is refused when its leader's Lease has run out by then, and is carried out
all the same when nobody waits for its answer any more. A host that was rebooted is claimed anew
before anything is changed there, as the adapter does (adapters/host/hosts.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

from backstay.adapters.host.reasons import failure
from backstay.domain.moves import Mark, Move, NewClone, Promotion, Rewind
from backstay.domain.steps import (
    AbortReceive,
    CreateParents,
    ItemFailure,
    MadeSnapshot,
    Pipe,
    PipeOutcome,
    Prune,
    RestorePosture,
    TakeSnapshots,
)
from backstay.domain.zfs import HostFacts, HostListing
from backstay.ports.host import Endpoint, HostPort, Progress, RootState, SurveyRequest
from fakes.faults import RequestFault
from fakes.host import FakePort, Leader
from fakes.truths import has_bookmark
from fakes.world import INSTALLATION, SHORT_ID, FakeHost
from sim.virtual import OpenWorld

T = TypeVar("T")
READS = frozenset({"hello", "survey"})


class Owner(Protocol):
    """The process that a connection belongs to."""

    name: str
    world: OpenWorld

    @property
    def is_stopped(self) -> bool:
        """Whether it stands still, or is dead."""
        ...

    async def awake(self) -> None:
        """Returns when the process runs; never, when it is dead."""
        ...

    def term(self) -> int:
        """The term of the process; 0 while it does not lead."""
        ...

    def lease_ends_s(self) -> float:
        """Until when nobody else can lead, as far as the process knows."""
        ...


class Estate(Protocol):
    """The hosts, and who wants to know what happens to them."""

    hosts: dict[str, FakeHost]
    boots: dict[str, int]

    def acts(self, host: FakeHost, term: int) -> None:
        """A leader of this term changes the host now."""
        ...

    def unmarked(self, what: str) -> None:
        """A stream began without its bookmark."""
        ...


class _Served(FakePort):
    """One request as the host carries it out."""

    def __init__(self, host: FakeHost, leader: Leader, ends_s: float, estate: Estate) -> None:
        super().__init__(host, leader)
        self._ends_s = ends_s
        self._estate = estate

    async def _enter(self, request: str) -> RequestFault | None:
        fault = await super()._enter(request)
        if request not in READS:
            if self.host.world.monotonic_s >= self._ends_s:
                raise failure("NotLeader", f"{self.name}: no valid heartbeat")
            self.check_term()
            if request != "claim":
                self._estate.acts(self.host, self.leader.term())
        return fault


class HostLink:
    """A `HostPort`."""

    def __init__(self, owner: Owner, estate: Estate, host: FakeHost) -> None:
        self.host = host
        self._owner = owner
        self._estate = estate
        self._roots: tuple[str, ...] = ()
        self._claimed: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """`site/host`."""
        return self.host.name

    def served(self) -> FakePort:
        """The host as it answers a request that is sent now."""
        term = self._owner.term()
        leader = Leader(lambda: term, INSTALLATION, SHORT_ID, self._owner.name)
        return _Served(self.host, leader, self._owner.lease_ends_s(), self._estate)

    async def hello(self) -> HostFacts:
        """See `HostPort`."""
        return await self._ask(lambda port: port.hello())

    async def survey(self, request: SurveyRequest) -> HostListing:
        """See `HostPort`."""
        return await self._ask(lambda port: port.survey(request))

    async def claim(self, roots: Sequence[str]) -> tuple[RootState, ...]:
        """See `HostPort`."""
        self._roots = tuple(roots)
        at = (self._estate.boots[self.name], self._owner.term())
        states = await self._ask(lambda port: port.claim(roots))
        self._claimed = at
        return states

    async def snapshot(self, step: TakeSnapshots) -> tuple[MadeSnapshot, ...]:
        """See `HostPort`."""
        return await self._change(lambda port: port.snapshot(step))

    async def create_parents(self, step: CreateParents) -> None:
        """See `HostPort`."""
        await self._change(lambda port: port.create_parents(step))

    async def abort_receive(self, step: AbortReceive) -> None:
        """See `HostPort`."""
        await self._change(lambda port: port.abort_receive(step))

    async def restore_posture(self, step: RestorePosture) -> None:
        """See `HostPort`."""
        await self._change(lambda port: port.restore_posture(step))

    async def prune(self, step: Prune) -> tuple[ItemFailure, ...]:
        """See `HostPort`."""
        return await self._change(lambda port: port.prune(step))

    async def rename(self, moves: Sequence[Move]) -> tuple[ItemFailure, ...]:
        """See `HostPort`."""
        return await self._change(lambda port: port.rename(moves))

    async def clone(self, clones: Sequence[NewClone]) -> tuple[ItemFailure, ...]:
        """See `HostPort`."""
        return await self._change(lambda port: port.clone(clones))

    async def promote(self, promotions: Sequence[Promotion]) -> tuple[ItemFailure, ...]:
        """See `HostPort`."""
        return await self._change(lambda port: port.promote(promotions))

    async def rollback(self, rewinds: Sequence[Rewind]) -> tuple[ItemFailure, ...]:
        """See `HostPort`."""
        return await self._change(lambda port: port.rollback(rewinds))

    async def label(self, marks: Sequence[Mark]) -> tuple[ItemFailure, ...]:
        """See `HostPort`."""
        return await self._change(lambda port: port.label(marks))

    async def _change(self, request: Callable[[FakePort], Coroutine[Any, Any, T]]) -> T:
        await self.ensure_claimed()
        return await self._ask(request)

    async def ensure_claimed(self) -> None:
        """The host knows this leader's term, also after a reboot."""
        if self._claimed != (self._estate.boots[self.name], self._owner.term()):
            await self.claim(self._roots)

    async def _ask(self, request: Callable[[FakePort], Coroutine[Any, Any, T]]) -> T:
        await self._owner.awake()
        answer = await asyncio.shield(_sent(request(self.served())))
        await self._owner.awake()
        return answer


class Links:
    """`HostDirectory` and `TransferPort` of one process."""

    def __init__(self, owner: Owner, estate: Estate) -> None:
        self._owner = owner
        self._estate = estate
        self._links: dict[str, HostLink] = {}
        self._flying: set[asyncio.Task[PipeOutcome]] = set()

    def open(self, endpoint: Endpoint) -> HostPort:
        """The host behind a Site's host, which bears the same name."""
        host = self._estate.hosts[endpoint.name]
        return self._links.setdefault(host.name, HostLink(self._owner, self._estate, host))

    async def transfer(
        self, source: HostPort, target: HostPort, pipe: Pipe, progress: Progress
    ) -> PipeOutcome:
        """See `TransferPort`: who is called off ends it; who died leaves it to the hosts."""
        assert isinstance(source, HostLink)
        assert isinstance(target, HostLink)
        for link in (source, target):
            await link.ensure_claimed()
        await self._owner.awake()
        for transfer in pipe.transfers:
            if not has_bookmark(source.host, transfer):
                self._estate.unmarked(f"{transfer.source_dataset}@{transfer.snapshot}")
        transfers = self._owner.world.transfers
        ports = source.served(), target.served()
        flight = _sent(transfers.transfer(*ports, pipe, progress))
        self._flying.add(flight)
        flight.add_done_callback(self._flying.discard)
        try:
            outcome = await asyncio.shield(flight)
        except asyncio.CancelledError:
            if not self._owner.is_stopped:
                flight.cancel()
                await asyncio.wait([flight])
            raise
        await self._owner.awake()
        return outcome

    def abandon(self, after_s: float) -> None:
        """Nobody sends heartbeats any more: the hosts end the streams after so many seconds."""
        for flight in self._flying:
            asyncio.get_running_loop().call_later(after_s, self._give_up, flight)

    def _give_up(self, flight: asyncio.Task[PipeOutcome]) -> None:
        if self._owner.lease_ends_s() <= self._owner.world.monotonic_s:
            flight.cancel()


def _sent(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """The work goes on whoever waits for it; if nobody does, its failure is of no interest."""
    task = asyncio.ensure_future(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return task
