"""Many members with many snapshots cost as many requests as one, and are planned in time."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from fakes.lab import Lab

SNAPSHOTS = 100
BUDGET_S = 10.0
"""Of the processor, for a pass with the fake hosts' own work; it takes less than one second."""


async def requests_of_a_pass(members: int) -> tuple[Counter[str], float]:
    """The requests of a pass over so many members of which ten at most changed, and its seconds."""
    lab = Lab.make()
    lab.core.pair("erp", lab.volumes(members))
    await lab.core.live(100)
    names = [f"tank/vm/d{i}" for i in range(members)]
    for number in range(SNAPSHOTS):
        lab.a.snapshot(*(f"{name}@manual{number}" for name in names))
    for name in names[:10]:
        lab.a.write(name, 4096)
    for host in (lab.a, lab.b):
        host.requests.clear()
    began_s = time.process_time()
    await lab.core.passing(151)
    took_s = time.process_time() - began_s
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")
    assert lab.equal(*(f"d{i}" for i in range(min(members, 10))))
    return lab.a.requests + lab.b.requests, took_s


@pytest.mark.rule("O(hosts) planning")
@pytest.mark.fault("1,000 datasets with 100 snapshots each")
async def test_a_thousand_members_cost_as_many_requests_as_one() -> None:
    one, _ = await requests_of_a_pass(1)
    many, took_s = await requests_of_a_pass(1000)
    assert many == one
    assert took_s < BUDGET_S
