"""A member that leaves its pair takes its bookmarks along, and no snapshot or replica."""

from __future__ import annotations

from typing import Any

import pytest

from backstay.plan.naming import short_id
from fakes.core import Core
from fakes.lab import Lab

D0, T0 = "tank/vm/d0", "backup/backstay/d0"
D1, T1 = "tank/vm/d1", "backup/backstay/d1"
MOVED = {"e0": (D0, "backup/backstay/e0")}


def place(site: str, dataset: str) -> dict[str, dict[str, str]]:
    return {site: {"host": "h", "dataset": dataset}}


def member(name: str, source: str, **target: str) -> dict[str, Any]:
    """A member from `fra` to the one site that is named."""
    ((site, dataset),) = target.items()
    return {"name": name, "at": place("fra", source) | place(site, dataset)}


def lineages(lab: Lab, source: str) -> set[str]:
    """Of the bookmarks of a source."""
    return {b.name.split("_")[1] for b in lab.a.dataset(source).bookmarks}


def lineage(lab: Lab, replica: str) -> str:
    return lab.b.dataset(replica).properties["dev.backstay:lineage"]


async def kept(lab: Lab, retention: int = 2) -> None:
    """A pair of d0 is in step; the policy keeps so many points."""
    keep = {"last": retention}
    lab.core.policy(rpo="2m", retention={"source": keep, "target": keep})
    lab.core.pair("erp", lab.volumes(1))
    await lab.core.live(100)


async def written(lab: Lab, minutes: int) -> None:
    """So many minutes of life, in each of which d0 changes."""
    for _ in range(minutes):
        lab.a.write(D0, 4096, overwrite=True)
        await lab.core.live(60)


async def test_a_member_that_moved_pins_no_point_for_its_old_place(lab: Lab) -> None:
    await kept(lab)
    lab.core.pair("erp", MOVED)
    await written(lab, 12)
    assert lab.core.condition("erp", "Ready")[0] == "True"
    assert lineages(lab, D0) == {lineage(lab, "backup/backstay/e0")}
    assert len(lab.a.dataset(D0).snapshots) == 2
    assert lab.b.dataset(T0).snapshots
    assert lab.core.condition("erp", "BookmarksRetained") == ("", "")


@pytest.mark.rule("Pruning keeps the chain")
async def test_a_member_that_was_removed_by_mistake_goes_on_from_the_common_snapshot(
    lab: Lab,
) -> None:
    lab.core.pair("erp", lab.volumes(2))
    await lab.core.live(100)
    lab.core.pair("erp", lab.known(1))
    await lab.core.live(200)
    assert lineages(lab, D1) == set()
    lab.a.write(D1, 4096)
    lab.core.sent()
    lab.core.pair("erp", lab.known(2))
    await lab.core.live(200)
    assert lab.equal("d0", "d1")
    assert {type(t.how).__name__ for t in lab.core.sent()} == {"Increment"}
    assert lineages(lab, D1) == {lineage(lab, T1)}


@pytest.mark.rule("Pruning keeps the chain")
async def test_a_bookmark_that_is_the_only_base_stays_until_the_pair_goes(lab: Lab) -> None:
    """It keeps no snapshot from being pruned, and without it nothing could go on."""
    lab.core.pair("erp", lab.volumes(2))
    await lab.core.live(100)
    for snapshot in list(lab.a.dataset(D1).snapshots):
        lab.a.destroy(f"{D1}@{snapshot.name}")
    lab.core.pair("erp", lab.known(1))
    await lab.core.live(200)
    lab.core.sent()
    lab.a.write(D1, 4096)
    lab.core.pair("erp", lab.known(2))
    await lab.core.live(200)
    assert lab.equal("d0", "d1")
    assert {type(t.how).__name__ for t in lab.core.sent()} == {"Increment"}
    for snapshot in list(lab.a.dataset(D1).snapshots):
        lab.a.destroy(f"{D1}@{snapshot.name}")
    lab.core.pair("erp", lab.known(1))
    await lab.core.live(200)
    assert lineages(lab, D1)
    lab.core.delete("ReplicationPair", "erp")
    await lab.core.live(5)
    assert lineages(lab, D1) == set()


async def test_a_member_that_has_only_another_name_keeps_its_bookmark(lab: Lab) -> None:
    await kept(lab)
    before = list(lab.a.dataset(D0).bookmarks)
    lab.core.pair("erp", {"renamed": (D0, T0)})
    await lab.core.live(50)
    assert lab.a.dataset(D0).bookmarks == before


