"""What other hands do to real pools: each is gone on from, or named, and nothing is forced."""

from __future__ import annotations

import pytest

from backstay.domain.steps import Increment
from lab.core.real import KEEP_NINE, RealLab

KEEP_ONE = {"source": {"last": 1}, "target": {"last": 1}}
MIB = 1024 * 1024


@pytest.mark.fault("target outside the receive roots")
async def test_a_target_outside_the_receive_roots_is_not_touched(lab: RealLab) -> None:
    await lab.volumes(1)
    elsewhere = f"{lab.b.root}-elsewhere/d0"
    lab.core.pair("erp", {"d0": (lab.a.at("d0"), elsewhere)})
    await lab.expect_stopped("OutsideReceiveRoots", elsewhere, lab.b.root)
    assert not await lab.b.exists(elsewhere)


@pytest.mark.fault("Proxmox storage replication of a source or target")
@pytest.mark.parametrize("side", ["source", "target"])
async def test_what_proxmox_replicates_is_refused_with_the_snapshot(
    lab: RealLab, side: str
) -> None:
    await lab.protected()
    hand = lab.a if side == "source" else lab.b
    theirs = f"{hand.at('d0')}@__replicate_100-0_1700000000__"
    await hand.snapshot(theirs)
    await lab.write()
    await lab.expect_stopped("ForeignReplication", theirs)


@pytest.mark.rule("Raw lineage")
@pytest.mark.fault("raw flag flipped after the seed")
async def test_a_replica_that_was_seeded_otherwise_takes_nothing_else(lab: RealLab) -> None:
    await lab.a.create(lab.a.at("d0"), volume=True, encrypted=True)
    await lab.a.write(lab.a.at("d0"), 64 * 1024)
    lab.places["d0"] = (lab.a.at("d0"), lab.b.at("d0"))
    await lab.protected()
    await lab.b.set(lab.b.at("d0"), "dev.backstay:stream", "Lec")
    await lab.write()
    await lab.expect_stopped("StreamModePinned", lab.b.at("d0"))


@pytest.mark.fault("someone mounts and reads the replica (atime)")
async def test_a_replica_that_was_mounted_read_only_and_read_is_gone_on_with(lab: RealLab) -> None:
    """Its access times stay as they are, whatever `atime` says at the source."""
    await lab.file_systems(1)
    await lab.a.run(f"zfs set atime=on {lab.a.at('d0')}")
    await lab.protected()
    await _read(lab)
    assert int(await lab.b.value("d0", "written")) == 0
    await lab.next_point()
    await lab.expect_fresh()
    assert all(isinstance(t.how, Increment) for t in lab.core.sent())


@pytest.mark.fault("someone mounts and reads the replica (atime)")
async def test_access_times_that_a_writable_replica_got_are_a_change(lab: RealLab) -> None:
    await lab.file_systems(1)
    await lab.protected()
    await lab.b.run(f"zfs set readonly=off atime=on relatime=off {lab.b.at('d0')}")
    await _read(lab)
    assert int(await lab.b.value("d0", "written")) > 0
    await lab.write()
    lab.core.sent()
    await lab.core.passing(151)
    assert lab.core.condition("erp", "Ready") == ("False", "TargetModified")
    assert lab.b.at("d0") in lab.core.message("erp", "Diverged")
    assert lab.core.sent() == []


async def _read(lab: RealLab) -> None:
    """Somebody mounts the replica, reads its files and unmounts it."""
    place = lab.b.at("d0")
    await lab.b.run(
        f"zfs mount {place} && sleep 1 && cat /{place}/* >/dev/null && sync && zpool sync && "
        f"zfs umount {place}"
    )


@pytest.mark.fault("someone makes the replica writable")
async def test_a_replica_that_was_made_writable_is_made_read_only_again(lab: RealLab) -> None:
    """A file system; a volume that is writable may be open in a guest."""
    await lab.file_systems(1)
    await lab.protected()
    await lab.b.set(lab.b.at("d0"), "readonly", "off")
    await lab.next_point()
    await lab.expect_fresh()
    assert await lab.b.value("d0", "readonly") == "on"


