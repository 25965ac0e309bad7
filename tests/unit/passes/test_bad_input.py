"""Bad input gets a clear answer and loses nothing: what lies at the hosts is never written to."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from backstay.domain.steps import Increment
from fakes.lab import Lab
from fakes.world import FakeHost


def picture(host: FakeHost) -> Any:
    """Everything that a host holds, but the writer's mark on receive roots."""
    return copy.deepcopy(
        {
            d.name: (
                *(d.guid, d.head, d.partial, list(d.snapshots), list(d.bookmarks)),
                {k: v for k, v in d.properties.items() if k != "dev.backstay:writer"},
            )
            for pool in host.pools.values()
            for d in pool.datasets.values()
        }
    )


async def stays(lab: Lab, reason: str, *, words: str, seconds: float = 600) -> None:
    """The pair says why it stands still, and the target stays as it was."""
    before = picture(lab.b)
    await lab.core.live(seconds)
    assert lab.core.condition("erp", "Ready") == ("False", reason)
    assert lab.core.condition("erp", "Stalled") == ("True", reason)
    assert words in lab.core.message("erp", "Ready")
    assert picture(lab.b) == before
    assert lab.core.sent() == []


@pytest.mark.fault("source dataset missing")
async def test_a_missing_source_is_named_and_its_replica_kept(lab: Lab) -> None:
    lab.core.pair("erp", lab.volumes(1))
    await lab.core.live(600)
    lab.a.destroy("tank/vm/d0")
    lab.core.sent()
    await stays(lab, "SourceMissing", words="tank/vm/d0")
    assert lab.core.condition("erp", "RPOMet") == ("False", "RPOBreached")


@pytest.mark.fault("source dataset missing")
async def test_a_source_that_appears_later_is_seeded_without_help(lab: Lab) -> None:
    lab.core.pair("erp", {"d0": ("tank/vm/d0", "backup/backstay/d0")})
    await stays(lab, "SourceMissing", words="tank/vm/d0")
    lab.volumes(1)
    await lab.core.live(120)
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")


@pytest.mark.rule("Seed only into nothing, and only what was planned")
@pytest.mark.fault("target exists with foreign data")
@pytest.mark.parametrize("has_snapshots", [True, False])
async def test_foreign_data_at_the_target_is_never_written_to(
    lab: Lab, has_snapshots: bool
) -> None:
    lab.b.create("backup/backstay/d0", volume=True)
    lab.b.write("backup/backstay/d0", 999)
    if has_snapshots:
        lab.b.snapshot("backup/backstay/d0@mine")
    lab.b.content("backup/backstay/d0")
    lab.core.pair("erp", lab.volumes(1))
    await stays(lab, "TargetHasForeignData", words="backup/backstay/d0")
    assert lab.a.dataset("tank/vm/d0").snapshots == []


@pytest.mark.rule("Proven base")
@pytest.mark.fault("someone writes to the replica")
async def test_a_replica_that_was_written_to_is_diverged_and_left_alone(lab: Lab) -> None:
    lab.core.pair("erp", lab.volumes(1))
    await lab.core.live(600)
    lab.b.dataset("backup/backstay/d0").properties["readonly"] = "off"
    lab.b.write("backup/backstay/d0", 777)
    lab.b.content("backup/backstay/d0")
    lab.a.write("tank/vm/d0", 4096)
    lab.core.sent()
    await stays(lab, "TargetModified", words="777 bytes")
    assert lab.core.condition("erp", "Diverged") == ("True", "TargetModified")


@pytest.mark.rule("Proven base")
@pytest.mark.fault("someone snapshots the replica")
async def test_a_foreign_snapshot_on_the_replica_is_tolerated_and_kept(lab: Lab) -> None:
    lab.core.pair("erp", lab.volumes(1))
    await lab.core.live(600)
    lab.b.snapshot("backup/backstay/d0@manual")
    for _ in range(4):
        lab.a.write("tank/vm/d0", 4096)
        await lab.core.live(150)
    await lab.core.live(150)
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")
    assert lab.b.exists("backup/backstay/d0@manual")
    assert lab.equal("d0")


