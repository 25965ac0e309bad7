"""What lies between the orders' children and the connection; no byte passes through Python.

    at the source   zfs send … → [zstd] → [mbuffer] → [brake] → stdout, or ssh to the target
    at the target   stdin → [mbuffer] → [zstd -d] → zfs receive …

Whatever is in brackets is there when the ticket says so, and serves all orders of the ticket. All
are children like `zfs`: each in a group of its own, dead when we are, killed when we stop.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading

from backstay_host import carriers, ssh
from backstay_host.children import Children, Command, Running, io_bytes
from backstay_host.clock import now_s
from backstay_host.orders import FOREVER, STDIN, STDOUT
from backstay_host.refusal import Refused
from backstay_host.values import Destination, Ticket

PIPE_BYTES = 1024 * 1024
"""What an unprivileged process may ask for, pipe(7); less means more switches a byte."""
PIECES_A_SECOND = 20
SSH_FAILED = 255
STREAM_FAILED = 1
"""Exit status of the target's `stream` whose orders failed: it says why to its own session."""


class Brake(threading.Thread):
    """Moves a pipe's bytes on, so many a second; they stay in the kernel, splice(2)."""

    def __init__(self, source: int, sink: int, rate_bytes_s: int) -> None:
        """Both descriptors are its own from now on."""
        super().__init__(name="brake", daemon=True)
        self._source, self._sink = source, sink
        self.rate_bytes_s = float(rate_bytes_s)
        """May be changed while it runs."""
        self.moved_bytes = 0

    def run(self) -> None:
        """All was moved on, or nobody takes it any more: then whoever writes is told so."""
        piece = min(max(int(self.rate_bytes_s) // PIECES_A_SECOND, 4096), PIPE_BYTES)
        due_s = now_s()
        pause = threading.Event()
        with contextlib.suppress(OSError):  # the reader is gone
            while moved := os.splice(self._source, self._sink, piece):
                self.moved_bytes += moved
                # What a slow reader left unused is lost, or a pause would end in a burst.
                due_s = max(due_s, now_s()) + moved / self.rate_bytes_s
                pause.wait(max(0.0, due_s - now_s()))
        os.close(self._source)
        _close_unless(self._sink, STDOUT)


class Conduit:
    """The programs between the children of one ticket and its connection."""

    def __init__(self, children: Children, ticket: Ticket) -> None:
        """Nothing runs before `open`; the main thread calls everything but `moved_bytes`."""
        self.stdin, self.stdout = STDIN, STDOUT
        self.waits_for_target = False
        """Whether all was sent and the target's own watch decides how long the rest may take."""
        self._children = children
        self._ticket = ticket
        self._filters: list[Running] = []
        self._brake: Brake | None = None
        self._link: Running | None = None
        self._in_memory: list[int] = []

    @property
    def moved_bytes(self) -> int:
        """A number that grows while anything moves, also after the last order has ended.

        ssh does not count: it talks to its server even when nothing moves.
        """
        braked = self._brake.moved_bytes if self._brake is not None else 0
        return braked + sum(sum(io_bytes(child.pid)) for child in tuple(self._filters))

    def share(self, streams: int) -> None:
        """The rate is that of so many streams together."""
        if self._brake is not None:
            self._brake.rate_bytes_s = self._ticket.rate_bytes_s / max(streams, 1)

    def open(self) -> None:
        """`stdin` and `stdout` lead through all that the ticket asks for; `Refused` if not."""
        ticket = self._ticket
        if ticket.receives:
            if ticket.buffer_bytes:
                self._after(carriers.buffer(ticket.buffer_bytes))
            if ticket.compressed:
                self._after(carriers.decompress())
            return
        if ticket.destination is not None:
            self._link_to(ticket.destination)
        if ticket.rate_bytes_s:
            source, sink = _pipe()
            self._brake = Brake(source, self.stdout, ticket.rate_bytes_s)
            self._brake.start()
            self.stdout = sink
        if ticket.buffer_bytes:
            self._before(carriers.buffer(ticket.buffer_bytes))
        if ticket.compressed:
            self._before(carriers.compress())

    def close(self) -> Refused | None:
        """Nothing of it runs any more; why what the sends wrote may not have arrived, if so."""
        _close_unless(self.stdin, STDIN)
        _close_unless(self.stdout, STDOUT)
        if self._ticket.receives:
            for child in self._filters:
                self._children.end(child)
            return None
        lost = [self._ended(child) for child in reversed(self._filters)]
        while self._brake is not None and self._brake.is_alive() and not self._children.stopped:
            self._brake.join(0.5)
        self.waits_for_target = True
        if self._link is not None:
            lost.append(self._ended(self._link))
        for descriptor in self._in_memory:
            os.close(descriptor)
        causes = [refused for refused in lost if refused is not None]
        causes.sort(key=lambda refused: refused.reason == "PeerEnded")
        return causes[0] if causes else None

    def _before(self, vector: list[str]) -> None:
        """One more program in front of what the sends write to."""
        source, sink = _pipe()
        try:
            command = Command(vector, stdin=source, stdout=self.stdout)
            self._filters.append(self._children.start(command, FOREVER))
        finally:
            os.close(source)
            _close_unless(self.stdout, STDOUT)
            self.stdout = sink

    def _after(self, vector: list[str]) -> None:
        """One more program behind what the receives read from."""
        source, sink = _pipe()
        try:
            command = Command(vector, stdin=self.stdin, stdout=sink)
            self._filters.append(self._children.start(command, FOREVER))
        finally:
            os.close(sink)
            _close_unless(self.stdin, STDIN)
            self.stdin = source

    def _link_to(self, to: Destination) -> None:
        """What is written goes to the target's stream; the key is in this process's memory only."""
        key, known = (
            self._keep(text) for text in (to.key.rstrip() + "\n", carriers.known_hosts(to))
        )
        source, sink = _pipe()
        try:
            command = Command(carriers.link(to, key, known), stdin=source)
            self._link = self._children.start(command, FOREVER)
        finally:
            os.close(source)
            self.stdout = sink

    def _keep(self, text: str) -> str:
        descriptor, path = ssh.in_memory(text.encode())
        self._in_memory.append(descriptor)
        return path

    def _ended(self, child: Running) -> Refused | None:
        try:
            done = self._children.finish(child)
        except Refused as killed:
            return killed
        if done.ok:
            return None
        if child is not self._link:
            return done.refusal()
        if done.status == STREAM_FAILED:
            return Refused("PeerEnded", "the stream at the target failed")
        reason = "LinkFailed" if done.status == SSH_FAILED else "LinkRefused"
        return Refused(reason, done.err.strip()[-2000:] or f"ssh exited with {done.status}")


def _pipe() -> tuple[int, int]:
    source, sink = os.pipe()
    with contextlib.suppress(OSError):
        fcntl.fcntl(sink, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return source, sink


def _close_unless(descriptor: int, kept: int) -> None:
    if descriptor != kept:
        os.close(descriptor)