@pytest.mark.rule("Pruning keeps the chain")
async def test_a_member_that_went_to_another_pair_keeps_its_bookmark(lab: Lab) -> None:
    lab.core.pair("erp", lab.volumes(2))
    await lab.core.live(100)
    before = list(lab.a.dataset(D1).bookmarks)
    lab.core.pair("erp", lab.known(1))
    lab.core.pair("crm", {"d1": (D1, T1)}, policyRef={"name": "not-yet-there"})
    await lab.core.live(50)
    assert lab.a.dataset(D1).bookmarks == before


@pytest.mark.rule("Pruning keeps the chain")
async def test_a_pair_that_is_deleted_leaves_the_bookmark_of_what_went_to_another_pair(
    lab: Lab,
) -> None:
    lab.core.pair("erp", lab.volumes(2))
    await lab.core.live(100)
    before = list(lab.a.dataset(D1).bookmarks)
    lab.core.pair("crm", {"d1": (D1, T1)}, policyRef={"name": "not-yet-there"})
    lab.core.delete("ReplicationPair", "erp")
    await lab.core.live(5)
    assert [p.metadata.name for p in lab.core.registry.pairs()] == ["crm"]
    assert lineages(lab, D0) == set()
    assert lab.a.dataset(D1).bookmarks == before


async def test_a_route_that_the_pair_has_left_is_cleared_even_if_its_target_is_dead(
    lab: Lab,
) -> None:
    """A member is moved because the host of its replica has burned."""
    c = lab.world.host("ber/h", pools=("vault",))
    c.create("vault/backstay")
    lab.core.site("ber", c, roots=("vault/backstay",))
    lab.volumes(2)
    lab.core.site("far", lab.b, roots=("backup/backstay",))
    two = [member("d0", D0, muc=T0), member("d1", D1, muc=T1)]
    lab.core.pair("erp", {}, datasets=two)
    await lab.core.live(100)
    lab.core.also("muc", "i", lab.b)
    hosts = [{**_host(lab, "muc"), "name": name} for name in ("h", "i")]
    lab.core.apply("Site", "muc", {"hosts": hosts, "ssh": {"secretRef": {"name": "key"}}})
    lab.b.reachable = False
    moved = member("e1", D1, muc="backup/backstay/e1")
    moved["at"]["muc"]["host"] = "i"
    lab.core.pair("erp", {}, datasets=[two[0], moved])
    await lab.core.live(100)
    assert lineages(lab, D1) == set()
    assert lineages(lab, D0)


def _host(lab: Lab, site: str) -> dict[str, Any]:
    bodies = {key.name: body for key, body in lab.core.bodies.items() if key.kind == "Site"}
    return dict(bodies[site]["spec"]["hosts"][0])


async def test_a_source_that_is_away_is_cleared_when_it_is_back(lab: Lab) -> None:
    lab.core.pair("erp", lab.volumes(2))
    await lab.core.live(100)
    lab.a.reachable = False
    lab.core.pair("erp", lab.known(1))
    await lab.core.live(20)
    lab.a.reachable = True
    await lab.core.live(60)
    assert lineages(lab, D1) == set()


@pytest.mark.rule("Single writer, fenced at the host")
async def test_what_another_installation_was_given_keeps_its_bookmarks(lab: Lab) -> None:
    """It goes on from the replica, and its bookmarks bear our lineage."""
    lab.core.pair("erp", lab.volumes(2))
    await lab.core.live(100)
    before = list(lab.a.dataset(D1).bookmarks)
    lab.b.set("backup/backstay", "dev.backstay:writer", "1:elsewhere/backstay")
    lab.core.pair("erp", lab.known(1))
    await lab.core.live(50)
    lab.core.delete("ReplicationPair", "erp")
    await lab.core.live(100)
    assert lab.a.dataset(D1).bookmarks == before


async def test_a_pair_that_rests_keeps_all_until_it_goes_on(lab: Lab) -> None:
    lab.core.pair("erp", lab.volumes(2))
    await lab.core.live(100)
    lab.core.pair("erp", lab.known(1), suspend=True)
    await lab.core.live(50)
    assert lineages(lab, D1)
    lab.core.pair("erp", lab.known(1))
    await lab.core.live(50)
    assert lineages(lab, D1) == set()


