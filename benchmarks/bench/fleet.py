"""A fleet of fake hosts in a process of its own, which the operator reaches through `ssh`.

The hosts are those of `tests/fakes`, which the contract suite holds against real ZFS. They speak
the real protocol of the host program over the operator's own pipes: `ssh` here is a program that
hands its standard input and output to the fleet, so that no byte passes through another process.
Data are not moved: a stream holds a line that says what its snapshot is.

    python -m bench.fleet '{"socket": "/tmp/x/fleet", "pairs": 1000, "hosts": 200, …}'
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from backstay.plan.naming import short_id
from backstay_host.codec import decode_message, encode_frame
from backstay_host.serve import BEAT_EVERY_S
from bench.fleet_wire import Session, Ticket, greeting
from fakes.core import Core
from fakes.world import MIB, FakeHost, World

RECEIVE_ROOT = "backup/backstay"
POOL_BYTES = 100 * 2**40
TICK_S = 5.0
"""Transaction groups of a real pool are as long."""

SSH = """\
#!{python} -IS
import os, sys
command = sys.argv[-1]
if command.endswith("exec cat'"):
    os.write(1, b"open\\n")
    while os.read(0, 4096):
        pass
    sys.exit(0)
import socket
to = socket.socket(socket.AF_UNIX)
to.connect({path!r})
socket.send_fds(to, [(sys.argv[-2] + "\\n" + command[-200:]).encode()], [0, 1])
sys.exit(0 if to.recv(1) else 255)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How many of what, and how much happens."""

    socket: str
    installation: str
    pairs: int
    hosts: int
    changing: float
    """Part of the volumes that is written to every `write_s` seconds; the others never change."""
    write_s: float = 20.0
    latency_s: float = 0.1
    """What each request takes at least."""

    @property
    def routes(self) -> int:
        """Half of the hosts are sources, and each replicates to one of the other half."""
        return self.hosts // 2

    def volumes(self, route: int) -> list[str]:
        """The volumes of a route: pair number n is on route n modulo the number of routes."""
        return [f"p{number}" for number in range(route, self.pairs, self.routes)]

    def is_changing(self, volume: str) -> bool:
        """Whether the volume is written to all the time."""
        share = int(volume[1:]) // self.routes * self.changing
        return int(share + self.changing) > int(share)


def address(number: int) -> str:
    """The address of a host; sources have even numbers, each one's target the next odd one."""
    return f"10.9.{number // 250}.{number % 250 + 1}"


