"""The operator's core over real hosts: real pools and ssh, a clock that can be put forward.

Only Kubernetes is missing: objects and statuses are in memory, as in the tests of the passes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

from backstay.adapters.clock import SystemClock
from backstay.adapters.host.endpoint import Launcher, SshLauncher
from backstay.adapters.host.hosts import Leader, OpenSshHost, OpenSshHosts, Setup
from backstay.adapters.host.transfers import OpenSshTransfers
from backstay.controllers.keys import ObjectKey
from backstay.domain.errors import Unreachable
from backstay.domain.steps import ItemFailure, Pipe, PipeOutcome
from backstay.plan.naming import short_id
from backstay.ports.host import Endpoint, HostPort, Progress
from contract.host.real_world import Breaker, BreakingLauncher, RealHands, endpoint
from fakes.core import NAMESPACE, Core
from fakes.world import World
from worlds.api import LabHost

LANES_S = 300.0
PAIR = ObjectKey("ReplicationPair", NAMESPACE, "erp")
KEEP_NINE = {"source": {"last": 9}, "target": {"last": 9}}


class RealTime(World):
    """The time of this machine, which a test may put forward."""

    ahead_s = 0.0

    @property
    def now(self) -> datetime:
        """The wall clock, with what it was put forward."""
        return datetime.now(UTC) + timedelta(seconds=self.ahead_s)

    @now.setter
    def now(self, start: datetime) -> None:
        """Time begins now, whatever a world of fakes would begin with."""

    @property
    def monotonic_s(self) -> float:
        """Seconds, with what time was put forward."""
        return monotonic() + self.ahead_s

    @monotonic_s.setter
    def monotonic_s(self, start: float) -> None:
        """See `now`."""

    def advance(self, seconds: float) -> datetime:
        """The operator's clock is put forward; the hosts' clocks are not."""
        self.ahead_s += seconds
        return self.now

    async def wait(self, seconds: float) -> None:
        """So much time has really passed."""
        await asyncio.sleep(seconds)


class Trapped:
    """A host's port whose connections die around one chosen request."""

    def __init__(self, inner: OpenSshHost, core: RealCore) -> None:
        self.inner = inner
        self._core = core

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.inner, name)
        core = self._core
        if core.trap is None or core.trap[1] != name:
            return found

        async def sprung(*arguments: Any) -> Any:
            assert core.trap is not None
            when, _ = core.trap
            core.trap = None
            if when == "after":
                await found(*arguments)
            kill_ssh()
            raise Unreachable("Unreachable", f"ssh was killed {when} {name}")

        return sprung


def kill_ssh() -> None:
    """`kill -9` of every ssh of this process."""
    for task in Path("/proc/self/task").iterdir():
        children = ""
        with contextlib.suppress(FileNotFoundError):  # a thread that has ended meanwhile
            children = (task / "children").read_text(encoding="ascii")
        for pid in children.split():
            with contextlib.suppress(OSError):
                if Path(f"/proc/{pid}/comm").read_text(encoding="ascii").strip() == "ssh":
                    os.kill(int(pid), signal.SIGKILL)


