"""What happens to pools behind our back: each is gone on from, or named, and nothing is forced."""

from __future__ import annotations

import asyncio

import pytest

from backstay.domain.steps import Increment
from fakes import truths
from fakes.lab import Lab

KEEP_ONE = {"source": {"last": 1}, "target": {"last": 1}}
PLACES = {"tank/vm/d0": "backup/backstay/d0"}


async def rounds(lab: Lab, count: int) -> None:
    """So many times something is written and replicated."""
    for _ in range(count):
        lab.a.write("tank/vm/d0", 5000)
        await lab.core.passing(151)


@pytest.mark.rule("Pruning keeps the chain")
@pytest.mark.parametrize("group", [True, False])
async def test_retention_never_takes_the_base_of_what_is_still_to_be_sent(
    lab: Lab, group: bool
) -> None:
    """A bookmark alone would do for the next increment, but not for a failback."""
    lab.core.policy(retention=KEEP_ONE)
    lab.core.pair("erp", lab.volumes(2), group=group)
    await lab.core.live(100)
    for _ in range(3):
        lab.a.write("tank/vm/d0", 5000)
        lab.world.transfer_faults.cut(after_bytes=0)
        await lab.core.passing(151)
        truths.bases_are_intact(lab.a, lab.b, PLACES)
    await lab.core.live(200)
    assert lab.equal("d0", "d1")


@pytest.mark.fault("foreign holds on both sides")
async def test_a_held_point_is_kept_and_costs_nothing_else(lab: Lab) -> None:
    lab.core.policy(retention=KEEP_ONE)
    lab.core.pair("erp", lab.volumes(2))
    await lab.core.live(100)
    held = [
        f"{n}@{lab.a.dataset('tank/vm/d0').snapshots[0].name}" for n in next(iter(PLACES.items()))
    ]
    lab.a.hold(held[0])
    lab.b.hold(held[1])
    await rounds(lab, 4)
    assert lab.a.exists(held[0])
    assert lab.b.exists(held[1])
    assert len(lab.a.dataset("tank/vm/d0").snapshots) == 2
    assert len(lab.b.dataset("backup/backstay/d0").snapshots) == 2
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")


@pytest.mark.fault("target rolled back to an older common snapshot")
async def test_a_target_that_was_rolled_back_is_gone_on_from_there(lab: Lab) -> None:
    lab.core.policy(retention={"source": {"last": 9}, "target": {"last": 9}})
    lab.core.pair("erp", lab.volumes(1))
    await lab.core.live(100)
    await rounds(lab, 2)
    older = lab.b.dataset("backup/backstay/d0").snapshots[0]
    await rounds(lab, 1)
    lab.b.rollback(f"backup/backstay/d0@{older.name}")
    lab.core.sent()
    await rounds(lab, 2)
    await lab.core.live(200)
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")
    assert all(isinstance(t.how, Increment) for t in lab.core.sent())
    assert lab.equal("d0")
    truths.nothing_destructive(lab.world)


@pytest.mark.fault("target fills up amid a stream")
async def test_a_target_that_fills_up_amid_a_seed_keeps_what_came_and_is_not_hammered(
    lab: Lab,
) -> None:
    """ENOSPC is no reason to begin again, nor to try all day."""
    lab.b.create("backup/other")
    lab.volumes(1)
    lab.a.write("tank/vm/d0", 40_000_000)
    reached, go_on = lab.world.transfer_faults.pause(after_bytes=10_000_000)
    lab.core.pair("erp", lab.known(1))
    await lab.core.live(5)
    assert reached.is_set()
    pool = lab.b.pools["backup"]
    lab.b.write("backup/other", pool.size - pool.used - 5_000_000)
    go_on.set()
    await lab.core.live(3600)
    assert lab.core.condition("erp", "Ready")[0] == "False"
    assert "space" in lab.core.message("erp", "Ready")
    partial = lab.b.dataset("backup/backstay/d0").partial
    assert partial is not None
    assert partial.received >= 10_000_000
    assert len(lab.core.sent()) <= 20
    lab.b.destroy("backup/other")
    await lab.core.live(400)
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")
    assert lab.equal("d0")


