"""The scheduler: when what runs, in virtual time."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from backstay.controllers.scheduler import Again, Limits, Outcome, Scheduler
from backstay.domain.errors import Unreachable, Waiting
from fakes.clock import FakeClock, settle


class World:
    """Keys are words; the letters of a word are the resources that it uses."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.log: list[tuple[float, str]] = []
        self.late: list[float] = []
        self.ended: list[float] = []
        self.behaviour: dict[str, Callable[[], Awaitable[Outcome]]] = {}
        self.running: Counter[str] = Counter()
        self.scheduler = self.make(overall=8, per_resource=2)

    def make(self, *, overall: int, per_resource: int, calm_s: float = 0.0) -> Scheduler[str]:
        limits: Limits[str] = Limits(
            resources=set, overall=overall, per_resource=per_resource, calm_s=lambda _key: calm_s
        )
        self.scheduler = Scheduler(self.clock, self.run, limits, self, random.Random(1))
        return self.scheduler

    async def run(self, key: str) -> Outcome:
        self.log.append((self.clock.monotonic_s(), key))
        self.running[key] += 1
        try:
            behaviour = self.behaviour.get(key)
            return await behaviour() if behaviour else None
        finally:
            self.running[key] -= 1

    def run_started(self, _key: object, late_s: float) -> None:
        self.late.append(late_s)

    def run_ended(self, _key: object, duration_s: float) -> None:
        self.ended.append(duration_s)

    def takes(self, key: str, seconds: float, outcome: Outcome = None) -> None:
        async def behave() -> Outcome:
            await self.clock.sleep(seconds)
            return outcome

        self.behaviour[key] = behave

    def fails(self, key: str, error: Exception) -> None:
        async def behave() -> Outcome:
            raise error

        self.behaviour[key] = behave

    def starts(self, key: str) -> list[float]:
        return [at for at, started in self.log if started == key]

    @property
    def order(self) -> list[str]:
        return [key for _, key in self.log]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    yield world
    await world.scheduler.stop(0)


async def test_what_is_rung_runs_now_and_once(world: World) -> None:
    world.scheduler.ring("a")
    world.scheduler.ring("a")
    world.scheduler.start()
    await settle()
    assert world.log == [(0, "a")]
    await world.clock.advance(1000)
    assert world.log == [(0, "a")]


async def test_a_key_runs_again_when_it_said(world: World) -> None:
    world.takes("a", 2, outcome=Again(10))
    world.scheduler.start()
    world.scheduler.ring("a")
    await world.clock.advance(30)
    assert world.starts("a") == [0, 12, 24]


async def test_a_due_time_is_kept_and_the_earlier_one_counts(world: World) -> None:
    world.scheduler.start()
    world.scheduler.due_at("a", 20)
    world.scheduler.due_at("a", 7)
    world.scheduler.due_at("a", 15)
    await world.clock.advance(100)
    assert world.starts("a") == [7]


async def test_a_ring_during_a_run_makes_one_more_run_after_it(world: World) -> None:
    world.takes("a", 5)
    world.scheduler.start()
    world.scheduler.ring("a")
    await world.clock.advance(2)
    world.scheduler.ring("a")
    world.scheduler.ring("a")
    await world.clock.advance(100)
    assert world.starts("a") == [0, 5]


async def test_a_key_never_runs_twice_at_once(world: World) -> None:
    dice = random.Random(3)
    most = 0

    async def behave() -> Outcome:
        nonlocal most
        most = max(most, world.running["a"])
        await world.clock.sleep(dice.uniform(0, 3))
        return dice.choice([None, Again(0), Again(1.5)])

    world.behaviour["a"] = behave
    world.scheduler.start()
    for _ in range(300):
        dice.choice([world.scheduler.ring, world.scheduler.interrupt])("a")
        await world.clock.advance(dice.uniform(0, 2))
    assert most == 1
    assert len(world.log) > 100


async def test_no_more_run_at_once_than_allowed(world: World) -> None:
    scheduler = world.make(overall=3, per_resource=9)
    for key in "abcdefgh":
        world.takes(key, 10)
        scheduler.ring(key)
    scheduler.start()
    await settle()
    assert world.running.total() == 3
    assert scheduler.running == 3
    assert scheduler.due == 5
    await world.clock.advance(21)
    assert sorted(world.order) == list("abcdefgh")


async def test_a_resource_is_not_used_more_than_allowed_and_others_go_on(world: World) -> None:
    for key in ("ax", "ay", "az", "b"):
        world.takes(key, 10)
        world.scheduler.ring(key)
    world.scheduler.start()
    await settle()
    assert set(world.order) == {"ax", "ay", "b"}
    await world.clock.advance(10)
    assert world.starts("az") == [10]


