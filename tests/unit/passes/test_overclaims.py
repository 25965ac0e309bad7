"""Whatever is asked for or goes missing, no status says more than what was read back."""

from __future__ import annotations

from datetime import timedelta

import pytest

from backstay.controllers.keys import ObjectKey
from fakes.core import NAMESPACE
from fakes.lab import Lab
from fakes.zfs import FakeSnapshot

pytestmark = pytest.mark.rule("RPO truth")
ERP = ObjectKey("ReplicationPair", NAMESPACE, "erp")


async def test_a_child_without_a_point_counts_also_when_its_whole_tree_is_lost(lab: Lab) -> None:
    lab.a.create("tank/vm/tree")
    lab.a.write("tank/vm/tree", 4096)
    tree = {"tree": ("tank/vm/tree", "backup/backstay/tree")}
    lab.core.pair("erp", tree, recursive=True)
    await lab.core.live(300)
    lab.world.transfer_faults.pause()
    lab.a.create("tank/vm/tree/child")
    lab.a.write("tank/vm/tree/child", 4096)
    await lab.core.live(200)
    assert lab.core.condition("erp", "Protected")[0] == "False"
    lab.a.export_pool("tank")
    await lab.core.live(200)
    assert lab.core.condition("erp", "Protected")[0] == "False"
    assert lab.core.condition("erp", "RPOMet")[0] == "False"
    assert lab.core.status("erp")["members"]["total"] == 2


@pytest.mark.parametrize("target_away", [False, True])
async def test_a_child_that_its_tree_got_lets_the_lag_grow_from_before_it_came(
    lab: Lab, target_away: bool
) -> None:
    """That point is the tree as it was; what the child lacks is told, and late by the clock."""
    _tree_of_two(lab)
    await lab.core.live(600)
    before = lab.core.status("erp")["recoveryPoint"]["time"]
    lab.world.transfer_faults.pause()
    lab.b.reachable = not target_away
    lab.a.create("tank/vm/tree/late")
    lab.a.write("tank/vm/tree/late", 4096)
    await lab.core.live(200)
    assert lab.core.condition("erp", "RPOMet") == ("True", "WithinRPO")
    await lab.core.live(200)
    assert lab.core.status("erp")["recoveryPoint"]["time"] <= before
    assert lab.core.condition("erp", "RPOMet")[0] == "False"
    if not target_away:
        assert lab.core.condition("erp", "Protected") == ("False", "Seeding")


async def test_a_child_whose_replica_was_lost_takes_the_point_away(lab: Lab) -> None:
    _tree_of_two(lab)
    await lab.core.live(600)
    lab.world.transfer_faults.pause()
    lab.b.destroy("backup/backstay/tree/child")
    await lab.core.live(200)
    assert "recoveryPoint" not in lab.core.status("erp")
    assert lab.core.condition("erp", "RPOMet")[0] == "False"


async def test_an_entry_without_a_replica_has_no_point_whatever_there_was_before(lab: Lab) -> None:
    """Somebody says from now on that it counts; it was there all the time."""
    lab.core.pair("erp", lab.volumes(1))
    await lab.core.live(300)
    lab.world.transfer_faults.pause()
    lab.core.pair("erp", lab.extended(1))
    await lab.core.live(200)
    assert "recoveryPoint" not in lab.core.status("erp")


async def test_a_child_that_is_older_than_the_point_takes_it_away(lab: Lab) -> None:
    """It was moved here, or came while the point was taken: that point should have had it."""
    lab.a.create("tank/vm/old")
    _tree_of_two(lab)
    await lab.core.live(600)
    lab.world.transfer_faults.pause()
    lab.a.rename("tank/vm/old", "tank/vm/tree/old")
    await lab.core.live(200)
    assert "recoveryPoint" not in lab.core.status("erp")


async def test_a_point_that_retention_took_while_a_child_is_seeded_is_not_named(lab: Lab) -> None:
    lab.core.policy(retention={"source": {"last": 1}, "target": {"last": 1}})
    _tree_of_two(lab)
    await lab.core.live(600)
    named = lab.core.status("erp")["recoveryPoint"]["guid"]
    lab.b.create("backup/backstay/tree/late")  # what is in its way keeps the child waiting
    lab.a.create("tank/vm/tree/late")
    for _ in range(3):
        for name in ("tank/vm/tree", "tank/vm/tree/child"):
            lab.a.write(name, 4096)
        await lab.core.live(160)
    held = {str(s.guid) for name in ("", "/child") for s in _replica(lab, name)}
    assert named not in held
    assert lab.core.status("erp").get("recoveryPoint", {}).get("guid", "") in {"", *held}
    assert lab.core.condition("erp", "RPOMet")[0] == "False"


