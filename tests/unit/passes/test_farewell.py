"""A deleted pair leaves within bounded time, whatever is dead; only its bookmarks go."""

from __future__ import annotations

import asyncio

import pytest

from backstay.api.words import Reason
from backstay.domain.errors import Stalled
from backstay.domain.zfs import HostListing
from backstay.plan.naming import short_id
from backstay.ports.host import SurveyRequest
from fakes.core import Core
from fakes.host import FakePort
from fakes.lab import Lab


async def deleted(lab: Lab, *, within: float) -> None:
    """The object is gone within so many seconds."""
    lab.core.delete("ReplicationPair", "erp")
    await lab.core.live(within)
    assert lab.core.registry.pairs() == ()


async def running(lab: Lab, count: int = 2) -> None:
    lab.core.pair("erp", lab.volumes(count))
    await lab.core.live(100)
    assert lab.a.dataset("tank/vm/d0").bookmarks


@pytest.mark.fault("pair deleted while what it needs is away")
async def test_a_dead_source_holds_the_object_for_a_bounded_time_and_an_event_says_so(
    lab: Lab,
) -> None:
    """A site that burned must not keep an object, or its namespace, for ever."""
    await running(lab)
    lab.a.reachable = False
    lab.core.delete("ReplicationPair", "erp")
    await lab.core.live(30)
    assert lab.core.registry.pairs() != ()
    assert lab.core.events == []
    await lab.core.live(60)
    assert lab.core.registry.pairs() == ()
    (event,) = lab.core.events
    assert (event.type, event.reason) == ("Warning", "BookmarksLeft")
    assert "connection timed out" in event.message


@pytest.mark.fault("pair deleted while what it needs is away")
async def test_a_source_that_comes_back_in_time_loses_its_bookmarks(lab: Lab) -> None:
    await running(lab)
    lab.a.reachable = False
    lab.core.delete("ReplicationPair", "erp")
    await lab.core.live(20)
    lab.a.reachable = True
    await lab.core.live(20)
    assert lab.a.dataset("tank/vm/d0").bookmarks == []
    assert lab.core.registry.pairs() == ()
    assert lab.core.events == []


@pytest.mark.fault("pair deleted while what it needs is away")
async def test_a_dead_target_is_not_needed(lab: Lab) -> None:
    await running(lab)
    lab.b.reachable = False
    await deleted(lab, within=5)
    assert lab.a.dataset("tank/vm/d0").bookmarks == []
    assert lab.core.events == []


@pytest.mark.fault("pair deleted while what it needs is away")
async def test_a_dead_target_that_this_leader_has_never_seen_is_not_waited_for_long(
    lab: Lab,
) -> None:
    """Only the target knows the lineages then; what may remain is said."""
    await running(lab)
    lab.b.reachable = False
    lab.core.restart()
    await deleted(lab, within=90)
    assert [e.reason for e in lab.core.events] == ["BookmarksLeft"]


