"""Real hosts for the contract suite; connections live as long as the session."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from backstay.adapters.host import connection, hosts, transfers
from backstay.app.hostzip import pack_host_program
from backstay.domain.errors import BackstayError
from backstay.ports.host import SurveyRequest
from contract.host.keys import admitted, data_line, new_key
from contract.host.real_world import (
    RealConnections,
    RealContractWorld,
    RealHands,
)

if TYPE_CHECKING:
    from worlds.api import LabHost


RESTED_S = 15.0
"""Hosts end a session in twice this time when nobody answers, as while tests without a loop run."""
SLOWNESS = 5
"""The lab's hosts are emulated and share their processor: deadlines are so much longer there."""


@pytest.fixture(scope="session", autouse=True)
def patience() -> Iterator[None]:
    """Deadlines that an emulated host can keep."""
    with pytest.MonkeyPatch.context() as patched:
        for request, deadline_s in list(hosts.DEADLINE_S.items()):
            patched.setitem(hosts.DEADLINE_S, request, deadline_s * SLOWNESS)
        patched.setattr(connection, "GREETING_S", connection.GREETING_S * SLOWNESS)
        patched.setattr(transfers, "ENDED_S", transfers.ENDED_S * SLOWNESS)
        yield


@pytest.fixture(scope="session")
def data_key(lab_hosts: list[LabHost], tmp_path_factory: pytest.TempPathFactory) -> Iterator[bytes]:
    """The private half of a data key, whose line is at every lab host, as `grant` prints it."""
    private, public = new_key(tmp_path_factory.mktemp("data"))
    with admitted({host: data_line(host, public) for host in lab_hosts}, public):
        yield private


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def connections(lab_hosts: list[LabHost], data_key: bytes) -> AsyncIterator[RealConnections]:
    """Connections to the lab hosts."""
    installation = f"contract/{secrets.token_hex(4)}"
    made = RealConnections(lab_hosts, pack_host_program(), installation, data_key)
    yield made
    await made.close()


@pytest_asyncio.fixture(loop_scope="session")
async def world(
    connections: RealConnections,
    lab_hosts: list[LabHost],
    lab_dataset_roots: Callable[[LabHost, str], str],
) -> AsyncIterator[RealContractWorld]:
    """Two real hosts, with dataset roots that only this test uses."""
    source, target = lab_hosts[:2]
    made = RealContractWorld(
        connections,
        RealHands(source, lab_dataset_roots(source, "tank")),
        RealHands(target, lab_dataset_roots(target, "backup")),
        secrets.token_hex(4),
    )
    if time.monotonic() - connections.used_at > RESTED_S:
        for hands in (made.source, made.target):
            with suppress(BackstayError):  # and the next request connects anew
                await made.port(hands).survey(SurveyRequest(roots=(), sync=False))
    yield made
    await connections.close_all_but_usual()
    connections.used_at = time.monotonic()
