"""Leadership: one at a time, a term that only grows, and no belief in a Lease that has run out."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from backstay.app.lease import Candidate, Leadership, LeaseTimes
from backstay.domain.errors import Unreachable
from fakes.clock import FakeClock, settle
from fakes.leases import FakeLeases

TIMES = LeaseTimes(duration_s=30, renew_deadline_s=20, retry_s=5)
LEASE = ("ns", "backstay")


class Contender:
    """A process that stands for leadership, and what it was told."""

    def __init__(self, leases: FakeLeases, clock: FakeClock, identity: str) -> None:
        self.acting_under: int | None = None
        self.terms: list[int] = []
        self.told: list[str] = []
        candidate = Candidate(namespace="ns", name="backstay", identity=identity, times=TIMES)
        self.leadership = Leadership(leases, clock, candidate, self, random.Random(identity))
        self.task: asyncio.Task[None] | None = None

    def lead(self, term: int) -> None:
        self.acting_under = term
        self.terms.append(term)

    async def follow(self, because: str) -> None:
        self.acting_under = None
        self.told.append(because)

    def start(self) -> Contender:
        self.task = asyncio.create_task(self.leadership.run())
        return self

    async def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
            self.task = None


class World:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.leases = FakeLeases()
        self.contenders: list[Contender] = []

    def contender(self, identity: str) -> Contender:
        contender = Contender(self.leases, self.clock, identity).start()
        self.contenders.append(contender)
        return contender


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    yield world
    world.leases.before = world.leases.after_write = None
    for contender in world.contenders:
        await contender.stop()


async def test_the_first_candidate_leads_under_term_1(world: World) -> None:
    one = world.contender("one")
    await settle()
    assert one.acting_under == 1
    assert one.leadership.is_leader
    assert world.leases.stored[LEASE].holder == "one"
    assert world.leases.stored[LEASE].duration_s == 30


async def test_remaining_time_counts_from_before_the_request_was_sent(world: World) -> None:
    async def slow(verb: str) -> None:
        if verb != "read":
            await world.clock.sleep(3)

    world.leases.before = slow
    one = world.contender("one")
    await world.clock.advance(3)
    assert one.acting_under == 1
    assert one.leadership.remaining_s() == pytest.approx(27)


@pytest.mark.fault("two operators of one installation")
async def test_only_one_of_two_leads_and_the_other_waits_while_it_renews(world: World) -> None:
    one, two = world.contender("one"), world.contender("two")
    for _ in range(60):
        await world.clock.advance(5)
        assert [c.acting_under is not None for c in (one, two)].count(True) == 1
    assert world.leases.stored[LEASE].transitions == 0


@pytest.mark.fault("two operators of one installation")
async def test_two_that_write_at_once_do_not_both_lead(world: World) -> None:
    one = world.contender("one")
    await settle()
    await one.stop()
    both_have_read = asyncio.Barrier(2)

    async def race(verb: str) -> None:
        if verb == "update" and world.leases.stored[LEASE].holder == "":
            await both_have_read.wait()

    world.leases.before = race
    two, three = world.contender("two"), world.contender("three")
    await world.clock.advance(6)
    world.leases.before = None
    assert [c.acting_under is not None for c in (two, three)].count(True) == 1


async def test_a_silent_leaders_lease_is_taken_after_its_duration_with_a_higher_term(
    world: World,
) -> None:
    one, two = world.contender("one"), world.contender("two")
    await world.clock.advance(7)
    holder, other = (one, two) if one.acting_under else (two, one)
    _cut_off(holder.leadership)
    await holder.stop()
    await world.clock.advance(24)
    assert other.acting_under is None
    await world.clock.advance(15)
    assert other.acting_under == 2


def _cut_off(leadership: Leadership) -> None:
    """That leadership alone cannot reach the API server any more."""
    alone = FakeLeases()
    alone.down = True
    leadership._leases = alone


@pytest.mark.fault("API server down for a minute")
async def test_a_leader_without_an_api_server_stops_before_anyone_may_take_over(
    world: World,
) -> None:
    one, two = world.contender("one"), world.contender("two")
    await world.clock.advance(7)
    holder, other = (one, two) if one.acting_under else (two, one)
    _cut_off(holder.leadership)
    acting = 0
    for _ in range(80):
        await world.clock.advance(0.5)
        acting = max(acting, sum(c.acting_under is not None for c in (one, two)))
    assert acting == 1
    assert holder.told == ["the Lease could not be renewed in time"]
    assert other.acting_under == 2


async def test_it_stops_at_the_renew_deadline_even_if_requests_hang(world: World) -> None:
    one = world.contender("one")
    await settle()

    async def hang(_verb: str) -> None:
        await world.clock.sleep(1000)

    world.leases.before = hang
    await world.clock.advance(19.9)
    assert one.told == []
    await world.clock.advance(0.2)
    assert one.told == ["the Lease could not be renewed in time"]


@pytest.mark.fault("API server down for a minute")
async def test_after_an_outage_the_same_process_leads_again_under_a_higher_term(
    world: World,
) -> None:
    one = world.contender("one")
    await settle()
    world.leases.down = True
    await world.clock.advance(60)
    assert one.acting_under is None
    world.leases.down = False
    await world.clock.advance(7)
    assert one.terms == [1, 2]


@pytest.mark.fault("leader stopped for a minute and woken")
async def test_a_paused_leader_wakes_without_any_time_left_and_stops_at_once(world: World) -> None:
    one = world.contender("one")
    await settle()
    world.clock.freeze_and_jump(60)
    assert one.leadership.remaining_s() == 0
    assert not one.leadership.is_leader
    await settle()
    await world.clock.advance(0)
    assert one.told == ["the Lease could not be renewed in time"]


@pytest.mark.fault("leader stopped for a minute and woken")
async def test_a_paused_leader_that_was_replaced_does_not_lead_while_the_other_does(
    world: World,
) -> None:
    one = world.contender("one")
    await settle()
    taken = replace(
        world.leases.stored[LEASE], holder="two", term=2, resource_version="taken", transitions=1
    )
    world.leases.stored[LEASE] = taken
    world.clock.freeze_and_jump(60)
    await world.clock.advance(20)
    assert one.acting_under is None
    assert world.leases.stored[LEASE] == taken


@pytest.mark.rule("No wall clock")
@pytest.mark.fault("clock steps by an hour")
async def test_steps_of_the_wall_clock_change_nothing(world: World) -> None:
    one, two = world.contender("one"), world.contender("two")
    await world.clock.advance(7)
    for step in (3600, -7200, 86_400, -90_000):
        world.clock.step_wall(step)
        await world.clock.advance(31)
    assert sorted(c.terms for c in (one, two)) == [[], [1]]


async def test_a_lost_answer_is_not_a_lost_lease(world: World) -> None:
    one = world.contender("one")
    await settle()

    lost = asyncio.Event()

    async def lose() -> None:
        if not lost.is_set():
            lost.set()
            raise Unreachable("Unreachable", "the answer was lost")

    world.leases.after_write = lose
    await world.clock.advance(12)
    assert lost.is_set()
    assert one.terms == [1]
    assert one.leadership.remaining_s() > 25


async def test_an_edit_by_somebody_else_is_not_a_lost_lease(world: World) -> None:
    one = world.contender("one")
    await settle()
    world.leases.stored[LEASE] = replace(world.leases.stored[LEASE], resource_version="labelled")
    await world.clock.advance(6)
    assert one.terms == [1]
    assert one.leadership.remaining_s() > 28


async def test_a_holder_that_is_not_us_ends_our_lead_at_the_next_renewal(world: World) -> None:
    one = world.contender("one")
    await settle()
    stolen = replace(world.leases.stored[LEASE], holder="thief", resource_version="stolen")
    world.leases.stored[LEASE] = stolen
    await world.clock.advance(5)
    assert one.told == ["the Lease has another holder"]
    assert one.leadership.remaining_s() == 0
    assert world.leases.stored[LEASE] == stolen


async def test_a_deleted_lease_is_taken_again_with_a_higher_term(world: World) -> None:
    one = world.contender("one")
    await settle()
    del world.leases.stored[LEASE]
    await world.clock.advance(15)
    assert one.terms == [1, 2]
    assert world.leases.stored[LEASE].term == 2


async def test_a_higher_term_at_a_host_means_stepping_down_and_a_term_above_it(
    world: World,
) -> None:
    one = world.contender("one")
    await settle()
    one.leadership.superseded(41)
    await world.clock.advance(0)
    assert one.told == ["a host knows a higher term"]
    assert one.terms == [1, 42]


async def test_our_own_term_in_the_hands_of_another_leader_means_one_above_it(
    world: World,
) -> None:
    one = world.contender("one")
    await settle()
    one.leadership.superseded(1)
    await world.clock.advance(0)
    assert one.terms == [1, 2]


async def test_an_older_term_at_a_host_changes_nothing(world: World) -> None:
    one = world.contender("one")
    await settle()
    one.leadership.superseded(0)
    await world.clock.advance(20)
    assert one.terms == [1]


async def test_outbidding_between_two_clusters_slows_down(world: World) -> None:
    one = world.contender("one")
    await settle()
    for turn in range(6):
        one.leadership.superseded(one.leadership.term() + 1)
        await world.clock.advance(0.01)
        if turn == 0:
            assert one.acting_under == 3
        await world.clock.advance_until(lambda: one.acting_under is not None, within_s=400)
    assert world.clock.monotonic_s() > 5 * (2 + 4 + 8 + 16 + 32)


async def test_a_clean_shutdown_hands_the_lease_over_at_once(world: World) -> None:
    one = world.contender("one")
    await settle()
    two = world.contender("two")
    await settle()
    await one.stop()
    assert one.told == ["shutdown"]
    assert world.leases.stored[LEASE].holder == ""
    await world.clock.advance(6.1)
    assert two.acting_under == 2


async def test_a_shutdown_amid_a_renewal_hands_the_lease_over_all_the_same(world: World) -> None:
    """Else a successor waits until the Lease has run out."""
    one = world.contender("one")
    await settle()
    never = asyncio.Event()
    world.leases.after_write = never.wait  # type: ignore[assignment]
    await world.clock.advance(6)
    assert world.leases.stored[LEASE].holder == "one"
    world.leases.after_write = None
    await one.stop()
    assert world.leases.stored[LEASE].holder == ""


async def test_a_lease_that_is_another_ones_by_now_is_left_to_it(world: World) -> None:
    one = world.contender("one")
    await settle()
    stored = world.leases.stored[LEASE]
    theirs = replace(stored, holder="two", term=stored.term + 1, resource_version="77")
    world.leases.stored[LEASE] = theirs
    await one.stop()
    assert world.leases.stored[LEASE] == theirs


async def test_work_has_stopped_before_the_lease_is_free(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = world.contender("one")
    await settle()
    at_stop: list[str] = []

    async def follow(_because: str) -> None:
        at_stop.append(world.leases.stored[LEASE].holder)

    monkeypatch.setattr(one, "follow", follow)
    await one.stop()
    assert at_stop == ["one"]
    assert world.leases.stored[LEASE].holder == ""


@pytest.mark.fault("two operators of one installation")
@pytest.mark.parametrize("seed", range(20))
async def test_whatever_fails_never_two_act_at_once(world: World, seed: int) -> None:
    dice = random.Random(seed)

    async def trouble(_verb: str) -> None:
        match dice.randrange(6):
            case 0:
                raise Unreachable("Unreachable", "refused")
            case 1:
                await world.clock.sleep(dice.uniform(0, 30))

    async def lose() -> None:
        if dice.random() < 0.2:
            raise Unreachable("Unreachable", "the answer was lost")

    world.leases.before, world.leases.after_write = trouble, lose
    contenders = [world.contender(str(number)) for number in range(3)]
    elected: list[int] = []
    for _ in range(600):
        await world.clock.advance(dice.uniform(0.1, 2))
        acting = [c for c in contenders if c.leadership.is_leader]
        assert len(acting) <= 1
        if dice.random() < 0.02:
            dice.choice(contenders).leadership.superseded(dice.randrange(50))
        elected = [term for c in contenders for term in c.terms]
        assert len(set(elected)) == len(elected)
    world.leases.before = world.leases.after_write = None
    await world.clock.advance(600)
    assert sum(c.leadership.is_leader for c in contenders) == 1
    assert len(elected) > 1