async def test_a_hardened_target_that_shows_nothing_above_its_receive_root_is_asked_no_more(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    await running(lab)
    plain = FakePort.survey

    async def survey(port: FakePort, request: SurveyRequest) -> HostListing:
        names = {name for name, _ in request.roots}
        if port.host is lab.b and not all(n.startswith("backup/backstay") for n in names):
            raise Stalled(Reason.NOT_ALLOWED, "the key admits backup/backstay")
        return await plain(port, request)

    monkeypatch.setattr(FakePort, "survey", survey)
    lab.core.restart()
    await deleted(lab, within=5)
    assert lab.a.dataset("tank/vm/d0").bookmarks == []
    assert lab.core.events == []


async def test_a_new_leader_removes_the_bookmarks_of_a_seed_that_never_began(lab: Lab) -> None:
    lab.core.pair("erp", lab.volumes(1))
    lab.world.transfer_faults.cut(after_bytes=0)
    await lab.core.settle()
    await lab.core.kill()
    assert lab.a.dataset("tank/vm/d0").bookmarks
    assert not lab.b.exists("backup/backstay/d0")
    await deleted(lab, within=5)
    assert lab.a.dataset("tank/vm/d0").bookmarks == []


@pytest.mark.fault("pair deleted while what it needs is away")
async def test_the_policy_may_go_before_the_pair(lab: Lab) -> None:
    """`kubectl delete -f` removes all at once and in any order."""
    await running(lab)
    lab.core.vanish("ProtectionPolicy", "gold")
    lab.core.restart()
    await deleted(lab, within=5)
    assert lab.a.dataset("tank/vm/d0").bookmarks == []
    assert lab.core.events == []


@pytest.mark.fault("pair deleted while what it needs is away")
async def test_sites_that_went_before_the_pair_are_named_in_the_event(lab: Lab) -> None:
    await running(lab)
    lab.core.vanish("Site", "fra")
    await deleted(lab, within=90)
    (event,) = lab.core.events
    assert "no Site fra" in event.message


@pytest.mark.fault("pair deleted while what it needs is away")
async def test_an_object_that_no_model_accepts_any_more_is_released(lab: Lab) -> None:
    """A stricter version of the operator must not make objects undeletable."""
    await running(lab)
    lab.core.apply("ReplicationPair", "erp", {"sites": ["fra"]})
    await lab.core.live(5)
    assert lab.core.condition("erp", "Ready")[0] == "False"
    lab.core.delete("ReplicationPair", "erp")
    await lab.core.live(5)
    assert lab.core.bodies.keys().isdisjoint({k for k in lab.core.bodies if k.name == "erp"})
    assert [e.reason for e in lab.core.events] == ["BookmarksLeft"]


async def test_a_pass_that_waited_for_the_farewell_does_not_work_for_the_one_who_left(
    lab: Lab,
) -> None:
    """What a pass serves is decided when it begins, not when it was asked to."""
    await running(lab)
    lab.a.write("tank/vm/d0", 4096)
    lab.world.advance(200)
    (route,) = {route for _, route in lab.core.shares.book.states}
    async with lab.core.passes.alone(route):
        waiting = asyncio.create_task(lab.core.run(route))
        await asyncio.sleep(0)
        lab.core.vanish("ReplicationPair", "erp")
    before = list(lab.world.commands)
    await waiting
    assert lab.world.commands == before


@pytest.mark.rule("Single writer, fenced at the host")
@pytest.mark.parametrize("is_seeded", [True, False])
async def test_a_strangers_pair_of_the_same_datasets_takes_none_of_our_bookmarks_along(
    lab: Lab, is_seeded: bool
) -> None:
    """A second installation that never passed its pair would find the lineages on our replica."""
    if not is_seeded:
        lab.world.transfer_faults.pause(after_bytes=0)
    lab.core.pair("erp", lab.volumes(1))
    await lab.core.live(100)
    before = list(lab.a.dataset("tank/vm/d0").bookmarks)
    name = "elsewhere/backstay"
    other = Core(lab.world, installation=name, short_id=short_id(name))
    other.site("fra", lab.a)
    other.site("muc", lab.b, roots=("backup/backstay",))
    other.policy()
    other.pair("erp", lab.known(1), suspend=True)
    await other.live(30)
    other.delete("ReplicationPair", "erp")
    await other.live(30)
    assert other.registry.pairs() == ()
    assert before
    assert lab.a.dataset("tank/vm/d0").bookmarks == before


@pytest.mark.rule("No implicit destruction")
async def test_all_snapshots_and_replicas_stay(lab: Lab) -> None:
    await running(lab)
    snapshots = [list(lab.a.dataset(f"tank/vm/d{i}").snapshots) for i in range(2)]
    await deleted(lab, within=5)
    assert [lab.a.dataset(f"tank/vm/d{i}").snapshots for i in range(2)] == snapshots
    assert lab.equal("d0", "d1")
    assert not [c for c in lab.world.commands if c[1] == "destroy" and "@" in c[2]]


@pytest.mark.parametrize("kind", ["Site", "ProtectionPolicy"])
async def test_a_pair_outlives_another_object_of_its_name(lab: Lab, kind: str) -> None:
    """Its streams would be cut off and its point forgotten."""
    lab.core.policy("erp")
    lab.core.site("erp", lab.b)
    await running(lab)
    known = dict(lab.core.shares.book.states)
    lab.core.delete(kind, "erp")
    await lab.core.settle()
    assert known
    assert lab.core.shares.book.states == known


async def test_a_member_in_conflict_since_the_restart_leaves_no_bookmark(lab: Lab) -> None:
    """Its replica diverged, but its lineage is what it was."""
    await running(lab)
    lab.b.set("backup/backstay/d0", "readonly", "off")
    lab.b.write("backup/backstay/d0", 4096)
    lab.b.set("backup/backstay/d0", "readonly", "on")
    lab.world.advance(20)
    lab.core.restart()
    await lab.core.live(100)
    assert lab.core.condition("erp", "Ready") == ("False", "TargetModified")
    lab.b.reachable = False
    await deleted(lab, within=5)
    assert lab.a.dataset("tank/vm/d0").bookmarks == []
    assert lab.core.events == []


async def test_a_member_whose_place_was_not_ours_when_it_was_seen_leaves_no_bookmark(
    lab: Lab,
) -> None:
    """Its root was taken out of the Site: the target is asked once more."""
    await running(lab)
    lab.core.site("muc", lab.b, roots=())
    lab.core.restart()
    await lab.core.live(100)
    assert lab.core.condition("erp", "Ready") == ("False", "OutsideReceiveRoots")
    await deleted(lab, within=5)
    assert lab.a.dataset("tank/vm/d0").bookmarks == []
    assert lab.core.events == []


async def test_a_lineage_that_nobody_can_see_any_more_is_named_in_the_event(lab: Lab) -> None:
    await running(lab)
    lab.b.export_pool("backup")
    lab.core.restart()
    await lab.core.live(100)
    await deleted(lab, within=5)
    (event,) = lab.core.events
    assert event.reason == "BookmarksLeft"
    assert lab.a.dataset("tank/vm/d0").bookmarks[0].name in event.message