async def test_what_was_removed_while_nobody_looked_is_said_until_somebody_destroys_it(
    lab: Lab,
) -> None:
    """A new leader knows nothing of the member: it may be added again, in this pair or another."""
    await kept(lab)
    old = lab.a.dataset(D0).bookmarks[-1].name
    lab.core.restart()
    lab.core.pair("erp", MOVED)
    await written(lab, 12)
    assert lab.core.condition("erp", "Ready")[0] == "True"
    assert lab.core.condition("erp", "BookmarksRetained") == ("True", "BookmarksKept")
    assert f"zfs destroy {D0}#{old}" in lab.core.message("erp", "BookmarksRetained")
    lab.a.destroy(f"{D0}#{old}")
    await written(lab, 3)
    assert lab.core.condition("erp", "BookmarksRetained") == ("", "")
    assert len(lab.a.dataset(D0).snapshots) == 2


async def test_a_deleted_pair_says_which_bookmarks_it_left(lab: Lab) -> None:
    await kept(lab)
    old = lab.a.dataset(D0).bookmarks[-1].name
    lab.core.restart()
    lab.core.pair("erp", MOVED)
    await lab.core.live(100)
    lab.core.delete("ReplicationPair", "erp")
    await lab.core.live(5)
    assert lab.core.registry.pairs() == ()
    assert [b.name for b in lab.a.dataset(D0).bookmarks] == [old]
    (event,) = lab.core.events
    assert (event.type, event.reason) == ("Warning", "BookmarksLeft")
    assert f"{D0}#{old}" in event.message


async def test_bookmarks_of_another_pair_and_of_a_stranger_are_no_strays(lab: Lab) -> None:
    lab.core.pair("erp", lab.volumes(1))
    lab.core.pair("two", {"d0": (D0, "backup/backstay/two")})
    name = "elsewhere/backstay"
    other = Core(lab.world, installation=name, short_id=short_id(name))
    lab.b.create("backup/other")
    other.site("fra", lab.a)
    other.site("muc", lab.b, roots=("backup/other",))
    other.policy()
    other.pair("erp", {"d0": (D0, "backup/other/d0")})
    await lab.core.live(100)
    await other.live(100)
    lab.core.pair("two", {"d0": (D0, "backup/backstay/two")}, suspend=True)
    lab.core.restart()
    await lab.core.live(200)
    assert len(lineages(lab, D0)) == 3
    assert lab.core.condition("erp", "BookmarksRetained") == ("", "")
    lab.core.delete("ReplicationPair", "two")
    await lab.core.live(20)
    assert len(lineages(lab, D0)) == 2
    assert lab.core.events == []


async def test_pairs_of_one_source_that_are_deleted_at_once_leave_nothing(lab: Lab) -> None:
    """`kubectl delete -f`, right after a restart: what each leaves to the other is no stray."""
    lab.core.pair("erp", lab.volumes(1))
    lab.core.pair("two", {"d0": (D0, "backup/backstay/two")})
    await lab.core.live(100)
    assert len(lineages(lab, D0)) == 2
    lab.core.restart()
    lab.core.delete("ReplicationPair", "erp")
    lab.core.delete("ReplicationPair", "two")
    await lab.core.live(20)
    assert lab.core.registry.pairs() == ()
    assert lineages(lab, D0) == set()
    assert lab.core.events == []


async def test_a_pair_that_turned_round_has_left_no_route(lab: Lab) -> None:
    """Its members are what they were, and may turn back."""
    await kept(lab)
    assert lab.core.shares.book.ties["dr/erp"]
    lab.core.shares.book.active_site["dr/erp"] = "muc"
    assert lab.core.passes.partings.left("dr/erp") == []


async def test_a_bookmark_for_a_pool_that_was_made_anew_is_said(lab: Lab) -> None:
    """The replica in the new one has another lineage; that of the old one may come back."""
    await kept(lab)
    old = lab.a.dataset(D0).bookmarks[-1].name
    del lab.b.pools["backup"]
    lab.b.add_pool("backup", 2**40)
    lab.b.create("backup/backstay")
    await written(lab, 12)
    assert lab.core.condition("erp", "Ready")[0] == "True"
    assert lab.core.condition("erp", "BookmarksRetained") == ("True", "BookmarksKept")
    assert old in lab.core.message("erp", "BookmarksRetained")
    lab.core.delete("ReplicationPair", "erp")
    await lab.core.live(5)
    assert lineages(lab, D0) == set()
    assert lab.core.events == []
