"""A long stream gives people time to roll back what the pass is about to prune."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from fakes.lab import Lab
from fakes.world import FakeHost


def keep(last: int) -> dict[str, dict[str, int]]:
    """A retention of so many points on either side."""
    return {"source": {"last": last}, "target": {"last": last}}


def points(host: FakeHost, name: str) -> list[str]:
    """The names of its snapshots, oldest first."""
    return [snapshot.name for snapshot in host.dataset(name).snapshots]


async def with_points(lab: Lab, count: int, last: int) -> None:
    """Three volumes with so many points on both sides."""
    lab.core.policy(rpo="2m", retention=keep(last))
    lab.core.pair("erp", lab.volumes(3))
    await lab.core.live(100)
    while len(points(lab.b, "backup/backstay/d2")) < count:
        for number in range(3):
            lab.a.write(f"tank/vm/d{number}", 4096, overwrite=True)
        await lab.core.live(60)


async def pass_with(lab: Lab, meanwhile: Callable[[], None]) -> None:
    """A pass sends d0 and d1; while d1 is on its way, somebody is at work."""
    for name in ("d0", "d1"):
        lab.a.write(f"tank/vm/{name}", 4096, overwrite=True)
    reached, go_on = lab.world.transfer_faults.pause(member=1, after_bytes=0)
    (route,) = {route for _, route in lab.core.shares.book.states}
    lab.world.advance(120)
    task = lab.core.begin(route)
    await asyncio.wait_for(reached.wait(), 10)
    meanwhile()
    go_on.set()
    await task


@pytest.mark.rule("Pruning keeps the chain")
@pytest.mark.fault("source rolled back, target ahead")
async def test_what_a_source_was_rolled_back_to_during_a_stream_stays_on_both_sides(
    lab: Lab,
) -> None:
    await with_points(lab, 2, last=2)
    oldest = points(lab.a, "tank/vm/d0")[0]
    await pass_with(lab, lambda: lab.a.rollback(f"tank/vm/d0@{oldest}"))
    assert points(lab.a, "tank/vm/d0") == [oldest]
    assert oldest in points(lab.b, "backup/backstay/d0")
    assert oldest not in points(lab.a, "tank/vm/d1"), "the others are pruned as ever"
    await lab.core.live(130)
    assert lab.core.condition("erp", "Ready") == ("False", "TargetAhead")


@pytest.mark.rule("Pruning keeps the chain")
@pytest.mark.fault("target rolled back to an older common snapshot")
async def test_what_a_replica_was_rolled_back_to_during_a_stream_stays_on_both_sides(
    lab: Lab,
) -> None:
    await with_points(lab, 4, last=4)
    lab.core.policy(rpo="2m", retention=keep(2))
    oldest = points(lab.b, "backup/backstay/d2")[0]
    await pass_with(lab, lambda: lab.b.rollback(f"backup/backstay/d2@{oldest}"))
    assert points(lab.b, "backup/backstay/d2") == [oldest]
    assert oldest in points(lab.a, "tank/vm/d2")
    await lab.core.live(200)
    assert lab.equal("d0", "d1", "d2")
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")