@pytest.mark.rule("Resume tokens are untrusted input")
@pytest.mark.fault("token that nobody can read")
async def test_a_token_that_nobody_can_read_is_dropped_once(lab: Lab) -> None:
    lab.core.pair("erp", lab.volumes(1))
    await lab.core.live(100)
    lab.world.transfer_faults.cut(after_bytes=1000)
    await rounds(lab, 1)
    lab.b.garble_token("backup/backstay/d0")
    await lab.core.live(300)
    aborts = [c for c in lab.b.commands if c[:3] == ("zfs", "receive", "-A")]
    assert len(aborts) == 1
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")
    assert lab.equal("d0")


@pytest.mark.fault("someone promotes a clone of the replica")
async def test_a_promoted_clone_of_the_replica_is_named_and_nothing_is_touched(lab: Lab) -> None:
    lab.core.pair("erp", lab.volumes(1))
    await lab.core.live(100)
    point = lab.b.dataset("backup/backstay/d0").snapshots[-1].name
    lab.b.clone(f"backup/backstay/d0@{point}", "backup/test")
    lab.b.promote("backup/test")
    lab.a.write("tank/vm/d0", 5000)
    lab.core.sent()
    await lab.core.live(400)
    assert lab.core.condition("erp", "Ready") == ("False", "NoCommonBase")
    assert lab.core.condition("erp", "Diverged")[0] == "True"
    assert lab.core.sent() == []
    assert lab.b.exists(f"backup/test@{point}")


@pytest.mark.rule("Isolation")
@pytest.mark.fault("dataset is busy (udev, clone, hold)")
async def test_a_member_that_always_fails_costs_its_siblings_one_pass(lab: Lab) -> None:
    """It is tried alone, ever more seldom, and the others' points stay fresh."""
    lab.core.pair("erp", lab.volumes(3))
    await lab.core.live(100)
    for _ in range(8):
        for name in ("d0", "d1", "d2"):
            lab.a.write(f"tank/vm/{name}", 5000)
        lab.b.busy_for.clear()
        lab.b.dataset("backup/backstay/d0").busy = True
        await lab.core.live(151)
    await lab.core.live(10)
    assert lab.core.condition("erp", "Ready")[0] == "False"
    ages = {w["member"]: w["reason"] for w in lab.core.status("erp")["worst"]}
    assert set(ages) == {"d0"}
    tries = [t for t in lab.core.sent() if t.member == "d0"]
    assert 3 <= len(tries) <= 20
    lab.b.dataset("backup/backstay/d0").busy = False
    await lab.core.live(400)
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")
    assert lab.equal("d0", "d1", "d2")


@pytest.mark.rule("Isolation")
@pytest.mark.parametrize("is_target_away", [False, True])
async def test_a_dataset_that_cannot_be_snapshotted_costs_no_other_one_its_points(
    lab: Lab, is_target_away: bool
) -> None:
    """A thick volume in a full pool: those that only share its command still get theirs."""
    members = lab.volumes(5)
    bad = members.pop("d3")
    lab.core.pair("erp", members)
    lab.core.pair("crm", {"d3": bad})
    await lab.core.live(200)
    lab.a.no_room_for.add("tank/vm/d3")
    lab.b.reachable = not is_target_away
    had = {n: len(lab.a.dataset(f"tank/vm/{n}").snapshots) for n in (*members, "d3")}
    asked = lab.a.requests["snapshot"]
    for name in had:
        lab.a.write(f"tank/vm/{name}", 5000)
    await lab.core.live(200)
    grown = {n: len(lab.a.dataset(f"tank/vm/{n}").snapshots) - had[n] for n in had}
    assert grown == {"d0": 1, "d1": 1, "d2": 1, "d4": 1, "d3": 0}
    assert lab.a.requests["snapshot"] - asked <= 20
    if is_target_away:
        return
    assert lab.equal(*members)
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")
    assert lab.core.condition("crm", "Ready") == ("False", "InsufficientSpace")
    said = lab.core.message("crm", "Ready")
    assert said.startswith("d3: fra/h: cannot create snapshot 'tank/vm/d3@")
    assert "target" not in said