class Fleet:
    """All hosts of the fleet, and who is connected to them."""

    def __init__(self, plan: Plan) -> None:
        """Every volume has been replicated once, as if an operator had been here before."""
        self.plan = plan
        self.world = World(start=datetime.now(UTC))
        pools = {"tank": POOL_BYTES, "backup": POOL_BYTES}
        self.hosts = {
            address(n): self.world.host(f"s{n}/h", pools=pools) for n in range(2 * plan.routes)
        }
        self.short_id = short_id(plan.installation)
        self.tickets: dict[str, tuple[Session, Ticket]] = {}
        self.requests: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.first_looks: dict[str, float] = {}
        """Host → when its first survey after the last `reset` was answered."""
        self.changes: dict[str, list[tuple[float, int]]] = {}
        """Volume → when its content became this, oldest first."""

    async def seed(self) -> None:
        """The volumes exist and have a replica; the operator's own core made them, on the fakes."""
        for route in range(self.plan.routes):
            source, target = self.ends(route)
            target.create(RECEIVE_ROOT)
            core = Core(self.world, installation=self.plan.installation, short_id=self.short_id)
            core.site("fra", source)
            core.site("muc", target, roots=[RECEIVE_ROOT])
            core.policy()
            for volume in (volumes := self.plan.volumes(route)):
                source.create(f"tank/{volume}", volume=True)
                source.write(f"tank/{volume}", MIB)
            places = {v: (f"tank/{v}", f"{RECEIVE_ROOT}/{v}") for v in volumes}
            if places:
                core.pair("seed", places)
                await core.settle()
                assert core.condition("seed", "Ready")[0] == "True", core.message("seed", "Ready")
            for host in (source, target):
                host.want.clear()
                host.commands.clear()

    def ends(self, route: int) -> tuple[FakeHost, FakeHost]:
        """The source and the target of a route."""
        return self.hosts[address(2 * route)], self.hosts[address(2 * route + 1)]

    async def live(self) -> None:
        """Time passes, and what changes is written to, a part of the routes at a time."""
        began = last = time.monotonic()
        parts = max(1, round(self.plan.write_s))
        number = 0
        while True:
            for route in range(number % parts, self.plan.routes, parts):
                self._write(route)
            number += 1
            await asyncio.sleep(
                max(0.0, began + number * self.plan.write_s / parts - time.monotonic())
            )
            if (passed := time.monotonic() - last) >= TICK_S:
                self.world.advance(passed)
                last = time.monotonic()

    def _write(self, route: int) -> None:
        source, _ = self.ends(route)
        for volume in self.plan.volumes(route):
            if self.plan.is_changing(volume):
                source.write(f"tank/{volume}", 4096, overwrite=True)
                content = source.content(f"tank/{volume}")
                self.changes.setdefault(volume, []).append((time.monotonic(), content))

    # --- what came of it ------------------------------------------------------------------------

    def report(self) -> dict[str, Any]:
        """What was asked of the hosts, and how far the replicas are behind their sources."""
        lags = sorted(self._lags())
        return {
            "requests": dict(self.requests),
            "errors": dict(self.errors),
            "cpu_s": time.process_time(),
            "first_looks": sorted(self.first_looks.values()),
            "changing": len(self.changes),
            "lag_worst_s": lags[-1] if lags else 0.0,
            "lag_p99_s": lags[int(0.99 * (len(lags) - 1))] if lags else 0.0,
            "unreplicated": sum(not self._is_whole(route) for route in range(self.plan.routes)),
        }

    def _lags(self) -> list[float]:
        """For each volume that changes, the age of the oldest write that its replica has not."""
        now, found = time.monotonic(), []
        for route in range(self.plan.routes):
            _, target = self.ends(route)
            for volume in self.plan.volumes(route):
                changes = self.changes.get(volume, [])
                held = target.dataset(f"{RECEIVE_ROOT}/{volume}").head.digest
                known = next((i for i, (_, c) in enumerate(changes) if c == held), -1)
                del changes[: max(known, 0)]
                newer = changes[1:] if known >= 0 else changes
                found += [now - newer[0][0]] if newer else [0.0] if changes else []
        return found

    def _is_whole(self, route: int) -> bool:
        """Whether each replica's newest snapshot is one of the source's, by GUID."""
        source, target = self.ends(route)
        return all(
            target.dataset(f"{RECEIVE_ROOT}/{v}").snapshots[-1].guid
            in {s.guid for s in source.dataset(f"tank/{v}").snapshots}
            | {b.guid for b in source.dataset(f"tank/{v}").bookmarks}
            for v in self.plan.volumes(route)
        )

    # --- who comes ------------------------------------------------------------------------------

    def serve(self, loop: asyncio.AbstractEventLoop) -> None:
        """Connections are accepted, for ever, in a thread of their own."""
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.plan.socket)
        listener.listen(512)
        tasks: set[asyncio.Task[None]] = set()

        def begin(link: socket.socket, words: bytes, fds: list[int]) -> None:
            task = loop.create_task(self._attend(link, words.decode(), fds))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        def accept() -> None:
            while True:
                link, _ = listener.accept()
                words, fds, _, _ = socket.recv_fds(link, 4096, 2)
                loop.call_soon_threadsafe(begin, link, words, list(fds))

        threading.Thread(target=accept, daemon=True).start()

    async def _attend(self, link: socket.socket, words: str, fds: list[int]) -> None:
        loop = asyncio.get_running_loop()
        link.setblocking(False)
        try:
            if words in ("report", "reset"):
                await loop.sock_sendall(link, json.dumps(self.report()).encode())
                if words == "reset":
                    self.first_looks.clear()
                return
            place, _, command = words.partition("\n")
            *_, verb, last = command.replace("'", " ").split()
            if verb == "stream":
                await self._stream(last, fds)
            else:
                await self._control(self.hosts[place], fds, link)
            await loop.sock_sendall(link, b"\n")
        except OSError:
            pass  # the operator has ended its ssh
        finally:
            link.close()
            for fd in fds:
                os.close(fd)

    async def _control(self, host: FakeHost, fds: list[int], link: socket.socket) -> None:
        """One control connection, from the feeding of the program to its end."""
        loop = asyncio.get_running_loop()
        reader, writer = await _reader(fds[0]), await _writer(fds[1])
        gone = loop.create_task(loop.sock_recv(link, 1))
        gone.add_done_callback(lambda _: reader.feed_eof())

        def say(message: Mapping[str, Any]) -> None:
            writer.write(encode_frame(message))

        session = Session(host, self.short_id, say)
        beats = loop.create_task(_beat(say))
        try:
            await reader.readexactly(int(await reader.readline()))
            writer.write(greeting())
            while True:
                size = int.from_bytes(await reader.readexactly(4), "big")
                frame = decode_message(await reader.readexactly(size))
                if "request" in frame:
                    loop.create_task(self._answer(session, frame))  # noqa: RUF006 - it ends soon
        except asyncio.IncompleteReadError:
            pass
        finally:
            gone.cancel()
            beats.cancel()
            writer.close()

    async def _answer(self, session: Session, frame: Mapping[str, Any]) -> None:
        await asyncio.sleep(self.plan.latency_s)
        self.requests[frame["request"]] += 1
        answer = await session.answer(frame)
        if "error" in answer:
            self.errors[answer["error"]["message"][:200]] += 1
        session.say(answer)
        if frame["request"] == "survey":
            self.first_looks.setdefault(session.host.name, time.monotonic())
        for name, ticket in session.tickets.items():
            self.tickets[name] = (session, ticket)
        session.tickets.clear()

    async def _stream(self, name: str, fds: list[int]) -> None:
        _, ticket = self.tickets.pop(name)
        if ticket.body.sends:
            writer = await _writer(fds[1])
            for line in ticket.send():
                writer.write(line)
            writer.close()
            await writer.wait_closed()
        else:
            reader = await _reader(fds[0])
            ticket.receive([line async for line in reader])


