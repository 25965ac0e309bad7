"""The edge: which news ring what, and how a LIST heals what events missed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from backstay.controllers.edge import AT_A_TIME, FIRST_HEAL_S, JUDGED_A_SECOND, Edge
from backstay.controllers.keys import Key, ObjectKey
from backstay.controllers.registry import Registry
from backstay.domain.errors import Unreachable
from backstay.domain.pairs import HostKey, Route
from backstay.ports.kube import ObjectRef
from fakes.clock import FakeClock, settle
from fakes.kube import FakeKube
from fakes.objects import changed, pair, policy, site

ROUTE = Route(HostKey("ns", "a", "h1"), HostKey("ns", "b", "h1"))
BACK = Route(ROUTE.target, ROUTE.source)
PAIR = ObjectKey("ReplicationPair", "ns", "p")
SITE = ObjectKey("Site", "ns", "a")
POLICY = ObjectKey("ProtectionPolicy", "ns", "gold")
SUSPEND: dict[str, Any] = {"suspend": True}


class World:
    def __init__(self) -> None:
        self.registry = Registry()
        self.kube = FakeKube()
        self.clock = FakeClock()
        self.rung: list[Key] = []
        self.due: dict[Key, float] = {}
        self.interrupted: list[Key] = []
        self.forgotten: list[ObjectRef] = []
        self.edge = Edge(self.registry, self, self)

    def ring(self, key: Key) -> None:
        self.rung.append(key)

    def interrupt(self, key: Key) -> None:
        self.interrupted.append(key)

    def due_at(self, key: Key, monotonic_s: float) -> None:
        self.rung.append(key)
        self.due[key] = monotonic_s

    def forget(self, ref: ObjectRef) -> None:
        self.forgotten.append(ref)

    def says(self, event: str | None, body: dict[str, Any]) -> None:
        """A watch event arrives; only what it sets off is remembered."""
        self.rung, self.interrupted, self.forgotten = [], [], []
        self.edge.receive(body["kind"], event, body)


@pytest.fixture
def world() -> World:
    world = World()
    for body in (site("a"), site("b"), policy(), pair("p")):
        world.says(None, body)
    return world


def test_news_of_a_pair_ring_it_and_the_policies_that_count_it(world: World) -> None:
    world.says("MODIFIED", changed(pair("p"), spec={"consistencyGroup": True}))
    assert world.rung == [PAIR, POLICY]


def test_news_of_a_site_ring_it_and_its_pairs(world: World) -> None:
    world.says("MODIFIED", changed(site("a"), spec={"failureDomain": {"building": "x"}}))
    assert world.rung == [SITE, PAIR]
    world.says("ADDED", site("c"))
    assert world.rung == [ObjectKey("Site", "ns", "c")]


def test_news_of_a_policy_ring_it_and_its_pairs(world: World) -> None:
    world.says("MODIFIED", changed(policy(), spec={"rpo": "10m"}))
    assert world.rung == [POLICY, PAIR]


def test_an_echo_rings_nothing(world: World) -> None:
    body = pair("q")
    world.says("ADDED", body)
    world.says("MODIFIED", {**changed(body, resourceVersion="7"), "status": {"activeSite": "a"}})
    assert world.rung == []


@pytest.mark.parametrize(
    ("change", "cut_off"),
    [
        ({"deletionTimestamp": "2030-01-01T00:00:00Z"}, True),
        ({"uid": "another"}, True),
        ({"spec": SUSPEND}, True),
        ({"spec": {"preferredSite": "nowhere"}}, True),
        ({"spec": {"consistencyGroup": True}}, False),
        ({"annotations": {"backstay.dev/requested-at": "now"}}, False),
    ],
)
def test_a_running_pass_is_cut_off_only_where_it_must_not_go_on(
    world: World, change: dict[str, Any], cut_off: bool
) -> None:
    body = pair("q")
    world.says("ADDED", body)
    world.says("MODIFIED", changed(body, **change))
    assert world.interrupted == ([ROUTE, BACK] if cut_off else [])
    assert ObjectKey("ReplicationPair", "ns", "q") in world.rung


def test_a_pair_that_is_gone_is_forgotten_and_its_passes_are_cut_off(world: World) -> None:
    body = pair("q")
    world.says("ADDED", body)
    world.says("DELETED", body)
    assert [ref.uid for ref in world.forgotten] == [body["metadata"]["uid"]]
    assert world.interrupted == [ROUTE, BACK]
    assert POLICY in world.rung


def test_a_re_created_pair_is_another_one(world: World) -> None:
    old, new = pair("q"), pair("q")
    world.says("ADDED", old)
    world.says("ADDED", new)
    assert [ref.uid for ref in world.forgotten] == [old["metadata"]["uid"]]
    world.says("DELETED", old)
    assert world.rung == []
    assert world.registry.pair("ns", "q") is not None


def test_a_new_leader_has_everything_due(world: World) -> None:
    world.rung = []
    assert world.edge.ring_all(7.0) == []
    assert set(world.rung) == {SITE, ObjectKey("Site", "ns", "b"), POLICY, PAIR}


def test_a_new_leader_passes_the_routes_that_were_begun_before_all_else(world: World) -> None:
    world.says("MODIFIED", changed(pair("p"), finalizers=["backstay.dev/bookmarks"]))
    world.says("ADDED", pair("not-begun"))
    world.rung = []
    assert world.edge.ring_all(7.0) == [ROUTE]
    assert world.rung[0] == ROUTE
    assert world.rung.count(ROUTE) == 1
    assert world.due[ROUTE] == 7.0


def test_a_new_leader_judges_at_a_pace_and_last_what_a_pass_judges(world: World) -> None:
    """Objects that all are due at once would keep the first passes from the loop."""
    begun = {ObjectKey("ReplicationPair", "ns", "p")}
    world.says("MODIFIED", changed(pair("p"), finalizers=["backstay.dev/bookmarks"]))
    for number in range(JUDGED_A_SECOND):
        begun.add(ObjectKey("ReplicationPair", "ns", f"b{number}"))
        body = changed(pair(f"b{number}"), finalizers=["backstay.dev/bookmarks"])
        world.says("ADDED", body)
    world.says("ADDED", pair("not-begun"))
    world.edge.ring_all(7.0)
    objects = {key: at for key, at in world.due.items() if isinstance(key, ObjectKey)}
    at = sorted(objects.values())
    assert all(at[n + JUDGED_A_SECOND] - at[n] >= 0.99 for n in range(len(at) - JUDGED_A_SECOND))
    assert min(objects[key] for key in begun) > max(objects[k] for k in objects.keys() - begun)


@pytest.mark.fault("etcd compacted")
async def test_a_list_finds_what_events_missed(world: World) -> None:
    world.says("ADDED", pair("ghost"))
    missed = pair("missed")
    world.kube.put(missed)
    world.rung = []
    await world.edge.heal(world.kube, "ReplicationPair")
    assert ObjectKey("ReplicationPair", "ns", "missed") in world.rung
    assert {p.metadata.name for p in world.registry.pairs()} == {"missed"}
    assert {ref.name for ref in world.forgotten} == {"ghost", "p"}


async def test_a_list_that_fails_changes_nothing_and_the_next_one_heals(world: World) -> None:
    world.kube.failure = Unreachable("Unreachable", "down")
    with pytest.raises(Unreachable):
        await world.edge.heal(world.kube, "ReplicationPair")
    assert world.registry.pair("ns", "p") is not None
    world.kube.failure = None
    await world.edge.heal(world.kube, "ReplicationPair")
    assert world.registry.pair("ns", "p") is None


@pytest.fixture
async def healing(world: World) -> AsyncIterator[World]:
    task = asyncio.create_task(world.edge.heal_forever(world.kube, world.clock))
    await settle()
    yield world
    task.cancel()


async def test_every_ten_minutes_the_registry_is_healed_whatever_failed_before(
    healing: World,
) -> None:
    await healing.clock.advance(FIRST_HEAL_S + 6)
    healing.says("ADDED", pair("ghost"))
    healing.kube.failure = Unreachable("Unreachable", "down")
    await healing.clock.advance(601)
    assert healing.registry.pair("ns", "ghost") is not None
    healing.kube.failure = None
    await healing.clock.advance(600)
    assert healing.registry.pair("ns", "ghost") is None


async def test_what_a_watch_begins_with_after_a_start_is_compared_when_the_start_is_over(
    healing: World,
) -> None:
    healing.says("ADDED", pair("ghost"))
    await healing.clock.advance(FIRST_HEAL_S - 1)
    assert healing.registry.pair("ns", "ghost") is not None
    await healing.clock.advance(7)
    assert healing.registry.pair("ns", "ghost") is None


@pytest.mark.fault("etcd compacted")
async def test_a_watch_that_began_anew_is_healed_in_seconds(healing: World) -> None:
    await healing.clock.advance(FIRST_HEAL_S + 6)
    healing.says("ADDED", pair("deleted-unseen"))
    kept = pair("kept")
    healing.kube.put(kept)
    await healing.clock.advance(100)
    assert healing.registry.pair("ns", "deleted-unseen") is not None
    healing.says(None, kept)
    await healing.clock.advance(6)
    assert [p.metadata.name for p in healing.registry.pairs()] == ["kept"]


async def test_the_first_list_is_tried_until_it_is_complete(world: World) -> None:
    world.kube.failure = Unreachable("Unreachable", "down")
    task = asyncio.create_task(world.edge.first_list(world.kube, world.clock))
    await world.clock.advance(60)
    assert not task.done()
    world.kube.failure = None
    await world.clock.advance(6)
    assert task.done()


async def test_a_long_list_lets_others_run(world: World) -> None:
    for number in range(5 * AT_A_TIME):
        world.kube.put(pair(f"p{number}"))
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    await world.edge.heal(world.kube, "ReplicationPair")
    task.cancel()
    assert turns >= 5
    assert len(world.registry.pairs()) == 5 * AT_A_TIME
