"""What diverged on real pools goes on as somebody decided; and replicas that are sent on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from backstay.domain.divergence import Resolution
from backstay.domain.steps import Increment, Seed
from backstay.domain.zfs import LINEAGE
from lab.core.decisions import clear_asides, decide, set_aside
from lab.core.real import KEEP_NINE, Hand, RealLab
from worlds.api import LabHost


@pytest.mark.rule("No implicit destruction")
@pytest.mark.fault("source rolled back, target ahead")
async def test_a_rollback_loses_what_was_approved_and_only_the_delta_travels(lab: RealLab) -> None:
    await lab.ahead()
    replica = await lab.b.guid(lab.b.at("d0"))
    base, *newer = await lab.b.guids("d0")
    await lab.expect_stopped("TargetAhead")
    await decide(lab, Resolution.ROLLBACK)
    await lab.next_point()
    await lab.expect_fresh()
    left = await lab.b.guids("d0")
    assert left[0] == base
    assert not set(newer) & set(left)
    assert await lab.b.guid(lab.b.at("d0")) == replica
    assert all(isinstance(t.how, Increment) for t in lab.core.sent())
    assert await set_aside(lab) == set()


@pytest.mark.rule("Raw lineage")
@pytest.mark.fault("source rolled back, target ahead")
async def test_a_raw_replica_is_set_aside_without_its_key_and_only_the_delta_travels(
    lab: RealLab,
) -> None:
    await lab.a.create(lab.a.at("d0"), volume=True, encrypted=True)
    await lab.a.write(lab.a.at("d0"), 64 * 1024)
    lab.places["d0"] = (lab.a.at("d0"), lab.b.at("d0"))
    await lab.ahead()
    everything = set(await lab.b.guids("d0"))
    await lab.expect_stopped("TargetAhead")
    await decide(lab, Resolution.SET_ASIDE)
    await lab.next_point()
    await lab.expect_fresh()
    assert all(isinstance(t.how, Increment) for t in lab.core.sent())
    assert everything <= await set_aside(lab) | set(await lab.b.guids("d0"))
    assert await lab.b.value("d0", "keystatus") == "unavailable"
    await clear_asides(lab)


@pytest.mark.rule("No implicit destruction")
@pytest.mark.fault("source destroyed and recreated under the same name")
async def test_a_recreated_source_is_seeded_beside_the_old_replica(lab: RealLab) -> None:
    await lab.protected()
    old = set(await lab.b.guids("d0"))
    await lab.a.destroy(lab.a.at("d0"))
    await lab.a.create(lab.a.at("d0"), volume=True)
    await lab.write()
    await lab.expect_stopped("NewLineage", lab.a.at("d0"))
    await decide(lab, Resolution.RESEED)
    await lab.core.passing(151)
    await lab.expect_fresh()
    assert [type(t.how) for t in lab.core.sent()][:1] == [Seed]
    assert await set_aside(lab) == old
    await clear_asides(lab)


@pytest.mark.fault("target exists with foreign data")
async def test_a_dataset_that_shares_a_point_becomes_the_replica(lab: RealLab) -> None:
    """As one that syncoid or `zfs send` has made before."""
    await lab.protected()
    replica = await lab.b.guid(lab.b.at("d0"))
    for name in (LINEAGE, "dev.backstay:source", "readonly"):
        await lab.b.run(f"zfs inherit {name} {lab.b.at('d0')}")
    await lab.write()
    await lab.expect_stopped("TargetHasForeignData", lab.b.at("d0"))
    await decide(lab, Resolution.ADOPT)
    await lab.next_point()
    await lab.expect_fresh()
    assert await lab.b.guid(lab.b.at("d0")) == replica
    assert await lab.b.value("d0", "readonly") == "on"
    assert all(isinstance(t.how, Increment) for t in lab.core.sent())


@pytest.mark.rule("Proven base")
@pytest.mark.parametrize("encrypted", [False, True])
async def test_a_replica_is_sent_on(
    lab: RealLab,
    lab_hosts: list[LabHost],
    lab_dataset_roots: Callable[[LabHost, str], str],
    encrypted: bool,
) -> None:
    """From `fra` to `muc` and on to `ber`; nobody but the source has the key."""
    far = Hand(lab_hosts[0], lab_dataset_roots(lab_hosts[0], "backup"))
    lab.core.policy(retention=KEEP_NINE)
    lab.core.real_site("ber", lab_hosts[0], roots=(far.root,))
    await lab.a.create(lab.a.at("d0"), volume=True, encrypted=encrypted)
    await lab.write("d0")
    lab.places["d0"] = (lab.a.at("d0"), lab.b.at("d0"))
    await lab.protected()
    places = {"muc": lab.b.at("d0"), "ber": far.at("d0")}
    at = {site: {"host": "h", "dataset": dataset} for site, dataset in places.items()}
    spec: dict[str, Any] = {
        "sites": ["muc", "ber"],
        "preferredSite": "muc",
        "datasets": [{"name": "d0", "at": at}],
    }
    lab.core.pair("far", {}, **spec)
    for _ in range(2):
        await lab.next_point()
        await lab.core.passing(151)
    await lab.expect_fresh()
    said = lab.core.condition("far", "Ready"), lab.core.message("far", "Ready")
    assert said[0] == ("True", "UpToDate"), said
    assert (await far.guids("d0"))[-1] == (await lab.b.guids("d0"))[-1]
    assert set(await lab.b.guids("d0")) <= set(await lab.a.guids("d0")), "a replica gets no points"
    if encrypted:
        assert await far.value("d0", "keystatus") == "unavailable"
