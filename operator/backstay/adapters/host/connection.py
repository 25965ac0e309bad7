"""One control connection: the host program on the other side, frames, and who waits for which."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from backstay.adapters.host import reasons
from backstay.adapters.host.bootstrap import INSTALLED_COMMAND, bootstrap_command, feed
from backstay.adapters.host.endpoint import Launcher
from backstay.adapters.host.failures import classify
from backstay.adapters.host.process import Child
from backstay.domain.errors import BackstayError, Unreachable, Waiting
from backstay_host.codec import decode_message
from backstay_host.protocol import (
    HELLO_MARK,
    MAX_FRAME_BYTES,
    MAX_NOISE_BYTES,
    PROTOCOL_VERSION,
    Greeting,
    ProtocolError,
    encode_frame,
    from_json,
)
from backstay_host.version import protocol_version

GREETING_S = 60.0
"""ConnectTimeout (10 s), a slow login (DNS, PAM) on a host at its limit, the start of Python."""
GRACE_S = 5.0
"""The host's own deadline comes first; so much later the connection is given up."""
GOODBYE_S = 5.0
SILENT_S = 30.0
"""No frame for so long, ten heartbeats: the host program stands still. By then it has no Lease any
more either, and ends itself once it goes on (`FIRST_BEAT_S`)."""

Listener: TypeAlias = Callable[[Mapping[str, Any]], None]
"""Gets the `progress` and `ended` frames of one ticket."""

