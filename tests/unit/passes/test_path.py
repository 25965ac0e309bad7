"""The main job: from an applied pair to a confirmed recovery point, and on from there."""

from __future__ import annotations

from datetime import datetime

import pytest

from backstay.domain.steps import Increment
from fakes.lab import Lab

MUTATING = ("snapshot", "destroy", "receive", "send", "bookmark", "set", "create")


def time_of(lab: Lab, pair: str) -> datetime:
    return datetime.fromisoformat(str(lab.core.status(pair)["recoveryPoint"]["time"]))


async def test_a_new_pair_is_seeded_and_confirmed(lab: Lab) -> None:
    lab.core.pair("erp", lab.volumes(1))
    await lab.core.settle()
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")
    assert lab.core.condition("erp", "RPOMet") == ("True", "WithinRPO")
    assert lab.core.condition("erp", "Protected") == ("True", "Confirmed")
    assert lab.equal("d0")


async def test_changes_travel_as_an_increment_in_the_next_pass(lab: Lab) -> None:
    lab.core.pair("erp", lab.volumes(2))
    await lab.core.settle()
    first = lab.core.status("erp")["recoveryPoint"]["guid"]
    lab.a.write("tank/vm/d1", 4096)
    lab.core.sent()
    await lab.core.passing(150)
    assert lab.equal("d0", "d1")
    (sent,) = lab.core.sent()
    assert isinstance(sent.how, Increment)
    assert sent.source_dataset == "tank/vm/d1"
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")
    assert first == lab.core.status("erp")["recoveryPoint"]["guid"]


@pytest.mark.rule("O(hosts) planning")
async def test_a_pass_with_nothing_to_do_changes_nothing_and_asks_each_host_once(lab: Lab) -> None:
    lab.core.pair("erp", lab.volumes(5))
    await lab.core.settle()
    await lab.core.passing(150)
    before = len(lab.world.commands)
    lab.a.requests.clear()
    lab.b.requests.clear()
    await lab.core.passing(150)
    assert [c for c in lab.world.commands[before:] if c[1] in MUTATING] == []
    assert lab.a.requests == {"survey": 1}
    assert lab.b.requests == {"survey": 1}


def figures(lab: Lab) -> tuple[int | None, int | None]:
    """Seconds and bytes of the pair's last transfer, as its status says."""
    point = lab.core.status("erp")["recoveryPoint"]
    return point.get("transferSeconds"), point.get("bytes")


async def test_the_last_transfer_is_told_whatever_kind_it_was(lab: Lab) -> None:
    """A seed, a resumed stream and an increment, each until the next one."""
    members = lab.volumes(1)
    lab.a.write("tank/vm/d0", 10_000_000)
    lab.world.transfers.bandwidth_bytes_s = 1_000_000
    lab.world.transfer_faults.cut(after_bytes=4_000_000)
    lab.core.pair("erp", members)
    await lab.core.live(60)
    seconds, resumed = figures(lab)
    assert seconds == 6
    assert resumed is not None
    assert 6_000_000 < resumed < 6_010_000
    await lab.core.live(600)
    assert figures(lab) == (seconds, resumed)
    lab.a.write("tank/vm/d0", 3_000_000)
    await lab.core.live(200)
    seconds, sent = figures(lab)
    assert seconds == 3
    assert sent is not None
    assert 3_000_000 < sent < 3_010_000
    lab.b.destroy("backup/backstay/d0")
    await lab.core.live(200)
    seconds, seeded = figures(lab)
    assert seconds == 13
    assert seeded is not None
    assert 13_000_000 < seeded < 13_010_000


@pytest.mark.rule("RPO truth")
async def test_an_unchanged_member_is_good_as_of_the_sync(lab: Lab) -> None:
    lab.core.pair("erp", lab.volumes(1))
    await lab.core.settle()
    first = time_of(lab, "erp")
    await lab.core.passing(600)
    later = time_of(lab, "erp")
    assert (later - first).total_seconds() >= 600 - 1
    assert lab.core.condition("erp", "RPOMet") == ("True", "WithinRPO")


@pytest.mark.rule("Atomic groups")
async def test_a_group_shares_each_snapshot(lab: Lab) -> None:
    lab.core.pair("erp", lab.volumes(4), group=True)
    await lab.core.settle()
    for i in (0, 2):
        lab.a.write(f"tank/vm/d{i}", 4096)
    await lab.core.passing(150)
    newest = {lab.b.dataset(f"backup/backstay/d{i}").snapshots[-1].name for i in range(4)}
    assert newest == {lab.core.status("erp")["recoveryPoint"]["snapshot"]}


@pytest.mark.rule("Isolation")
async def test_a_tree_is_seeded_parents_first_and_new_children_follow(lab: Lab) -> None:
    for name in ("tank/vm/t", "tank/vm/t/a", "tank/vm/t/a/b"):
        lab.a.create(name)
        lab.a.write(name, 4096)
    lab.core.pair("tree", {"t": ("tank/vm/t", "backup/backstay/t")}, recursive=True)
    await lab.core.settle()
    assert lab.equal("t", "t/a", "t/a/b")
    assert lab.core.status("tree")["members"]["total"] == 3
    lab.a.create("tank/vm/t/c")
    lab.a.write("tank/vm/t/c", 4096)
    await lab.core.passing(150)
    assert lab.equal("t/c")
    assert lab.core.condition("tree", "Ready") == ("True", "UpToDate")


