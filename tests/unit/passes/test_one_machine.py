"""One machine under several names of hosts: its datasets have their pairs, whoever names them."""

from __future__ import annotations

from typing import Any

import pytest

from fakes.lab import Lab

D0 = "tank/vm/d0"


def named_twice(lab: Lab, site: str, host: str) -> None:
    """The source's machine is also `host` of `site`, a Site of its own or the first one."""
    if (site, host) == ("fra", "h"):
        return
    if site == "fra":
        (known,) = [b["spec"] for k, b in lab.core.bodies.items() if k.name == "fra"]
        hosts = [*known["hosts"], {**known["hosts"][0], "name": host}]
        lab.core.also(site, host, lab.a)
        lab.core.apply("Site", site, {**known, "hosts": hosts})
    else:
        lab.core.site(site, lab.a)


def pair(lab: Lab, name: str, target: str, *, at: tuple[str, str], **spec: Any) -> None:
    """A pair of d0, which lies at host `at`, to a target on muc/h."""
    site, host = at
    places = {
        site: {"host": host, "dataset": D0},
        "muc": {"host": "h", "dataset": target},
    }
    datasets = [{"name": "d0", "at": places}]
    lab.core.pair(name, {}, sites=[site, "muc"], preferredSite=site, datasets=datasets, **spec)


NAMES = pytest.mark.parametrize(
    ("site", "host"),
    [("fra", "h"), ("fra", "i"), ("ams", "h")],
    ids=["one name", "two hosts of a Site", "two Sites"],
)


@pytest.mark.rule("Pruning keeps the chain")
@NAMES
async def test_a_source_keeps_what_the_policy_of_any_of_its_pairs_wants(
    lab: Lab, site: str, host: str
) -> None:
    named_twice(lab, site, host)
    lab.volumes(1)
    lab.core.policy(rpo="2m", retention={"source": {"last": 1}, "target": {"last": 2}})
    lab.core.policy("long", rpo="2m", retention={"source": {"last": 9}, "target": {"last": 2}})
    pair(lab, "one", "backup/backstay/one", at=("fra", "h"))
    pair(lab, "two", "backup/backstay/two", at=(site, host), policyRef={"name": "long"})
    for _ in range(15):
        lab.a.write(D0, 4096, overwrite=True)
        await lab.core.live(60)
    assert lab.core.condition("one", "Ready")[0] == "True"
    assert lab.core.condition("two", "Ready")[0] == "True"
    assert len(lab.a.dataset(D0).snapshots) >= 9


async def test_a_target_belongs_to_the_older_pair_whatever_its_host_is_called(lab: Lab) -> None:
    lab.core.site("ulm", lab.b, roots=("backup/backstay",))
    lab.volumes(2)
    lab.core.pair("old", lab.known(1))
    await lab.core.live(100)
    places = {
        "fra": {"host": "h", "dataset": "tank/vm/d1"},
        "ulm": {"host": "h", "dataset": "backup/backstay/d0"},
    }
    lab.core.pair("new", {}, sites=["fra", "ulm"], datasets=[{"name": "d1", "at": places}])
    await lab.core.live(20)
    assert lab.core.condition("new", "Ready") == ("False", "DatasetClaimed")
    assert "dr/old" in lab.core.message("new", "Ready")
    assert lab.core.condition("old", "Ready")[0] == "True"


async def test_a_member_that_moved_to_another_name_of_its_hosts_keeps_its_bookmark(
    lab: Lab,
) -> None:
    """Its lineage is the same: what it is made of has no names of hosts."""
    named_twice(lab, "fra", "i")
    lab.volumes(1)
    pair(lab, "erp", "backup/backstay/d0", at=("fra", "h"))
    await lab.core.live(100)
    before = list(lab.a.dataset(D0).bookmarks)
    places = {
        "fra": {"host": "i", "dataset": D0},
        "muc": {"host": "h", "dataset": "backup/backstay/d0"},
    }
    lab.core.pair("erp", {}, datasets=[{"name": "e0", "at": places}])
    await lab.core.live(50)
    assert before
    assert lab.a.dataset(D0).bookmarks == before
    assert lab.core.condition("erp", "Ready")[0] == "True"


async def test_a_pool_at_two_addresses_is_said_by_both_sites_for_as_long_as_both_show_it(
    lab: Lab,
) -> None:
    """What is shared goes by the address: such a machine is taken for two."""
    lab.core.site("ams", lab.a)
    known = [b["spec"]["hosts"][0] for k, b in lab.core.bodies.items() if k.name == "ams"]
    secret = {"secretRef": {"name": "key"}}
    await lab.core.live(130)
    assert lab.core.condition("ams", "PoolSeenTwice", "Site") == ("", "")
    other = {"hosts": [{**known[0], "address": "storage.example"}], "ssh": secret}
    lab.core.apply("Site", "ams", other)
    await lab.core.live(130)
    for one, two in (("fra", "ams/h"), ("ams", "fra/h")):
        assert lab.core.condition(one, "PoolSeenTwice", "Site") == ("True", "SamePoolGuid")
        assert two in lab.core.message(one, "PoolSeenTwice", "Site")
    assert lab.core.condition("muc", "PoolSeenTwice", "Site") == ("", "")
    lab.core.vanish("Site", "ams")
    await lab.core.live(130)
    assert lab.core.condition("fra", "PoolSeenTwice", "Site") == ("", "")


async def test_a_pool_that_moved_to_another_machine_is_not_seen_twice(lab: Lab) -> None:
    """The old one may be dead, and cannot say that it has the pool no more."""
    lab.core.site("ams", lab.world.host("ams/h", pools=("spare",)))
    await lab.core.live(130)
    lab.a.reachable = False
    lab.world.hosts["ams/h"].pools["tank"] = lab.a.pools["tank"]
    await lab.core.live(130)
    assert lab.core.condition("ams", "PoolSeenTwice", "Site") == ("", "")
