"""What forbids work on a member: its place, its source."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backstay.domain.zfs import Dataset, DatasetKind, Guid
from backstay.plan.replication import Preparation, plan_preparation
from unit.plan.sides import ROOT, source_of, target_of, world

NOTHING = Preparation(aborts=(), parents=(), postures=())


@pytest.mark.parametrize(
    ("member", "changes", "why"),
    [
        ("disk", {"encrypted": True}, "EncryptedSource"),
        ("disk", {"kind": DatasetKind.VOLUME}, "NewLineage"),
    ],
)
def test_are_named(member: str, changes: dict[str, object], why: str) -> None:
    situation = world(source={"disk": "a#"}, target={"disk": "a"})
    assert situation.with_source_dataset(member, **changes).conflict() == why


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
