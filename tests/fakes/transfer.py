"""The fake `TransferPort`: pipes between fake hosts, cut, paused and killed at will."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from backstay.adapters.host import ways
from backstay.adapters.host.reasons import failure
from backstay.adapters.host.transfers import STALL_CAP_S, STALL_S
from backstay.domain.errors import Refused
from backstay.domain.steps import (
    Branch,
    Increment,
    ItemFailure,
    Pipe,
    PipeOutcome,
    Resume,
    Seed,
    Transfer,
)
from backstay.domain.zfs import LINEAGE, ROLE
from backstay.ports.host import HostPort, Progress
from fakes import streams
from fakes.faults import TransferFault
from fakes.host import FakePort
from fakes.world import Flight
from fakes.zfs import Stream, ZfsError

if TYPE_CHECKING:
    from fakes.world import World

LOST = "TransferFailed"
_Told: TypeAlias = Callable[[int], None]
"""Told how many bytes of the member have arrived."""


@dataclass(frozen=True, slots=True)
class TransferRecord:
    """One pipe that ended, for tests to look at."""

    source: str
    target: str
    pipe: Pipe
    outcome: PipeOutcome


class _Cut(Exception):
    """The pipe broke here."""

    reason = LOST


class _Stalled(_Cut):
    """The watches ended it here."""

    reason = "TransferStalled"


class FakeTransfers:
    """A `TransferPort` between the hosts of one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.records: list[TransferRecord] = []
        self.bandwidth_bytes_s: float | None = None
        """Bytes a second of virtual time; None: a pipe takes no time."""

    async def transfer(
        self, source: HostPort, target: HostPort, pipe: Pipe, progress: Progress
    ) -> PipeOutcome:
        """See `TransferPort`."""
        assert isinstance(source, FakePort)
        assert isinstance(target, FakePort)
        _check_pipe(pipe)
        await asyncio.sleep(0)
        for port in (source, target):
            port.host.requests["ticket"] += 1
            port.check_reachable()
            port.check_term()
        for transfer in pipe.transfers:
            target.check_writer(transfer.target_dataset)
        if (why := ways.obstacle(pipe, source, target)) is not None:
            return PipeOutcome(completed=0, sent_bytes=0, duration_s=0.0, failure=why)
        _, left_out = ways.agree(pipe.transport, source, target)
        course = _Course(self.world, source, target, pipe)
        if source.is_dry_run or target.is_dry_run:
            course.record_all()
            done = len(pipe.transfers)
            return PipeOutcome(completed=done, sent_bytes=0, duration_s=0.0, failure=None)
        outcome = replace(await course.run(progress), left_out=left_out)
        if self.bandwidth_bytes_s:
            seconds = outcome.sent_bytes / self.bandwidth_bytes_s
            self.world.advance(seconds)
            outcome = replace(outcome, duration_s=outcome.duration_s + seconds)
        self.records.append(TransferRecord(source.name, target.name, pipe, outcome))
        return outcome


def patience_s(pipe: Pipe) -> float:
    """After how long without a byte the watches end it."""
    return float(min(STALL_S * 2 ** min(pipe.failed_before, 10), STALL_CAP_S))


def _check_pipe(pipe: Pipe) -> None:
    together = len(pipe.transfers) > 1
    if together and any(not isinstance(t.how, Increment) for t in pipe.transfers):
        raise failure("InternalError", "only increments may share a pipe")