@pytest.mark.fault("someone makes the replica writable")
async def test_a_volume_that_was_made_writable_is_named_and_left_alone(lab: RealLab) -> None:
    await lab.protected()
    await lab.b.set(lab.b.at("d0"), "readonly", "off")
    await lab.write()
    await lab.expect_stopped("TargetWritable", lab.b.at("d0"))


@pytest.mark.fault("someone promotes a clone of the replica")
async def test_a_promoted_clone_of_the_replica_is_named_and_nothing_is_touched(
    lab: RealLab,
) -> None:
    await lab.protected()
    (point,) = await lab.b.names("d0")
    await lab.b.run(f"zfs clone {point} {lab.b.at('test')} && zfs promote {lab.b.at('test')}")
    await lab.write()
    await lab.expect_stopped("NoCommonBase", lab.b.at("d0"))
    assert len(await lab.b.names("test")) == 1


@pytest.mark.fault("target rolled back to an older common snapshot")
async def test_a_target_that_was_rolled_back_is_gone_on_from_there(lab: RealLab) -> None:
    lab.core.policy(retention=KEEP_NINE)
    await lab.protected()
    for _ in range(2):
        await lab.next_point()
    lab.core.sent()
    older = (await lab.b.names("d0"))[0]
    await lab.b.run(f"zfs rollback -r {older}")
    for _ in range(2):
        await lab.next_point()
    await lab.expect_fresh()
    assert all(isinstance(t.how, Increment) for t in lab.core.sent())


@pytest.mark.fault("source rolled back, target ahead")
async def test_a_source_that_was_rolled_back_is_diverged_and_the_target_kept(lab: RealLab) -> None:
    await lab.ahead()
    await lab.expect_stopped("TargetAhead")
    assert len(await lab.b.guids("d0")) == 3


@pytest.mark.fault("source destroyed and recreated under the same name")
async def test_a_recreated_source_is_a_new_lineage(lab: RealLab) -> None:
    await lab.protected()
    await lab.a.destroy(lab.a.at("d0"))
    await lab.a.create(lab.a.at("d0"), volume=True)
    await lab.expect_stopped("NewLineage", lab.a.at("d0"))


@pytest.mark.fault("all source snapshots deleted")
async def test_without_source_snapshots_the_bookmark_is_the_base(lab: RealLab) -> None:
    await lab.protected()
    for point in await lab.a.names("d0"):
        await lab.a.destroy(point)
    await lab.next_point()
    await lab.expect_fresh()
    assert all(isinstance(t.how, Increment) for t in lab.core.sent())


@pytest.mark.fault("all source snapshots and bookmarks deleted")
async def test_without_snapshots_and_bookmarks_there_is_no_common_base(lab: RealLab) -> None:
    await lab.protected()
    for point in [*await lab.a.names("d0"), *await lab.a.names("d0", "bookmark")]:
        await lab.a.run(f"zfs destroy '{point}'")
    await lab.expect_stopped("NoCommonBase")


@pytest.mark.rule("Pruning keeps the chain")
@pytest.mark.fault("foreign holds on both sides")
@pytest.mark.fault("dataset is busy (udev, clone, hold)")
async def test_held_and_cloned_points_are_kept_and_cost_nothing_else(lab: RealLab) -> None:
    lab.core.policy(retention=KEEP_ONE)
    await lab.protected(2)
    held = (await lab.a.names("d0"))[0]
    await lab.a.hold(held)
    cloned = (await lab.b.names("d1"))[0]
    await lab.b.run(f"zfs clone {cloned} {lab.b.at('looked-at')}")
    for _ in range(3):
        await lab.next_point()
    await lab.expect_fresh()
    assert held in await lab.a.names("d0")
    assert cloned in await lab.b.names("d1")
    assert len(await lab.a.names("d1")) == 1
    assert len(await lab.b.names("d0")) == 1
    await lab.a.release(held)
    await lab.b.destroy(lab.b.at("looked-at"))


