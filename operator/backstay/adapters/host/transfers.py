"""*Relay*: two ssh processes joined by a kernel pipe; not a byte passes through Python."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from backstay.adapters.host import reasons, translate
from backstay.adapters.host.connection import Connection
from backstay.adapters.host.dryrun import DryRunHost
from backstay.adapters.host.hosts import OpenSshHost
from backstay.adapters.host.process import Child
from backstay.domain.errors import BackstayError
from backstay.domain.steps import Increment, ItemFailure, Pipe, PipeOutcome
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
            stack.push_async_callback(_cancel_both, sender, receiver)
            await sender.order(self._sends(pipe))
            await receiver.order(self._receives(pipe))
            receiver.progress = progress
            await self._relay(sender, receiver, self._patience_s(pipe))
        return _outcome(pipe, sender, receiver, self._clock.monotonic_s() - began_s)

    def _sends(self, pipe: Pipe) -> wire.Ticket:
        orders = [translate.send_order(t) for t in pipe.transfers]
        return wire.Ticket(sends=orders, receives=[], stall_s=self._patience_s(pipe))

    def _receives(self, pipe: Pipe) -> wire.Ticket:
        orders = [translate.receive_order(t) for t in pipe.transfers]
        return wire.Ticket(sends=[], receives=orders, stall_s=self._patience_s(pipe))

    def _patience_s(self, pipe: Pipe) -> float:
        return min(self._stall_s * 2.0 ** min(pipe.failed_before, 10), STALL_CAP_S)

    async def _preview(self, source: DryRunHost, target: DryRunHost, pipe: Pipe) -> PipeOutcome:
        await source.would("ticket", self._sends(pipe))
        await target.would("ticket", self._receives(pipe))
        return PipeOutcome(
            completed=len(pipe.transfers), sent_bytes=0, duration_s=0.0, failure=None
        )

    async def _relay(self, sender: _Side, receiver: _Side, stall_s: float) -> None:
        """Both ssh processes were started, joined, watched and waited for."""
        await asyncio.gather(sender.prepare(), receiver.prepare())
        read_end, write_end = os.pipe()
        try:
            await receiver.start(stdin=read_end)
            await sender.start(stdout=write_end)
        finally:
            # Ours must go, else neither side would ever see the other's end.
            os.close(read_end)
            os.close(write_end)
        courses = {
            asyncio.create_task(self._watch(sender, receiver, stall_s)),
            asyncio.create_task(_both_ended(sender, receiver)),
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
                    reasons.TRANSFER_FAILED, f"no byte moved for {limit_s:.0f} s"
                )
                return
            await self._clock.sleep(1.0)


@dataclass(slots=True)
class _Side:
    """One end of a pipe: its ticket, its ssh process, and what its host says about it."""

    host: OpenSshHost
    connection: Connection
    ticket: str = ""
    command: list[str] = field(default_factory=list)
    argv: list[str] = field(default_factory=list)
    child: Child | None = None
    moved: dict[int, int] = field(default_factory=dict)
    outcomes: list[ItemFailure] | None = None
    """One a member that was begun, `reason` empty on success; None until the host said so."""
    echoes: bool = False
    """Whether its complaint only says that the other side ended."""
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
            case {"progress": {"index": int(index), "bytes": int(size)}}:
                self.moved[index] = size
                if self.progress is not None:
                    self.progress(index, size)
            case {"ended": {"outcomes": list(outcomes)}}:
                items = translate.result(wire.Done, {"items": outcomes}, self.host.name).items
                self.outcomes = [translate.item_failure(item) for item in items]
                self.echoes = any(item.reason in ECHOES for item in items)
                self.ended.set()
            case {"lost": BackstayError() as why}:
                self.lost = why


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
    sides = sorted((sender, receiver), key=lambda side: side.echoes)
    told = [side.complaint for side in sides if side.complaint is not None]
    told.sort(key=lambda failure: failure.reason == reasons.TRANSFER_FAILED)
    if told and told[0].reason != reasons.TRANSFER_FAILED:
        return ItemFailure(name=member, reason=told[0].reason, message=told[0].message)
    words = [failure.message for failure in told]
    words += [str(side.lost) for side in (sender, receiver) if side.lost is not None]
    words += [
        f"{side.host.name}: {side.child.stderr.strip().splitlines()[-1]}"
        for side in (sender, receiver)
        if side.child is not None and side.child.stderr.strip()
    ]
    message = "; ".join(words) or "the stream ended early and no host said why"
    return ItemFailure(name=member, reason=reasons.TRANSFER_FAILED, message=message)
