"""A Secret is read once for many logins, and anew as soon as there is a reason to."""

from __future__ import annotations

import pytest

from backstay.api.kinds import PRIVATE_KEY, REQUESTED_AT
from backstay.controllers.hosts import SECRET_KEPT_S
from backstay.controllers.keys import ObjectKey
from backstay.domain.pairs import HostKey, Route
from fakes.core import NAMESPACE
from fakes.lab import Lab

ROUTE = Route(HostKey(NAMESPACE, "fra", "h"), HostKey(NAMESPACE, "muc", "h"))
SITE = ObjectKey("Site", NAMESPACE, "muc")


@pytest.fixture
async def steady(lab: Lab) -> Lab:
    """A pair that is up to date."""
    lab.core.pair("erp", lab.volumes(1))
    await lab.core.live(600)
    lab.core.reads.clear()
    return lab


async def passing(lab: Lab) -> None:
    """One pass, whether or not it is due."""
    lab.core.shares.wake(ROUTE, {"dr/erp"})
    await lab.core.run(ROUTE)


def rotate(lab: Lab, key: bytes = b"new") -> None:
    """The Secret has another key; which one a host admits is another matter."""
    lab.core.secrets["key"] = {PRIVATE_KEY: key}


def problem(lab: Lab) -> str | None:
    """What the last pass could not see, by its reason."""
    found = lab.core.shares.book.states["dr/erp", ROUTE].problem
    return None if found is None else found.reason


async def test_steady_passes_read_nothing_and_each_site_reads_once_a_minute(steady: Lab) -> None:
    for _ in range(5):
        await passing(steady)
    assert steady.core.reads["key"] == 0
    passes = steady.core.ran[ROUTE]
    await steady.core.live(3600)
    assert steady.core.ran[ROUTE] - passes >= 24
    assert steady.core.reads["key"] == 2 * 60


async def test_all_hosts_of_a_site_are_greeted_with_one_read(steady: Lab) -> None:
    body = steady.core.bodies[SITE]
    hosts = [{**body["spec"]["hosts"][0], "name": name} for name in ("h", "i", "j")]
    for name in ("i", "j"):
        steady.core.also("muc", name, steady.b)
    steady.core.apply("Site", "muc", {**body["spec"], "hosts": hosts})
    await steady.core.run(SITE)
    assert steady.core.status("muc", "Site")["reachable"] == "3/3"
    assert steady.core.reads["key"] == 1


async def test_a_secret_is_not_kept_for_ever(steady: Lab) -> None:
    """Also where no Site looks."""
    steady.world.advance(SECRET_KEPT_S + 1)
    await passing(steady)
    assert steady.core.reads["key"] == 2


async def test_a_key_that_was_changed_is_in_use_before_the_old_one_is_withdrawn(
    steady: Lab,
) -> None:
    rotate(steady)
    await steady.core.live(60)
    steady.a.admits = steady.b.admits = b"new"
    await passing(steady)
    assert problem(steady) is None


async def test_a_refusal_in_a_pass_has_the_secret_read_anew(steady: Lab) -> None:
    rotate(steady)
    steady.a.admits = steady.b.admits = b"new"
    await passing(steady)
    assert problem(steady) == "KeyRefused"
    await passing(steady)
    assert problem(steady) is None
    assert steady.core.reads["key"] == 2


async def test_a_refusal_of_a_greeting_has_the_secret_read_anew(steady: Lab) -> None:
    await steady.core.run(SITE)
    rotate(steady)
    steady.b.admits = b"new"
    await steady.core.run(SITE)
    assert steady.core.condition("muc", "Ready", "Site") == ("False", "KeyRefused")
    await steady.core.run(SITE)
    assert steady.core.condition("muc", "Ready", "Site") == ("True", "Reachable")


@pytest.mark.parametrize("how", ["edit", "request"])
async def test_an_edit_of_the_site_or_a_request_has_the_secret_read_anew(
    steady: Lab, how: str
) -> None:
    await steady.core.run(SITE)
    rotate(steady)
    steady.b.admits = b"new"
    if how == "edit":
        steady.core.site("muc", steady.b, roots=("backup/backstay",))
    else:
        steady.core.annotate("Site", "muc", REQUESTED_AT, "now")
    await steady.core.run(SITE)
    assert steady.core.condition("muc", "Ready", "Site") == ("True", "Reachable")


async def test_a_secret_that_was_deleted_is_missed_within_the_minute(steady: Lab) -> None:
    del steady.core.secrets["key"]
    await steady.core.live(60)
    assert steady.core.condition("muc", "Ready", "Site") == ("False", "SecretMissing")
    await passing(steady)
    assert problem(steady) == "SecretMissing"


async def test_no_key_is_told_by_what_keeps_it(steady: Lab) -> None:
    rotate(steady, b"top secret")
    await steady.core.live(60)
    kept = vars(steady.core.shares.finder)["_keys"]
    assert len(kept) == 2
    assert "top secret" not in repr(kept)
