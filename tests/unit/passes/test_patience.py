"""A host that does not answer is left alone longer each time, and found soon when it is mended."""

from __future__ import annotations

import random

import pytest

from backstay.api.kinds import PRIVATE_KEY, REQUESTED_AT
from backstay.controllers.book import Book
from backstay.controllers.keys import ObjectKey
from backstay.domain.pairs import HostKey, Route
from fakes.core import NAMESPACE
from fakes.lab import Lab

ROUTE = Route(HostKey(NAMESPACE, "fra", "h"), HostKey(NAMESPACE, "muc", "h"))
SITE = ObjectKey("Site", NAMESPACE, "muc")


async def lose(lab: Lab, seconds: float = 1800) -> None:
    """The target was away for so long, with one pair on the route."""
    lab.core.pair("erp", lab.volumes(1))
    await lab.core.live(300)
    lab.b.reachable = False
    await lab.core.live(seconds)
    lab.core.ran.clear()


def test_pauses_double_up_to_a_cap_with_jitter_and_begin_anew_when_another_thing_is_asked() -> None:
    book, host = Book(dice=random.Random(1)), ROUTE.target
    for full in (10, 20, 40, 80, 120, 120):
        assert full / 2 <= book.missed(host, "asked", 120) <= full
    assert book.missed(host, "edited", 120) <= 10
    assert book.answered(host)
    assert not book.answered(host)
    assert len({book.missed(host, number, 120) for number in range(9)}) == 9


async def test_a_site_greets_a_lost_host_ever_more_seldom(lab: Lab) -> None:
    await lose(lab)
    await lab.core.live(1200)
    assert 10 <= lab.core.ran[SITE] <= 20


async def test_a_pass_tries_a_lost_host_ever_more_seldom_but_once_a_minute(lab: Lab) -> None:
    await lose(lab)
    await lab.core.live(1200)
    assert 20 <= lab.core.ran[ROUTE] <= 40


async def test_a_pair_is_tried_at_least_each_interval(lab: Lab) -> None:
    """Its owner has said how long a loss may go unnoticed."""
    lab.core.policy(rpo="1m", interval="20s")
    await lose(lab)
    await lab.core.live(1200)
    assert lab.core.ran[ROUTE] >= 1200 / 20


async def test_pairs_that_wait_for_one_host_share_a_try(lab: Lab) -> None:
    for number, member in enumerate(lab.volumes(10).items()):
        lab.core.pair(f"p{number}", dict([member]))
        await lab.core.live(13)
    lab.b.reachable = False
    await lab.core.live(600)
    lab.core.ran.clear()
    await lab.core.live(1200)
    assert lab.core.ran[ROUTE] <= 40
    lab.b.reachable = True
    await lab.core.live(60)
    assert all(lab.core.condition(f"p{n}", "Ready")[0] == "True" for n in range(10))


async def test_a_lost_host_that_is_back_is_found_in_a_minute_or_two(lab: Lab) -> None:
    await lose(lab)
    lab.b.reachable = True
    await lab.core.live(60)
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")
    await lab.core.live(60)
    assert lab.core.condition("muc", "Ready", "Site") == ("True", "Reachable")


@pytest.mark.parametrize("kind", ["Site", "ReplicationPair"])
async def test_an_edit_or_a_request_is_served_at_once_and_tried_again_soon(
    lab: Lab, kind: str
) -> None:
    await lose(lab)
    name, key = ("muc", SITE) if kind == "Site" else ("erp", ROUTE)
    lab.core.annotate(kind, name, REQUESTED_AT, "now")
    await lab.core.settle()
    assert lab.core.ran[key] == 1
    await lab.core.live(10)
    assert lab.core.ran[key] == 2
    await lab.core.live(110)
    assert lab.core.ran[key] <= 7


async def test_an_address_that_is_mended_is_seen_at_once(lab: Lab) -> None:
    await lose(lab)
    lab.b.reachable = True
    lab.core.site("muc", lab.b, roots=("backup/backstay",))
    await lab.core.settle()
    assert lab.core.condition("muc", "Ready", "Site") == ("True", "Reachable")
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")


async def test_a_site_that_finds_its_host_again_wakes_the_passes_that_missed_it(lab: Lab) -> None:
    """Else the Site were well for as long as the passes rest, and its pairs not."""
    await lose(lab)
    lab.b.reachable = True
    await lab.core.run(SITE)
    await lab.core.settle()
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")
    lab.core.ran.clear()
    await lab.core.run(SITE)
    await lab.core.settle()
    assert lab.core.ran[ROUTE] == 0


@pytest.mark.parametrize("flaw", ["missing", "refused"])
async def test_a_secret_that_is_mended_is_seen_within_the_minute(lab: Lab, flaw: str) -> None:
    lab.core.pair("erp", lab.volumes(1))
    good = lab.core.secrets.pop("key")
    lab.a.admits = lab.b.admits = good[PRIVATE_KEY]
    if flaw == "refused":
        lab.core.secrets["key"] = {PRIVATE_KEY: b"another"}
    await lab.core.live(1800)
    reason = {"missing": "SecretMissing", "refused": "KeyRefused"}[flaw]
    assert lab.core.condition("muc", "Ready", "Site") == ("False", reason)
    lab.core.secrets["key"] = good
    await lab.core.live(60)
    assert lab.core.condition("muc", "Ready", "Site") == ("True", "Reachable")
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")


async def test_one_lost_host_of_a_site_does_not_keep_the_others_from_a_look_each_minute(
    lab: Lab,
) -> None:
    body = lab.core.bodies[SITE]
    first = body["spec"]["hosts"][0]
    hosts = [first, {**first, "name": "spare"}]
    spare = lab.world.host("muc/spare", pools=("other",))
    lab.core.also("muc", "spare", spare)
    lab.core.apply("Site", "muc", {**body["spec"], "hosts": hosts})
    spare.reachable = False
    await lab.core.live(1800)
    before = lab.b.requests["hello"]
    await lab.core.live(600)
    assert 10 <= lab.b.requests["hello"] - before <= 20
    assert lab.core.status("muc", "Site")["reachable"] == "1/2"