async def _beat(say: Any) -> None:
    while True:
        say({"beat": os.urandom(8).hex()})
        await asyncio.sleep(BEAT_EVERY_S)


async def _reader(fd: int) -> asyncio.StreamReader:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=2**24)
    protocol = asyncio.StreamReaderProtocol(reader)
    await loop.connect_read_pipe(lambda: protocol, _file(fd, "rb"))
    return reader


async def _writer(fd: int) -> asyncio.StreamWriter:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(
        asyncio.streams.FlowControlMixin, _file(fd, "wb")
    )
    return asyncio.StreamWriter(transport, protocol, None, loop)


def _file(fd: int, mode: str) -> Any:
    """A file object of its own for the descriptor, of the kind that asyncio takes."""
    own = os.dup(fd)
    if stat.S_ISSOCK(os.fstat(own).st_mode):
        return socket.socket(fileno=own)
    return os.fdopen(own, mode, buffering=0)


def install_ssh(folder: Path, socket_path: str) -> None:
    """A program `ssh` lies in the folder that leads to the fleet at this socket."""
    program = folder / "ssh"
    program.write_text(SSH.format(python=sys.executable, path=socket_path), encoding="ascii")
    program.chmod(0o755)


def ask(socket_path: str, words: str = "report") -> dict[str, Any]:
    """The report of the fleet that listens there; with `reset`, its first looks are new ones."""
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(socket_path)
        link.send(words.encode())
        said = b"".join(iter(lambda: link.recv(65536), b""))
    found: dict[str, Any] = json.loads(said)
    return found


async def main(text: str) -> None:
    """The fleet lives until it is killed."""
    fleet = Fleet(Plan(**json.loads(text)))
    await fleet.seed()
    fleet.serve(asyncio.get_running_loop())
    await fleet.live()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
