"""Tickets and the streams that came with them, as `serve` sees them."""

from __future__ import annotations

import os
import secrets
import select
import signal
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from backstay_host import carriers, places
from backstay_host.clock import now_s
from backstay_host.protocol import (
    ItemOutcome,
    ProtocolError,
    ReceiveOrder,
    SendOrder,
    Ticket,
    Ticketed,
    encode_frame,
    to_json,
)
from backstay_host.refusal import Refused
from backstay_host.request import Host, Request
from backstay_host.values import STREAM_MODES
from backstay_host.wire import Message, read_frame
from backstay_host.zfs import argv, names

UNUSED_S = 120.0
"""A ticket that nobody came with in this time is void."""
ALIVE_EVERY_S = 2.0
_GRACE_S = 3.0


def _check_send(order: SendOrder) -> None:
    names.snapshot(f"{names.dataset(order.dataset)}@{order.snapshot}")
    if order.mode not in STREAM_MODES:
        raise Refused("BadRequest", f"{order.mode[:80]!r} is no mode of a stream")
    if order.base is not None:
        names.point(order.base)
    if is_branch(order) and "#" in (order.base or ""):
        raise Refused("BadRequest", f"the base {order.base} is not of {order.dataset}")
    if order.token is not None:
        names.token(order.token)
    elif (order.base is None) != (order.base_guid is None):
        raise Refused("BadRequest", "a base has a GUID")


def is_branch(order: SendOrder) -> bool:
    """Whether it starts at a snapshot of another dataset, the origin of a clone.

    Whether it is that, `zfs send` checks itself: "not an earlier snapshot from the same fs".
    """
    return order.base is not None and names.dataset_of(order.base) != order.dataset


def _check_receive(order: ReceiveOrder) -> None:
    names.dataset(order.dataset)
    names.lineage(order.lineage)
    names.properties(order.properties)
    fresh = order.seed and not order.resumed
    if order.origin is not None:
        names.snapshot(order.origin)
        if not fresh or order.origin_guid is None:
            raise Refused("BadRequest", "an origin has a GUID, and is of a new dataset")
    if fresh and order.properties.get(argv.LINEAGE) != order.lineage:
        raise Refused("BadRequest", f"a seed sets {argv.LINEAGE} to its lineage")
    if not fresh and order.properties:
        raise Refused("BadRequest", "properties are set while seeding only")


def validate(body: Ticket) -> None:
    """The orders are of one kind, well-formed, and may share a pipe.

    Several only when all are increments (rule *A pipe cannot mix up members*).
    """
    if bool(body.sends) == bool(body.receives) or body.stall_s <= 0:
        raise Refused("BadRequest", "a ticket is for sends or for receives, with a stall time")
    carriers.check(body)
    for send in body.sends:
        _check_send(send)
    for receive in body.receives:
        _check_receive(receive)
    fresh = [s for s in body.sends if s.base is None or s.token is not None or is_branch(s)]
    alone = [s.dataset for s in fresh]
    alone += [r.dataset for r in body.receives if r.seed or r.resumed]
    if alone and len(body.sends) + len(body.receives) > 1:
        raise Refused("BadRequest", f"{alone[0]} needs a pipe of its own")


