"""The API server judges every manifest of the contract as the models do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import pytest
from kubernetes import client, config

from backstay.api.v1alpha1 import KINDS, Resource
from contract.api.cases import ACCEPTED, REFUSED, title
from contract.api.manifests import Case, Manifest

NAMESPACE = "contract-api"


class ControlPlane(Protocol):
    """What these tests need of the world: a real API server that knows our kinds."""

    kubeconfig: Any

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        """Return what kubectl printed; raise RuntimeError with what it said when it failed."""


def kind_of(manifest: Manifest) -> type[Resource]:
    """Return the model of a manifest."""
    return next(kind for kind in KINDS if kind.info.kind == manifest["kind"])


class Server:
    """The API server as `kubectl` uses it: strict about unknown fields."""

    def __init__(self, kubeconfig: str) -> None:
        api_client = config.new_client_from_config(kubeconfig)
        self._objects = client.CustomObjectsApi(api_client)
        self._core = client.CoreV1Api(api_client)

    def ensure_namespace(self) -> None:
        """The namespace of these tests exists."""
        try:
            self._core.create_namespace({"metadata": {"name": NAMESPACE}})
        except client.ApiException as refusal:
            if refusal.status != 409:
                raise

    def close(self) -> None:
        """No connection is left open."""
        self._core.api_client.close()

    def create(self, manifest: Manifest, dry_run: bool = True) -> Manifest:
        """Return the object as the server would store it, or has stored it."""
        found: Manifest = self._objects.create_namespaced_custom_object(
            *self._where(manifest),
            manifest,
            field_validation="Strict",
            **({"dry_run": "All"} if dry_run else {}),
        )
        return found

    def replace(self, manifest: Manifest) -> Manifest:
        """Return the object after it was replaced as a whole."""
        found: Manifest = self._objects.replace_namespaced_custom_object(
            *self._where(manifest),
            manifest["metadata"]["name"],
            self._current(manifest),
            field_validation="Strict",
        )
        return found

    def remove(self, manifest: Manifest) -> None:
        """The object is gone."""
        try:
            self._objects.delete_namespaced_custom_object(
                *self._where(manifest), manifest["metadata"]["name"]
            )
        except client.ApiException as refusal:
            if refusal.status != 404:
                raise

    def _current(self, manifest: Manifest) -> Manifest:
        stored = self._objects.get_namespaced_custom_object(
            *self._where(manifest), manifest["metadata"]["name"]
        )
        return manifest | {"metadata": stored["metadata"]}

    @staticmethod
    def _where(manifest: Manifest) -> tuple[str, str, str, str]:
        return ("backstay.dev", "v1alpha1", NAMESPACE, kind_of(manifest).info.plural)


def refusal_of(act: Callable[[], object]) -> str:
    """Return what the server said when it refused; fail when it did not."""
    with pytest.raises(client.ApiException) as refusal:
        act()
    assert refusal.value.status in (400, 422), refusal.value
    return str(json.loads(refusal.value.body)["message"])


@pytest.fixture(scope="module")
def server(controlplane: ControlPlane) -> Iterator[Server]:
    """The API server with a namespace for these tests."""
    found = Server(str(controlplane.kubeconfig))
    found.ensure_namespace()
    yield found
    found.close()


@pytest.mark.parametrize("case", ACCEPTED, ids=title)
def test_server_accepts(server: Server, case: Case) -> None:
    stored = server.create(case.manifest)
    assert stored["status"] == {"observedGeneration": -1}


@pytest.mark.parametrize("case", ACCEPTED, ids=title)
def test_server_and_models_fill_in_the_same_defaults(server: Server, case: Case) -> None:
    stored = server.create(case.manifest)
    kind = kind_of(case.manifest)
    assert (
        kind.model_validate(stored).document()["spec"]
        == (kind.model_validate(case.manifest).document()["spec"])
    )


@pytest.mark.parametrize("case", REFUSED, ids=title)
def test_server_refuses_with_a_sentence(server: Server, case: Case) -> None:
    assert case.says is not None
    assert case.says in refusal_of(lambda: server.create(case.manifest))
