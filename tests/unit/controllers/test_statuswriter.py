"""The status writer: few writes, none lost, none for an object that is gone."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from backstay.controllers.registry import Registry
from backstay.controllers.statuswriter import AT_ONCE, BURST, RATE_PER_S, StatusWriter
from backstay.domain.errors import Stalled, Unreachable
from backstay.ports.kube import ObjectRef
from fakes.clock import FakeClock, settle
from fakes.kube import FakeKube
from fakes.objects import changed, pair


class World:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.kube = FakeKube()
        self.registry = Registry()
        self.leading = True
        self.writer = StatusWriter(
            self.kube,
            self.registry,
            self.clock,
            may_write=lambda: self.leading,
            dice=random.Random(1),
        )
        self.task = asyncio.create_task(self.writer.run())

    def pair(self, name: str = "p") -> ObjectRef:
        body = pair(name)
        self.registry.put("ReplicationPair", body)
        return self.kube.put(body)

    def publish(self, ref: ObjectRef, status: dict[str, Any], rpo_s: float = 300) -> None:
        self.writer.publish(ref, status, rpo_s=rpo_s)

    @property
    def reasons(self) -> list[str]:
        return [reason for _, reason in self.kube.writes]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    yield world
    world.task.cancel()
    await world.writer.clear()


def status(ready: str = "True", *, point: int = 1, at: int = 0) -> dict[str, Any]:
    reason = "UpToDate" if ready == "True" else "Unreachable"
    return {
        "observedGeneration": 1,
        "conditions": [{"type": "Ready", "status": ready, "reason": reason, "message": "m"}],
        "recoveryPoint": {
            "time": f"2030-01-01T00:{at:02}:00Z",
            "snapshot": f"s{point}",
            "guid": str(point),
        },
    }


async def test_a_turn_is_written_at_once_and_seen_in_the_registry(world: World) -> None:
    ref = world.pair()
    world.publish(ref, status())
    await settle()
    assert world.kube.writes == [("p", "transition")]
    assert world.registry.status(ref) == status()
    world.publish(ref, status("Unknown"))
    await settle()
    assert world.reasons == ["transition", "transition"]


async def test_what_is_the_same_is_not_written(world: World) -> None:
    ref = world.pair()
    for _ in range(50):
        world.publish(ref, status())
        await world.clock.advance(30)
    assert len(world.kube.writes) == 1


async def test_newer_points_are_written_once_a_minute_and_the_latest_wins(world: World) -> None:
    ref = world.pair()
    for number in range(1, 31):
        world.publish(ref, status(point=number))
        await world.clock.advance(9.9)
    assert world.reasons == ["transition"] + ["recovery-point"] * 4
    assert world.kube.objects[ref.uid]["status"]["recoveryPoint"]["guid"] == "25"
    await world.clock.advance(60)
    assert world.kube.objects[ref.uid]["status"]["recoveryPoint"]["guid"] == "30"


async def test_a_point_that_was_only_confirmed_again_is_written_once_an_rpo(world: World) -> None:
    ref = world.pair()
    for minute in range(31):
        world.publish(ref, status(at=minute))
        await world.clock.advance(60)
    assert world.reasons == ["transition"] + ["as-of"] * 6


async def test_a_turn_does_not_wait_behind_a_point(world: World) -> None:
    ref = world.pair()
    world.publish(ref, status())
    await settle()
    world.publish(ref, status(point=2))
    await world.clock.advance(1)
    world.publish(ref, status("False", point=2))
    await world.clock.advance(0)
    assert world.reasons == ["transition", "transition"]


@pytest.mark.fault("API server down for a minute")
async def test_during_an_outage_only_the_latest_is_kept_and_then_written(world: World) -> None:
    ref = world.pair()
    world.kube.failure = Unreachable("Unreachable", "down")
    for number in range(1, 10):
        world.publish(ref, status(point=number))
        await world.clock.advance(20)
    assert world.kube.writes == []
    world.kube.failure = None
    await world.clock.advance(61)
    assert world.kube.objects[ref.uid]["status"] == status(point=9)
    assert len(world.kube.writes) == 1


async def test_a_status_that_is_refused_is_not_tried_all_the_time(world: World) -> None:
    tries = 0

    async def count() -> None:
        nonlocal tries
        tries += 1

    world.kube.during, world.kube.failure = count, Stalled("InternalError", "422")
    ref = world.pair()
    for _ in range(60):
        world.publish(ref, status())
        await world.clock.advance(9.9)
    assert tries == 2


async def test_an_object_that_was_re_created_gets_nothing_of_the_old_ones(world: World) -> None:
    old = world.pair()
    world.kube.failure = Unreachable("Unreachable", "down")
    world.publish(old, status())
    await settle()
    del world.kube.objects[old.uid]
    new = world.pair()
    world.kube.failure = None
    await world.clock.advance(600)
    assert world.kube.writes == []
    assert "status" not in world.kube.objects[new.uid]


async def test_a_status_written_by_another_hand_is_corrected(world: World) -> None:
    ref = world.pair()
    world.publish(ref, status())
    await settle()
    world.registry.put("ReplicationPair", {**pair("p", uid=ref.uid), "status": {}})
    world.publish(ref, status())
    await settle()
    assert world.reasons == ["transition", "transition"]


async def test_events_are_for_turns_only(world: World) -> None:
    ref = world.pair()
    for ready in ("True", "True", "Unknown", "Unknown", "True"):
        world.publish(ref, status(ready))
        await world.clock.advance(400)
    assert [(n.type, n.reason) for _, n in world.kube.events] == [
        ("Warning", "Unreachable"),
        ("Normal", "UpToDate"),
    ]


async def test_a_flood_of_turns_is_written_at_a_bounded_rate_and_completely(world: World) -> None:
    refs = [world.pair(f"p{number}") for number in range(500)]
    at_once = most = 0

    async def slow() -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0)
        at_once -= 1

    world.kube.during = slow
    for ref in refs:
        world.publish(ref, status())
    await settle()
    assert len(world.kube.writes) == BURST
    assert most == AT_ONCE
    await world.clock.advance(1)
    assert len(world.kube.writes) == pytest.approx(BURST + RATE_PER_S, abs=2)
    await world.clock.advance(21)
    assert {name for name, _ in world.kube.writes} == {ref.name for ref in refs}


async def test_a_turn_does_not_wait_behind_points_that_are_only_confirmed_again(
    world: World,
) -> None:
    refs = [world.pair(f"p{number}") for number in range(1000)]
    for ref in refs:
        world.publish(ref, status())
    await world.clock.advance(400)
    written = len(world.kube.writes)
    for ref in refs:
        world.publish(ref, status(at=7))
    await world.clock.advance(1)
    assert world.writer.waiting > 800
    world.publish(refs[-1], status("False", at=7))
    world.publish(refs[-2], status(point=2, at=7))
    await world.clock.advance(0.1)
    assert world.reasons[written:].index("transition") < BURST + 2 * RATE_PER_S
    assert "recovery-point" in world.reasons[written:]
    await world.clock.advance(30)
    assert len({name for name, reason in world.kube.writes if reason == "as-of"}) == 998


async def test_what_is_not_worth_a_write_does_not_wait_for_a_place(world: World) -> None:
    refs = [world.pair(f"p{number}") for number in range(2 * BURST)]
    for ref in refs:
        world.publish(ref, status())
    await world.clock.advance(60)
    for ref in refs:
        world.publish(ref, status(at=7))
        world.publish(ref, status())
    await settle()
    assert world.writer.waiting == 0


async def test_after_leadership_is_lost_nothing_is_written_and_nothing_is_shown(
    world: World,
) -> None:
    ref = world.pair()
    world.publish(ref, status())
    await settle()
    world.publish(ref, status(point=2))
    await settle()
    assert [view.name for view in world.writer.views()] == ["p"]
    await world.writer.clear()
    await world.clock.advance(600)
    assert len(world.kube.writes) == 1
    assert list(world.writer.views()) == []


async def test_an_object_that_is_forgotten_has_no_series(world: World) -> None:
    ref = world.pair()
    world.publish(ref, status())
    await settle()
    world.writer.forget(ref)
    assert list(world.writer.views()) == []


async def test_edits_of_the_spec_do_not_lose_a_status(world: World) -> None:
    body = pair("p")
    world.registry.put("ReplicationPair", body)
    ref = world.kube.put(body)
    world.kube.failure = Unreachable("Unreachable", "down")
    world.publish(ref, status())
    await settle()
    world.registry.put("ReplicationPair", changed(body, spec={"suspend": True}))
    world.kube.failure = None
    await world.clock.advance(5)
    assert world.kube.writes == [("p", "transition")]


@pytest.mark.fault("leader stopped for a minute and woken")
async def test_a_process_that_woke_up_without_its_lease_writes_nothing(world: World) -> None:
    ref = world.pair()
    world.leading = False
    world.publish(ref, status())
    await world.clock.advance(600)
    assert world.kube.writes == []


async def test_a_stream_that_is_told_each_ten_seconds_is_written_once_a_minute(
    world: World,
) -> None:
    """Only its end and its beginning are news to nobody but the one who looks."""
    ref = world.pair()
    world.publish(ref, status())
    await settle()
    for second in range(0, 600, 10):
        moving = {"time": f"2030-01-01T00:{second // 60:02}:{second % 60:02}Z", "bytes": second}
        world.publish(ref, {**status(), "transfer": moving})
        await world.clock.advance(10)
    assert world.reasons == ["transition", *["detail"] * 10]
    world.publish(ref, status())
    await world.clock.advance(120)
    assert world.reasons == ["transition", *["detail"] * 11]
