"""Leases at the API server."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from backstay.adapters.kube.client import MERGE_PATCH, Call, KubeClient
from backstay.ports.kube import Gone, LeaseRecord

TERM = "backstay.dev/term"


class KubeLeases:
    """`LeasePort` on a real API server."""

    def __init__(self, client: KubeClient, count_write: Callable[[str, str], None]) -> None:
        self._client = client
        self._count_write = count_write

    async def read_lease(self, namespace: str, name: str) -> LeaseRecord | None:
        """The Lease as stored, or None when there is none."""
        try:
            return _record(
                await self._client.request(Call(method="GET", path=f"{_path(namespace)}/{name}"))
            )
        except Gone:
            return None

    async def create_lease(self, record: LeaseRecord) -> LeaseRecord:
        """The Lease exists as given."""
        self._count_write("lease", "create")
        path = _path(record.namespace)
        return _record(
            await self._client.request(Call(method="POST", path=path, body=_body(record)))
        )

    async def update_lease(self, record: LeaseRecord) -> LeaseRecord:
        """The Lease is stored as given, if it still was at the record's resource version.

        A merge patch with that version, not a PUT, which creates a Lease that was deleted.
        """
        self._count_write("lease", "renew")
        call = Call(
            method="PATCH",
            path=f"{_path(record.namespace)}/{record.name}",
            body=_body(record),
            content_type=MERGE_PATCH,
        )
        return _record(await self._client.request(call))


def _path(namespace: str) -> str:
    return f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"


def _body(record: LeaseRecord) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "name": record.name,
        "namespace": record.namespace,
        "annotations": {TERM: str(record.term)},
    }
    if record.resource_version:
        metadata["resourceVersion"] = record.resource_version
    spec = {
        "holderIdentity": record.holder,
        "leaseDurationSeconds": record.duration_s,
        "leaseTransitions": record.transitions,
        "acquireTime": _stamp(record.acquired_at),
        "renewTime": _stamp(record.renewed_at),
    }
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": metadata,
        "spec": {name: value for name, value in spec.items() if value is not None},
    }


def _record(body: dict[str, Any]) -> LeaseRecord:
    metadata, spec = body["metadata"], body.get("spec") or {}
    term = (metadata.get("annotations") or {}).get(TERM, "")
    return LeaseRecord(
        namespace=metadata["namespace"],
        name=metadata["name"],
        holder=spec.get("holderIdentity") or "",
        duration_s=int(spec.get("leaseDurationSeconds") or 0),
        # Somebody may have edited it; the terms that hosts know keep it growing then.
        term=int(term) if term.isascii() and term.isdigit() else 0,
        transitions=int(spec.get("leaseTransitions") or 0),
        acquired_at=_time(spec.get("acquireTime")),
        renewed_at=_time(spec.get("renewTime")),
        resource_version=metadata["resourceVersion"],
    )


def _stamp(time: datetime | None) -> str | None:
    return None if time is None else time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