_INSTALL = "install the host program of this operator there"
_ANY_MARK = re.compile(rb"backstay-host/(\d+) ")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the result as JSON, and the argument vectors."""

    result: Any
    commands: tuple[tuple[str, ...], ...]


class Connection:
    """Frames to and from one running host program. Make it with `open_connection`."""

    def __init__(self, name: str, child: Child, remaining_s: Callable[[], float]) -> None:
        self.name = name
        self._child = child
        self._remaining_s = remaining_s
        self._pending: dict[int, asyncio.Future[Mapping[str, Any]]] = {}
        self._listeners: dict[str, Listener] = {}
        self._turn = asyncio.Lock()
        """A host serves one request at a time: waiting for it here takes nothing of a deadline."""
        self._serving = ""
        self._sending = asyncio.Lock()
        self._heard_s = _now_s()
        self._next_id = 0
        self._lost: BackstayError | None = None
        self._reader = asyncio.create_task(self._read())
        self._reader.add_done_callback(self._read_no_more)

    @property
    def is_open(self) -> bool:
        """Whether a request may still be sent."""
        return self._lost is None

    async def request(
        self, message: Mapping[str, Any], deadline_s: float, *, patience_s: float | None = None
    ) -> Answer:
        """The answer to one request, which its host has so many seconds for once it is its turn.

        Raises by the reason that the host gave; `Unreachable` when the connection was lost, so
        that the outcome is unknown; `Waiting` (Timeout) past the deadline, or when its turn did not
        come within `patience_s`. A host that is silent, too, loses its connection; one that is
        heard carries on with what it streams, and refuses by itself what comes to its turn late.
        """
        name = str(message["request"])
        await self._take_turn(name, patience_s)
        try:
            if self._lost is not None:
                raise self._lost
            self._serving = name
            return await self._exchange(message, deadline_s)
        except TimeoutError:
            said = f"{self.name} did not answer `{name}` within {deadline_s:.0f} s"
            raise Waiting(reasons.TIMEOUT, said) from None
        finally:
            self._turn.release()

    async def _take_turn(self, name: str, patience_s: float | None) -> None:
        try:
            async with asyncio.timeout(patience_s):
                await self._turn.acquire()
        except TimeoutError:
            raise Waiting(
                reasons.TIMEOUT,
                f"{self.name} is busy with `{self._serving}`: `{name}` had no turn within "
                f"{patience_s:.0f} s",
            ) from None

    async def _exchange(self, message: Mapping[str, Any], deadline_s: float) -> Answer:
        self._next_id += 1
        number = self._next_id
        answer = asyncio.get_running_loop().create_future()
        self._pending[number] = answer
        try:
            async with asyncio.timeout(deadline_s + GRACE_S):
                await self._send({"id": number, **message, "deadlineS": deadline_s})
                while not answer.done():
                    await asyncio.wait({answer}, timeout=SILENT_S / 10)
                    await self._end_if_silent()
                return _answer(self.name, answer.result())
        finally:
            self._pending.pop(number, None)

    async def _end_if_silent(self) -> None:
        if _now_s() - self._heard_s > SILENT_S:
            said = f"{self.name} fell silent: nothing came for {SILENT_S:.0f} s"
            self._give_up(Unreachable(reasons.UNREACHABLE, said))
            await self._child.end()

    def listen(self, ticket: str, listener: Listener) -> None:
        """From now on the frames of this ticket go to `listener`."""
        self._listeners[ticket] = listener

    def unlisten(self, ticket: str) -> None:
        """Nobody waits for this ticket any more."""
        self._listeners.pop(ticket, None)

    async def close(self) -> None:
        """The program has ended; requests that still waited fail with `Unreachable`."""
        if self._lost is None:
            with contextlib.suppress(BackstayError, TimeoutError):
                async with asyncio.timeout(GOODBYE_S):
                    await self.request(
                        {"request": "goodbye", "term": 0, "dryRun": False, "body": {}}, GOODBYE_S
                    )
        self._give_up(Unreachable(reasons.UNREACHABLE, f"{self.name}: the connection was closed"))
        await self._child.end()
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)

    # --- frames ---------------------------------------------------------------------------------

    async def _send(self, message: Mapping[str, Any]) -> None:
        stdin = self._child.process.stdin
        assert stdin is not None
        try:
            async with self._sending:
                stdin.write(encode_frame(message))
                await stdin.drain()
        except (ConnectionError, RuntimeError) as broken:
            # RuntimeError: asyncio's own word for a transport that was closed meanwhile.
            raise self._lost or Unreachable(
                reasons.UNREACHABLE, f"{self.name}: the connection broke"
            ) from broken

    async def _read(self) -> None:
        stdout = self._child.process.stdout
        assert stdout is not None
        try:
            while True:
                size = int.from_bytes(await stdout.readexactly(4), "big")
                if size > MAX_FRAME_BYTES:
                    raise ProtocolError(f"a frame of {size} bytes")
                await self._dispatch(decode_message(await self._read_body(stdout, size)))
        except (asyncio.IncompleteReadError, ConnectionError):
            code = await self._child.wait()
            said = self._child.stderr.strip().splitlines()[-1:]
            self._give_up(
                Unreachable(
                    reasons.UNREACHABLE,
                    f"{self.name}: the connection was lost (exit {code}): "
                    f"{''.join(said) or 'no message'}",
                )
            )
        except (ProtocolError, BackstayError) as broken:
            self._give_up(
                reasons.failure(reasons.PROTOCOL_ERROR, f"{self.name}: {broken}")
                if isinstance(broken, ProtocolError)
                else broken
            )
            await self._child.end()

    async def _read_body(self, stdout: asyncio.StreamReader, size: int) -> bytes:
        """A frame's body; each part of it is a sign of life, however long a slow line takes."""
        body = bytearray()
        while len(body) < size:
            part = await stdout.read(size - len(body))
            if not part:
                raise asyncio.IncompleteReadError(bytes(body), size)
            body += part
            self._heard_s = _now_s()
        return bytes(body)

    def _read_no_more(self, reader: asyncio.Task[None]) -> None:
        """Whatever ended the reading, a fault of a listener included, nobody waits for answers."""
        fault = None if reader.cancelled() else reader.exception()
        self._give_up(reasons.failure(reasons.INTERNAL_ERROR, f"{self.name}: {fault!r}"))

    async def _dispatch(self, message: Mapping[str, Any]) -> None:
        match message:
            case {"beat": str(nonce)}:
                # Nothing left of the Lease: no answer, so that the host's own deadline runs out.
                if (remaining := self._remaining_s()) > 0:
                    await self._send({"beat": nonce, "remainingS": remaining})
            case {"progress": {"ticket": str(ticket)} as told}:
                self._tell(ticket, {"progress": told})
            case {"ended": {"ticket": str(ticket)} as told}:
                self._tell(ticket, {"ended": told})
            case {"id": int(number)}:
                _check_answer(message)
                waiting = self._pending.get(number)
                if waiting is not None and not waiting.done():
                    waiting.set_result(message)
            case _:
                raise ProtocolError(f"a message with the fields {sorted(message)}")

    def _tell(self, ticket: str, told: Mapping[str, Any]) -> None:
        if (listener := self._listeners.get(ticket)) is not None:
            listener(told)

    def _give_up(self, why: BackstayError) -> None:
        if self._lost is not None:
            return
        self._lost = why
        for waiting in self._pending.values():
            if not waiting.done():
                waiting.set_exception(why)
        for listener in list(self._listeners.values()):
            listener({"lost": why})


def _now_s() -> float:
    return asyncio.get_running_loop().time()


