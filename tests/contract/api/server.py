"""The API server as `kubectl` uses it: strict about unknown fields."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from kubernetes import client, config

from backstay.api.v1alpha1 import KINDS, Resource
from contract.api.manifests import Manifest

NAMESPACE = "contract-api"


def kind_of(manifest: Manifest) -> type[Resource]:
    """Return the model of a manifest."""
    return next(kind for kind in KINDS if kind.info.kind == manifest["kind"])


class Server:
    """Objects of our kinds in the namespace of these tests."""

    def __init__(self, kubeconfig: str) -> None:
        load: Any = config.new_client_from_config
        self._client = load(kubeconfig)
        self._objects: Any = client.CustomObjectsApi(self._client)

    def ensure_namespace(self) -> None:
        """The namespace of these tests exists."""
        core: Any = client.CoreV1Api(self._client)
        try:
            core.create_namespace({"metadata": {"name": NAMESPACE}})
        except client.ApiException as refusal:
            if refusal.status != 409:
                raise

    def close(self) -> None:
        """No connection is left open."""
        self._client.close()

    def try_create(self, manifest: Manifest) -> Manifest:
        """Return the object as the server would store it."""
        found: Manifest = self._objects.create_namespaced_custom_object(
            *_where(manifest), manifest, field_validation="Strict", dry_run="All"
        )
        return found

    def create(self, manifest: Manifest) -> Manifest:
        """Return the object as the server has stored it, in place of one of that name."""
        self.remove(manifest)
        found: Manifest = self._objects.create_namespaced_custom_object(
            *_where(manifest), manifest, field_validation="Strict"
        )
        return found

    def replace(self, manifest: Manifest) -> Manifest:
        """Return the object after everything in it but its identity was replaced."""
        name = manifest["metadata"]["name"]
        stored = self._objects.get_namespaced_custom_object(*_where(manifest), name)
        found: Manifest = self._objects.replace_namespaced_custom_object(
            *_where(manifest),
            name,
            manifest | {"metadata": stored["metadata"]},
            field_validation="Strict",
        )
        return found

    def merge(self, manifest: Manifest, patch: Manifest) -> Manifest:
        """Return the object after a merge patch, which removes what is null."""
        found: Manifest = self._objects.patch_namespaced_custom_object(
            *_where(manifest),
            manifest["metadata"]["name"],
            patch,
            field_validation="Strict",
            _content_type="application/merge-patch+json",
        )
        return found

    def report(self, manifest: Manifest, status: Manifest) -> Manifest:
        """Return the object after its status was patched, as the operator does."""
        found: Manifest = self._objects.patch_namespaced_custom_object_status(
            *_where(manifest),
            manifest["metadata"]["name"],
            {"status": status},
            field_validation="Strict",
            _content_type="application/merge-patch+json",
        )
        return found

    def remove(self, manifest: Manifest) -> None:
        """The object is gone."""
        name = manifest["metadata"]["name"]
        try:
            self._objects.delete_namespaced_custom_object(*_where(manifest), name)
        except client.ApiException as refusal:
            if refusal.status != 404:
                raise


def _where(manifest: Manifest) -> tuple[str, str, str, str]:
    return ("backstay.dev", "v1alpha1", NAMESPACE, kind_of(manifest).info.plural)


def refusal_of(act: Callable[[], object]) -> str:
    """Return what the server said when it refused; fail when it did not."""
    with pytest.raises(client.ApiException) as refusal:
        act()
    assert refusal.value.status in (400, 422), refusal.value
    return str(json.loads(refusal.value.body or "{}")["message"])
