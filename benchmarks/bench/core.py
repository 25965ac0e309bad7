"""backstay's core as one steady process: real hosts, real passes, no Kubernetes.

It is the operator's own code from the registry down to the hosts, put together as in
`backstay/app/engine.py`; objects come from memory and statuses go there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from backstay.adapters.clock import SystemClock
from backstay.adapters.host.hosts import Leader, OpenSshHost, Setup
from backstay.adapters.host.transfers import OpenSshTransfers
from backstay.app.hostzip import pack_host_program
from backstay.controllers.keys import Key
from backstay.domain.steps import Pipe, PipeOutcome
from backstay.plan.naming import short_id
from backstay.ports.host import Endpoint, HostPort, Progress
from backstay.ports.kube import ObjectRef
from bench.grounds import Field
from bench.spans import Record, Span, TimedHosts
from fakes.core import Core
from fakes.world import World
from worlds.api import LabHost

REQUESTED_AT = "backstay.dev/requested-at"
STAYS_S = 7200.0
"""The operator keeps its connections by looking at each Site; here nothing else does."""


class BenchCore(Core):
    """The core with one leader's term over real hosts."""

    def __init__(self, installation: str) -> None:
        """Nothing is connected yet."""
        self.record = Record()
        self.published: dict[str, float] = {}
        """When the last status of each object came, by `Kind/name`."""
        self.first_points: dict[str, float] = {}
        """When each pair first had a recovery point."""
        self._rang = asyncio.Event()
        self._system_clock = SystemClock()
        self._installation = installation
        self._real_hosts = TimedHosts(self._setup(int(time.time())), self.record)
        self._relay = OpenSshTransfers(self._system_clock)
        super().__init__(World(), term=int(time.time()))
        self.clock = self._system_clock  # type: ignore[assignment]
        self._start()
        self.shares.short_id = short_id(installation)

    def _setup(self, term: int) -> Setup:
        leader = Leader(
            installation_id=self._installation,
            short_id=short_id(self._installation),
            process_id="bench",
            term=lambda: term,
            remaining_s=lambda: 30.0,
        )
        return Setup(
            program=pack_host_program(),
            leader=leader,
            clock=self._system_clock,
            on_request=lambda host, request: self.record.sent.append((host, request)),
            idle_s=STAYS_S,
        )

    # --- what the core asks of the outside -------------------------------------------------------

    def open(self, endpoint: Endpoint) -> HostPort:
        """The real host."""
        return self._real_hosts.open(endpoint)

    async def transfer(
        self, source: HostPort, target: HostPort, pipe: Pipe, progress: Progress
    ) -> PipeOutcome:
        """The real relay, noted down as one span."""
        assert isinstance(source, OpenSshHost)
        began = time.monotonic()
        try:
            return await self._relay.transfer(source, target, pipe, progress)
        finally:
            self.record.spans.append(Span(source.name, "transfer", began, time.monotonic()))

    def publish(self, ref: ObjectRef, status: Mapping[str, Any], *, rpo_s: float | None) -> None:
        """The status is kept with its time."""
        super().publish(ref, status, rpo_s=rpo_s)
        now = self.published[f"{ref.kind}/{ref.name}"] = time.monotonic()
        if status.get("recoveryPoint"):
            self.first_points.setdefault(ref.name, now)

    async def _lanes_done(self) -> None:
        while self.passes.lanes.running:
            self._rang.clear()  # the end of a lane rings its route
            await self._rang.wait()

    def ring(self, key: Key) -> None:
        """The key runs in the next round; who waits for a lane looks again."""
        super().ring(key)
        self._rang.set()

    # --- words for scenarios ---------------------------------------------------------------------

    def sites(self, source: LabHost, target: LabHost, root: str) -> None:
        """Site `fra` is the source, `muc` the target with one receive root; both with our key."""
        self.secrets["key"] = {"ssh-privatekey": source.key_path.read_bytes()}
        for name, host, roots in (("fra", source, []), ("muc", target, [root])):
            self.apply("Site", name, site_spec(host, roots))

    def pairs(self, field: Field, count: int) -> list[str]:
        """The volumes as members of `count` pairs, each volume for itself."""
        volumes = field.names
        names = [f"pair-{number}" for number in range(min(count, len(volumes)))]
        for number, name in enumerate(names):
            mine = volumes[number :: len(names)]
            places = {v: (f"{field.root}/{v}", f"{field.replica_root}/{v}") for v in mine}
            self.pair(name, places)
        return names

    def request(self, pairs: Sequence[str], mark: str) -> None:
        """Each pair is asked for a pass now."""
        for pair in pairs:
            self.annotate("ReplicationPair", pair, REQUESTED_AT, mark)

    async def until_all_have_points(self, pairs: Sequence[str], tries: int = 20) -> None:
        """Every pair has a recovery point; RuntimeError with the reasons after so many passes."""
        for number in range(tries):
            await self.settle()
            missing = [pair for pair in pairs if pair not in self.first_points]
            if not missing:
                return
            await asyncio.sleep(1)
            self.request(missing, f"seed-{number}")
        raise RuntimeError("\n".join(f"{p}: {self.message(p, 'Ready')}" for p in missing))

    async def hang_up(self) -> None:
        """No host is connected; the next request connects anew."""
        await self._real_hosts.hang_up()

    async def connect(self) -> None:
        """All hosts are connected under our term, as they are in an operator that runs."""
        await self._real_hosts.connect()

    @contextmanager
    def noting(self) -> Iterator[Record]:
        """A fresh record of what happens inside."""
        self.record.clear()
        self.published.clear()
        yield self.record


def site_spec(host: LabHost, roots: Sequence[str], secret: str = "key") -> dict[str, Any]:
    """The spec of a Site with the one lab host `h`."""
    return {
        "ssh": {"secretRef": {"name": secret}},
        "hosts": [
            {
                "name": "h",
                "address": host.address,
                "port": host.port,
                "hostKeys": list(host.host_keys),
                "receiveRoots": list(roots),
            }
        ],
    }