async def test_missing_parents_below_the_receive_root_are_made(lab: Lab) -> None:
    lab.a.create("tank/vm/d0", volume=True)
    lab.core.pair("deep", {"d": ("tank/vm/d0", "backup/backstay/fra/rack/d0")})
    await lab.core.settle()
    assert lab.core.condition("deep", "Ready") == ("True", "UpToDate")


@pytest.mark.rule("Fixpoint")
async def test_a_new_leader_goes_on_where_the_old_one_was(lab: Lab) -> None:
    lab.core.pair("erp", lab.volumes(3))
    await lab.core.settle()
    lab.a.write("tank/vm/d1", 4096)
    lab.core.restart()
    lab.core.sent()
    await lab.core.settle()
    assert [type(t.how) for t in lab.core.sent()] == [Increment]
    assert lab.equal("d0", "d1", "d2")
    assert lab.core.condition("erp", "RPOMet") == ("True", "WithinRPO")


@pytest.mark.rule("RPO truth")
async def test_suspend_rests_and_the_lag_grows(lab: Lab) -> None:
    members = lab.volumes(1)
    lab.core.pair("erp", members)
    await lab.core.settle()
    lab.core.pair("erp", members, suspend=True)
    before = len(lab.world.commands)
    await lab.core.passing(1000)
    assert lab.world.commands[before:] == []
    assert lab.core.condition("erp", "Suspended") == ("True", "Suspended")
    assert lab.core.condition("erp", "RPOMet") == ("False", "RPOBreached")


async def test_a_deleted_pair_takes_its_bookmarks_and_leaves_all_data(lab: Lab) -> None:
    lab.core.pair("erp", lab.volumes(2))
    await lab.core.settle()
    snapshots = lab.a.dataset("tank/vm/d0").snapshots
    assert lab.a.dataset("tank/vm/d0").bookmarks
    lab.core.delete("ReplicationPair", "erp")
    await lab.core.settle()
    assert not lab.a.dataset("tank/vm/d0").bookmarks
    assert lab.a.dataset("tank/vm/d0").snapshots == snapshots
    assert lab.equal("d0", "d1")
    assert lab.core.registry.pairs() == ()


async def test_a_pair_that_is_made_again_goes_on_with_an_increment(lab: Lab) -> None:
    members = lab.volumes(2)
    lab.core.pair("erp", members)
    await lab.core.settle()
    lab.core.delete("ReplicationPair", "erp")
    await lab.core.settle()
    lab.a.write("tank/vm/d0", 4096)
    lab.core.sent()
    lab.core.pair("erp", members)
    await lab.core.settle()
    assert [type(t.how) for t in lab.core.sent()] == [Increment]
    assert lab.equal("d0", "d1")


@pytest.mark.rule("Pruning keeps the chain")
async def test_retention_keeps_what_the_policy_says_and_never_the_less(lab: Lab) -> None:
    lab.core.policy(retention={"source": {"last": 2}, "target": {"last": 3}})
    lab.core.pair("erp", lab.volumes(1))
    await lab.core.settle()
    for _ in range(6):
        lab.a.write("tank/vm/d0", 4096)
        await lab.core.passing(150)
    assert len(lab.a.dataset("tank/vm/d0").snapshots) == 2
    assert len(lab.b.dataset("backup/backstay/d0").snapshots) == 3
    assert len(lab.a.dataset("tank/vm/d0").bookmarks) <= 2
    assert lab.equal("d0")


async def test_a_changed_preferred_site_moves_nothing(lab: Lab) -> None:
    lab.core.site("fra", lab.a, roots=("tank/vm",))
    members = lab.volumes(1)
    lab.core.pair("erp", members)
    await lab.core.settle()
    lab.core.pair("erp", members, preferredSite="muc")
    lab.a.write("tank/vm/d0", 4096)
    await lab.core.settle()
    assert lab.core.status("erp")["activeSite"] == "fra"
    assert lab.equal("d0")
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")


@pytest.mark.rule("Pruning keeps the chain")
async def test_a_pair_that_is_passed_more_often_prunes_nothing_that_another_one_wants(
    lab: Lab,
) -> None:
    """Two policies for one source: one keeps much and looks seldom."""
    lab.volumes(1)
    for name, rpo, last in (("long", "1h", 9), ("short", "5m", 1)):
        lab.core.policy(
            name, rpo=rpo, retention={"source": {"last": last}, "target": {"last": last}}
        )
        place = ("tank/vm/d0", f"backup/backstay/{name}")
        lab.core.pair(name, {"d0": place}, policyRef={"name": name})
    for _ in range(30):
        lab.a.write("tank/vm/d0", 5000)
        await lab.core.live(151)
    assert 9 <= len(lab.a.dataset("tank/vm/d0").snapshots) <= 10
    assert len(lab.b.dataset("backup/backstay/short").snapshots) == 1
