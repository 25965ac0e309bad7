"""Passes that look after one member leave the points of the others at the policy's pace."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta

import pytest

from backstay.api.kinds import REQUESTED_AT
from backstay.plan.naming import snapshot_time
from fakes.lab import Lab

INTERVAL = timedelta(minutes=30)
KEEP_A_DAY = {"source": {"last": 4}, "target": {"last": 24}}


def times(lab: Lab, name: str) -> list[datetime]:
    """When the points of a replica were taken, oldest first."""
    found = [snapshot_time(s.name) for s in lab.b.dataset(f"backup/backstay/{name}").snapshots]
    return [at for at in found if at is not None]


async def hours(lab: Lab, count: float) -> None:
    """Both volumes are written to every minute."""
    for _ in range(round(count * 60)):
        for name in ("d0", "d1"):
            lab.a.write(f"tank/vm/{name}", 4096, overwrite=True)
        await lab.core.live(60)


async def with_history(lab: Lab) -> None:
    lab.core.policy(rpo="1h", retention=KEEP_A_DAY)
    lab.core.pair("erp", lab.volumes(2))
    await lab.core.live(100)
    await hours(lab, 3)


def assert_kept_its_pace(lab: Lab, name: str, since: datetime) -> None:
    taken = [at for at in times(lab, name) if at >= since]
    assert len(taken) >= 3, "it goes on"
    gaps = [later - at for at, later in itertools.pairwise(taken)]
    assert all(gap >= INTERVAL - timedelta(minutes=1) for gap in gaps), gaps
    assert times(lab, name)[-1] > lab.world.now - INTERVAL - timedelta(minutes=2)


@pytest.mark.rule("Isolation")
@pytest.mark.rule("RPO truth")
async def test_a_diverged_member_costs_its_sibling_no_history(lab: Lab) -> None:
    await with_history(lab)
    since = lab.world.now
    lab.b.set("backup/backstay/d0", "readonly", "off")
    lab.b.write("backup/backstay/d0", 4096)
    lab.b.set("backup/backstay/d0", "readonly", "on")
    await hours(lab, 2)
    assert lab.core.condition("erp", "Ready") == ("False", "TargetModified")
    assert_kept_its_pace(lab, "d1", since)


@pytest.mark.rule("Isolation")
async def test_a_member_that_fails_again_and_again_costs_its_sibling_no_history(lab: Lab) -> None:
    await with_history(lab)
    since = lab.world.now
    lab.b.set("backup/backstay/d0", "quota", "1")
    await hours(lab, 2)
    assert lab.core.condition("erp", "Ready")[0] == "False"
    assert_kept_its_pace(lab, "d1", since)


@pytest.mark.rule("Isolation")
async def test_the_first_copy_of_a_new_member_costs_the_others_no_history(lab: Lab) -> None:
    await with_history(lab)
    since = lab.world.now
    reached, go_on = lab.world.transfer_faults.pause(after_bytes=0)
    lab.core.pair("erp", lab.extended(2))
    await lab.core.live(5)
    assert reached.is_set()
    edited = lab.world.now
    await hours(lab, 2)
    assert lab.core.condition("erp", "Ready") == ("False", "Seeding")
    assert_kept_its_pace(lab, "d1", edited)
    assert times(lab, "d1")[0] < since
    go_on.set()
    await lab.core.live(120)
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")


async def test_whoever_asks_for_a_point_gets_one_at_once(lab: Lab) -> None:
    await with_history(lab)
    before = times(lab, "d1")[-1]
    lab.a.write("tank/vm/d1", 4096, overwrite=True)
    lab.core.annotate("ReplicationPair", "erp", REQUESTED_AT, "now")
    await lab.core.live(5)
    assert times(lab, "d1")[-1] > before
    assert times(lab, "d1")[-1] >= lab.world.now - timedelta(seconds=10)
