"""Real hosts for the contract suite; connections live as long as the session."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

pytest.register_assert_rewrite("contract.host")

from backstay.app.hostzip import pack_host_program  # noqa: E402
from contract.host.real_world import (  # noqa: E402
    RealConnections,
    RealContractWorld,
    RealHands,
)

if TYPE_CHECKING:
    from worlds.api import LabHost


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def connections(lab_hosts: list[LabHost]) -> AsyncIterator[RealConnections]:
    """Connections to the lab hosts."""
    made = RealConnections(lab_hosts, pack_host_program(), f"contract/{secrets.token_hex(4)}")
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
    yield made
    await connections.close_all_but_usual()
