"""The objects of backstay, Secrets and Events at the API server."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from typing import Any

from backstay.adapters.kube.client import JSON_PATCH, Call, KubeClient
from backstay.adapters.kube.leases import KubeLeases
from backstay.api.kinds import API_VERSION
from backstay.api.v1alpha1 import KINDS
from backstay.api.words import Reason
from backstay.domain.errors import Stalled, Unreachable
from backstay.ports.clock import Clock
from backstay.ports.kube import Body, Conflict, Gone, Notice, ObjectRef

PLURALS: Mapping[str, str] = {model.info.kind: model.info.plural for model in KINDS}
# 500 objects of 3 KB make an answer of 1.5 MB.
PAGE = 500
FINALIZER_TRIES = 5
# What the API server takes (events.k8s.io, Event.note).
NOTE_LENGTH = 1024
COMPONENT = "backstay"

CountWrite = Callable[[str, str], None]
"""Called with the verb and the reason of each write that was tried."""


class KubeObjects(KubeLeases):
    """`KubePort` on a real API server, for the namespaces that it may see; empty means all."""

    def __init__(
        self,
        client: KubeClient,
        clock: Clock,
        namespaces: Collection[str],
        count_write: CountWrite,
    ) -> None:
        super().__init__(client, count_write)
        self._clock = clock
        self._namespaces = tuple(namespaces)
        self._events = 0

    async def list_all(self, kind: str) -> AsyncIterator[Body]:
        """All objects of the kind; a namespace's pages are from one moment."""
        paths = [_path(kind, namespace) for namespace in self._namespaces] or [_path(kind, None)]
        for path in paths:
            bodies = await self._list(path)
            bodies.reverse()
            while bodies:  # each is let go as it is taken: 10,000 are 200 MB
                yield {"apiVersion": API_VERSION, "kind": kind, **bodies.pop()}

    async def replace_status(self, ref: ObjectRef, status: Body, *, reason: str) -> Body:
        """The whole status of exactly this object is as given."""
        patch: list[dict[str, object]] = [
            _same(ref),
            {"op": "add", "path": "/status", "value": status},
        ]
        self._count_write("status", reason)
        try:
            return await self._patch(f"{_object_path(ref)}/status", patch)
        except Stalled:
            # A failed test and a refused value look alike (422); only the object tells them apart.
            await self._read(ref)
            raise

    async def get_secret(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        """The data of a Secret, or None when there is none."""
        try:
            path = f"/api/v1/namespaces/{namespace}/secrets/{name}"
            secret = await self._client.request(Call(method="GET", path=path))
        except Gone:
            return None
        try:
            return {k: base64.b64decode(v) for k, v in (secret.get("data") or {}).items()}
        except (binascii.Error, TypeError) as error:
            raise Stalled(
                Reason.SECRET_MISSING, f"Secret {namespace}/{name} is not base64"
            ) from error

    async def emit_event(self, ref: ObjectRef, notice: Notice) -> None:
        """A Kubernetes Event about the object exists."""
        now = self._clock.now()
        self._events += 1
        stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        event = {
            "metadata": {
                # Unique in the namespace: uid, and microseconds with a counter.
                "name": f"{ref.name[:200]}.{int(now.timestamp() * 1e6):x}{self._events % 4096:03x}",
                "namespace": ref.namespace,
            },
            "involvedObject": {
                "apiVersion": API_VERSION,
                "kind": ref.kind,
                "namespace": ref.namespace,
                "name": ref.name,
                "uid": ref.uid,
            },
            "type": notice.type,
            "reason": notice.reason,
            "message": notice.message[:NOTE_LENGTH],
            "source": {"component": COMPONENT},
            "reportingComponent": COMPONENT,
            "firstTimestamp": stamp,
            "lastTimestamp": stamp,
            "count": 1,
        }
        self._count_write("event", notice.reason)
        path = f"/api/v1/namespaces/{ref.namespace}/events"
        await self._client.request(Call(method="POST", path=path, body=event))

    async def patch_finalizers(
        self, ref: ObjectRef, *, add: Collection[str] = (), remove: Collection[str] = ()
    ) -> None:
        """Exactly this object has the finalizers `add` and none of `remove`; others stay."""
        last = ""
        for _ in range(FINALIZER_TRIES):
            metadata = (await self._read(ref))["metadata"]
            known = list(metadata.get("finalizers") or ())
            wanted = [f for f in known if f not in remove]
            wanted += [f for f in add if f not in wanted]
            if wanted == known:
                return
            version = metadata["resourceVersion"]
            patch = [
                _same(ref),
                {"op": "test", "path": "/metadata/resourceVersion", "value": version},
                {"op": "add", "path": "/metadata/finalizers", "value": wanted},
            ]
            self._count_write("finalizers", "release" if remove else "hold")
            try:
                await self._patch(_object_path(ref), patch)
                return
            except Conflict:
                last = version
            except Stalled:
                # Somebody may have written between our read and our patch: read again, once.
                if last == version:
                    raise
                last = version
        raise Conflict("Conflict", f"{ref} changes faster than it can be patched (at {last})")

    async def _read(self, ref: ObjectRef) -> dict[str, Any]:
        body: dict[str, Any] = await self._client.request(
            Call(method="GET", path=_object_path(ref))
        )
        if body["metadata"]["uid"] != ref.uid:
            raise Gone("Gone", f"{ref} is another object now")
        return body

    async def _patch(self, path: str, patch: list[dict[str, object]]) -> Body:
        answer: Body = await self._client.request(
            Call(method="PATCH", path=path, body=patch, content_type=JSON_PATCH)
        )
        return answer

    async def _list(self, path: str) -> list[dict[str, Any]]:
        try:
            return await self._pages(path, {"limit": str(PAGE)})
        except Gone:
            # The pages outlived their moment (410): one page cannot. Or there is no such kind.
            pass
        try:
            return await self._pages(path, {})
        except Gone as error:
            raise Unreachable(
                Reason.UNREACHABLE, f"the API server has no {path}: install the CRDs"
            ) from error

    async def _pages(self, path: str, query: dict[str, str]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            answer = await self._client.request(Call(method="GET", path=path, query=query))
            for body in answer.get("items") or ():
                body.get("metadata", {}).pop("managedFields", None)  # nobody's, and half of it
                found.append(body)
            token = (answer.get("metadata") or {}).get("continue")
            if not token:
                return found
            query = {"limit": str(PAGE), "continue": token}


def _path(kind: str, namespace: str | None) -> str:
    place = f"/namespaces/{namespace}" if namespace is not None else ""
    return f"/apis/{API_VERSION}{place}/{PLURALS[kind]}"


def _object_path(ref: ObjectRef) -> str:
    return f"{_path(ref.kind, ref.namespace)}/{ref.name}"


def _same(ref: ObjectRef) -> dict[str, object]:
    """Only a failed test refuses: a wrong uid in a merge patch or an apply is ignored."""
    return {"op": "test", "path": "/metadata/uid", "value": ref.uid}