@dataclass(slots=True, eq=False)
class Stream:
    """One ticket: issued, and then the process that came with it."""

    ticket: str
    body: Ticket
    installation: str
    term: int
    void_at: float
    admitted: bool = False
    link: socket.socket | None = None
    process: int = -1
    """A descriptor of the process, so that only this one can be killed."""
    ended: threading.Event = field(default_factory=threading.Event)
    sending: threading.Lock = field(default_factory=threading.Lock)

    def admit(self, link: socket.socket, orders: Message) -> None:
        """The process at the other end of the link has its orders."""
        pid = struct.unpack(
            "3i",
            link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")),
        )[0]
        with self.sending:
            self.process = os.pidfd_open(pid)
            self.link = link
            link.sendall(encode_frame(orders))

    def tell(self, message: Message) -> None:
        """The process was told, if it still listens; a stopped one does not make us wait."""
        if self.link is None or not self.sending.acquire(timeout=0.5):
            return
        try:
            self.link.send(encode_frame(message), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError:
            return  # gone, or stopped: its end is noticed elsewhere
        finally:
            self.sending.release()

    def kill(self) -> None:
        """The process is being killed; its children get PR_SET_PDEATHSIG."""
        if self.process >= 0:
            try:
                signal.pidfd_send_signal(self.process, signal.SIGKILL)
            except ProcessLookupError:
                return

    def gone(self, until: float) -> bool:
        """Whether the process ended by then."""
        if self.process < 0:
            return True
        patience_s = max(0.0, until - now_s())
        return bool(select.select([self.process], [], [], patience_s)[0])


class Streams:
    """The streams of one session."""

    def __init__(self, host: Host, emit: Callable[[Message], None]) -> None:
        """`emit` is given the `progress` and `ended` frames."""
        self._host = host
        self._emit = emit
        self._lock = threading.Lock()
        self._streams: dict[str, Stream] = {}
        self._listener = socket.socket(socket.AF_UNIX)
        self._next_alive = 0.0

    def listen(self) -> None:
        """Streams can connect.

        The socket has its name only when it listens: a session that sweeps takes one that does
        not for a dead one's.
        """
        path = places.socket_path(self._host.nonce)
        unborn = path.with_suffix(places.UNBORN)
        self._listener.bind(str(unborn))
        self._listener.listen(64)
        unborn.rename(path)
        threading.Thread(target=self._accept, name="streams", daemon=True).start()

    def issue(self, request: Request, body: Ticket) -> Ticketed:
        """One stream with these orders will be admitted; `command` starts it.

        Nothing was read or locked yet: the stream does that right before it acts.
        """
        validate(body)
        orders = [argv.send(o) for o in body.sends] + [argv.receive(o) for o in body.receives]
        request.commands.extend([*orders, *carriers.vectors(body)])
        if request.dry_run:
            return Ticketed("", [])
        fence = self._host.fence
        if fence is None:
            raise Refused("NotClaimed", "this session has not claimed the host yet")
        fence.check_term()
        self._host.version(request.deadline)
        ticket = f"{self._host.nonce}.{secrets.token_hex(16)}"
        void_at = now_s() + UNUSED_S
        with self._lock:
            self._streams[ticket] = Stream(ticket, body, fence.installation, fence.term, void_at)
        return Ticketed(ticket, [*self._host.program(), "stream", ticket])

    def cancel(self, ticket: str, patience_s: float) -> None:
        """The stream of this ticket has ended, or never begins; `Timeout` if it does not end."""
        with self._lock:
            stream = self._streams.get(ticket)
            if stream is not None and not stream.admitted:
                del self._streams[ticket]
                return
        if stream is None:
            return
        stream.tell({"cancel": True})
        if not stream.ended.wait(min(_GRACE_S, patience_s)):
            stream.kill()  # it is stopped or stuck
        if not stream.ended.wait(max(0.1, patience_s - _GRACE_S)):
            raise Refused("Timeout", f"the stream {ticket} does not end")

    def tick(self, now: float) -> None:
        """Streams know that we are alive; tickets that nobody came with are void."""
        if now < self._next_alive:
            return
        self._next_alive = now + ALIVE_EVERY_S
        with self._lock:
            streams = list(self._streams.values())
            for stream in streams:
                if not stream.admitted and stream.void_at < now:
                    del self._streams[stream.ticket]
        braked = Counter(stream.body.rate_bytes_s for stream in streams if stream.admitted)
        for stream in streams:
            stream.tell({"alive": True, "sharing": braked[stream.body.rate_bytes_s]})

    def idle(self) -> bool:
        """Whether no stream runs."""
        with self._lock:
            return not any(stream.admitted for stream in self._streams.values())

    def end(self, patience_s: float) -> None:
        """Every stream has ended; those that do not within the time were killed."""
        self._listener.close()
        with self._lock:
            streams = [stream for stream in self._streams.values() if stream.admitted]
            self._streams = {stream.ticket: stream for stream in streams}
        for stream in streams:
            if stream.link is not None:
                _shut(stream.link)
        until = now_s() + patience_s
        for stream in streams:
            if not stream.gone(until):
                stream.kill()

    # --- threads --------------------------------------------------------------------------------

    def _accept(self) -> None:
        while True:
            try:
                link, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._attend, args=(link,), daemon=True).start()

    def _attend(self, link: socket.socket) -> None:
        stream: Stream | None = None
        outcomes: list[Any] | None = None
        try:
            stream = self._admit(link)
            if stream is not None:
                self._instruct(stream, link)
            while stream is not None and (frame := read_frame(link.recv)) is not None:
                if "ended" in frame:
                    outcomes = frame["ended"]
                elif "progress" in frame:
                    self._emit({"progress": {"ticket": stream.ticket, **frame["progress"]}})
        except (OSError, ProtocolError):
            pass  # the link broke: what follows says so
        finally:
            link.close()
        if stream is not None:
            self._finish(stream, outcomes)

    def _admit(self, link: socket.socket) -> Stream | None:
        """The stream of the ticket that this link shows; a ticket admits once."""
        link.settimeout(10.0)
        frame = read_frame(link.recv) or {}
        with self._lock:
            stream = self._streams.get(str(frame.get("ticket")))
            if stream is None or stream.admitted:
                link.sendall(encode_frame({"refused": "no such ticket"}))
                return None
            stream.admitted = True
        return stream

    def _instruct(self, stream: Stream, link: socket.socket) -> None:
        """The stream's process has its orders; `OSError` when it is gone already."""
        orders = {
            "orders": to_json(stream.body),
            "installation": stream.installation,
            "term": stream.term,
            "versions": self._host.versions,
        }
        stream.admit(link, orders)
        link.settimeout(None)

    def _finish(self, stream: Stream, outcomes: list[Any] | None) -> None:
        if outcomes is None:
            lost = ItemOutcome("", "StreamLost", "the stream ended without a word")
            outcomes = [to_json(lost)]
        if any(outcome.get("reason") for outcome in outcomes):
            self._host.points.clear()  # what was planned by may be out of date
        with self._lock:
            self._streams.pop(stream.ticket, None)
        self._emit({"ended": {"ticket": stream.ticket, "outcomes": outcomes}})
        stream.ended.set()


def _shut(link: socket.socket) -> None:
    try:
        link.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # gone already