class RealCore(Core):
    """One leader over real hosts."""

    def __init__(self, time: RealTime, program: bytes, installation: str) -> None:
        self.breaker = Breaker()
        self.trap: tuple[str, str] | None = None
        """("before" or "after", a request of the port): ssh is killed there, once."""
        self.lose_next_acknowledgement = False
        self._program = program
        self._ssh: dict[int, OpenSshHosts] = {}
        self._pipes = OpenSshTransfers(SystemClock())
        self._at: dict[str, LabHost] = {}
        self.user = "root"
        """Whom its hosts are logged in to as."""
        super().__init__(time, installation=installation, short_id=short_id(installation))

    def real_site(self, name: str, host: LabHost, *, roots: Sequence[str] = ()) -> None:
        """A Site with this host."""
        self._at[f"{name}/h"] = host
        self.site_at(name, host.name, roots)

    def open(self, endpoint_: Endpoint) -> HostPort:
        """The real host behind a Site's host."""
        host = endpoint(self._at[endpoint_.name])
        opened = self._hosts_of(self.term).open(replace(host, name=endpoint_.name, user=self.user))
        return Trapped(opened, self)  # type: ignore[return-value]

    def _hosts_of(self, term: int) -> OpenSshHosts:
        if term not in self._ssh:
            leader = Leader(
                installation_id=self.installation,
                short_id=self.short_id,
                process_id=f"p{term}",
                term=lambda: term,
                remaining_s=lambda: 25.0,
            )
            setup = Setup(
                program=self._program,
                leader=leader,
                clock=SystemClock(),
                launcher=self._launcher,
            )
            self._ssh[term] = OpenSshHosts(setup)
        return self._ssh[term]

    def _launcher(self, wanted: Endpoint) -> Launcher:
        if wanted.name == "fra/h":
            return BreakingLauncher(wanted, self.breaker)
        return SshLauncher(wanted)

    async def transfer(
        self, source: HostPort, target: HostPort, pipe: Pipe, progress: Progress
    ) -> PipeOutcome:
        """A real pipe, noted down."""
        self.pipes.append(pipe)
        assert isinstance(source, Trapped)
        assert isinstance(target, Trapped)
        outcome = await self._pipes.transfer(source.inner, target.inner, pipe, progress)
        if self.lose_next_acknowledgement:
            self.lose_next_acknowledgement = False
            kill_ssh()
            name = pipe.transfers[0].source_dataset
            lost = ItemFailure(name=name, reason="Unreachable", message="ssh was killed")
            return replace(outcome, completed=0, failure=lost)
        return outcome

    async def run_once(self, seconds: float = 0.0) -> None:
        """Time passes, then each route has one pass, and the pairs say what came of it."""
        self.world.advance(seconds)
        for pair in self.registry.pairs():
            resolved = self.shares.resolve(NAMESPACE, pair.metadata.name)
            for route in getattr(resolved, "shares", {}):
                await self.run(route)
            await self._lanes_done()
            await self.run(ObjectKey("ReplicationPair", NAMESPACE, pair.metadata.name))

    async def kill(self) -> None:
        """See `Core`."""
        kill_ssh()
        await super().kill()

    async def close(self) -> None:
        """Every connection is gone."""
        await self.passes.lanes.stop()
        for hosts in self._ssh.values():
            await hosts.close()

    async def _lanes_done(self) -> None:
        until = monotonic() + LANES_S
        while self.passes.lanes.running:
            assert monotonic() < until, "lanes do not end"
            await asyncio.sleep(0.05)


class Hand(RealHands):
    """A test's own hand at a real host; names are below its root."""

    async def run(self, command: str) -> str:
        """What a command prints."""
        return await self._run(command)

    def at(self, name: str) -> str:
        """The full name."""
        return f"{self.root}/{name}"

    async def guids(self, name: str) -> list[int]:
        """GUIDs of the snapshots of a dataset, oldest first; none where it does not exist."""
        command = f"zfs list -Hpd1 -t snapshot -o guid -s createtxg {self.at(name)} 2>/dev/null"
        return [int(line) for line in (await self._run(f"{command} || true")).split()]

    async def names(self, name: str, kind: str = "snapshot") -> list[str]:
        """Full names of its snapshots (or bookmarks), oldest first."""
        command = f"zfs list -Hd1 -t {kind} -o name -s createtxg {self.at(name)}"
        return (await self._run(command)).split()

    async def value(self, name: str, key: str) -> str:
        """A property's value, exact."""
        return (await self._run(f"zfs get -Hpo value {key} {self.at(name)}")).strip()


