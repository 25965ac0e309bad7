"""The Kubernetes API, as the core needs it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol, TypeAlias

from backstay.domain.errors import BackstayError

Body: TypeAlias = Mapping[str, Any]
"""An object as the API server stores it; never changed in place."""


class Gone(BackstayError):
    """The object does not exist any more, or another one bears its name."""


class Conflict(BackstayError):
    """Somebody else changed the object since it was read; read again before the next write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectRef:
    """Exactly one object: a re-created one of the same name has another `uid`."""

    kind: str
    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What a Kubernetes Event says. `reason` is a CamelCase word."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRecord:
    """A `coordination.k8s.io` Lease. Its times are for people; nobody decides by them.

    `holder` is empty when it was released. `term` grows with every change of leadership.
    """

    namespace: str
    name: str
    holder: str
    duration_s: int
    term: int
    transitions: int = 0
    acquired_at: datetime | None = None
    renewed_at: datetime | None = None
    resource_version: str = ""


class LeasePort(Protocol):
    """Leases with an optimistic lock. Every call ends within its deadline.

    Raises `Unreachable` when nothing was learnt: a write may have happened or not.
    """

    async def read_lease(self, namespace: str, name: str) -> LeaseRecord | None:
        """The Lease as stored, or None when there is none."""
        ...

    async def create_lease(self, record: LeaseRecord) -> LeaseRecord:
        """The Lease exists as given; `Conflict` when there already was one."""
        ...

    async def update_lease(self, record: LeaseRecord) -> LeaseRecord:
        """The Lease is stored as given.

        `Conflict` when it is no longer at `record.resource_version`, `Gone` when it was deleted.
        """
        ...


class KubePort(LeasePort, Protocol):
    """The objects of one installation.

    Every call ends within its deadline and raises `Unreachable` (nothing learnt, a write may have
    happened), `Gone`, `Conflict` or `Stalled` (refused: rights, or an invalid value).
    """

    def list_all(self, kind: str) -> AsyncIterator[Body]:
        """All objects of a kind in the watched namespaces, page by page, from one moment."""
        ...

    async def replace_status(self, ref: ObjectRef, status: Body, *, reason: str) -> Body:
        """The whole status of exactly this object is as given; returns the object as stored.

        `Gone` when the object was deleted or re-created. `reason` labels the write's metric.
        """
        ...

    async def get_secret(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        """The data of a Secret, or None when there is none."""
        ...

    async def emit_event(self, ref: ObjectRef, notice: Notice) -> None:
        """A Kubernetes Event about the object exists."""
        ...

    async def patch_finalizers(
        self, ref: ObjectRef, *, add: Collection[str] = (), remove: Collection[str] = ()
    ) -> None:
        """Exactly this object has the finalizers `add` and none of `remove`; others stay.

        `Gone` when the object was deleted or re-created.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Something that a user may do or not. `group` is empty for the core API."""

    verb: str
    resource: str
    group: str = ""

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}" + (f".{self.group}" if self.group else "")


class ReaderPort(Protocol):
    """What a person with a kubeconfig does: reads, asks for a look, approves.

    Raises as `KubePort`.
    """

    def list_all(self, kind: str) -> AsyncIterator[Body]:
        """All objects of a kind in the namespaces that were asked for."""
        ...

    async def read_object(self, kind: str, namespace: str, name: str) -> Body | None:
        """One object, or None when there is none of that name."""
        ...

    async def request_look(self, kind: str, namespace: str, name: str, value: str) -> Body:
        """The object has this value in its annotation `requested-at`; returns it as stored."""
        ...

    async def approve(self, ref: ObjectRef, approval: str, *, of: str) -> Body:
        """Exactly this object has the approval in its annotation `of`; returns it as stored.

        `Conflict` or `Gone` when another object bears the name by now.
        """
        ...

    async def get_secret(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        """The data of a Secret, or None when there is none."""
        ...

    async def read_lease(self, namespace: str, name: str) -> LeaseRecord | None:
        """The Lease as stored, or None when there is none."""
        ...

    async def read_crd(self, kind: str) -> Body | None:
        """The CustomResourceDefinition of a kind, or None when it is not installed."""
        ...

    async def may(self, access: Access, namespace: str | None) -> bool:
        """Whether the user may do so in the namespace; None is all of the cluster."""
        ...
