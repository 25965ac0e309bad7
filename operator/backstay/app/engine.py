"""The engine of one leader's term: everything that works on hosts, made new for each term."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from backstay.adapters.host.hosts import Leader, OpenSshHosts, Setup
from backstay.adapters.host.transfers import OpenSshTransfers
from backstay.app.hostzip import pack_host_program
from backstay.app.lease import Leadership
from backstay.app.metrics import Metrics
from backstay.app.settings import Settings
from backstay.controllers.book import Book
from backstay.controllers.farewell import Farewell
from backstay.controllers.hosts import HostFinder
from backstay.controllers.keys import Key, ObjectKey
from backstay.controllers.objects import FINALIZER, ObjectHooks, ObjectRuns
from backstay.controllers.passes import PassHooks, RoutePasses
from backstay.controllers.registry import Registry
from backstay.controllers.scheduler import Outcome
from backstay.controllers.shares import Shares
from backstay.controllers.statuswriter import StatusWriter
from backstay.domain.pairs import Route
from backstay.plan.naming import short_id
from backstay.ports.clock import Clock
from backstay.ports.kube import KubePort


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """What the process gives each engine."""

    settings: Settings
    clock: Clock
    kube: KubePort
    registry: Registry
    writer: StatusWriter
    metrics: Metrics
    leadership: Leadership
    ring: Callable[[Key], None]
    ring_in: Callable[[Key, float], None]
    """The same, in so many seconds, or earlier."""


class Engine(Protocol):
    """Works on keys for one term."""

    async def run(self, key: Key) -> Outcome:
        """The key was worked on; when it is due again."""
        ...

    async def stop(self) -> None:
        """Nothing works on any host any more; may take long where a host does not answer."""
        ...

    def sessions(self) -> int:
        """How many hosts are connected."""
        ...


MakeEngine: TypeAlias = Callable[[Post], Engine]


class HostEngine:
    """Passes over routes and work on objects, with hosts over OpenSSH."""

    def __init__(self, post: Post) -> None:
        installation = post.settings.installation_id
        leader = Leader(
            installation_id=installation,
            short_id=short_id(installation),
            process_id=post.leadership.process_id,
            term=post.leadership.term,
            remaining_s=post.leadership.remaining_s,
        )
        self._hosts = OpenSshHosts(
            Setup(
                program=pack_host_program(),
                leader=leader,
                clock=post.clock,
                on_request=post.metrics.count_request,
                require_installed=post.settings.require_installed,
            )
        )
        term, clock = post.leadership.term, post.clock
        finder = HostFinder(post.registry, post.kube, self._hosts, term, clock)
        shares = Shares(post.registry, finder, Book(), leader.short_id)

        def reported(pair: str) -> None:
            namespace, name = pair.split("/", 1)
            post.ring(ObjectKey("ReplicationPair", namespace, name))

        def judge_in(pair: str, seconds: float) -> None:
            namespace, name = pair.split("/", 1)
            post.ring_in(ObjectKey("ReplicationPair", namespace, name), seconds)

        hooks = PassHooks(
            ring=post.ring,
            reported=reported,
            superseded=post.leadership.superseded,
            judge_in=judge_in,
        )
        self._passes = RoutePasses(shares, OpenSshTransfers(post.clock), post.clock, hooks)
        farewell = Farewell(shares, post.kube, self._passes, FINALIZER)
        told = ObjectHooks(ring=post.ring, sink=post.writer, broke=post.metrics.count_fault)
        self._objects = ObjectRuns(shares, post.kube, post.clock, farewell, told)

    async def run(self, key: Key) -> Outcome:
        """A pass over a route, or the work on an object."""
        match key:
            case Route():
                return await self._passes.run(key)
            case ObjectKey():
                return await self._objects.run(key)

    async def stop(self) -> None:
        """No stream runs and no host is connected."""
        await asyncio.gather(self._passes.lanes.stop(), self._hosts.close())

    def sessions(self) -> int:
        """How many hosts are connected."""
        return self._hosts.sessions()
