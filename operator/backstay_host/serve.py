"""`serve`: the control channel. Frames in, one request at a time, frames out.

Threads: the reader (stdin), the writer (stdout), the ticker (heartbeat, deadlines, leashes), one
for each stream, and the main thread, which alone carries out requests and forks. The session ends
on end of input, on a passed deadline of the heartbeat, on a broken frame, or on a signal: children
are killed with their groups and waited for, streams end, files of the session are removed.
"""

from __future__ import annotations

import json
import os
import platform
import queue
import resource
import secrets
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from backstay_host import (
    allow,
    carriers,
    claim,
    halt,
    lineage,
    opening,
    places,
    protocol,
    prune,
    replicas,
    roles,
    snapshots,
    survey,
)
from backstay_host.children import Children
from backstay_host.clock import now_s
from backstay_host.lease import Lease
from backstay_host.protocol import ProtocolError
from backstay_host.refusal import Refused
from backstay_host.request import Host, Request
from backstay_host.tickets import Streams
from backstay_host.version import protocol_version
from backstay_host.wire import Message, Outbox, read_frame

BEAT_EVERY_S = 3.0
TICK_S = 0.1
END_PATIENCE_S = 5.0
_STUCK_S = 3.0
_MAX_WAITING = 32  # each may be as large as a frame; the operator sends one at a time
_KEEPS_POINTS = protocol.READ_ONLY | {"claim", "snapshot", "prune", "create", "ticket", "cancel"}
"""After these `KnownPoints` still knows: what they change is told by ZFS or forgotten by them."""
_MAX_DEADLINE_S = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Call:
    """One request frame, as far as it can be read without its body."""

    id: int
    name: str
    term: int
    dry_run: bool
    deadline: float
    body: Any


def parse_call(frame: Message, now: float) -> Call:
    """The request of a frame; `ProtocolError` when it is none."""
    values = [frame.get(key) for key in ("id", "request", "term", "dryRun", "deadlineS")]
    identity, name, term, dry_run, seconds = values
    if (
        type(identity) is not int
        or not isinstance(name, str)
        or type(term) is not int
        or type(dry_run) is not bool
        or not isinstance(seconds, (int, float))
        or not 0 < seconds <= _MAX_DEADLINE_S
    ):
        raise ProtocolError(f"not a request: {sorted(frame)}")
    return Call(identity, name, term, dry_run, now + seconds, frame.get("body", {}))


def parse_beat(frame: Message) -> tuple[str, float]:
    """Nonce and remaining seconds of an answered heartbeat; `ProtocolError` when it is none."""
    nonce, left = frame.get("beat"), frame.get("remainingS")
    if (
        not isinstance(nonce, str)
        or not isinstance(left, (int, float))
        or isinstance(left, bool)
        or not abs(left) <= sys.float_info.max
    ):
        raise ProtocolError(f"not a heartbeat: {sorted(frame)}")
    return nonce, float(left)


