"""A Lease store with the API server's optimistic lock, and ways to make it fail."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from backstay.domain.errors import Unreachable
from backstay.ports.kube import Conflict, Gone, LeaseRecord


class FakeLeases:
    """Leases in memory. `before` runs ahead of each request and may wait, fail, or change them."""

    def __init__(self) -> None:
        self.stored: dict[tuple[str, str], LeaseRecord] = {}
        self.before: Callable[[str], Awaitable[None]] | None = None
        self.after_write: Callable[[], Awaitable[None]] | None = None
        self.down = False
        self._version = 0

    async def read_lease(self, namespace: str, name: str) -> LeaseRecord | None:
        """The Lease as stored."""
        await self._request("read")
        return self.stored.get((namespace, name))

    async def create_lease(self, record: LeaseRecord) -> LeaseRecord:
        """The Lease exists; Conflict when there already was one."""
        await self._request("create")
        if (record.namespace, record.name) in self.stored:
            raise Conflict("Conflict", "exists")
        return await self._store(record)

    async def update_lease(self, record: LeaseRecord) -> LeaseRecord:
        """The Lease is stored, if it was still at the record's version."""
        await self._request("update")
        stored = self.stored.get((record.namespace, record.name))
        if stored is None:
            raise Gone("Gone", "deleted")
        if stored.resource_version != record.resource_version:
            raise Conflict("Conflict", "changed")
        return await self._store(record)

    async def _request(self, verb: str) -> None:
        if self.before is not None:
            await self.before(verb)
        if self.down:
            raise Unreachable("Unreachable", "the API server is down")

    async def _store(self, record: LeaseRecord) -> LeaseRecord:
        self._version += 1
        stored = replace(record, resource_version=str(self._version))
        self.stored[(record.namespace, record.name)] = stored
        if self.after_write is not None:
            await self.after_write()
        return stored