async def test_among_what_is_due_the_earliest_deadline_comes_first(world: World) -> None:
    scheduler = world.make(overall=1, per_resource=1)
    deadlines = {"a": 300.0, "b": 100.0, "c": 200.0}
    for key, deadline in deadlines.items():
        world.takes(key, 1, outcome=Again(50, deadline_in_s=deadline))
        scheduler.ring(key)
    scheduler.start()
    await world.clock.advance(10)
    world.log.clear()
    world.takes("d", 60)
    scheduler.ring("d")
    await world.clock.advance(70)
    assert world.order == ["d", "b", "c", "a"]


async def test_a_failure_is_tried_again_later_and_later_and_harms_nobody_else(
    world: World,
) -> None:
    world.fails("a", Unreachable("Unreachable", "no route"))
    world.takes("b", 0, outcome=Again(5))
    world.scheduler.start()
    world.scheduler.ring("a")
    world.scheduler.ring("b")
    await world.clock.advance(3600)
    starts = world.starts("a")
    pauses = [later - earlier for earlier, later in itertools.pairwise(starts)]
    for number, pause in enumerate(pauses):
        full = min(300, 2 * 2**number)
        assert full / 2 <= pause <= full
    assert len(pauses) > 8
    assert len(world.starts("b")) == 721


async def test_success_ends_the_back_off(world: World) -> None:
    world.fails("a", RuntimeError("bug"))
    world.scheduler.start()
    world.scheduler.ring("a")
    await world.clock.advance(120)
    world.takes("a", 0, outcome=Again(10_000))
    await world.clock.advance(300)
    world.fails("a", RuntimeError("bug"))
    world.log.clear()
    world.scheduler.ring("a")
    await world.clock.advance(2)
    assert len(world.log) == 2


async def test_what_waits_says_itself_when_to_look_again(world: World) -> None:
    world.fails("a", Waiting("SourceBusy", "busy", retry_after_s=7))
    world.scheduler.start()
    world.scheduler.ring("a")
    await world.clock.advance(15)
    assert world.starts("a") == [0, 7, 14]


async def test_an_interrupted_run_is_cancelled_and_starts_again(world: World) -> None:
    world.takes("a", 1000)
    world.scheduler.start()
    world.scheduler.ring("a")
    await world.clock.advance(5)
    world.scheduler.interrupt("a")
    await world.clock.advance(1)
    assert world.starts("a") == [0, 5]
    assert world.running["a"] == 1


async def test_stop_cancels_all_at_once_and_forgets_what_was_due(world: World) -> None:
    for key in ("a", "b"):
        world.takes(key, 1000, outcome=Again(1))
        world.scheduler.ring(key)
    world.scheduler.due_at("c", 50)
    world.scheduler.start()
    await settle()
    assert await world.scheduler.stop(5) == []
    assert world.running.total() == 0
    await world.clock.advance(2000)
    world.scheduler.start()
    await world.clock.advance(2000)
    assert sorted(world.order) == ["a", "b"]


async def test_a_run_that_does_not_leave_is_named_and_keeps_its_key_for_itself(
    world: World,
) -> None:
    left = asyncio.Event()

    async def stubborn() -> Outcome:
        try:
            await world.clock.sleep(1000)
        except asyncio.CancelledError:
            await left.wait()
        return None

    world.behaviour["a"] = stubborn
    world.scheduler.start()
    world.scheduler.ring("a")
    await settle()
    assert await world.scheduler.stop(0.01) == ["a"]
    world.scheduler.start()
    world.scheduler.ring("a")
    await world.clock.advance(10)
    assert len(world.log) == 1
    left.set()
    await settle()
    assert len(world.log) == 2


async def test_lateness_is_how_long_something_due_has_waited(world: World) -> None:
    scheduler = world.make(overall=1, per_resource=1)
    world.takes("a", 9)
    scheduler.start()
    scheduler.ring("a")
    await world.clock.advance(2)
    scheduler.ring("b")
    await world.clock.advance(4)
    assert scheduler.lateness_s == 4
    await world.clock.advance(4)
    assert scheduler.lateness_s == 0
    assert world.late == [0, 7]
    assert world.ended == [9, 0]


async def test_ten_thousand_keys_each_run_at_their_interval(world: World) -> None:
    scheduler = world.make(overall=64, per_resource=10_000)
    keys = [f"{number:05}" for number in range(10_000)]
    for number, key in enumerate(keys):
        world.takes(key, 0.1, outcome=Again(59.9))
        scheduler.due_at(key, number * 60 / 10_000)
    scheduler.start()
    await world.clock.advance(179)
    runs = Counter(world.order)
    assert set(runs) == set(keys)
    assert min(runs.values()) >= 2
    assert max(runs.values()) == 3
    assert max(world.late) < 1


async def test_what_is_rung_within_a_moment_shares_one_run(world: World) -> None:
    scheduler = world.make(overall=8, per_resource=2, calm_s=0.5)
    scheduler.start()
    for _ in range(4):
        scheduler.ring("a")
        await world.clock.advance(0.1)
    assert world.starts("a") == []
    await world.clock.advance(0.2)
    assert world.starts("a") == [pytest.approx(0.5)]