class Session:
    """One control channel, from its greeting to its end."""

    def __init__(self, inp: int, out: int, allowed: allow.Allowed | None = None) -> None:
        """Nothing runs yet; `allowed` are the lists of the key, None where nothing limits it."""
        fed = places.fed_program()
        nonce = secrets.token_hex(16) if fed is None else fed.stem
        self.host = Host(Children(), nonce, allowed=allowed)
        self._inp = inp
        self._outbox = Outbox(out, lambda: self.end("nobody reads our output"))
        self.streams = Streams(self.host, self._outbox.put)
        self.lease = Lease(now_s())
        self._calls: queue.Queue[Call | None] = queue.Queue(_MAX_WAITING)
        self._current: Call | None = None
        self._ended = threading.Event()
        self._left = threading.Event()
        self._leaving = False
        self._signals, wakeup = os.pipe()
        for end in (self._signals, wakeup):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        self._handlers: dict[str, Callable[[Request, Any, Call], Any]] = {
            "hello": lambda request, body, _: survey.hello(request, body),
            "survey": lambda request, body, _: survey.survey(request, body),
            "claim": lambda request, body, call: claim.claim(request, body, call.term),
            "snapshot": lambda request, body, _: snapshots.snapshot(request, body),
            "prune": lambda request, body, _: prune.prune(request, body),
            "create": lambda request, body, _: replicas.create(request, body),
            "abort": lambda request, body, _: replicas.abort(request, body),
            "posture": lambda request, body, _: replicas.posture(request, body),
            "halt": lambda request, body, _: halt.halt(request, body),
            "roles": lambda request, body, _: roles.swap(request, body),
            "readonly": lambda request, body, _: roles.readonly(request, body),
            "open": lambda request, body, _: opening.open_promoted(request, body),
            "discard": lambda request, body, _: opening.discard(request, body),
            "ticket": lambda request, body, _: self.streams.issue(request, body),
            "rename": lambda request, body, _: lineage.rename(request, body),
            "clone": lambda request, body, _: lineage.clone(request, body),
            "promote": lambda request, body, _: lineage.promote(request, body),
            "rollback": lambda request, body, _: lineage.rollback(request, body),
            "label": lambda request, body, _: lineage.label(request, body),
            "cancel": self._cancel,
            "goodbye": self._goodbye,
        }

    def run(self) -> int:
        """The session was served to its end; the exit status (0: the other side closed it)."""
        _raise_limits()
        places.sweep()
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        self.streams.listen()
        self._outbox.start()
        greeting = protocol.Greeting(
            protocol.PROTOCOL_VERSION,
            platform.python_version(),
            self.host.nonce,
            self.host.program(),
            protocol_version(),
            carriers.present(),
        )
        self._outbox.put_line(protocol.HELLO_MARK + json.dumps(protocol.to_json(greeting)))
        for target in (self._read, self._tick):
            threading.Thread(target=target, name=target.__name__, daemon=True).start()
        while (call := self._calls.get()) is not None and not self._ended.is_set():
            self._current = call
            self._outbox.put_encoded(_encoded(self._answer(call)))
            self._current = None
        self._left.set()
        self._clean_up()
        return 0

    def end(self, why: str) -> None:
        """The session is ending: nothing more is started and every child is being killed."""
        if self._ended.is_set():
            return
        self._ended.set()
        self.host.children.stop(f"the session ended: {why}")
        try:
            self._calls.put_nowait(None)
        except queue.Full:
            return  # main looks at `_ended` after each call

    def _clean_up(self) -> None:
        self.streams.end(END_PATIENCE_S)
        self._outbox.close(1.0)
        places.remove(self.host.nonce)

    # --- requests -------------------------------------------------------------------------------

    def _answer(self, call: Call) -> Message:
        request = Request(self.host, call.deadline, call.dry_run)
        answer: Message = {"id": call.id}
        try:
            if call.name not in protocol.REQUESTS:
                raise Refused("BadRequest", f"unknown request {call.name[:40]!r}")
            body: Any = protocol.from_json(protocol.REQUESTS[call.name][0], call.body)
            if self.host.allowed is not None:
                allow.check(self.host.allowed, body)
            self._check_may_act(call)
            if call.name not in _KEEPS_POINTS:
                self.host.points.clear()
            answer["result"] = protocol.to_json(self._handlers[call.name](request, body, call))
        except Refused as error:
            self.host.points.clear()
            answer["error"] = _error(error)
        except ProtocolError as error:
            answer["error"] = _error(Refused("BadRequest", str(error)))
        except Exception:  # noqa: BLE001 - one request's bug must not end the streams of others
            answer["error"] = _error(Refused("InternalError", traceback.format_exc()[-4000:]))
        answer["commands"] = request.commands
        return answer

    def _check_may_act(self, call: Call) -> None:
        """Our leader's Lease is known to be valid, and the term is that of the claim."""
        if now_s() >= call.deadline:
            raise Refused("Timeout", "the deadline passed before the request's turn came")
        if call.dry_run or call.name in protocol.READ_ONLY:
            return
        self.lease.wait_for_first(min(5.0, call.deadline - now_s()))
        if self.lease.remaining_s(now_s()) <= 0 or not self.lease.wait_for_first(0):
            raise Refused("LeaseLost", "no valid heartbeat")
        fence = self.host.fence
        if call.name == "claim" or fence is None:
            return
        if call.term < fence.term:
            message = f"this session has claimed term {fence.term}, not {call.term}"
            raise Refused("HigherTerm", message, fence.term)
        if call.term > fence.term:
            raise Refused("NotClaimed", f"term {call.term} has not claimed this host")

    def _cancel(self, request: Request, body: protocol.Cancel, _: Call) -> protocol.Done:
        if not request.dry_run:
            self.streams.cancel(body.ticket, request.left_s())
        return protocol.Done([protocol.ItemOutcome(body.ticket, "", "")])

    def _goodbye(self, _: Request, __: protocol.Goodbye, ___: Call) -> protocol.Done:
        self._leaving = True
        return protocol.Done([])

    # --- threads --------------------------------------------------------------------------------

    def _was_signalled(self) -> bool:
        """Whether a signal has come since the last look.

        No handler of Python's tells: it runs in main only, which may hold the very locks that
        `end` takes, and which sleeps on when the kernel gives the signal to another thread (seen).
        """
        try:
            return bool(os.read(self._signals, 64))
        except BlockingIOError:
            return False

    def _read(self) -> None:
        try:
            while (frame := read_frame(lambda n: os.read(self._inp, n))) is not None:
                if "beat" in frame:
                    self.lease.answer(*parse_beat(frame))
                else:
                    self._calls.put_nowait(parse_call(frame, now_s()))
        except (OSError, ProtocolError, queue.Full) as error:
            self.end(f"broken input: {error!r}")
        finally:
            self.end("end of input")

    def _tick(self) -> None:
        next_beat = 0.0
        while not self._ended.wait(TICK_S):
            now = now_s()
            if self._was_signalled():
                self.end("a signal")
            if now >= next_beat:
                next_beat = now + BEAT_EVERY_S
                nonce = secrets.token_hex(8)
                self.lease.ask(nonce, now)
                self._outbox.offer({"beat": nonce})
            self.host.children.expire(now)
            self.streams.tick(now)
            self._give_up_if_stuck(now)
            if self.lease.remaining_s(now) <= 0:
                self.end("the Lease of our leader has run out")
            if self._leaving and self._current is None and self.streams.idle():
                self.end("goodbye")
        if not self._left.wait(END_PATIENCE_S):
            self._abandon()

    def _give_up_if_stuck(self, now: float) -> None:
        """A child that the kernel does not let go must not keep the other side waiting."""
        call = self._current
        if call is not None and now > call.deadline + _STUCK_S:
            error = _error(Refused("Timeout", f"{call.name}: a child does not end"))
            self._outbox.offer({"id": call.id, "error": error, "commands": []})
            self.end("a child does not end")

    def _abandon(self) -> None:
        """Main waits for a child in the kernel; that child keeps its locks without us."""
        self._clean_up()
        os._exit(1)


def _error(error: Refused) -> Message:
    answer: Message = {"reason": error.reason, "message": error.message[-8000:]}
    if error.higher_term is not None:
        answer["higherTerm"] = error.higher_term
    return answer


def _encoded(answer: Message) -> bytes:
    """The frame of an answer, or of the refusal that it would be too large."""
    try:
        return protocol.encode_frame(answer)
    except ProtocolError as error:
        refused = _error(Refused("OutputTooLarge", str(error)))
        return protocol.encode_frame({"id": answer["id"], "error": refused})


def _raise_limits() -> None:
    """As many open files as allowed: a large group holds two locks a member."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
