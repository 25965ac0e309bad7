"""*Relay*: two ssh processes joined by a kernel pipe; *Direct*: one, which starts the other there.

Not a byte passes through Python.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from backstay.adapters.host import reasons, translate, ways
from backstay.adapters.host.connection import Connection
from backstay.adapters.host.dryrun import DryRunHost
from backstay.adapters.host.hosts import OpenSshHost
from backstay.adapters.host.process import Child
from backstay.domain.errors import BackstayError
from backstay.domain.steps import Increment, ItemFailure, Pipe, PipeOutcome, Transport
from backstay.ports.clock import Clock
from backstay.ports.host import HostPort, Progress
from backstay_host import protocol as wire

STALL_S = 60.0
"""No byte for so long: the hosts kill the stream themselves (rule *Deadlines*)."""
STALL_CAP_S = 1800.0
"""A stream that has failed may stand still twice as long the next time, up to this."""
STALL_MARGIN_S = 20.0
"""So much later the operator does, in case that a host does not answer at all."""
START_S = 60.0
"""Before the first byte: two logins, two starts of the program, and the look before the act."""
ECHOES = frozenset({"PeerEnded", "BadStream", "StreamLost"})
"""What a host says when the other one ended the stream: why it did is said over there."""
_SAYS_LITTLE = {reasons.TRANSFER_STALLED: 1, reasons.TRANSFER_FAILED: 2}
"""Reasons that another one explains, that which says least last."""
ENDED_S = 10.0
"""How long after the receiver's ssh has ended the rest may take to end, and to say how it went."""


