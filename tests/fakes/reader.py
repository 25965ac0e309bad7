"""A cluster as a person reads it, and a clock that runs ahead while that person waits."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from backstay.api.crds import crd
from backstay.api.kinds import REQUESTED_AT
from backstay.api.v1alpha1 import KINDS
from backstay.app.commands.cluster import Toolbox
from backstay.domain.errors import Stalled
from backstay.ports.kube import Access, Body, Gone, LeaseRecord, ObjectRef
from fakes.clock import START, FakeClock
from fakes.kube import FakeKube


class RushingClock(FakeClock):
    """Sleeping takes no time: the clock is just later then, and `then` has been called."""

    def __init__(self, start: datetime = START) -> None:
        super().__init__(start)
        self.then: Callable[[], None] = lambda: None

    async def sleep(self, seconds: float) -> None:
        """So much later, at once."""
        self.freeze_and_jump(seconds)
        self.then()


class FakeReader(FakeKube):
    """`ReaderPort` in memory; everything is allowed but what is in `denied`."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = RushingClock()
        self.crds: dict[str, Body] = {model.info.kind: crd(model) for model in KINDS}
        self.denied: set[str] = set()
        self.namespaces: tuple[str, ...] = ()

    def toolbox(self) -> Toolbox:
        """A world in which commands find this cluster."""

        @asynccontextmanager
        async def opened(_config: str, namespaces: Collection[str]) -> AsyncIterator[FakeReader]:
            self.namespaces = tuple(namespaces)
            yield self

        return Toolbox(open=opened, clock=self.clock, default_namespace=lambda _config: "ns")

    async def list_all(self, kind: str) -> AsyncIterator[Body]:
        """All objects of the kind in the namespaces that were asked for."""
        async for body in super().list_all(kind):
            if not self.namespaces or body["metadata"]["namespace"] in self.namespaces:
                yield body

    async def read_object(self, kind: str, namespace: str, name: str) -> Body | None:
        """One object."""
        await self._trouble()
        found = self._named(kind, namespace, name)
        return None if found is None else copy.deepcopy(found)

    async def request_look(self, kind: str, namespace: str, name: str, value: str) -> Body:
        """The annotation is set."""
        self._refuse("patch replicationpairs.backstay.dev")
        await self._trouble()
        found = self._named(kind, namespace, name)
        if found is None:
            raise Gone("Gone", f"{name} is gone")
        found["metadata"].setdefault("annotations", {})[REQUESTED_AT] = value
        return copy.deepcopy(found)

    async def approve(self, ref: ObjectRef, approval: str, *, of: str) -> Body:
        """The annotation is set."""
        self._refuse("patch replicationpairs.backstay.dev")
        await self._trouble()
        found = self._named(ref.kind, ref.namespace, ref.name)
        if found is None or found["metadata"]["uid"] != ref.uid:
            raise Gone("Gone", f"{ref} is gone")
        found["metadata"].setdefault("annotations", {})[of] = approval
        return copy.deepcopy(found)

    async def get_secret(self, namespace: str, name: str) -> Any:
        """The Secret's data, if the user may see it."""
        self._refuse("get secrets")
        return await super().get_secret(namespace, name)

    async def read_lease(self, namespace: str, name: str) -> LeaseRecord | None:
        """The Lease, if the user may see it."""
        self._refuse("get leases.coordination.k8s.io")
        await self._trouble()
        return await super().read_lease(namespace, name)

    async def read_crd(self, kind: str) -> Body | None:
        """The CRD, if the user may see it."""
        self._refuse("get customresourcedefinitions.apiextensions.k8s.io")
        await self._trouble()
        return self.crds.get(kind)

    async def may(self, access: Access, namespace: str | None) -> bool:
        """Whether it is not denied."""
        await self._trouble()
        return str(access) not in self.denied

    def _refuse(self, what: str) -> None:
        if what in self.denied:
            raise Stalled("NoRights", f"{what}: 403 forbidden")

    def _named(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        for body in self.objects.values():
            metadata = body["metadata"]
            if (body["kind"], metadata["namespace"], metadata["name"]) == (kind, namespace, name):
                return body
        return None
