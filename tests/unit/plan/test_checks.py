"""What forbids work on a member: its place, its source."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backstay.api.v1alpha1.fields import DATASET_LENGTH
from backstay.domain.zfs import Dataset, DatasetKind, Guid
from backstay.plan.naming import bookmark_name
from backstay.plan.replication import Preparation, plan_preparation, plan_snapshots
from unit.plan.sides import NOW, ROOT, source_of, target_of, tree, world

NOTHING = Preparation(aborts=(), parents=(), postures=())


def test_a_source_of_another_kind_is_named() -> None:
    situation = world(source={"disk": "a#"}, target={"disk": "a"})
    changed = situation.with_source_dataset("disk", kind=DatasetKind.VOLUME)
    assert changed.conflict() == "NewLineage"


@pytest.mark.fault("source dataset missing")
def test_the_source_is_missing() -> None:
    situation = world(source={"x": "a#"}, target={"disk": "a"})
    assert situation.conflict("disk") == "SourceMissing"
    assert plan_preparation(situation.seen) == NOTHING


def test_proxmox_replicates_the_source() -> None:
    situation = world(source={"disk": "a#"}, target={"disk": "a"})
    found: Dataset = situation.source.datasets[source_of("disk")]
    theirs = replace(found.snapshots[0], name="__replicate_100-0_1", guid=Guid(5))
    pvesr = situation.with_source_dataset("disk", snapshots=(*found.snapshots, theirs))
    assert pvesr.conflict() == "ForeignReplication"


@pytest.mark.rule("Replica posture")
def test_a_proxmox_storage_below_the_receive_root_takes_only_what_lies_in_it() -> None:
    situation = world(source={"fra/vm-100-disk-0": "a#", "ber/vm-100-disk-0": "a#"})
    for storage in (target_of("fra"), target_of("fra/vm-100-disk-0")):
        stored = situation.with_target(proxmox_paths=(storage,))
        assert stored.conflict("fra/vm-100-disk-0") == "ReceiveRootInProxmoxStorage"
        assert stored.conflict("ber/vm-100-disk-0") is None
        [why] = stored.seen.conflicts.values()
        assert f"{target_of('fra/vm-100-disk-0')} on b/two lies in" in why.message
        assert storage in why.message
    beside = situation.with_target(proxmox_paths=(target_of("fr"),))
    assert not beside.seen.conflicts


def test_the_receive_root_cannot_be_used() -> None:
    situation = world(source={"disk": "a#"})
    assert situation.with_task(receive_roots=()).conflict() == "OutsideReceiveRoots"
    assert situation.with_target(datasets={}).conflict() == "ReceiveRootMissing"
    stored = situation.with_target(proxmox_paths=("vault",))
    assert stored.conflict() == "ReceiveRootInProxmoxStorage"
    foreign = replace(
        situation,
        observation=replace(situation.observation, foreign_writers={ROOT: "3:other"}),
    )
    assert foreign.conflict() == "ForeignWriter"
    assert plan_preparation(foreign.seen) == NOTHING


@pytest.mark.rule("Isolation")
@pytest.mark.parametrize("grouped", [True, False])
def test_a_child_with_too_long_a_name_is_in_no_command(grouped: bool) -> None:
    """The host refuses the bookmark of one such name with all the others of the request."""
    fits = "t/" + "x" * (DATASET_LENGTH - len(target_of("t/")))
    long = "t/" + "y" * (DATASET_LENGTH + 1 - len(source_of("t/")))
    situation = world(
        source=dict.fromkeys(("t", fits, long), ""), pairs=(tree("t", grouped=grouped),)
    )
    assert situation.conflict(long) == "NameTooLong"
    assert situation.conflict(fits) is None
    [step] = plan_snapshots(situation.seen, NOW, "0abc")
    assert [name for name, _ in step.datasets] == [source_of("t"), source_of(fits)]


def test_a_child_whose_targets_name_alone_is_too_long_is_named() -> None:
    longer = "t/" + "x" * (DATASET_LENGTH + 1 - len(target_of("t/")))
    assert len(source_of(longer)) <= DATASET_LENGTH
    situation = world(source=dict.fromkeys(("t", longer), ""), pairs=(tree("t"),))
    assert situation.conflict(longer) == "NameTooLong"
    assert target_of(longer) in situation.seen.conflicts[target_of(longer)].message


def test_the_longest_name_that_is_taken_leaves_room_for_our_bookmark() -> None:
    """255 is `ZFS_MAX_DATASET_NAME_LEN` without its NUL."""
    mark = bookmark_name("f" * 16, Guid(2**64 - 1), 2**64 - 1)
    assert DATASET_LENGTH + len(f"#{mark}") <= 255
