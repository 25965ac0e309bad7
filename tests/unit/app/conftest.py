"""A cluster for commands, and a terminal that is the same on every machine."""

from __future__ import annotations

import pytest

from fakes.commandline import healthy_cluster
from fakes.reader import FakeReader


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the developer's terminal or cluster is seen."""
    for name in ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "KUBECONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.fixture
def kube() -> FakeReader:
    """A cluster in which all is well."""
    return healthy_cluster()
