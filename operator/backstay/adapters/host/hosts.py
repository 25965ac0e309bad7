"""`HostPort` over OpenSSH: one control connection a host, opened on demand, closed when idle."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from backstay.adapters.host import reasons, translate
from backstay.adapters.host.connection import Answer, Connection, open_connection
from backstay.adapters.host.endpoint import Launcher, SshLauncher
from backstay.adapters.host.role_requests import RoleRequests
from backstay.adapters.host.trunk import HOLD, Trunk
from backstay.domain.moves import Mark, Move, NewClone, Promotion, Rewind
from backstay.domain.steps import (
    AbortReceive,
    CreateParents,
    ItemFailure,
    MadeSnapshot,
    Prune,
    RestorePosture,
    TakeSnapshots,
)
from backstay.domain.zfs import HostFacts, HostListing
from backstay.ports.clock import Clock
from backstay.ports.host import Endpoint, RootState, SurveyRequest
from backstay_host import protocol as wire

IDLE_S = 150.0
"""Longer than a minute, the interval of the looks at a Site: a host in use stays connected."""
DEADLINE_S = {
    # Seconds the host may take. A survey of 17,000 snapshots takes one, but minutes where they are
    # read from slow disks for the first time; a host that is gone is noticed by its heartbeats. A
    # destroy can wait for a pool's free list; a claim waits up to 20 s for killed holders.
    "hello": 20.0,
    "claim": 45.0,
    "survey": 600.0,
    "snapshot": 60.0,
    "create": 60.0,
    "prune": 180.0,
    "abort": 60.0,
    "posture": 60.0,
    "rename": 120.0,
    "clone": 120.0,
    "promote": 120.0,
    "rollback": 180.0,
    "label": 60.0,
    "halt": 45.0,
    "roles": 60.0,
    "readonly": 60.0,
    "open": 180.0,
    "discard": 120.0,
    "ticket": 60.0,
    "cancel": 45.0,
}
PATIENCE_S = {"hello": 20.0, "cancel": 45.0}
"""How long a request waits for those before it at its host: a greeting would be old by then, and a
stream that cannot be cancelled is ended by the end of its ssh process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leader:
    """On whose behalf requests are made; term and remaining Lease time change with the Lease."""

    installation_id: str
    short_id: str
    process_id: str
    """Tells this operator process from every other one, at most 63 letters and digits: Leases of
    two clusters can give the same term, and a host takes it from one process only."""
    term: Callable[[], int]
    remaining_s: Callable[[], float]
    """What is left of the Lease; 0 or less: heartbeats are not answered any more."""


_NOBODY: Mapping[str, str] = {}


def _no_hook(host: str, request: str) -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What all hosts have in common."""

    program: bytes
    """The host program as a zip (app.hostzip)."""
    leader: Leader
    clock: Clock
    on_request: Callable[[str, str], None] = _no_hook
    """Told (host, request) for each request that is sent."""
    launcher: Callable[[Endpoint], Launcher] = SshLauncher
    idle_s: float = IDLE_S
    require_installed: bool = False
    """Whether hosts that are fed the program are refused."""


def _fed_refused(name: str) -> str:
    return (
        f"{name} is fed its program, and hosts.requireInstalled forbids that: install the program "
        f"(`kubectl backstay grant {name}` prints how), then set spec.hosts[].program to Installed"
    )


class OpenSshHosts:
    """All hosts of this operator; a `HostDirectory`."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._hosts: dict[Endpoint, OpenSshHost] = {}

    def open(self, endpoint: Endpoint) -> OpenSshHost:
        """See `HostDirectory`."""
        if self._setup.require_installed and not endpoint.installed:
            raise reasons.failure(reasons.FED_PROGRAM_REFUSED, _fed_refused(endpoint.name))
        known = self._hosts.get(endpoint)
        if known is None:
            # An edited endpoint leaves its predecessor to end when idle.
            outdated = [e for e, h in self._hosts.items() if e.name == endpoint.name and h.is_idle]
            for old in outdated:
                del self._hosts[old]
            known = self._hosts[endpoint] = OpenSshHost(endpoint, self._setup)
        return known

    def sessions(self) -> int:
        """How many control connections are open."""
        return sum(host.is_connected for host in self._hosts.values())

    async def close(self) -> None:
        """All connections are closed and their children have ended."""
        hosts, self._hosts = list(self._hosts.values()), {}
        await asyncio.gather(*(host.close() for host in hosts))