def _answer(name: str, message: Mapping[str, Any]) -> Answer:
    """What a checked answer says."""
    if (error := message.get("error")) is not None:
        said = f"{name}: {error['message']}"
        raise reasons.host_failure(error["reason"], said, error.get("higherTerm"))
    commands = tuple(tuple(argv) for argv in message.get("commands", ()))
    return Answer(result=message["result"], commands=commands)


def _check_answer(message: Mapping[str, Any]) -> None:
    """It is the answer to a request; else `ProtocolError`."""
    match message:
        case {"error": {"reason": str(), "message": str()} as error}:
            if not isinstance(error.get("higherTerm", 0), int):
                raise ProtocolError("an answer whose higherTerm is no number")
        case {"error": _}:
            raise ProtocolError("an answer with an error that says nothing")
        case {"result": _}:
            pass
        case _:
            raise ProtocolError("an answer without result or error")
    commands = message.get("commands", [])
    if not isinstance(commands, list) or not all(_is_argv(argv) for argv in commands):
        raise ProtocolError("an answer whose commands are no argument vectors")


def _is_argv(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)


# --- opening ------------------------------------------------------------------------------------


async def open_connection(
    name: str, launcher: Launcher, program: bytes | None, remaining_s: Callable[[], float]
) -> tuple[Connection, Greeting]:
    """Start the program at the host and read its greeting; raises by what ssh and shell said.

    `program` is fed to the host; None starts the installed one, which must speak as we do.
    """
    command = INSTALLED_COMMAND if program is None else bootstrap_command(program)
    child = await _start(launcher.argv(command))
    connection: Connection | None = None
    try:
        async with asyncio.timeout(GREETING_S):
            greeting = await _greet(child, b"" if program is None else feed(program))
        if program is None:
            _check_version(greeting)
        connection = Connection(name, child, remaining_s)
        return connection, greeting
    except TimeoutError:
        raise Waiting(
            reasons.TIMEOUT, f"{name}: the host program said nothing within {GREETING_S:.0f} s"
        ) from None
    except ProtocolError as wrong:
        advice = f"; {_INSTALL} (`kubectl backstay grant {name}`)" if program is None else ""
        raise reasons.failure(reasons.PROTOCOL_ERROR, f"{name}: {wrong}{advice}") from None
    except BackstayError as wrong:
        raise reasons.failure(wrong.reason, f"{name}: {wrong.message}") from None
    finally:
        if connection is None:
            await child.end()


async def _start(argv: Sequence[str]) -> Child:
    pipe = asyncio.subprocess.PIPE
    # The limit bounds one line of noise; frames are read by their length and may be longer.
    return await Child.start(argv, stdin=pipe, stdout=pipe, limit=2 * MAX_NOISE_BYTES)


def _check_version(greeting: Greeting) -> None:
    theirs, ours = greeting.version or f"{greeting.protocol} without a version", protocol_version()
    if theirs != ours:
        raise ProtocolError(f"the installed program speaks protocol {theirs}, this operator {ours}")


async def _greet(child: Child, first: bytes) -> Greeting:
    process = child.process
    assert process.stdin is not None
    assert process.stdout is not None
    # A host that ends early is named by its last words, not by our broken pipe.
    with contextlib.suppress(ConnectionError):
        process.stdin.write(first)
        await process.stdin.drain()
    noise = 0
    while noise <= MAX_NOISE_BYTES:
        try:
            line = await process.stdout.readuntil(b"\n")
        except asyncio.LimitOverrunError:
            break
        except asyncio.IncompleteReadError as ended:
            raise classify(
                await child.wait(), _explain(child, noise + len(ended.partial))
            ) from None
        marked = _ANY_MARK.search(line)
        if marked is not None:
            return _greeting(marked, line)
        noise += len(line)
    raise ProtocolError(f"more than {MAX_NOISE_BYTES} bytes of a login shell, and no greeting")


def _explain(child: Child, noise: int) -> str:
    if child.stderr.strip() or not noise:
        return child.stderr
    return f"only {noise} bytes of a login shell came, no greeting"


def _greeting(marked: re.Match[bytes], line: bytes) -> Greeting:
    if marked[0] != HELLO_MARK.encode():
        theirs = marked[1].decode()
        raise ProtocolError(f"it speaks protocol {theirs}, this operator {PROTOCOL_VERSION}")
    said = decode_message(line[marked.end() :])
    match said:
        case {"error": {"reason": str(reason), "message": str(message)}}:
            raise reasons.host_failure(reason, message)
    greeting = from_json(Greeting, said)
    if greeting.protocol != PROTOCOL_VERSION:
        raise ProtocolError(
            f"it speaks protocol {greeting.protocol}, this operator {PROTOCOL_VERSION}"
        )
    return greeting
