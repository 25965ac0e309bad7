"""The API server that the contract of the API is judged by."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from contract.api.server import Server


class ControlPlane(Protocol):
    """What these tests need of the world: a real API server that knows our kinds."""

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        """Return what kubectl printed; raise RuntimeError with what it said when it failed."""


@pytest.fixture(scope="module")
def server(controlplane: ControlPlane) -> Iterator[Server]:
    """The API server with a namespace for these tests."""
    found = Server(str(controlplane.kubeconfig))
    found.ensure_namespace()
    yield found
    found.close()
