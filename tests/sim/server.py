"""The API server of a simulation: objects, watches and the Lease, with outages and lost answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from random import Random
from typing import Any, Protocol

from backstay.api.kinds import API_VERSION, DATA_KEY, PRIVATE_KEY
from backstay.controllers.keys import ObjectKey
from backstay.domain.errors import Unreachable
from backstay.ports.kube import Body, Gone, LeaseRecord, Notice, ObjectRef
from fakes.leases import FakeLeases
from sim.virtual import OpenWorld

NAMESPACE = "dr"


class Watcher(Protocol):
    """A process that watches."""

    def deliver(self, kind: str, event: str | None, body: Body) -> None:
        """An event has arrived; None for the objects that a watch begins with."""
        ...

    async def awake(self) -> None:
        """Returns when the process runs; never, when it is dead."""
        ...


class ApiServer:
    """Objects by name. Bodies are never changed in place, so that everybody may keep them."""

    def __init__(self, world: OpenWorld, dice: Random) -> None:
        self.world = world
        self.dice = dice
        self.bodies: dict[ObjectKey, dict[str, Any]] = {}
        self.watchers: list[Watcher] = []
        self.leases = FakeLeases()
        self.is_down = False
        self.loses = 0.0
        """The chance that a write's answer is lost though it was stored."""
        self.events: list[Notice] = []
        self.revision = 0
        self._uids = 0

    # --- people ----------------------------------------------------------------------------------

    def apply(self, kind: str, name: str, spec: Mapping[str, Any]) -> None:
        """`kubectl apply`."""
        key = ObjectKey(kind, NAMESPACE, name)
        known = self.bodies.get(key)
        metadata = known["metadata"] if known else self._newborn(name)
        body = {
            "apiVersion": API_VERSION,
            "kind": kind,
            "metadata": {**metadata, "generation": metadata["generation"] + 1},
            "spec": dict(spec),
            "status": {} if known is None else known["status"],
        }
        self._store(key, body, "ADDED" if known is None else "MODIFIED")

    def annotate(self, kind: str, name: str, annotation: str, value: str) -> None:
        """`kubectl annotate`."""
        key = ObjectKey(kind, NAMESPACE, name)
        metadata = self.bodies[key]["metadata"]
        self._meta(key, annotations={**metadata.get("annotations", {}), annotation: value})

    def delete(self, kind: str, name: str) -> None:
        """`kubectl delete`; who has a finalizer stays until it is gone."""
        key = ObjectKey(kind, NAMESPACE, name)
        if self.bodies[key]["metadata"].get("finalizers"):
            self._meta(key, deletionTimestamp="2026-11-22T03:00:00Z")
        else:
            self._remove(key)

    def status(self, name: str, kind: str = "ReplicationPair") -> Mapping[str, Any]:
        """The stored status; empty when there is none."""
        body = self.bodies.get(ObjectKey(kind, NAMESPACE, name))
        found: Mapping[str, Any] = {} if body is None else body["status"]
        return found

    def heal(self) -> None:
        """It is reachable again, and watches begin anew."""
        self.is_down, self.loses = False, 0.0
        for watcher in self.watchers:
            self.list_to(watcher)

    def list_to(self, watcher: Watcher) -> None:
        """A watch has begun."""
        for key, body in self.bodies.items():
            watcher.deliver(key.kind, None, body)

    # --- stored ----------------------------------------------------------------------------------

    def _newborn(self, name: str) -> dict[str, Any]:
        self._uids += 1
        born = self.world.now.strftime("%Y-%m-%dT%H:%M:%SZ")
        meta = {"namespace": NAMESPACE, "name": name, "uid": f"uid-{self._uids}", "generation": 0}
        return {**meta, "creationTimestamp": born}

    def _meta(self, key: ObjectKey, **changed: Any) -> None:
        body = self.bodies[key]
        self._store(key, {**body, "metadata": {**body["metadata"], **changed}}, "MODIFIED")

    def _store(self, key: ObjectKey, body: dict[str, Any], event: str) -> None:
        self.revision += 1
        metadata = {**body["metadata"], "resourceVersion": str(self.revision)}
        self.bodies[key] = {**body, "metadata": metadata}
        self._tell(key.kind, event, self.bodies[key])

    def _remove(self, key: ObjectKey) -> None:
        self.revision += 1
        self._tell(key.kind, "DELETED", self.bodies.pop(key))

    def _tell(self, kind: str, event: str, body: Body) -> None:
        if not self.is_down:
            for watcher in self.watchers:
                watcher.deliver(kind, event, body)

    def put_status(self, ref: ObjectRef, status: Mapping[str, Any]) -> Body:
        """The status is stored."""
        key = self._key(ref)
        self._store(key, {**self.bodies[key], "status": dict(status)}, "MODIFIED")
        return self.bodies[key]

    def put_finalizers(self, ref: ObjectRef, add: Collection[str], remove: Collection[str]) -> None:
        """The finalizers are as asked for; who is being deleted and has none left is gone."""
        key = self._key(ref)
        metadata = self.bodies[key]["metadata"]
        known = [f for f in metadata.get("finalizers", ()) if f not in remove]
        left = known + [f for f in add if f not in known]
        if "deletionTimestamp" in metadata and not left:
            self._remove(key)
        else:
            self._meta(key, finalizers=left)

    def _key(self, ref: ObjectRef) -> ObjectKey:
        key = ObjectKey(ref.kind, ref.namespace, ref.name)
        if key not in self.bodies or self.bodies[key]["metadata"]["uid"] != ref.uid:
            raise Gone("Gone", f"{ref} is gone")
        return key