class _Course:
    """One pipe from its first member to its end."""

    def __init__(self, world: World, source: FakePort, target: FakePort, pipe: Pipe) -> None:
        self.world = world
        self.source, self.target, self.pipe = source, target, pipe
        self.faults = world.transfer_faults
        self.sent = 0
        self.started_s = world.monotonic_s

    def record_all(self) -> None:
        """The argument vectors of all members, in order."""
        for transfer in self.pipe.transfers:
            self.source.record(*_send_argv(transfer))
            self.target.record(*_receive_argv(transfer))

    async def run(self, progress: Progress) -> PipeOutcome:
        """Member after member until the first failure."""
        faults = self.faults.draw(len(self.pipe.transfers))
        for index, transfer in enumerate(self.pipe.transfers):
            mine = [f for f in faults if f.member == index]
            flights = self._take_off(transfer)
            try:
                await self._member(transfer, mine, flights, partial(progress, index))
            except (ZfsError, Refused) as refused:
                return self._outcome(index, transfer, refused.reason, refused.message)
            except _Cut as cut:
                return self._outcome(index, transfer, cut.reason, str(cut))
            finally:
                for port, flight in flights:
                    port.host.flights.remove(flight)
        return self._outcome(len(self.pipe.transfers), None, "", "")

    def _outcome(
        self, completed: int, transfer: Transfer | None, reason: str, message: str
    ) -> PipeOutcome:
        failed = None
        if transfer is not None:
            failed = ItemFailure(name=transfer.member, reason=reason, message=message)
        return PipeOutcome(
            completed=completed,
            sent_bytes=self.sent,
            duration_s=self.world.monotonic_s - self.started_s,
            failure=failed,
        )

    def _take_off(self, transfer: Transfer) -> list[tuple[FakePort, Flight]]:
        flights = []
        sent = transfer.source_dataset
        if transfer.of_replica:
            sent = f"{sent}@{transfer.snapshot}"
        for port, dataset, receives in (
            (self.source, sent, False),
            (self.target, transfer.target_dataset, True),
        ):
            leader = port.leader
            flight = Flight(dataset, leader.term(), leader.installation, receives)
            port.host.flights.append(flight)
            flights.append((port, flight))
        return flights

    async def _member(
        self,
        transfer: Transfer,
        faults: list[TransferFault],
        flights: list[tuple[FakePort, Flight]],
        progress: _Told,
    ) -> None:
        stream = self._open(transfer)
        self._check_target(transfer)
        reception = streams.Reception(
            self.target.host.pool_of(transfer.target_dataset),
            transfer.target_dataset,
            transfer.properties,
            _origin(transfer),
        )
        self.source.record(*_send_argv(transfer))
        self.target.record(*_receive_argv(transfer))
        reception.begin(stream)
        arrived = False
        try:
            await self._flow(reception, faults, flights, progress)
            arrived = True
        finally:
            # Cut, killed, full, or the task was cancelled: both sides end, what came is kept.
            if not arrived:
                reception.interrupt()
        reception.finish()
        if any(f.after_bytes > stream.size and f.pause is None for f in faults):
            raise _Cut("the connection was lost before the end was acknowledged")

    async def _flow(
        self,
        reception: streams.Reception,
        faults: list[TransferFault],
        flights: list[tuple[FakePort, Flight]],
        progress: _Told,
    ) -> None:
        already = reception.received
        for fault in sorted(faults, key=lambda f: f.after_bytes):
            if fault.garbled:
                raise _Cut("cannot receive: invalid stream (checksum mismatch)")
            if fault.after_bytes > reception.remaining + reception.received - already:
                continue
            self._feed(reception, fault.after_bytes - (reception.received - already), progress)
            if fault.stalls:
                self.world.advance(patience_s(self.pipe))
                raise _Stalled("no byte moved")
            if fault.pause is None:
                raise _Cut("the connection was lost")
            await _wait(fault, flights)
        self._feed(reception, reception.remaining, progress)

    def _feed(self, reception: streams.Reception, size: int, progress: _Told) -> None:
        before = reception.received
        try:
            reception.feed(size)
        finally:
            self.sent += reception.received - before
            progress(reception.received)

    def _open(self, transfer: Transfer) -> Stream:
        """What the stream process checks right before `zfs send`, then the stream."""
        pool = self.source.host.pool_of(transfer.source_dataset)
        found = pool.get(transfer.source_dataset)
        if found.guid != transfer.source_guid:
            raise _changed(found.name, transfer.source_guid)
        if isinstance(transfer.how, Resume):
            return streams.resume(pool, transfer.how.token)
        snapshot = found.snapshot(transfer.snapshot)
        if snapshot is None or snapshot.guid != transfer.guid:
            raise _changed(f"{found.name}@{transfer.snapshot}", transfer.guid)
        if isinstance(transfer.how, Seed):
            return streams.send(pool, found.name, transfer.snapshot, None, mode=transfer.mode)
        base = transfer.how.base
        stream = streams.send(
            pool, found.name, transfer.snapshot, base.full_name, mode=transfer.mode
        )
        if stream.from_guid != base.guid:
            raise _changed(base.full_name, base.guid)
        return stream

    def _check_target(self, transfer: Transfer) -> None:
        """What the stream process checks right before `zfs receive`."""
        self.target.check_writer(transfer.target_dataset)
        pool = self.target.host.pool_of(transfer.target_dataset)
        found = pool.datasets.get(transfer.target_dataset)
        if isinstance(transfer.how, Seed | Branch):
            return
        if transfer.properties:
            raise ZfsError("InternalError", "properties are set while seeding only")
        if found is None:
            raise ZfsError("ParentMissing", f"{transfer.target_dataset} does not exist")
        if found.properties.get(LINEAGE) != transfer.lineage:
            raise ZfsError("TargetHasForeignData", f"{found.name} is not of our lineage")
        if found.properties.get(ROLE) == "primary":
            raise ZfsError("TargetIsPrimary", f"{found.name} has the role primary")


def _changed(name: str, planned: int) -> ZfsError:
    return ZfsError(LOST, f"{name} is not there any more with GUID {planned}, as planned")


async def _wait(fault: TransferFault, flights: list[tuple[FakePort, Flight]]) -> None:
    assert fault.pause is not None
    if fault.reached is not None:
        fault.reached.set()
    waits = [asyncio.ensure_future(fault.pause.wait())]
    waits += [asyncio.ensure_future(flight.wake.wait()) for _, flight in flights]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    if any(flight.killed for _, flight in flights):
        raise _Cut("the stream process was killed")


def _origin(transfer: Transfer) -> tuple[str, str, int] | None:
    if not isinstance(transfer.how, Branch):
        return None
    origin = transfer.how.origin
    return origin.dataset, origin.name, origin.guid


def _send_argv(transfer: Transfer) -> tuple[str, ...]:
    mode = f"-{transfer.mode}"
    match transfer.how:
        case Resume(token=token):
            return ("zfs", "send", "-vP", "-t", token)
        case Increment(base=base) | Branch(base=base):
            to = f"{transfer.source_dataset}@{transfer.snapshot}"
            return ("zfs", "send", "-vP", mode, "-i", base.full_name, to)
        case Seed():
            return ("zfs", "send", "-vP", mode, f"{transfer.source_dataset}@{transfer.snapshot}")


def _receive_argv(transfer: Transfer) -> tuple[str, ...]:
    wanted = dict(transfer.properties)
    if isinstance(transfer.how, Branch):
        wanted["origin"] = transfer.how.origin.full_name
    options = [part for k, v in wanted.items() for part in ("-o", f"{k}={v}")]
    return ("zfs", "receive", "-s", "-u", *options, transfer.target_dataset)
