"""The operator's side of the host program, as small as tests need it."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from backstay_host.protocol import HELLO_MARK, encode_frame, to_json
from backstay_host.wire import read_frame

_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND


class HostError(Exception):
    """An answer that is an error."""

    def __init__(self, error: Mapping[str, Any], commands: list[list[str]]) -> None:
        super().__init__(f"{error['reason']}: {error['message']}")
        self.reason: str = error["reason"]
        self.message: str = error["message"]
        self.higher_term: int | None = error.get("higherTerm")
        self.commands = commands


class Client:
    """One control channel; answers heartbeats unless told otherwise."""

    def __init__(
        self,
        argv: Sequence[str],
        fed: bytes = b"",
        *,
        log: Path | None = None,
        answers_beats: bool = True,
    ) -> None:
        self.stderr = subprocess.DEVNULL if log is None else os.open(log, _APPEND, 0o600)
        self.process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.stderr, bufsize=0
        )
        self.term = 1
        self.remaining_s = 30.0
        self.answers_beats = answers_beats
        self.beats: list[str] = []
        self.progress: list[dict[str, Any]] = []
        self.commands: list[list[str]] = []
        self.closed = threading.Event()
        self.first_beat = threading.Event()
        self._answers: dict[int, queue.Queue[dict[str, Any]]] = {}
        self._ended: dict[str, queue.Queue[list[dict[str, str]]]] = {}
        self._next = 0
        self._writing = threading.Lock()
        self._lock = threading.Lock()
        self._news = threading.Condition()
        self._write(fed)
        self.greeting = self._greet()
        threading.Thread(target=self._read, daemon=True).start()

    def _greet(self) -> dict[str, Any]:
        line = b""
        while HELLO_MARK.encode() not in line:
            line = self._line()
        said: dict[str, Any] = json.loads(line[line.index(HELLO_MARK.encode()) + len(HELLO_MARK) :])
        return said

    def _line(self) -> bytes:
        assert self.process.stdout is not None
        line = b""
        while not line.endswith(b"\n"):
            got = self.process.stdout.read(1)
            if not got:
                raise EOFError(f"the program ended: {self.process.wait(30)}, {line!r}")
            line += got
        return line

    def _read(self) -> None:
        assert self.process.stdout is not None
        out = self.process.stdout
        try:
            while (frame := read_frame(lambda n: out.read(n) or b"")) is not None:
                self._dispatch(frame)
        except (OSError, ValueError):
            pass
        self.closed.set()
        with self._lock:
            for waiting in self._answers.values():
                waiting.put({"error": {"reason": "Closed", "message": "the channel is closed"}})

    def wait_for(self, holds: Callable[[], bool], timeout_s: float = 30.0) -> None:
        """What is asked for holds; looked at again with each frame that comes in."""
        with self._news:
            assert self._news.wait_for(holds, timeout_s), "it did not come true in time"

    def _dispatch(self, frame: dict[str, Any]) -> None:
        self._take(frame)
        with self._news:
            self._news.notify_all()

    def _take(self, frame: dict[str, Any]) -> None:
        if "beat" in frame:
            self.beats.append(frame["beat"])
            if self.answers_beats:
                self.beat(frame["beat"], self.remaining_s)
            self.first_beat.set()
        elif "progress" in frame:
            self.progress.append(frame["progress"])
        elif "ended" in frame:
            self._ended_queue(frame["ended"]["ticket"]).put(frame["ended"]["outcomes"])
        else:
            with self._lock:
                waiting = self._answers.get(frame["id"])
            if waiting is not None:
                waiting.put(frame)

    def _ended_queue(self, ticket: str) -> queue.Queue[list[dict[str, str]]]:
        with self._lock:
            return self._ended.setdefault(ticket, queue.Queue())

    def _write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        view = memoryview(data)
        with self._writing:
            while view:
                view = view[self.process.stdin.write(view) or 0 :]

    def beat(self, nonce: str, remaining_s: float) -> None:
        try:
            self._write(encode_frame({"beat": nonce, "remainingS": remaining_s}))
        except OSError:
            return

    def post(
        self, name: str, body: Any, *, dry: bool = False, deadline_s: float = 60.0
    ) -> queue.Queue[dict[str, Any]]:
        """The request was sent; its answer will be in the queue."""
        waiting: queue.Queue[dict[str, Any]] = queue.Queue()
        with self._lock:
            self._next += 1
            number = self._next
            self._answers[number] = waiting
        frame = {
            "id": number,
            "request": name,
            "term": self.term,
            "dryRun": dry,
            "deadlineS": deadline_s,
            "body": body if isinstance(body, dict) else to_json(body),
        }
        try:
            self._write(encode_frame(frame))
        except OSError:
            waiting.put({"error": {"reason": "Closed", "message": "the channel is closed"}})
        return waiting

    def request(
        self, name: str, body: Any, *, dry: bool = False, deadline_s: float = 60.0
    ) -> dict[str, Any]:
        """The result; `HostError` for an error."""
        return self.result(self.post(name, body, dry=dry, deadline_s=deadline_s), deadline_s)

    def result(self, waiting: queue.Queue[dict[str, Any]], deadline_s: float = 60.0) -> Any:
        answer = waiting.get(timeout=deadline_s + 20)
        self.commands = answer.get("commands", [])
        if "error" in answer:
            raise HostError(answer["error"], self.commands)
        return answer["result"]

    def ended(self, ticket: str, timeout_s: float = 100.0) -> list[dict[str, str]]:
        """The outcomes of a stream."""
        return self._ended_queue(ticket).get(timeout=timeout_s)

    def close(self) -> int:
        """End of input; the exit status of the program."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        status = self.process.wait(30)
        self.closed.wait(10)
        if self.process.stdout is not None:
            self.process.stdout.close()
        if self.stderr >= 0:
            os.close(self.stderr)
            self.stderr = subprocess.DEVNULL
        return status
