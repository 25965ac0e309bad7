"""From a Site's host to the endpoint that is opened."""

from __future__ import annotations

from typing import Any

import pytest

from backstay.controllers.hosts import HostFinder
from backstay.controllers.registry import Registry
from backstay.domain.pairs import HostKey
from backstay.ports.host import Endpoint
from fakes.clock import FakeClock
from fakes.kube import FakeKube
from fakes.objects import site


class Opened:
    """A directory that remembers what it was asked to open."""

    def __init__(self) -> None:
        self.endpoints: list[Endpoint] = []

    def open(self, endpoint: Endpoint) -> Any:
        """See `HostDirectory`."""
        self.endpoints.append(endpoint)


@pytest.mark.parametrize(
    ("spec", "data_key", "found"),
    [
        ({}, None, ("", 0, None)),
        (
            {"replicationAddress": "10.1.0.1", "replicationPort": 2222},
            b"d",
            ("10.1.0.1", 2222, b"d"),
        ),
        ({"replicationPort": 2222}, b"d", ("", 2222, b"d")),
    ],
)
async def test_the_site_says_where_streams_of_other_hosts_come_in_and_with_which_key(
    spec: dict[str, Any], data_key: bytes | None, found: tuple[str, int, bytes | None]
) -> None:
    registry, kube, opened = Registry(), FakeKube(), Opened()
    body = site("a")
    body["spec"]["hosts"][0] |= spec
    registry.put("Site", body)
    kube.secrets["ns", "key"] = {"ssh-privatekey": b"k"}
    if data_key is not None:
        kube.secrets["ns", "key"]["data-privatekey"] = data_key
    finder = HostFinder(registry, kube, opened, lambda: 1, FakeClock())
    for _ in ("read", "kept"):
        await finder.find(HostKey("ns", "a", "h1"))
    for endpoint in opened.endpoints:
        assert (endpoint.data_address, endpoint.data_port, endpoint.data_key) == found
        assert "data_key" not in repr(endpoint)


@pytest.mark.parametrize(
    ("spec", "installed"),
    [({}, False), ({"program": "Fed"}, False), ({"program": "Installed"}, True)],
)
async def test_the_site_says_whether_the_program_is_installed(
    spec: dict[str, Any], installed: bool
) -> None:
    registry, kube, opened = Registry(), FakeKube(), Opened()
    body = site("a")
    body["spec"]["hosts"][0] |= spec
    registry.put("Site", body)
    kube.secrets["ns", "key"] = {"ssh-privatekey": b"k"}
    finder = HostFinder(registry, kube, opened, lambda: 1, FakeClock())
    await finder.find(HostKey("ns", "a", "h1"))
    assert [endpoint.installed for endpoint in opened.endpoints] == [installed]
