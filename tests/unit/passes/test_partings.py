"""Bookmarks go with their pair; those of a member that left it before are told."""

from __future__ import annotations

import pytest

from backstay.plan.naming import short_id
from fakes.core import Core
from fakes.lab import Lab

D0, T0 = "tank/vm/d0", "backup/backstay/d0"
D1, T1 = "tank/vm/d1", "backup/backstay/d1"
MOVED = {"e0": (D0, "backup/backstay/e0")}


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


@pytest.mark.rule("Pruning keeps the chain")
async def test_a_member_that_was_removed_by_mistake_goes_on_as_before(lab: Lab) -> None:
    lab.core.pair("erp", lab.volumes(2))
    await lab.core.live(100)
    lab.core.pair("erp", lab.known(1))
    await lab.core.live(200)
    for snapshot in list(lab.a.dataset(D1).snapshots):
        lab.a.destroy(f"{D1}@{snapshot.name}")
    lab.a.write(D1, 4096)
    lab.core.sent()
    lab.core.pair("erp", lab.known(2))
    await lab.core.live(200)
    assert lab.equal("d0", "d1")
    assert {type(t.how).__name__ for t in lab.core.sent()} == {"Increment"}
    lab.core.pair("erp", lab.known(1))
    await lab.core.live(200)
    lab.core.delete("ReplicationPair", "erp")
    await lab.core.live(5)
    assert lineages(lab, D1) == set(), "it goes with the pair"


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_bookmark_of_a_place_that_a_member_left_is_said_until_somebody_destroys_it(
    lab: Lab, restarted: bool
) -> None:
    """It may be added again, in this pair or another."""
    await kept(lab)
    old = lab.a.dataset(D0).bookmarks[-1].name
    if restarted:
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
