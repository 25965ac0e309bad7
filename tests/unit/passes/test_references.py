"""What a pair refers to must be there, and must be the pair's own: else it is told what to do."""

from __future__ import annotations

from typing import Any

import pytest

from backstay.controllers.keys import ObjectKey
from fakes.core import NAMESPACE
from fakes.lab import Lab

REPLICATION: dict[str, Any] = {"class": "Gold", "rpo": "5m", "replication": {}}
BACKUP = {"external": {"statement": "restic, nightly"}}


async def refused(lab: Lab, reason: str, *, pair: str = "erp") -> str:
    """The pair is refused without a single command; returns what it is told."""
    before = list(lab.world.commands)
    await lab.core.live(200)
    assert lab.core.condition(pair, "Ready") == ("False", reason)
    assert lab.core.condition(pair, "Stalled") == ("True", reason)
    assert lab.world.commands == before
    return lab.core.message(pair, "Ready")


async def test_a_missing_policy_is_named_and_found_once_it_is_applied(lab: Lab) -> None:
    lab.core.pair("erp", lab.volumes(1), policyRef={"name": "silver"})
    assert "silver" in await refused(lab, "PolicyMissing")
    lab.core.policy("silver")
    await lab.core.live(120)
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")


async def test_a_policy_without_replication_serves_no_pair(lab: Lab) -> None:
    schedule = {"class": "Bronze", "rpo": "24h", "backup": BACKUP}
    lab.core.apply("ProtectionPolicy", "gold", schedule)
    lab.core.pair("erp", lab.volumes(1))
    assert "no spec.replication" in await refused(lab, "PolicyRefused")


async def test_an_expired_exception_stalls_the_policy_and_the_pair_goes_on(lab: Lab) -> None:
    """The paper is late, the replica is not: to stop it would make nothing better."""
    exception = {"replicationWithoutBackup": {"reason": "until the tape is here"}}
    exception["replicationWithoutBackup"]["until"] = "2026-11-23"
    lab.core.apply("ProtectionPolicy", "gold", {**REPLICATION, "exceptions": exception})
    lab.core.pair("erp", lab.volumes(1))
    await lab.core.live(200)
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")
    lab.world.advance(2 * 86_400)
    await lab.core.live(1)
    await lab.core.live(200)
    expired = ("True", "ExceptionExpired")
    assert lab.core.condition("gold", "Stalled", "ProtectionPolicy") == expired
    assert lab.core.condition("erp", "RPOMet") == ("True", "WithinRPO")
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")


async def test_a_site_in_a_time_zone_that_nobody_knows_says_so_and_its_pairs_wait(lab: Lab) -> None:
    """The API server has no list of zones, so that it lets this one in."""
    body = lab.core.bodies[ObjectKey("Site", NAMESPACE, "muc")]
    lab.core.pair("erp", lab.volumes(1))
    lab.core.apply("Site", "muc", {**body["spec"], "timeZone": "Europe/Berlim"})
    assert "or none that is valid" in await refused(lab, "SiteMissing")
    assert lab.core.condition("muc", "Ready", "Site") == ("False", "InvalidSpec")
    lab.core.apply("Site", "muc", {**body["spec"], "timeZone": "Europe/Berlin"})
    await lab.core.live(120)
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")


async def test_a_missing_site_is_named_and_found_once_it_is_applied(lab: Lab) -> None:
    at = {"fra": {"host": "h", "dataset": "tank/vm/d0"}}
    at["ber"] = {"host": "h", "dataset": "backup/backstay/d0"}
    lab.volumes(1)
    lab.core.pair("erp", {}, sites=["fra", "ber"], datasets=[{"name": "d0", "at": at}])
    assert "no Site ber" in await refused(lab, "SiteMissing")
    ber = lab.world.host("ber/h", pools=("backup",))
    ber.create("backup/backstay")
    lab.core.site("ber", ber, roots=("backup/backstay",))
    await lab.core.live(120)
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")


async def test_a_host_that_the_site_does_not_have_is_named(lab: Lab) -> None:
    at = {"fra": {"host": "pve7", "dataset": "tank/vm/d0"}}
    at["muc"] = {"host": "h", "dataset": "backup/backstay/d0"}
    lab.volumes(1)
    lab.core.pair("erp", {}, datasets=[{"name": "d0", "at": at}])
    assert "Site fra has no host pve7" in await refused(lab, "HostMissing")


