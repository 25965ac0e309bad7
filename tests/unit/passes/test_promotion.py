"""A promotion that is cut off anywhere, gone on with or undone by whoever comes next."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

import pytest

from backstay.adapters.clock import SystemClock
from backstay.controllers.roles import demote, promote, undo_promotion
from backstay.domain.errors import Unreachable
from backstay.domain.pairs import Conflict
from backstay.domain.roles import PRIMARY, RoleState, role_state
from backstay.domain.zfs import LINEAGE
from contract.host.cases_cycle import demotion
from contract.host.failovers import Failover, failover
from contract.host.fake_world import FakeContractWorld
from fakes.faults import When

RULE = pytest.mark.rule("Promotion clones the point, never the head")
CONVERGES = pytest.mark.rule("Fixpoint")
REQUESTS = range(1, 16)
"""Those of a promotion of two members: eight looks, and seven acts between them."""
CLOCK = SystemClock()


async def cut_off(over: Failover, world: FakeContractWorld, nth: int, when: When) -> None:
    """The promotion lost its host at its nth request."""
    world.target.host.faults.fail(nth=nth, when=when)
    with contextlib.suppress(Unreachable):
        assert await promote(over.port, await over.task(), CLOCK) is None
    world.target.host.faults.planned.clear()


async def is_whole(over: Failover) -> bool:
    """Whether every member is promoted at its point, and can be used."""
    named = [f"{over.root}/{member.name}" for member, _ in over.pairs]
    found = await over.story.look(over.port, *named)
    return all(
        f is not None
        and [s.guid for s in f.snapshots] == [made.guid]
        and role_state(f) == RoleState(PRIMARY, 1)
        and not f.readonly
        for f, (_, made) in zip(found, over.pairs, strict=True)
    )


@RULE
@CONVERGES
@pytest.mark.parametrize("when", ["before", "middle", "after"])
@pytest.mark.parametrize("nth", REQUESTS)
async def test_a_promotion_goes_on_from_wherever_it_was_cut_off(nth: int, when: When) -> None:
    world = FakeContractWorld()
    async with failover(world, "d0", "d1") as over:
        task = await over.task()
        await cut_off(over, world, nth, when)
        assert await promote(over.port, task, CLOCK) is None
        assert await is_whole(over)
        before = len(world.target.host.commands)
        assert await promote(over.port, task, CLOCK) is None
        assert len(world.target.host.commands) == before


@RULE
@CONVERGES
@pytest.mark.parametrize("when", ["before", "middle", "after"])
@pytest.mark.parametrize("nth", REQUESTS)
async def test_what_was_cut_off_is_undone_or_past_the_first_promote(nth: int, when: When) -> None:
    world = FakeContractWorld()
    async with failover(world, "d0", "d1") as over:
        task = await over.task()
        were = [await over.story.replica(member) for member, _ in over.pairs]
        await cut_off(over, world, nth, when)
        promoted = any(
            LINEAGE not in found.properties and found.snapshots
            for found in await over.story.look(over.port, *(m.final for m in task.members))
            if found is not None
        )
        undone = await undo_promotion(over.port, task, CLOCK)
        if promoted:
            assert isinstance(undone, Conflict)
            assert undone.reason == "AlreadyPromoted"
            assert await promote(over.port, task, CLOCK) is None
            assert await is_whole(over)
            return
        assert undone is None
        now = [await over.story.replica(member) for member, _ in over.pairs]
        assert [(d.guid, d.properties, d.snapshots) for d in now] == [
            (d.guid, d.properties, d.snapshots) for d in were
        ]
        assert not any([await world.target.exists(m.final) for m in task.members])


@RULE
@pytest.mark.fault("two operators of one installation")
async def test_of_two_attempts_at_once_one_promotes_and_the_other_says_why_not() -> None:
    world = FakeContractWorld()
    async with failover(world, "d0", "d1") as over:
        task = await over.task()
        other = replace(task, key="another")
        said = await asyncio.gather(
            promote(over.port, task, CLOCK), promote(over.port, other, CLOCK)
        )
        assert [s is None for s in said].count(True) == 1
        assert await is_whole(over)


@RULE
async def test_a_demotion_and_a_promotion_ask_for_a_bounded_number_of_requests() -> None:
    """O(hosts): as many for twenty members as for one."""
    counts = []
    for names in (["d0"], [f"d{i}" for i in range(20)]):
        world = FakeContractWorld()
        async with failover(world, *names) as over:
            await over.story.source.claim([])
            for hands in (world.source, world.target):
                hands.host.requests.clear()
            assert await demote(over.story.source, demotion(over.pairs), CLOCK) is None
            task = await over.task()
            assert await promote(over.port, task, CLOCK) is None
            counts.append(
                [sum(hands.host.requests.values()) for hands in (world.source, world.target)]
            )
    assert counts[0] == counts[1]


@RULE
@pytest.mark.rule("No implicit destruction")
async def test_no_promotion_or_undo_destroys_anything_but_its_own_clones() -> None:
    world = FakeContractWorld()
    async with failover(world, "d0", "d1") as over:
        task = await over.task()
        for nth in (8, 15):
            await cut_off(over, world, nth, "before")
            await undo_promotion(over.port, task, CLOCK)
        finals = {m.final for m in task.members}
        destroyed = [argv for argv in world.target.host.commands if argv[1] == "destroy"]
        assert destroyed
        assert all(len(argv) == 3 and argv[2] in finals for argv in destroyed)