@pytest.mark.rule("Atomic groups")
async def test_a_group_is_never_taken_in_parts(lab: Lab) -> None:
    lab.core.pair("erp", lab.volumes(3), group=True)
    await lab.core.live(200)
    lab.a.no_room_for.add("tank/vm/d1")
    lab.a.write("tank/vm/d0", 5000)
    before = list(lab.a.commands)
    await lab.core.live(400)
    assert lab.a.commands == before
    assert lab.core.condition("erp", "Ready") == ("False", "InsufficientSpace")
    lab.a.no_room_for.clear()
    await lab.core.live(200)
    assert lab.equal("d0", "d1", "d2")


@pytest.mark.rule("O(hosts) planning")
async def test_a_pool_that_takes_no_snapshot_at_all_is_not_asked_for_each_of_many(
    lab: Lab,
) -> None:
    lab.core.pair("erp", lab.volumes(300))
    lab.a.no_room_for |= {f"tank/vm/d{i}" for i in range(300)}
    await lab.core.settle()
    assert 64 < lab.a.requests["snapshot"] <= 129
    assert lab.core.status("erp")["members"]["failed"] == 300


@pytest.mark.rule("Isolation")
async def test_members_of_one_name_in_two_pairs_are_quarantined_apart(lab: Lab) -> None:
    members = lab.volumes(2)
    lab.core.pair("erp", {"disk": members["d0"]})
    lab.core.pair("crm", {"disk": members["d1"]})
    await lab.core.live(100)
    for name in ("d0", "d1"):
        lab.a.write(f"tank/vm/{name}", 5000)
        lab.b.dataset(f"backup/backstay/{name}").busy = True
    await lab.core.live(300)
    lab.core.pipes.clear()
    await lab.core.live(300)
    assert lab.core.pipes
    assert all(len(pipe.transfers) == 1 for pipe in lab.core.pipes)


@pytest.mark.rule("RPO truth")
async def test_a_bug_in_a_pass_is_reported_and_other_pairs_go_on(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of ours must not look like a healthy pair that is merely quiet."""
    lab.core.pair("erp", lab.volumes(1))
    await lab.core.live(100)

    def broken(*_: object) -> None:
        raise KeyError("boom")

    with monkeypatch.context() as patch:
        patch.setattr("backstay.controllers.passes.see_route", broken)
        await lab.core.live(200)
    assert lab.core.condition("erp", "Ready") == ("Unknown", "InternalError")
    assert "boom" in lab.core.message("erp", "Ready")
    await lab.core.live(60)
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")


@pytest.mark.rule("RPO truth")
async def test_a_group_that_nobody_writes_to_stays_in_time_while_a_member_joins(lab: Lab) -> None:
    """A long first copy of a new disk must not raise an alarm about the others."""
    lab.core.pair("erp", lab.volumes(2), group=True)
    await lab.core.live(100)
    reached, go_on = lab.world.transfer_faults.pause(after_bytes=100)
    lab.core.pair("erp", lab.extended(2), group=True)
    await lab.core.live(1000)
    assert reached.is_set()
    assert lab.core.condition("erp", "RPOMet") == ("True", "WithinRPO")
    go_on.set()
    await asyncio.sleep(0)
    await lab.core.live(300)
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")


async def test_a_replica_is_never_replicated_back_into_its_source(lab: Lab) -> None:
    """A new leader with another preferred site must look before it works in that direction."""
    lab.core.site("fra", lab.a, roots=("tank/vm",))
    for name in ("tank/vm/t", "tank/vm/t/x"):
        lab.a.create(name)
        lab.a.write(name, 5000)
    tree = {"t": ("tank/vm/t", "backup/backstay/t")}
    lab.core.pair("erp", tree, recursive=True)
    await lab.core.live(100)
    lab.a.destroy("tank/vm/t/x")
    lab.core.pair("erp", tree, recursive=True, preferredSite="muc")
    lab.core.restart()
    await lab.core.live(300)
    assert not lab.a.exists("tank/vm/t/x")
    assert [c for c in lab.b.commands if c[1] in ("snapshot", "send")] == []
    assert lab.core.status("erp")["activeSite"] == "fra"
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")