@pytest.mark.rule("Atomic groups")
async def test_a_group_across_pools_is_refused(lab: Lab) -> None:
    """One snapshot command cannot span pools: half a group would be a lie."""
    members = lab.volumes(1)
    lab.a.add_pool("ssd", 10 * 1024**3)
    lab.a.create("ssd/d1", volume=True)
    members["d1"] = ("ssd/d1", "backup/backstay/d1")
    lab.core.pair("erp", members, group=True)
    assert "cannot span the pools ssd, tank" in await refused_route(lab, "GroupSplit")


async def refused_route(lab: Lab, reason: str) -> str:
    """As `refused`, for what only a look at the hosts tells: the writer's mark was set."""
    await lab.core.live(200)
    assert lab.core.condition("erp", "Ready") == ("False", reason)
    assert [c for c in lab.world.commands if "dev.backstay:writer" not in str(c)] == []
    return lab.core.message("erp", "Ready")


@pytest.mark.rule("Atomic groups")
async def test_a_group_across_routes_is_refused(lab: Lab) -> None:
    members = lab.volumes(2)
    hosts = [
        {"name": n, "address": "192.0.2.1", "hostKeys": ["ssh-ed25519 AAAA"]} for n in ("h", "i")
    ]
    lab.core.apply("Site", "fra", {"hosts": hosts, "ssh": {"secretRef": {"name": "key"}}})
    lab.core.also("fra", "i", lab.a)
    datasets = [
        {
            "name": name,
            "at": {
                "fra": {"host": host, "dataset": members[name][0]},
                "muc": {"host": "h", "dataset": members[name][1]},
            },
        }
        for name, host in (("d0", "h"), ("d1", "i"))
    ]
    lab.core.pair("erp", {}, datasets=datasets, consistencyGroup=True)
    assert "spans 2 routes" in await refused(lab, "GroupSplit")


class TestTwoPairsWithOneTarget:
    """Only one source may flow into a dataset: the older pair keeps it."""

    async def test_the_younger_pair_is_refused_with_the_name_of_the_older(self, lab: Lab) -> None:
        members = lab.volumes(2)
        lab.core.pair("erp", {"d0": members["d0"]})
        await lab.core.live(10)
        lab.core.pair("aaa", {"d0": ("tank/vm/d1", "backup/backstay/d0")})
        await lab.core.live(10)
        assert "dr/erp" in await refused(lab, "DatasetClaimed", pair="aaa")
        assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")

    async def test_it_makes_no_difference_when_each_is_due(self, lab: Lab) -> None:
        members = lab.volumes(2)
        lab.core.pair("erp", {"d0": members["d0"]})
        lab.core.pair("aaa", {"d1": members["d1"], "d0": ("tank/vm/d1", "backup/backstay/d0")})
        lab.core.restart()
        await lab.core.live(600)
        reasons = {lab.core.condition(pair, "Ready")[1] for pair in ("aaa", "erp")}
        assert reasons == {"UpToDate", "DatasetClaimed"}

    async def test_a_tree_claims_everything_below_it(self, lab: Lab) -> None:
        lab.a.create("tank/vm/t")
        members = lab.volumes(1)
        lab.core.pair("erp", {"t": ("tank/vm/t", "backup/backstay/t")}, recursive=True)
        await lab.core.live(10)
        lab.core.pair("low", {"d0": (members["d0"][0], "backup/backstay/t/d0")})
        await lab.core.live(10)
        assert "dr/erp" in await refused(lab, "DatasetClaimed", pair="low")

    async def test_a_tree_above_another_pairs_target_is_refused(self, lab: Lab) -> None:
        members = lab.volumes(1)
        lab.a.create("tank/vm/t")
        lab.core.pair("erp", {"d0": (members["d0"][0], "backup/backstay/t/d0")})
        await lab.core.live(10)
        lab.core.pair("top", {"t": ("tank/vm/t", "backup/backstay/t")}, recursive=True)
        await lab.core.live(10)
        assert "dr/erp" in await refused(lab, "DatasetClaimed", pair="top")

    async def test_the_younger_one_begins_when_the_older_is_gone(self, lab: Lab) -> None:
        members = lab.volumes(2)
        lab.core.pair("erp", {"d0": members["d0"]})
        await lab.core.live(10)
        lab.core.pair("new", {"d0": ("tank/vm/d1", "backup/backstay/d0")})
        await lab.core.live(10)
        lab.core.delete("ReplicationPair", "erp")
        lab.b.rename("backup/backstay/d0", "backup/old")
        await lab.core.live(120)
        assert lab.core.condition("new", "Ready") == ("True", "UpToDate")