def _replica(lab: Lab, name: str) -> list[FakeSnapshot]:
    return lab.b.dataset(f"backup/backstay/tree{name}").snapshots


def _tree_of_two(lab: Lab) -> None:
    for name in ("tank/vm/tree", "tank/vm/tree/child"):
        lab.a.create(name)
        lab.a.write(name, 4096)
    lab.core.pair("erp", {"tree": ("tank/vm/tree", "backup/backstay/tree")}, recursive=True)


async def test_a_group_is_not_ready_while_a_member_has_no_replica(lab: Lab) -> None:
    lab.core.pair("erp", lab.volumes(2), group=True)
    await lab.core.live(300)
    lab.world.transfer_faults.pause()
    lab.core.pair("erp", lab.extended(2), group=True)
    await lab.core.live(100)
    assert lab.core.condition("erp", "Protected")[0] == "False"
    assert lab.core.condition("erp", "Ready")[0] == "False"


async def test_an_edit_is_not_said_to_be_served_before_a_pass_has(lab: Lab) -> None:
    lab.core.pair("erp", lab.volumes(1))
    await lab.core.live(300)
    before = lab.core.status("erp")
    lab.core.pair("erp", lab.extended(1))
    await lab.core.run(ERP)
    assert lab.core.status("erp")["observedGeneration"] == before["observedGeneration"]
    await lab.core.live(300)
    assert lab.core.status("erp")["observedGeneration"] == before["observedGeneration"] + 1


async def test_a_member_added_while_the_target_is_away_has_no_point(lab: Lab) -> None:
    lab.core.pair("erp", lab.volumes(1))
    await lab.core.live(300)
    lab.b.reachable = False
    lab.core.pair("erp", lab.extended(1))
    await lab.core.live(100)
    assert lab.core.condition("erp", "Ready") == ("Unknown", "Unreachable")
    assert lab.core.condition("erp", "Protected")[0] != "True"
    assert lab.core.condition("erp", "RPOMet")[0] != "True"
    assert "recoveryPoint" not in lab.core.status("erp")


@pytest.mark.parametrize("restarted", [False, True])
async def test_pointing_the_pair_at_the_site_that_is_left_takes_no_point_away(
    lab: Lab, restarted: bool
) -> None:
    """What one tries in a disaster must not say that nothing can be recovered."""
    lab.core.pair("erp", lab.volumes(1))
    await lab.core.live(300)
    point = lab.core.status("erp")["recoveryPoint"]["snapshot"]
    lab.a.reachable = False
    await lab.core.live(60)
    if restarted:
        lab.core.restart()
    lab.core.pair("erp", lab.known(1), preferredSite="muc")
    await lab.core.live(200)
    status = lab.core.status("erp")
    assert status["activeSite"] == "fra"
    assert status["recoveryPoint"]["snapshot"] == point
    assert lab.core.condition("erp", "Protected")[0] == "True"


async def test_a_point_in_the_future_has_no_known_age(lab: Lab) -> None:
    lab.core.pair("erp", lab.volumes(1))
    await lab.core.live(300)
    lab.b.reachable = False
    lab.world.now -= timedelta(hours=1)
    await lab.core.live(60)
    assert lab.core.condition("erp", "RPOMet") == ("Unknown", "ClockSkew")
    assert "NTP" in lab.core.message("erp", "RPOMet")


async def test_a_suspended_pair_says_that_it_is_and_no_older_problem(lab: Lab) -> None:
    lab.core.pair("erp", lab.volumes(1))
    await lab.core.live(300)
    lab.b.reachable = False
    await lab.core.live(200)
    lab.core.pair("erp", lab.known(1), suspend=True)
    await lab.core.live(10)
    assert lab.core.condition("erp", "Ready") == ("False", "Suspended")


@pytest.mark.rule("No wall clock")
async def test_a_clock_that_was_set_back_does_not_hide_the_member_with_the_oldest_point(
    lab: Lab,
) -> None:
    """The other one is good as of a time before its own point: that makes it no older."""
    lab.core.pair("erp", lab.volumes(2))
    await lab.core.live(100)
    oldest = lab.b.dataset("backup/backstay/d1").snapshots[-1].name
    lab.b.set("backup/backstay/d1", "readonly", "off")
    lab.a.write("tank/vm/d0", 4096)
    await lab.core.live(200)
    assert lab.b.dataset("backup/backstay/d0").snapshots[-1].name != oldest
    lab.world.now -= timedelta(hours=1)
    lab.core.restart()
    await lab.core.live(5)
    assert lab.core.status("erp")["recoveryPoint"]["snapshot"] == oldest