@pytest.mark.fault("receive root missing")
async def test_a_missing_receive_root_is_named_and_found_once_it_exists(lab: Lab) -> None:
    lab.core.site("muc", lab.b, roots=("backup/other",))
    lab.core.pair("erp", {"d0": ("tank/vm/d0", "backup/other/d0")})
    lab.volumes(1)
    await stays(lab, "ReceiveRootMissing", words="zfs create -o canmount=off backup/other")
    lab.b.create("backup/other")
    await lab.core.live(120)
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")


@pytest.mark.fault("receive root missing")
async def test_a_receive_root_that_is_made_anew_is_claimed_anew(lab: Lab) -> None:
    """The mark of the writer goes with the old root: the term must be written again by itself."""
    lab.core.pair("erp", lab.volumes(1))
    await lab.core.live(600)
    lab.b.destroy("backup/backstay")
    lab.b.create("backup/backstay")
    await lab.core.live(300)
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")
    assert lab.equal("d0")


@pytest.mark.rule("Replica posture")
@pytest.mark.fault("receive root inside a Proxmox storage path")
async def test_a_receive_root_inside_a_proxmox_storage_is_refused(lab: Lab) -> None:
    lab.b.proxmox_paths = ("backup",)
    lab.core.pair("erp", lab.volumes(1))
    await stays(lab, "ReceiveRootInProxmoxStorage", words="Proxmox storage backup")


@pytest.mark.fault("target outside the receive roots")
async def test_a_target_outside_the_receive_roots_is_refused(lab: Lab) -> None:
    lab.volumes(1)
    lab.core.pair("erp", {"d0": ("tank/vm/d0", "backup/elsewhere/d0")})
    await stays(lab, "OutsideReceiveRoots", words="backup/backstay")


@pytest.mark.fault("source rolled back, target ahead")
async def test_a_rolled_back_source_leaves_the_replica_untouched(lab: Lab) -> None:
    lab.core.policy(retention={"source": {"last": 9}, "target": {"last": 9}})
    lab.core.pair("erp", lab.volumes(1))
    await lab.core.live(200)
    first = lab.a.dataset("tank/vm/d0").snapshots[0].name
    lab.a.write("tank/vm/d0", 4096)
    await lab.core.live(200)
    lab.a.rollback(f"tank/vm/d0@{first}")
    lab.a.write("tank/vm/d0", 1)
    lab.core.sent()
    await stays(lab, "TargetAhead", words="newer than everything in tank/vm/d0")
    assert lab.core.condition("erp", "Diverged") == ("True", "TargetAhead")


@pytest.mark.fault("source destroyed and recreated under the same name")
async def test_a_recreated_source_is_a_new_lineage_and_the_old_replica_is_kept(lab: Lab) -> None:
    lab.core.pair("erp", lab.volumes(1))
    await lab.core.live(200)
    lab.a.destroy("tank/vm/d0")
    lab.volumes(1)
    lab.core.sent()
    await stays(lab, "NewLineage", words="recreated")
    lab.b.rename("backup/backstay/d0", "backup/kept")
    await lab.core.live(120)
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")
    assert lab.b.dataset("backup/kept").snapshots


@pytest.mark.fault("all source snapshots deleted")
async def test_without_source_snapshots_the_bookmark_is_the_base(lab: Lab) -> None:
    lab.core.pair("erp", lab.volumes(1))
    await lab.core.live(200)
    for snapshot in list(lab.a.dataset("tank/vm/d0").snapshots):
        lab.a.destroy(f"tank/vm/d0@{snapshot.name}")
    lab.a.write("tank/vm/d0", 4096)
    lab.core.sent()
    await lab.core.live(200)
    (sent,) = lab.core.sent()
    assert isinstance(sent.how, Increment)
    assert "#backstay_" in sent.how.base.full_name
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")
    assert lab.equal("d0")


@pytest.mark.fault("all source snapshots and bookmarks deleted")
async def test_without_snapshots_and_bookmarks_there_is_no_common_base(lab: Lab) -> None:
    lab.core.pair("erp", lab.volumes(1))
    await lab.core.live(200)
    found = lab.a.dataset("tank/vm/d0")
    for snapshot in list(found.snapshots):
        lab.a.destroy(f"tank/vm/d0@{snapshot.name}")
    for bookmark in list(found.bookmarks):
        lab.a.destroy(f"tank/vm/d0#{bookmark.name}")
    lab.core.sent()
    await stays(lab, "NoCommonBase", words="share no snapshot or bookmark")


