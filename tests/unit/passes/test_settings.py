"""`spec.replication.properties` of a policy: what a replica takes over from its source."""

from __future__ import annotations

import pytest

from backstay.domain.zfs import SETTINGS
from backstay_host.zfs import names
from fakes.lab import Lab

REPLICA = "backup/backstay/fs"


async def protected(lab: Lab, properties: str) -> None:
    """A file system with settings of its own has its first recovery point."""
    lab.a.create("tank/vm/fs")
    for key, value in (
        ("compression", "zstd"),
        ("recordsize", "16384"),
        ("sharenfs", "on"),
        ("setuid", "off"),
        ("quota", "1000000"),
    ):
        lab.a.set("tank/vm/fs", key, value)
    lab.core.policy(properties=properties)
    lab.core.pair("erp", {"fs": ("tank/vm/fs", REPLICA)})
    await lab.core.live(200)
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")


def taken(lab: Lab) -> set[str]:
    """Native properties of the replica, but those of its posture."""
    posture = {"readonly", "atime", "canmount"}
    return {k for k in lab.b.dataset(REPLICA).properties if ":" not in k} - posture


def test_operator_and_host_know_the_same_settings() -> None:
    assert set(SETTINGS) == names.SETTINGS
    assert not names.SETTINGS & names.POSTURE_PROPERTIES


@pytest.mark.rule("Replica posture")
async def test_a_replica_takes_no_property_of_its_source_unless_the_policy_says_so(
    lab: Lab,
) -> None:
    await protected(lab, "None")
    assert taken(lab) == set()


@pytest.mark.rule("Replica posture")
async def test_a_replica_follows_safe_settings_and_no_other(lab: Lab) -> None:
    await protected(lab, "Safe")
    assert taken(lab) == {"compression", "recordsize"}
    before = list(lab.b.commands)
    await lab.core.live(400)
    assert not [c for c in lab.b.commands[len(before) :] if "set" in c], "once is enough"
    lab.a.set("tank/vm/fs", "compression", "lz4")
    await lab.core.live(400)
    assert lab.b.dataset(REPLICA).properties["compression"] == "lz4"
    assert lab.b.dataset(REPLICA).properties["readonly"] == "on"
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")
