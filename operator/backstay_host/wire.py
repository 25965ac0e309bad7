"""Frames over pipes and sockets, read and written by threads."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Mapping
from typing import Any

from backstay_host.codec import MAX_FRAME_BYTES, ProtocolError, decode_message, encode_frame

Message = dict[str, Any]


def read_frame(read: Callable[[int], bytes]) -> Message | None:
    """The next frame; None at the end of the stream. `ProtocolError` for what is none.

    `read(n)` gives 1 to n bytes, or none at the end.
    """
    head = _exactly(read, 4)
    if head is None:
        return None
    size = int.from_bytes(head, "big")
    if size > MAX_FRAME_BYTES:
        raise ProtocolError(f"frame of {size} bytes exceeds {MAX_FRAME_BYTES}")
    data = _exactly(read, size)
    if data is None:
        raise ProtocolError("the stream ended inside a frame")
    return decode_message(data)


def _exactly(read: Callable[[int], bytes], size: int) -> bytes | None:
    parts: list[bytes] = []
    missing = size
    while missing:
        got = read(min(missing, 1 << 20))
        if not got:
            if parts:
                raise ProtocolError("the stream ended inside a frame")
            return None
        parts.append(got)
        missing -= len(got)
    return b"".join(parts)


class Outbox:
    """Frames on their way out, one writer; a reader that has stopped never stops us."""

    def __init__(self, fd: int, on_broken: Callable[[], None]) -> None:
        """Nothing is written before `start`."""
        self._fd = fd
        self._on_broken = on_broken
        self._queue: queue.Queue[bytes | None] = queue.Queue(maxsize=1000)
        self._thread = threading.Thread(target=self._write, name="writer", daemon=True)

    def start(self) -> None:
        """Frames flow."""
        self._thread.start()

    def put_line(self, line: str) -> None:
        """The line is on its way; only before any frame."""
        self._queue.put(line.encode() + b"\n")

    def put(self, message: Mapping[str, Any]) -> None:
        """The frame is on its way; waits while the reader is slow."""
        self.put_encoded(encode_frame(message))

    def put_encoded(self, frame: bytes) -> None:
        """The same for the bytes of a frame."""
        self._queue.put(frame)

    def offer(self, message: Mapping[str, Any]) -> None:
        """The frame is on its way, unless the reader is too slow for it."""
        try:
            self._queue.put_nowait(encode_frame(message))
        except queue.Full:
            return

    def close(self, patience_s: float) -> None:
        """What was put is written, if that goes within the time."""
        try:
            self._queue.put(None, timeout=patience_s)
        except queue.Full:
            return
        self._thread.join(patience_s)

    def _write(self) -> None:
        while (data := self._queue.get()) is not None:
            view = memoryview(data)
            try:
                while view:
                    view = view[os.write(self._fd, view) :]
            except OSError:
                self._on_broken()
                return
