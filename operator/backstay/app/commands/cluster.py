"""What commands read of a cluster, and how they are run."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import ValidationError

from backstay.adapters.clock import SystemClock
from backstay.adapters.kube.client import KubeClient, default_kubeconfig, default_namespace
from backstay.adapters.kube.reader import KubeReader
from backstay.api.v1alpha1 import ProtectionPolicy, ReplicationPair, Site, problems
from backstay.api.v1alpha1.meta import Model
from backstay.app.commands.asked import Asked
from backstay.app.commands.screen import Screen
from backstay.domain.errors import BackstayError
from backstay.plan.room import RouteLook
from backstay.ports.clock import Clock
from backstay.ports.kube import Body, ObjectRef, ReaderPort
from backstay.report.inventory import Inventory, Unreadable
from backstay.report.leader import Leader, LeaseSeen, LeaseUnseen, judge_leader

UNREAD = 2
"""Exit status when the cluster could not be read: nothing is known."""
LEASE_NAME = "backstay"
LEASE_NAMESPACE = "backstay"
ModelT = TypeVar("ModelT", Site, ProtectionPolicy, ReplicationPair)


class NotFound(Exception):
    """What was asked for does not exist, or cannot be understood."""


@asynccontextmanager
async def open_reader(kubeconfig: str, namespaces: Collection[str]) -> AsyncIterator[ReaderPort]:
    """The API server of a kubeconfig, for these namespaces; none means all."""
    client = KubeClient(kubeconfig)
    try:
        yield KubeReader(client, SystemClock(), namespaces, lambda _verb, _reason: None)
    finally:
        await client.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolbox:
    """The world that commands run in; tests bring another one."""

    open: Callable[[str, Collection[str]], AbstractAsyncContextManager[ReaderPort]] = open_reader
    clock: Clock = field(default_factory=SystemClock)
    default_namespace: Callable[[str], str] = default_namespace
    look: Callable[[str], Awaitable[Sequence[RouteLook]]] | None = None
    """Reads all that the sources of a pair are sent to; None: the hosts themselves are asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """One namespace of a cluster, or all of them (None), as a person reads it."""

    kube: ReaderPort
    clock: Clock
    namespace: str | None
    lease: str | None

    async def inventory(self) -> Inventory:
        """All objects, those included that cannot be understood."""
        unreadable: list[Unreadable] = []
        return Inventory(
            pairs=await self._all(ReplicationPair, unreadable),
            policies=await self._all(ProtectionPolicy, unreadable),
            sites=await self._all(Site, unreadable),
            unreadable=tuple(unreadable),
        )

    async def pair(self, name: str) -> ReplicationPair:
        """The pair of that name; `NotFound` says why there is none."""
        found = await self.one(ReplicationPair, name)
        if found is None or isinstance(found, Unreadable):
            why = "does not exist" if found is None else found.why
            raise NotFound(f"ReplicationPair {self.namespace}/{name}: {why}")
        return found

    async def approve(self, pair: ReplicationPair, approval: Model, *, of: str) -> None:
        """Exactly this pair has the approval in its annotation `of`; `Gone` if it is not there."""
        meta = pair.metadata
        ref = ObjectRef(
            kind="ReplicationPair", namespace=meta.namespace, name=meta.name, uid=meta.uid
        )
        await self.kube.approve(ref, json.dumps(approval.document()), of=of)

    async def one(self, model: type[ModelT], name: str) -> ModelT | Unreadable | None:
        """The object of that name in the namespace, or None when there is none."""
        assert self.namespace is not None
        body = await self.kube.read_object(model.info.kind, self.namespace, name)
        return None if body is None else parsed(model, body)

    async def leader(self, namespace: str) -> Leader:
        """Whether an operator leads in a namespace, by the first of its likely Leases there is."""
        seen = None
        for place in self.lease_places(namespace):
            seen = await self._lease(*place)
            if isinstance(seen, LeaseSeen):
                break
        assert seen is not None
        return judge_leader(seen, self.clock.now())

    async def leaders(self, objects: Inventory) -> dict[str, Leader]:
        """The same for each namespace that has pairs, or the one that is looked at."""
        wanted = {pair.metadata.namespace for pair in objects.pairs}
        if self.namespace is not None or not wanted:
            wanted.add(self.namespace or LEASE_NAMESPACE)
        names = sorted(wanted)
        found = await asyncio.gather(*(self.leader(name) for name in names))
        return dict(zip(names, found, strict=True))

    def lease_places(self, namespace: str) -> list[tuple[str, str]]:
        """Where the Lease of the operator may be that works in the namespace."""
        if self.lease is not None:
            given, _, name = self.lease.rpartition("/")
            return [(given or namespace, name)]
        return [(place, LEASE_NAME) for place in dict.fromkeys((namespace, LEASE_NAMESPACE))]

    async def _lease(self, namespace: str, name: str) -> LeaseSeen | LeaseUnseen:
        place = f"{namespace}/{name}"
        try:
            record = await self.kube.read_lease(namespace, name)
        except BackstayError as error:
            return LeaseUnseen(place=place, why=f"could not be read: {error.message}")
        if record is None:
            return LeaseUnseen(place=place, why="does not exist")
        return LeaseSeen(
            place=place,
            holder=record.holder,
            term=record.term,
            duration_s=record.duration_s,
            renewed_at=record.renewed_at,
        )

    async def _all(self, model: type[ModelT], unreadable: list[Unreadable]) -> tuple[ModelT, ...]:
        found = []
        async for body in self.kube.list_all(model.info.kind):
            value = parsed(model, body)
            if isinstance(value, Unreadable):
                unreadable.append(value)
            else:
                found.append(value)
        return tuple(found)


def parsed(model: type[ModelT], body: Body) -> ModelT | Unreadable:
    """The object of a body, or why this version does not understand it."""
    try:
        return model.model_validate(body)
    except ValidationError as error:
        metadata: dict[str, Any] = body["metadata"]
        return Unreadable(
            kind=model.info.kind,
            namespace=metadata.get("namespace", ""),
            name=metadata["name"],
            why="this version of the plugin does not understand it: " + problems(error)[0],
        )


Work = Callable[[Cluster, Screen], Awaitable[int]]
"""A command: what it returns is the exit status."""


def run(work: Work, asked: Asked, tools: Toolbox | None) -> int:
    """The command ran in the cluster that was asked for; returns its exit status."""
    world = tools or Toolbox()
    screen = Screen(asked.output)
    try:
        return asyncio.run(_run(work, asked, world, screen))
    except BackstayError as error:
        screen.complain(f"the cluster could not be read: {error.reason}: {error.message}")
    except NotFound as error:
        screen.complain(str(error))
    return UNREAD


async def _run(work: Work, asked: Asked, world: Toolbox, screen: Screen) -> int:
    config = asked.kubeconfig or default_kubeconfig()
    namespace = asked.namespace or world.default_namespace(config)
    wanted = None if asked.all_namespaces else namespace
    async with world.open(config, [] if wanted is None else [wanted]) as kube:
        return await work(
            Cluster(kube=kube, clock=world.clock, namespace=wanted, lease=asked.lease), screen
        )
