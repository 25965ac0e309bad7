"""A Kubernetes API in memory: what tests put in, what was written, and ways to make it fail."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from typing import Any

from backstay.domain.errors import BackstayError
from backstay.ports.kube import Body, Gone, Notice, ObjectRef
from fakes.leases import FakeLeases
from fakes.objects import next_version


class FakeKube(FakeLeases):
    """Objects by uid, as an API server that only ever does what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[str, dict[str, Any]] = {}
        self.secrets: dict[tuple[str, str], dict[str, bytes]] = {}
        self.writes: list[tuple[str, str]] = []
        """(name, reason) of each status that was written."""
        self.events: list[tuple[str, Notice]] = []
        self.failure: BackstayError | None = None
        """Raised by every request while it is set."""
        self.during: Callable[[], Awaitable[None]] | None = None
        """Runs while a request is under way."""

    def put(self, body: Mapping[str, Any]) -> ObjectRef:
        """The object is stored."""
        metadata = body["metadata"]
        self.objects[metadata["uid"]] = copy.deepcopy(dict(body))
        return ObjectRef(
            kind=body["kind"],
            namespace=metadata["namespace"],
            name=metadata["name"],
            uid=metadata["uid"],
        )

    async def list_all(self, kind: str) -> AsyncIterator[Body]:
        """All objects of the kind."""
        found = [b for b in self.objects.values() if b["kind"] == kind]
        await self._trouble()
        for body in found:
            yield copy.deepcopy(body)

    async def replace_status(self, ref: ObjectRef, status: Body, *, reason: str) -> Body:
        """The status is stored."""
        await self._trouble()
        body = self._find(ref)
        body["status"] = copy.deepcopy(dict(status))
        body["metadata"]["resourceVersion"] = next_version()
        self.writes.append((ref.name, reason))
        return copy.deepcopy(body)

    async def get_secret(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        """The Secret's data."""
        await self._trouble()
        return self.secrets.get((namespace, name))

    async def emit_event(self, ref: ObjectRef, notice: Notice) -> None:
        """The Event is remembered."""
        await self._trouble()
        self.events.append((ref.name, notice))

    async def patch_finalizers(
        self, ref: ObjectRef, *, add: Collection[str] = (), remove: Collection[str] = ()
    ) -> None:
        """The finalizers are as asked for."""
        await self._trouble()
        metadata = self._find(ref)["metadata"]
        known = [f for f in metadata.get("finalizers", ()) if f not in remove]
        metadata["finalizers"] = known + [f for f in add if f not in known]
        metadata["resourceVersion"] = next_version()

    def _find(self, ref: ObjectRef) -> dict[str, Any]:
        if ref.uid not in self.objects:
            raise Gone("Gone", f"{ref} is gone")
        return self.objects[ref.uid]

    async def _trouble(self) -> None:
        if self.during is not None:
            await self.during()
        if self.failure is not None:
            raise self.failure