class OpenSshHost(RoleRequests):
    """One host; a `HostPort` and a `RolePort`."""

    def __init__(self, endpoint: Endpoint, setup: Setup) -> None:
        self.endpoint = endpoint
        self._setup = setup
        self._launcher: Launcher | None = None
        self._connection: Connection | None = None
        self._trunk = Trunk()
        self._opening = asyncio.Lock()
        self._users = 0
        self._idle: asyncio.TimerHandle | None = None
        self._closing: asyncio.Task[None] | None = None
        self._roots: tuple[str, ...] = ()
        self._claimed: tuple[Connection, int] | None = None
        self._tools: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """`site/host`."""
        return self.endpoint.name

    @property
    def tools(self) -> frozenset[str]:
        """Programs for streams that the host has, as it said when it was last connected to."""
        return self._tools

    @property
    def data_key(self) -> bytes | None:
        """What other hosts log in with to bring a stream."""
        return self.endpoint.data_key

    @property
    def installation_id(self) -> str:
        """On whose behalf it is used."""
        return self._setup.leader.installation_id

    @property
    def is_connected(self) -> bool:
        """Whether the control connection is open."""
        return self._connection is not None and self._connection.is_open

    @property
    def is_idle(self) -> bool:
        """Whether nobody uses it and nothing is open."""
        return not self._users and not self.is_connected

    # --- requests -------------------------------------------------------------------------------

    async def hello(self) -> HostFacts:
        """See `HostPort`."""
        clock = self._setup.clock
        async with self.connected() as connection:
            # Only now: a login takes seconds, in which nobody has read the host's clock.
            asked_at, began_s = clock.now().timestamp(), clock.monotonic_s()
            answer = await self.ask_on(connection, "hello", wire.Hello())
            took_s = clock.monotonic_s() - began_s
        said = translate.result(wire.HostFacts, answer.result, self.name)
        return translate.host_facts(said, asked_at, took_s)

    async def claim(self, roots: Sequence[str]) -> tuple[RootState, ...]:
        """See `HostPort`."""
        async with self.connected() as connection:
            return await self._claim(connection, tuple(roots))

    async def survey(self, request: SurveyRequest) -> HostListing:
        """See `HostPort`."""
        body = translate.survey(request, self._setup.leader.short_id)
        answer = await self.ask("survey", body)
        return translate.host_listing(translate.result(wire.Surveyed, answer.result, self.name))

    async def snapshot(self, step: TakeSnapshots) -> tuple[MadeSnapshot, ...]:
        """See `HostPort`."""
        answer = await self.ask("snapshot", translate.take_snapshots(step))
        said = translate.result(wire.Snapshotted, answer.result, self.name)
        return translate.made_snapshots(said)

    async def create_parents(self, step: CreateParents) -> None:
        """See `HostPort`."""
        await self._do("create", translate.create_parents(step))

    async def abort_receive(self, step: AbortReceive) -> None:
        """See `HostPort`."""
        await self._do("abort", translate.abort_receive(step))

    async def restore_posture(self, step: RestorePosture) -> None:
        """See `HostPort`."""
        await self._do("posture", translate.restore_posture(step))

    async def prune(self, step: Prune) -> tuple[ItemFailure, ...]:
        """See `HostPort`."""
        return await self._each("prune", translate.prune(step))

    async def rename(self, moves: Sequence[Move]) -> tuple[ItemFailure, ...]:
        """See `HostPort`."""
        return await self._each("rename", translate.rename(moves))

    async def clone(self, clones: Sequence[NewClone]) -> tuple[ItemFailure, ...]:
        """See `HostPort`."""
        return await self._each("clone", translate.clone(clones))

    async def promote(self, promotions: Sequence[Promotion]) -> tuple[ItemFailure, ...]:
        """See `HostPort`."""
        return await self._each("promote", translate.promote(promotions))

    async def rollback(self, rewinds: Sequence[Rewind]) -> tuple[ItemFailure, ...]:
        """See `HostPort`."""
        return await self._each("rollback", translate.rollback(rewinds))

    async def label(self, marks: Sequence[Mark]) -> tuple[ItemFailure, ...]:
        """See `HostPort`."""
        return await self._each("label", translate.label(marks))

    async def _each(self, request: str, body: object) -> tuple[ItemFailure, ...]:
        answer = await self.ask(request, body)
        return translate.item_failures(translate.result(wire.Done, answer.result, self.name))

    async def _do(self, request: str, body: object) -> None:
        answer = await self.ask(request, body)
        translate.raise_first(translate.result(wire.Done, answer.result, self.name), self.name)

    async def ask(self, request: str, body: object, *, dry_run: bool = False) -> Answer:
        """The answer to one request of the protocol; a mutating one under a claim of our term."""
        async with self.connected() as connection:
            return await self.ask_on(connection, request, body, dry_run=dry_run)

    async def ask_on(
        self, connection: Connection, request: str, body: object, *, dry_run: bool = False
    ) -> Answer:
        """The same on a connection that the caller holds open: tickets are of one connection."""
        if not dry_run and request not in wire.READ_ONLY:
            await self._ensure_claimed(connection)
        return await self._send(connection, request, body, dry_run)

    async def _send(
        self, connection: Connection, request: str, body: object, dry_run: bool
    ) -> Answer:
        self._setup.on_request(self.name, request)
        message: dict[str, Any] = {
            "request": request,
            "term": self._setup.leader.term(),
            "dryRun": dry_run,
            "body": wire.to_json(body),
        }
        return await connection.request(
            message, DEADLINE_S[request], patience_s=PATIENCE_S.get(request)
        )

    async def take_over(self, writers: Mapping[str, str]) -> tuple[RootState, ...]:
        """See `RolePort`."""
        async with self.connected() as connection:
            roots = tuple(dict.fromkeys((*self._roots, *writers)))
            return await self._claim(connection, roots, writers)

    # --- the fence ------------------------------------------------------------------------------

    async def _ensure_claimed(self, connection: Connection) -> None:
        """This connection acts under our present term.

        The host refuses a session that has not claimed; a connection that was opened again after
        a loss, or outlived a term, repeats the last claim before it changes anything.
        """
        if self._claimed != (connection, self._setup.leader.term()):
            await self._claim(connection, self._roots)

    async def _claim(
        self, connection: Connection, roots: tuple[str, ...], replaced: Mapping[str, str] = _NOBODY
    ) -> tuple[RootState, ...]:
        leader = self._setup.leader
        term = leader.term()
        body = wire.Claim(
            installation=leader.installation_id,
            roots=list(roots),
            leader=leader.process_id,
            takeover=bool(replaced),
            replaces=dict(replaced),
        )
        answer = await self._send(connection, "claim", body, dry_run=False)
        self._roots, self._claimed = roots, (connection, term)
        return translate.root_states(translate.result(wire.Claimed, answer.result, self.name))

    # --- the connection -------------------------------------------------------------------------

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Connection]:
        """The control connection is open, and stays so for as long as it is used."""
        self._users += 1
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        try:
            yield await self._open()
        finally:
            self._users -= 1
            if not self._users:
                loop = asyncio.get_running_loop()
                self._idle = loop.call_later(self._setup.idle_s, self._begin_closing)

    async def stream_argv(self, command: Sequence[str]) -> list[str]:
        """The local argument vector of a stream process; only while connected."""
        launcher = self._launcher
        assert launcher is not None
        if (trunk := launcher.trunk_argv(HOLD)) is not None:
            await self._trunk.open(trunk)
        return launcher.stream_argv(command)

    async def _open(self) -> Connection:
        async with self._opening:
            if self._connection is not None and not self._connection.is_open:
                gone, self._connection = self._connection, None
                await gone.close()
            if self._connection is None:
                if self._launcher is None:
                    self._launcher = self._setup.launcher(self.endpoint)
                self._connection, greeting = await open_connection(
                    self.name,
                    self._launcher,
                    None if self.endpoint.installed else self._setup.program,
                    self._setup.leader.remaining_s,
                )
                self._tools = frozenset(greeting.tools)
            return self._connection

    def _begin_closing(self) -> None:
        self._idle = None
        if not self._users:
            self._closing = asyncio.get_running_loop().create_task(self._close_if_idle())

    async def _close_if_idle(self) -> None:
        async with self._opening:
            if not self._users:
                await self._close_connection()

    async def close(self) -> None:
        """The connection is closed, its process has ended, and the key is gone from here."""
        if self._idle is not None:
            self._idle.cancel()
        async with self._opening:
            await self._close_connection()

    async def _close_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()
        await self._trunk.close()
        if self._launcher is not None:
            self._launcher.close()
            self._launcher = None
