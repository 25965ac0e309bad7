"""What a look at a Site sets off: with 10,000 pairs, not a run of each of them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from backstay.controllers.keys import Key, ObjectKey
from fakes.core import NAMESPACE
from fakes.lab import Lab

SITE = ObjectKey("Site", NAMESPACE, "fra")


def pair(name: str) -> ObjectKey:
    return ObjectKey("ReplicationPair", NAMESPACE, name)


async def rung_by_a_look(lab: Lab) -> set[Key]:
    """What is due after a look at the source's Site, once all that was due before has run."""
    await lab.core.settle()
    rung: set[Key] = set()
    lab.core.objects._hooks = type(lab.core.objects._hooks)(ring=rung.add, sink=lab.core)
    await lab.core.run(SITE)
    return rung


@pytest.fixture
async def lab(lab: Lab) -> Lab:
    """Two pairs that are held, and one without a policy."""
    for number, name in enumerate(("erp", "web")):
        volume = f"tank/vm/{name}"
        lab.a.create(volume, volume=True)
        lab.core.pair(name, {"disk": (volume, f"backup/backstay/{number}")})
    lab.core.pair("lost", lab.known(1), policyRef={"name": "silver"})
    await lab.core.live(300)
    return lab


async def test_a_look_that_finds_all_as_it_was_wakes_only_pairs_that_were_refused(
    lab: Lab,
) -> None:
    assert await rung_by_a_look(lab) == {pair("lost")}


async def test_when_the_clock_was_set_all_pairs_are_judged_by_it(lab: Lab) -> None:
    lab.world.now += timedelta(seconds=30)
    assert await rung_by_a_look(lab) == {pair("erp"), pair("web"), pair("lost")}


async def test_a_pair_that_was_refused_and_is_held_or_gone_by_now_is_not_woken(lab: Lab) -> None:
    lab.core.policy("silver")
    await lab.core.live(120)
    assert await rung_by_a_look(lab) == set()
    lab.core.pair("gone", lab.known(1), policyRef={"name": "bronze"})
    await lab.core.settle()
    assert await rung_by_a_look(lab) == {pair("gone")}


async def test_a_refused_pair_that_was_deleted_is_forgotten(lab: Lab) -> None:
    lab.core.vanish("ReplicationPair", "lost")
    assert await rung_by_a_look(lab) == set()


async def test_a_refused_pair_of_other_sites_is_left_to_them(lab: Lab) -> None:
    at = {name: {"host": "h", "dataset": f"tank/{name}"} for name in ("ams", "lux")}
    datasets = [{"name": "disk", "at": at}]
    lab.core.pair("other", {}, sites=["ams", "lux"], preferredSite="ams", datasets=datasets)
    await lab.core.settle()
    assert lab.core.condition("other", "Ready")[1] == "SiteMissing"
    assert await rung_by_a_look(lab) == {pair("lost")}