@dataclass
class RealLab:
    """Two hosts, two Sites, a policy; `d0`, `d1`, … are volumes of the source's root."""

    core: RealCore
    a: Hand
    b: Hand
    places: dict[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def world(self) -> World:
        """Its time is the operator's."""
        return self.core.world

    async def volumes(self, count: int, size: int = 256 * 1024) -> dict[str, tuple[str, str]]:
        """Volumes d0, d1, … with some data, as members of a pair."""
        return await self._datasets(count, size, volume=True)

    async def file_systems(self, count: int) -> dict[str, tuple[str, str]]:
        """File systems d0, d1, … with some data, as members of a pair."""
        return await self._datasets(count, 64 * 1024, volume=False)

    async def _datasets(self, count: int, size: int, *, volume: bool) -> dict[str, tuple[str, str]]:
        for i in range(count):
            await self.a.create(self.a.at(f"d{i}"), volume=volume)
            await self.a.write(self.a.at(f"d{i}"), size)
            self.places[f"d{i}"] = (self.a.at(f"d{i}"), self.b.at(f"d{i}"))
        return self.places

    async def write(self, *names: str, size: int = 64 * 1024) -> None:
        """New bytes at the sources."""
        for name in names or tuple(self.places):
            await self.a.write(self.a.at(name), size)

    async def next_point(self, *names: str) -> None:
        """Something is written and replicated, as far as that is possible."""
        await self.write(*names)
        await self.core.passing(151)

    async def protected(self, count: int = 1, **spec: Any) -> None:
        """A pair of what there is, else of so many volumes, has its first recovery points."""
        self.core.pair("erp", self.places or await self.volumes(count), **spec)
        await self.core.passing()
        await self.expect_fresh()
        self.core.sent()

    async def ahead(self) -> None:
        """Three points had arrived when the source went back to the first, and was written to."""
        self.core.policy(retention=KEEP_NINE)
        await self.protected()
        for _ in range(2):
            await self.next_point()
        for mark in (await self.a.names("d0", "bookmark"))[1:]:
            await self.a.run(f"zfs destroy '{mark}'")
        await self.a.run(f"udevadm settle; zfs rollback -r {(await self.a.names('d0'))[0]}")
        await self.write()

    async def expect_fresh(self) -> None:
        """The pair is up to date, and each replica's head is the newest point of its source."""
        ready = self.core.condition("erp", "Ready")
        assert ready == ("True", "UpToDate"), self.core.message("erp", "Ready")
        for name in self.places:
            assert await self.a.guids(name), name
            assert (await self.b.guids(name))[-1] == (await self.a.guids(name))[-1], name
            assert int(await self.b.value(name, "written")) == 0, name

    async def expect_stopped(self, reason: str, *words: str) -> None:
        """The pair says why it stands still, and nothing was sent or changed at the target."""
        before = await self.picture()
        self.core.sent()
        await self.core.passing(151)
        ready = self.core.condition("erp", "Ready")
        assert ready == ("False", reason), (ready, self.core.message("erp", "Ready"))
        for word in words:
            assert word in self.core.message("erp", "Ready")
        assert self.core.sent() == []
        assert await self.picture() == before

    async def picture(self) -> str:
        """All that lies at the target, by identity."""
        types = "filesystem,volume,snapshot,bookmark"
        return await self.b.run(f"zfs list -Hpr -t {types} -o name,guid,written {self.b.root}")

    async def expect_little_left(self, source: str = "d0") -> None:
        """At most one unsent snapshot of ours, one bookmark a GUID, and no partial receive."""
        sent = set(await self.b.guids(source))
        assert len([g for g in await self.a.guids(source) if g not in sent]) <= 1
        marks = [m.rpartition("_")[2] for m in await self.a.names(source, "bookmark")]
        assert len(marks) == len(set(marks)), marks
        assert await self.b.value(source, "receive_resume_token") == "-"

    @asynccontextmanager
    async def amid_a_stream(self, after_bytes: int) -> AsyncIterator[asyncio.Task[None]]:
        """The next stream stands still after so many bytes; every ssh is killed at the end.

        What is yielded ends with the passes that it is a part of.
        """
        self.core.breaker.through = f"(head -c {after_bytes}; exec sleep 900)"
        running = asyncio.create_task(self.core.passing(151))
        busy = "pgrep -x zfs -a | grep -q 'zfs receive' && echo yes || true"
        for _ in range(600):
            if (await self.b.run(busy)).strip():
                break
            await asyncio.sleep(0.2)
        else:
            raise AssertionError("no receive began within two minutes")
        await asyncio.sleep(3)
        yield running
        kill_ssh()
        await running