class OpenSshTransfers:
    """A `TransferPort` between hosts of `OpenSshHosts`."""

    def __init__(self, clock: Clock, *, stall_s: float = STALL_S) -> None:
        self._clock = clock
        self._stall_s = stall_s

    async def transfer(
        self, source: HostPort, target: HostPort, pipe: Pipe, progress: Progress
    ) -> PipeOutcome:
        """See `TransferPort`."""
        _check(pipe)
        if isinstance(source, DryRunHost) and isinstance(target, DryRunHost):
            return await self._preview(source, target, pipe)
        assert isinstance(source, OpenSshHost)
        assert isinstance(target, OpenSshHost)
        began_s = self._clock.monotonic_s()
        async with AsyncExitStack() as stack:
            sender = _Side(source, await stack.enter_async_context(source.connected()))
            receiver = _Side(target, await stack.enter_async_context(target.connected()))
            if (why := ways.obstacle(pipe, source, target)) is not None:
                return PipeOutcome(completed=0, sent_bytes=0, duration_s=0.0, failure=why)
            way, left_out = ways.agree(pipe.transport, source, target)
            stack.push_async_callback(_cancel_both, sender, receiver)
            await self._order(pipe, way, sender, receiver)
            receiver.progress = progress
            await self._carry(sender, receiver, self._patience_s(pipe), direct=way.direct)
        outcome = _outcome(pipe, sender, receiver, self._clock.monotonic_s() - began_s)
        return replace(outcome, left_out=left_out)

    async def _order(self, pipe: Pipe, way: Transport, sender: _Side, receiver: _Side) -> None:
        """Both hosts have admitted their stream; a direct sender knows the target's ticket."""
        if way.direct:
            await receiver.order(self._receives(pipe, way))
            to = ways.destination(receiver.host, receiver.ticket)
            await sender.order(self._sends(pipe, way, to))
            return
        orders = (
            sender.order(self._sends(pipe, way, None)),
            receiver.order(self._receives(pipe, way)),
        )
        for refused in await asyncio.gather(*orders, return_exceptions=True):
            if refused is not None:  # and no ticket is under way any more
                raise refused

    def _sends(self, pipe: Pipe, way: Transport, to: wire.Destination | None) -> wire.Ticket:
        return wire.Ticket(
            sends=[translate.send_order(t) for t in pipe.transfers],
            receives=[],
            stall_s=self._patience_s(pipe),
            compressed=way.compressed,
            buffer_bytes=way.buffer_bytes,
            rate_bytes_s=way.rate_bytes_s,
            destination=to,
        )

    def _receives(self, pipe: Pipe, way: Transport) -> wire.Ticket:
        return wire.Ticket(
            sends=[],
            receives=[translate.receive_order(t) for t in pipe.transfers],
            stall_s=self._patience_s(pipe),
            compressed=way.compressed,
            buffer_bytes=way.buffer_bytes,
        )

    def _patience_s(self, pipe: Pipe) -> float:
        return min(self._stall_s * 2.0 ** min(pipe.failed_before, 10), STALL_CAP_S)

    async def _preview(self, source: DryRunHost, target: DryRunHost, pipe: Pipe) -> PipeOutcome:
        async with source.host.connected(), target.host.connected():
            if (why := ways.obstacle(pipe, source.host, target.host)) is not None:
                return PipeOutcome(completed=0, sent_bytes=0, duration_s=0.0, failure=why)
            way, left_out = ways.agree(pipe.transport, source.host, target.host)
            to = ways.destination(target.host, ways.NO_TICKET) if way.direct else None
            await source.would("ticket", self._sends(pipe, way, to))
            await target.would("ticket", self._receives(pipe, way))
        return PipeOutcome(
            completed=len(pipe.transfers),
            sent_bytes=0,
            duration_s=0.0,
            failure=None,
            left_out=left_out,
        )

    async def _carry(self, sender: _Side, receiver: _Side, stall_s: float, *, direct: bool) -> None:
        """The ssh processes were started, joined, watched and waited for."""
        if direct:
            await sender.prepare()
            await sender.start()
        else:
            await _join(sender, receiver)
        courses = {
            asyncio.create_task(self._watch(sender, receiver, stall_s)),
            asyncio.create_task((_direct_ended if direct else _both_ended)(sender, receiver)),
        }
        try:
            await asyncio.wait(courses, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for course in courses:
                course.cancel()
            await asyncio.gather(*courses, return_exceptions=True)

    async def _watch(self, sender: _Side, receiver: _Side, stall_s: float) -> None:
        """Return once nothing has moved for too long, or a control connection was lost."""
        seen, since_s = -1, self._clock.monotonic_s()
        while sender.lost is None and receiver.lost is None:
            moved = sender.moved_bytes + receiver.moved_bytes
            if moved != seen:
                seen, since_s = moved, self._clock.monotonic_s()
            limit_s = stall_s + STALL_MARGIN_S + (0.0 if moved else START_S)
            if self._clock.monotonic_s() - since_s > limit_s:
                receiver.lost = reasons.failure(
                    reasons.TRANSFER_STALLED, f"no byte moved for {limit_s:.0f} s"
                )
                return
            await self._clock.sleep(1.0)


async def _join(sender: _Side, receiver: _Side) -> None:
    """Both ssh processes run, with a pipe between them."""
    await asyncio.gather(sender.prepare(), receiver.prepare())
    read_end, write_end = os.pipe()
    try:
        await receiver.start(stdin=read_end)
        await sender.start(stdout=write_end)
    finally:
        # Ours must go, else neither side would ever see the other's end.
        os.close(read_end)
        os.close(write_end)


@dataclass(slots=True)
class _Side:
    """One end of a pipe: its ticket, its ssh process, and what its host says about it."""

    host: OpenSshHost
    connection: Connection
    members: int = 0
    """How many orders the ticket is for."""
    ticket: str = ""
    command: list[str] = field(default_factory=list)
    argv: list[str] = field(default_factory=list)
    child: Child | None = None
    moved: dict[int, int] = field(default_factory=dict)
    outcomes: list[ItemFailure] | None = None
    """One a member that was begun, `reason` empty on success; None until the host said so."""
    echoes: bool = False
    """Whether its complaint only says that the other side ended."""
    about_line: wire.ItemOutcome | None = None
    """What a direct sender says of its line to the target."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    lost: BackstayError | None = None
    progress: Progress | None = None

    @property
    def moved_bytes(self) -> int:
        """Bytes of all members so far."""
        return sum(self.moved.values())

    @property
    def completed(self) -> int:
        """Members that went well here, up to the first that did not."""
        told = self.outcomes or []
        return next((i for i, o in enumerate(told) if o.reason), len(told))

    @property
    def complaint(self) -> ItemFailure | None:
        """The first failure that the host told of."""
        return next((o for o in self.outcomes or [] if o.reason), None)

    async def order(self, body: wire.Ticket) -> None:
        """The host has admitted a stream for these orders."""
        answer = await self.host.ask_on(self.connection, "ticket", body)
        said = translate.result(wire.Ticketed, answer.result, self.host.name)
        self.ticket, self.command = said.ticket, said.command
        self.members = len(body.sends or body.receives)
        self.connection.listen(self.ticket, self._hear)

    async def prepare(self) -> None:
        """The command line of the stream's ssh process is known, and its trunk stands."""
        self.argv = await self.host.stream_argv(self.command)

    async def start(self, **ends: int) -> None:
        """The ssh process of the stream runs."""
        self.child = await Child.start(self.argv, **ends)

    async def end(self) -> None:
        """Neither the stream nor the ssh process runs any more, here or at the host."""
        if self.ticket and not self.ended.is_set() and self.connection.is_open:
            # A host that cannot be asked any more ends the stream by itself: its socket to the
            # control program is gone.
            with contextlib.suppress(BackstayError):
                await self.host.ask_on(self.connection, "cancel", wire.Cancel(ticket=self.ticket))
        if self.child is not None:
            await self.child.end()
        self.connection.unlisten(self.ticket)

    def _hear(self, told: Mapping[str, Any]) -> None:
        match told:
            case {"progress": {"index": int(index), "bytes": int(size)}} if (
                0 <= index < self.members and 0 <= size < 1 << 64
            ):
                self.moved[index] = size
                if self.progress is not None:
                    self.progress(index, size)
            case {"ended": {"outcomes": list(outcomes)}}:
                items = translate.result(wire.Done, {"items": outcomes}, self.host.name).items
                self.outcomes = [translate.item_failure(item) for item in items]
                self.echoes = any(item.reason in ECHOES for item in items)
                self.about_line = next((i for i in items if i.reason in ways.LINK_WORDS), None)
                self.ended.set()
            case {"lost": BackstayError() as why}:
                self.lost = why
            case _:
                raise wire.ProtocolError(f"no word of {self.members} orders: {str(told)[:200]}")


async def _both_ended(sender: _Side, receiver: _Side) -> None:
    """Both ssh processes have ended and both hosts have said how it went, or stay silent.

    The receiver may take its time after the sender's end, but not the sender after the receiver's.
    """
    assert sender.child is not None
    assert receiver.child is not None
    await receiver.child.wait()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(ENDED_S):
            await asyncio.gather(sender.child.wait(), sender.ended.wait(), receiver.ended.wait())


async def _direct_ended(sender: _Side, receiver: _Side) -> None:
    """The sender's ssh process has ended and both hosts have said how it went, or stay silent.

    The source waits for the target's stream, which may take its time; once that has ended the
    sender may not. A target that no line has reached has nothing to say.
    """
    assert sender.child is not None
    first = {asyncio.create_task(sender.child.wait()), asyncio.create_task(receiver.ended.wait())}
    try:
        await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in first:
            task.cancel()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(ENDED_S):
            await asyncio.gather(sender.child.wait(), sender.ended.wait())
            if sender.about_line is None:
                await receiver.ended.wait()


async def _cancel_both(sender: _Side, receiver: _Side) -> None:
    """Also when the task is cancelled: both ends are gone before anything else happens."""
    ends = asyncio.gather(sender.end(), receiver.end(), return_exceptions=True)
    cancelled = None
    while not ends.done():
        try:
            await asyncio.shield(ends)
        except asyncio.CancelledError as again:
            cancelled = again
    if cancelled is not None:
        raise cancelled


def _check(pipe: Pipe) -> None:
    """Rule *A pipe cannot mix up members*: a misdirected full stream would be accepted."""
    together = len(pipe.transfers) > 1
    if together and not all(isinstance(t.how, Increment) for t in pipe.transfers):
        raise reasons.failure(reasons.INTERNAL_ERROR, "only increments may share a pipe")


def _outcome(pipe: Pipe, sender: _Side, receiver: _Side, duration_s: float) -> PipeOutcome:
    """What both hosts said, as one outcome; the receiver decides how far it came."""
    completed = min(receiver.completed, len(pipe.transfers))
    return PipeOutcome(
        completed=completed,
        sent_bytes=receiver.moved_bytes or sender.moved_bytes,
        duration_s=duration_s,
        failure=_failure(pipe, completed, sender, receiver),
    )


def _failure(pipe: Pipe, completed: int, sender: _Side, receiver: _Side) -> ItemFailure | None:
    """Why it ended early: the complaint that explains the other one, else what ssh said."""
    if completed == len(pipe.transfers):
        return None
    member = pipe.transfers[completed].member
    if sender.about_line is not None and receiver.complaint is None:
        why = ways.explained(sender.about_line, sender.host.name, receiver.host.name)
        return replace(why, name=member)
    sides = sorted((sender, receiver), key=lambda side: side.echoes)
    told = [side.complaint for side in sides if side.complaint is not None]
    told.sort(key=lambda failure: _SAYS_LITTLE.get(failure.reason, 0))
    if told and told[0].reason not in _SAYS_LITTLE:
        return ItemFailure(name=member, reason=told[0].reason, message=told[0].message)
    words = [failure.message for failure in told]
    words += [str(side.lost) for side in (sender, receiver) if side.lost is not None]
    words += [
        f"{side.host.name}: {side.child.stderr.strip().splitlines()[-1]}"
        for side in (sender, receiver)
        if side.child is not None and side.child.stderr.strip()
    ]
    message = "; ".join(words) or "the stream ended early and no host said why"
    stalled = {failure.reason for failure in told}
    stalled |= {side.lost.reason for side in sides if side.lost is not None}
    if reasons.TRANSFER_STALLED in stalled:
        message = f"it stood still and was stopped; it goes on from what has arrived ({message})"
        return ItemFailure(name=member, reason=reasons.TRANSFER_STALLED, message=message)
    return ItemFailure(name=member, reason=reasons.TRANSFER_FAILED, message=message)