@pytest.mark.fault("Proxmox storage replication of a source or target")
async def test_a_source_of_proxmox_replication_is_refused(lab: Lab) -> None:
    """pvesr destroys snapshots it does not know."""
    members = lab.volumes(1)
    lab.a.snapshot("tank/vm/d0@__replicate_100-0_1700000000__")
    lab.core.pair("erp", members)
    await stays(lab, "ForeignReplication", words="Proxmox storage replication")


@pytest.mark.fault("Proxmox storage replication of a source or target")
async def test_a_target_of_proxmox_replication_is_refused(lab: Lab) -> None:
    """Its next run would destroy our points there (`receive -F`)."""
    lab.core.pair("erp", lab.volumes(1))
    await lab.core.live(200)
    lab.core.sent()
    lab.b.snapshot("backup/backstay/d0@__replicate_100-0_1700000000__")
    await stays(lab, "ForeignReplication", words="backup/backstay/d0@__replicate_100-0")


@pytest.mark.rule("Space first")
@pytest.mark.fault("target with too little space")
async def test_too_little_space_is_said_before_the_first_byte(lab: Lab) -> None:
    lab.volumes(1)
    lab.a.write("tank/vm/d0", 50_000_000)
    lab.b.set("backup/backstay", "quota", "40000000")
    lab.core.pair("erp", {"d0": ("tank/vm/d0", "backup/backstay/d0")})
    before = picture(lab.b)
    await lab.core.live(600)
    assert lab.core.condition("erp", "Ready") == ("False", "InsufficientSpace")
    assert lab.core.sent() == []
    assert picture(lab.b) == before
    lab.b.set("backup/backstay", "quota", "400000000")
    await lab.core.live(120)
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")


@pytest.mark.rule("Space first")
async def test_a_seed_does_not_start_beside_one_that_needs_the_space(lab: Lab) -> None:
    """Each fits alone; together they would fill the target and both would stop half way."""
    members = lab.volumes(2)
    lab.a.write("tank/vm/d0", 30_000_000)
    lab.a.write("tank/vm/d1", 40_000_000)
    lab.b.set("backup/backstay", "quota", "70000000")
    reached, go_on = lab.world.transfer_faults.pause(after_bytes=10_000_000)
    lab.core.pair("erp", {"d0": members["d0"]})
    await lab.core.live(5)
    assert reached.is_set()
    lab.core.sent()
    lab.core.pair("crm", {"d1": members["d1"]})
    await lab.core.live(300)
    assert lab.core.condition("crm", "Ready") == ("False", "InsufficientSpace")
    assert lab.core.sent() == []
    lab.b.set("backup/backstay", "quota", "110000000")
    await lab.core.live(120)
    assert [t.member for t in lab.core.sent()] == ["d1"]
    go_on.set()
    await lab.core.live(120)
    assert lab.equal("d0", "d1")


@pytest.mark.rule("Isolation")
async def test_a_bad_member_costs_its_siblings_nothing(lab: Lab) -> None:
    lab.core.policy(retention={"source": {"last": 2}, "target": {"last": 2}})
    members = {**lab.volumes(2), "gone": ("tank/vm/gone", "backup/backstay/gone")}
    lab.core.pair("erp", members)
    await lab.core.live(600)
    for _ in range(3):
        lab.a.write("tank/vm/d1", 4096)
        await lab.core.live(160)
    await lab.core.live(160)
    assert lab.equal("d0", "d1")
    assert lab.core.condition("erp", "Ready") == ("False", "SourceMissing")
    assert len(lab.a.dataset("tank/vm/d1").snapshots) == 2


async def test_a_pair_in_conflict_does_not_keep_the_hosts_busy(lab: Lab) -> None:
    """A conflict waits for a human: once a minute is often enough to see that he has acted."""
    lab.core.pair("erp", lab.volumes(1))
    await lab.core.live(200)
    lab.a.destroy("tank/vm/d0")
    lab.a.requests.clear()
    await lab.core.live(3600)
    assert lab.a.requests["survey"] <= 61
