"""`stream TICKET`: parent of `zfs send` or `zfs receive` on a connection of its own.

stdin and stdout are the data and belong to the children; nothing is ever printed there.
The link to `serve` is the leash: end of file or silence on it ends the children, then us.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from typing import TYPE_CHECKING

from backstay_host import places
from backstay_host.children import Children
from backstay_host.clock import now_s
from backstay_host.codec import ProtocolError, encode_frame, from_json, to_json
from backstay_host.fence import Fence
from backstay_host.orders import Orders, reading_deadline
from backstay_host.refusal import Refused
from backstay_host.request import Host, Request
from backstay_host.values import ItemOutcome, Ticket
from backstay_host.wire import Message, read_frame

if TYPE_CHECKING:
    from backstay_host.allow import Allowed  # only behind a gate: every stream is a new process
    from backstay_host.conduit import Conduit

SILENCE_S = 10.0
WATCH_EVERY_S = 1.0
DONE, FAILED, NO_SERVE = 0, 1, 3


class Leash:
    """The link to the `serve` that issued the ticket."""

    def __init__(self, link: socket.socket) -> None:
        """The link is connected."""
        self._link = link
        self._lock = threading.Lock()

    def say(self, message: Message) -> None:
        """`serve` was told, if it is still there."""
        with self._lock:
            try:
                self._link.sendall(encode_frame(message))
            except OSError:
                return  # the thread that listens notices

    def hear(self) -> Message | None:
        """What `serve` says next; None when it is gone, silent or broken."""
        try:
            return read_frame(self._link.recv)
        except (OSError, ProtocolError):
            return None


def connect(ticket: str) -> socket.socket:
    """A link to the `serve` of this ticket; it ends a read after `SILENCE_S` without a word."""
    nonce = ticket.partition(".")[0]
    if not (nonce.isascii() and nonce.isalnum()):
        raise Refused("NoSuchTicket", "this is no ticket")
    link = socket.socket(socket.AF_UNIX)
    link.settimeout(SILENCE_S)
    try:
        link.connect(str(places.socket_path(nonce)))
    except OSError as error:
        raise Refused("NoSuchTicket", f"nobody serves this ticket: {error}") from error
    return link


def admit(leash: Leash, ticket: str) -> tuple[Ticket, str, int, Message]:
    """The orders of the ticket, whose they are, their term, and the whole answer."""
    leash.say({"ticket": ticket})
    answer = leash.hear()
    if answer is None or "orders" not in answer:
        raise Refused("NoSuchTicket", str((answer or {}).get("refused", "no answer")))
    return (
        from_json(Ticket, answer["orders"]),
        str(answer["installation"]),
        int(answer["term"]),
        answer,
    )


def _listen(leash: Leash, children: Children, way: Conduit | None) -> None:
    """Ends the children when `serve` says so, is gone, or falls silent."""
    while (message := leash.hear()) is not None:
        if "cancel" in message:
            children.stop("cancelled", "Cancelled")
        if way is not None and "sharing" in message:
            way.share(int(message["sharing"]))
    children.stop("the session that issued the ticket is gone", "Stopped")


def _watch(leash: Leash, orders: Orders, way: Conduit | None, over: threading.Event) -> None:
    """Reports progress each second; kills the children when nothing moves for too long."""
    last, since = (-1, -1, -1), now_s()
    while not over.wait(WATCH_EVERY_S):
        on_its_way = -1 if way is None else way.moved_bytes
        moved = (orders.now.index, orders.now.bytes_moved(orders.sending), on_its_way)
        if moved != last:
            last, since = moved, now_s()
            if moved[1] >= 0:
                leash.say({"progress": {"index": moved[0], "bytes": moved[1]}})
        elif way is not None and way.waits_for_target:
            since = now_s()
        elif now_s() - since > orders.ticket.stall_s:
            orders.request.host.children.stop("no byte moved", "TransferStalled")


def run(ticket: str, allowed: Allowed | None = None) -> int:
    """The orders of the ticket were run, as far as they went, and `serve` knows the outcomes.

    `allowed` are the lists of the key that came with the ticket: another key may have issued it.
    """
    try:
        link = connect(ticket)
        leash = Leash(link)
        body, installation, term, answer = admit(leash, ticket)
    except (Refused, ProtocolError) as error:
        sys.stderr.write(f"backstay-host: {error}\n")
        return NO_SERVE
    if allowed is not None and (refused := _refused(allowed, body)) is not None:
        return _report(leash, [refused])
    children = Children()
    nonce = ticket.partition(".")[0]
    full, numbers = answer["versions"]
    versions = (str(full), (numbers[0], numbers[1], numbers[2]))
    host = Host(children, nonce, versions=versions, allowed=allowed)
    request = Request(host, reading_deadline())
    orders = Orders(request, Fence(installation, term), body)
    orders.report = lambda index, moved: leash.say({"progress": {"index": index, "bytes": moved}})
    way = _way(children, body)
    over = threading.Event()
    threading.Thread(target=_listen, args=(leash, children, way), daemon=True).start()
    threading.Thread(target=_watch, args=(leash, orders, way, over), daemon=True).start()
    outcomes = _carry(orders, way)
    over.set()
    return _report(leash, outcomes)


def _way(children: Children, body: Ticket) -> Conduit | None:
    """What is to run beside the orders; None for a plain *Relay*, which does not load it."""
    if not (body.compressed or body.buffer_bytes or body.rate_bytes_s or body.destination):
        return None
    from backstay_host.conduit import Conduit

    return Conduit(children, body)


def _carry(orders: Orders, way: Conduit | None) -> list[ItemOutcome]:
    """The outcomes of the orders, once nothing of what they wrote is under way any more."""
    if way is None:
        return orders.run()
    outcomes: list[ItemOutcome] = []
    try:
        way.open()
        orders.stdin, orders.stdout = way.stdin, way.stdout
        outcomes = orders.run()
    except Refused as error:
        outcomes = [ItemOutcome("", error.reason, error.message)]
    lost = way.close()
    last = outcomes[-1].reason if outcomes else ""
    if lost is None or last not in ("", "PeerEnded") or lost.reason == last:
        return outcomes
    name = outcomes.pop().name if last else ""
    return [*outcomes, ItemOutcome(name, lost.reason, lost.message)]


def _refused(allowed: Allowed, body: Ticket) -> ItemOutcome | None:
    from backstay_host import allow

    try:
        allow.check(allowed, body)
    except Refused as error:
        return ItemOutcome("", error.reason, error.message)
    return None


def _report(leash: Leash, outcomes: list[ItemOutcome]) -> int:
    _close_data()
    leash.say({"ended": [to_json(outcome) for outcome in outcomes]})
    return _status(outcomes)


def _close_data() -> None:
    """The other side sees the end of the data before anyone sees the outcome."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)


def _status(outcomes: list[ItemOutcome]) -> int:
    failed = [outcome for outcome in outcomes if outcome.reason]
    for outcome in failed:
        sys.stderr.write(f"backstay-host: {outcome.name}: {outcome.reason}: {outcome.message}\n")
    return FAILED if failed else DONE