@pytest.mark.rule("Space first")
@pytest.mark.fault("target with too little space")
async def test_too_little_space_is_said_before_the_first_byte(lab: RealLab) -> None:
    await lab.b.set(lab.b.root, "quota", str(2 * MIB))
    lab.core.pair("erp", await lab.volumes(1, size=8 * MIB))
    await lab.expect_stopped("InsufficientSpace", lab.b.root)
    await lab.b.set(lab.b.root, "quota", "none")
    await lab.core.passing(600)
    await lab.expect_fresh()


@pytest.mark.fault("refreservation of another volume takes the space")
async def test_space_that_another_volume_has_reserved_is_not_there(lab: RealLab) -> None:
    pool = lab.b.root.split("/")[0]
    free = int(await lab.b.run(f"zfs get -Hpo value available {pool}"))
    thick = lab.b.at("thick")
    reserve = (free - 6 * MIB) // (1024 * 1024) * MIB
    await lab.b.run(f"zfs create -o refreservation={reserve} -o mountpoint=none {thick}")
    lab.core.pair("erp", await lab.volumes(1, size=16 * MIB))
    await lab.expect_stopped("InsufficientSpace")
    await lab.b.destroy(thick)
    await lab.core.passing(600)
    await lab.expect_fresh()


@pytest.mark.fault("target fills up amid a stream")
async def test_a_target_that_fills_up_keeps_what_came(lab: RealLab) -> None:
    await lab.protected()
    await lab.write(size=8 * MIB)
    async with lab.amid_a_stream(4 * MIB):
        await lab.b.run(f"zpool sync {lab.b.root.split('/')[0]}")
        used = int(await lab.b.run(f"zfs get -Hpo value used {lab.b.root}"))
        await lab.b.set(lab.b.root, "quota", str(used + MIB // 2))
    await lab.core.passing(151)
    assert lab.core.condition("erp", "Ready")[0] == "False"
    assert "space" in lab.core.message("erp", "Ready").lower()
    await lab.b.set(lab.b.root, "quota", "none")
    for _ in range(3):
        await lab.core.passing(600)
    await lab.expect_fresh()
    await lab.expect_little_left()


@pytest.mark.rule("No wall clock")
@pytest.mark.rule("Unique names")
@pytest.mark.fault("clock steps by an hour")
async def test_a_clock_that_steps_by_an_hour_changes_no_order(lab: RealLab) -> None:
    await lab.protected()
    for step in (3600, -3600):
        await lab.a.run(f"date -s @$(( $(date +%s) + {step} )) >/dev/null")
        await lab.next_point()
        await lab.expect_fresh()
    assert all(isinstance(t.how, Increment) for t in lab.core.sent())


@pytest.mark.fault("clocks of two hosts differ by five minutes")
async def test_clocks_that_differ_are_said_at_the_site(lab: RealLab) -> None:
    await lab.protected()
    await lab.b.run("date -s @$(( $(date +%s) + 300 )) >/dev/null")
    try:
        await lab.core.kill()
        await lab.core.passing(151)
        await lab.core.live(120)
        assert lab.core.condition("muc", "ClocksAgree", "Site")[0] == "False"
        assert lab.core.condition("fra", "ClocksAgree", "Site")[0] == "True"
        await lab.next_point()
        await lab.expect_fresh()
    finally:
        await lab.b.run("date -s @$(( $(date +%s) - 300 )) >/dev/null")


@pytest.mark.fault("an old primary comes back")
async def test_an_old_primary_never_writes_over_what_was_promoted(lab: RealLab) -> None:
    """Where its replica has become the original, the old direction stops."""
    await lab.protected()
    replica = lab.b.at("d0")
    await lab.write()
    for role, reason in (("secondary", "RoleEpochDiffers"), ("primary", "TargetIsPrimary")):
        await lab.b.run(f"zfs set dev.backstay:role={role} dev.backstay:roleepoch=7 {replica}")
        await lab.expect_stopped(reason, replica)
