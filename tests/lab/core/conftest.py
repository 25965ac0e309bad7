"""A lab of real hosts for the operator's core; its datasets are gone afterwards."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from backstay.adapters.host import connection, hosts, transfers
from backstay.app.hostzip import pack_host_program
from lab.core.real import Hand, RealCore, RealLab, RealTime
from worlds.api import LabHost

_FAULTS = ("decisions", "hands", "lines", "moves", "objects", "streams")
pytest.register_assert_rewrite(
    "lab.core.decisions",
    *(f"lab.core.faults_of_{what}" for what in _FAULTS),
)

SLOWNESS = 5
"""The lab's hosts are emulated and share their processor: deadlines are so much longer there."""


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deadlines that an emulated host can keep."""
    for request, deadline_s in list(hosts.DEADLINE_S.items()):
        monkeypatch.setitem(hosts.DEADLINE_S, request, deadline_s * SLOWNESS)
    monkeypatch.setattr(connection, "GREETING_S", connection.GREETING_S * SLOWNESS)
    monkeypatch.setattr(transfers, "ENDED_S", transfers.ENDED_S * SLOWNESS)


@pytest_asyncio.fixture
async def lab(
    lab_hosts: list[LabHost], lab_dataset_roots: Callable[[LabHost, str], str]
) -> AsyncIterator[RealLab]:
    """`fra` has the source, `muc` the receive root, policy gold of five minutes."""
    source, target = lab_hosts[:2]
    a = Hand(source, lab_dataset_roots(source, "tank"))
    b = Hand(target, lab_dataset_roots(target, "backup"))
    core = RealCore(RealTime(), pack_host_program(), f"core/{secrets.token_hex(4)}")
    core.real_site("fra", source)
    core.real_site("muc", target, roots=(b.root,))
    core.policy()
    yield RealLab(core, a, b)
    await core.close()