class ApiLink:
    """`KubePort` of one process."""

    def __init__(self, server: ApiServer, process: Watcher) -> None:
        self._server = server
        self._process = process

    async def list_all(self, kind: str) -> AsyncIterator[Body]:
        """See `KubePort`."""
        await self._ask()
        found = [body for key, body in self._server.bodies.items() if key.kind == kind]
        await self._answered()
        for body in found:
            yield body

    async def replace_status(self, ref: ObjectRef, status: Body, *, reason: str) -> Body:
        """See `KubePort`."""
        await self._ask()
        stored = self._server.put_status(ref, status)
        await self._answered()
        return stored

    async def get_secret(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        """See `KubePort`."""
        await self._ask()
        return {PRIVATE_KEY: b"key", DATA_KEY: b"data"}

    async def emit_event(self, ref: ObjectRef, notice: Notice) -> None:
        """See `KubePort`."""
        await self._ask()
        self._server.events.append(notice)

    async def patch_finalizers(
        self, ref: ObjectRef, *, add: Collection[str] = (), remove: Collection[str] = ()
    ) -> None:
        """See `KubePort`."""
        await self._ask()
        self._server.put_finalizers(ref, add, remove)
        await self._answered()

    async def read_lease(self, namespace: str, name: str) -> LeaseRecord | None:
        """See `LeasePort`."""
        await self._ask()
        return await self._server.leases.read_lease(namespace, name)

    async def create_lease(self, record: LeaseRecord) -> LeaseRecord:
        """See `LeasePort`."""
        await self._ask()
        stored = await self._server.leases.create_lease(record)
        await self._answered()
        return stored

    async def update_lease(self, record: LeaseRecord) -> LeaseRecord:
        """See `LeasePort`."""
        await self._ask()
        stored = await self._server.leases.update_lease(record)
        await self._answered()
        return stored

    async def _ask(self) -> None:
        await self._process.awake()
        await asyncio.sleep(self._server.dice.choice((0.002, 0.01, 0.05)))
        if self._server.is_down:
            raise Unreachable("Unreachable", "the API server is down")

    async def _answered(self) -> None:
        await self._process.awake()
        if self._server.loses and self._server.dice.random() < self._server.loses:
            raise Unreachable("Unreachable", "the API server's answer was lost")
