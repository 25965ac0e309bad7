"""The API server as a person with a kubeconfig uses it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from backstay.adapters.kube.client import MERGE_PATCH, Call
from backstay.adapters.kube.objects import PLURALS, KubeObjects
from backstay.api.kinds import API_VERSION, GROUP, REQUESTED_AT
from backstay.ports.kube import Access, Body, Gone, ObjectRef

_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


class KubeReader(KubeObjects):
    """`ReaderPort` on a real API server."""

    async def read_object(self, kind: str, namespace: str, name: str) -> Body | None:
        """One object, or None when there is none of that name."""
        found = await self._get(_path(kind, namespace, name))
        return None if found is None else {"apiVersion": API_VERSION, "kind": kind, **found}

    async def request_look(self, kind: str, namespace: str, name: str, value: str) -> Body:
        """The object has this value in its annotation `requested-at`; returns it as stored."""
        return await self._annotate(_path(kind, namespace, name), kind, {REQUESTED_AT: value})

    async def approve(self, ref: ObjectRef, approval: str, *, of: str) -> Body:
        """Exactly this object has the approval in its annotation `of`; `Gone` if it is not."""
        path = _path(ref.kind, ref.namespace, ref.name)
        return await self._annotate(path, ref.kind, {of: approval}, uid=ref.uid)

    async def _annotate(
        self, path: str, kind: str, annotations: dict[str, str], uid: str | None = None
    ) -> Body:
        metadata: dict[str, Any] = {"annotations": annotations}
        if uid is not None:
            metadata["uid"] = uid
        call = Call(
            method="PATCH",
            path=path,
            body={"metadata": metadata},
            content_type=MERGE_PATCH,
        )
        answer: Body = await self._client.request(call)
        return {"apiVersion": API_VERSION, "kind": kind, **answer}

    async def read_crd(self, kind: str) -> Body | None:
        """The CustomResourceDefinition of a kind, or None when it is not installed."""
        return await self._get(f"{_CRDS}/{PLURALS[kind]}.{GROUP}")

    async def may(self, access: Access, namespace: str | None) -> bool:
        """Whether the user may do so in the namespace; None is all of the cluster."""
        attributes = {"verb": access.verb, "group": access.group, "resource": access.resource}
        if namespace is not None:
            attributes["namespace"] = namespace
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        answer = await self._client.request(Call(method="POST", path=_REVIEWS, body=review))
        return bool((answer.get("status") or {}).get("allowed"))

    async def _get(self, path: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = await self._client.request(Call(method="GET", path=path))
        except Gone:
            return None
        return found


def _path(kind: str, namespace: str, name: str) -> str:
    # Typed by a person: it names one object or none, whatever is in it.
    place, named = quote(namespace, safe=""), quote(name, safe="")
    return f"/apis/{API_VERSION}/namespaces/{place}/{PLURALS[kind]}/{named}"
