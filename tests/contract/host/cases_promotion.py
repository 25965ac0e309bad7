"""Promotion and demotion as a whole: from what is there to the next primary, and back."""

from __future__ import annotations

import asyncio

import pytest

from backstay.controllers.roles import promote, undo_promotion
from backstay.domain.errors import Refused, Unreachable
from backstay.domain.moves import ASIDE_OF
from backstay.domain.pairs import Conflict
from backstay.domain.roles import (
    PRIMARY,
    ROLE_EPOCH,
    SECONDARY,
    RoleState,
    role_state,
)
from backstay.domain.zfs import LINEAGE, ROLE
from backstay.plan.promotion import aside_name
from backstay.plan.promotion_path import chosen_points
from contract.host.failovers import CLOCK, Stopped, failover, news, stopping
from contract.host.worlds import (
    MIB,
    SHORT_ID,
    ContractWorld,
    increment,
    reason,
)

RULE = pytest.mark.rule("Promotion clones the point, never the head")
CONVERGES = pytest.mark.rule("Fixpoint")
IN_FLIGHT = pytest.mark.fault("promotion with a receive in flight, or half a group received")
# --- promotion ----------------------------------------------------------------------------------


@RULE
@CONVERGES
@pytest.mark.parametrize("volume", [True, False])
async def test_the_newest_point_becomes_primary_and_the_replica_stays_aside(
    world: ContractWorld, volume: bool
) -> None:
    async with failover(world, "d0", "d1", volume=volume) as over:
        task = await over.task()
        assert (why := await promote(over.port, task, CLOCK)) is None, why
        for found, (_, made) in zip(await over.finals(task), over.pairs, strict=True):
            assert [s.guid for s in found.snapshots] == [made.guid]
            assert role_state(found) == RoleState(PRIMARY, 1)
            assert LINEAGE not in found.properties
            assert (found.readonly, found.mounted, found.origin) == (False, not volume, None)
        for member in task.members:
            (aside,) = await over.story.look(over.port, aside_name(task, member))
            assert aside is not None
            assert aside.guid == member.guid
            assert aside.properties == {ASIDE_OF: member.replica, ROLE: SECONDARY, ROLE_EPOCH: "1"}
            assert not await world.target.exists(member.replica)
        await world.target.write(task.members[0].final, MIB)
        assert await promote(over.port, task, CLOCK) is None  # nothing is left to do


@RULE
@pytest.mark.rule("Raw lineage")
async def test_an_encrypted_replica_is_promoted_once_its_key_is_loaded(
    world: ContractWorld,
) -> None:
    async with failover(world, "d0", encrypted=True) as over:
        ((member, made),) = over.pairs
        task = await over.task()
        said = await promote(over.port, task, CLOCK)
        assert isinstance(said, Conflict)
        assert said.reason == "KeyNotAvailable"
        assert await world.target.exists(member.target), "nothing was moved"
        await world.target.load_key(member.target)
        said = await promote(over.port, task, CLOCK)
        assert isinstance(said, Conflict), "ZFS has unloaded it"
        assert said.reason == "KeyNotAvailable"
        (found,) = await over.finals(task)
        assert (found.readonly, found.encryption_root) == (True, found.name)
        await world.target.load_key(found.name)
        assert (why := await promote(over.port, task, CLOCK)) is None, why
        (found,) = await over.finals(task)
        assert (found.encrypted, found.key_available, found.readonly) == (True, True, False)
        assert [s.guid for s in found.snapshots] == [made.guid]
        assert role_state(found) == RoleState(PRIMARY, 1)
        await world.target.write(found.name, MIB)


@RULE
async def test_an_older_point_is_promoted_and_what_lies_beyond_it_is_kept(
    world: ContractWorld,
) -> None:
    async with failover(world, "d0") as over:
        first = over.pairs
        second = await news(over.story, first)
        task = await over.task([made for _, made in first])
        assert (why := await promote(over.port, task, CLOCK)) is None, why
        (found,) = await over.finals(task)
        assert [s.guid for s in found.snapshots] == [first[0][1].guid]
        (aside,) = await over.story.look(over.port, aside_name(task, task.members[0]))
        assert aside is not None
        assert [s.guid for s in aside.snapshots] == [second[0][1].guid]


@RULE
@IN_FLIGHT
async def test_half_a_group_received_is_not_promoted(world: ContractWorld) -> None:
    async with failover(world, "d0", "d1") as over:
        first = over.pairs
        second = await news(over.story, first, send=False)
        only = increment(first[0][0], second[0][1], first[0][1])
        assert (await over.story.send(only)).failure is None
        replicas = {m.name: await over.story.replica(m) for m, _ in first}
        chosen = chosen_points(replicas, SHORT_ID)
        assert chosen == {m.name: made.guid for m, made in first}
        broken = await over.task([made for _, made in second])
        said = await promote(over.port, broken, CLOCK)
        assert isinstance(said, Conflict)
        assert said.reason == "PointMissing"
        assert await world.target.exists(first[0][0].target)
        task = await over.task([made for _, made in first])
        assert (why := await promote(over.port, task, CLOCK)) is None, why
        points = [[s.guid for s in found.snapshots] for found in await over.finals(task)]
        assert points == [[made.guid] for _, made in first]


@RULE
@IN_FLIGHT
async def test_a_receive_in_flight_fails_and_its_point_is_in_no_promoted_disk(
    world: ContractWorld,
) -> None:
    async with failover(world, "d0") as over:
        ((member, first),) = over.pairs
        await world.source.write(member.source, 4 * MIB)
        (second,) = await over.story.point(member)
        task = await over.task()
        async with world.hang_next(2 * MIB) as reached:
            running = asyncio.create_task(over.story.send(increment(member, second, first)))
            async with asyncio.timeout(60):
                await reached.wait()
            assert (why := await promote(over.port, task, CLOCK)) is None, why
            assert reason(await running) is not None
        (found,) = await over.finals(task)
        assert [s.guid for s in found.snapshots] == [first.guid]
        (aside,) = await over.story.look(over.port, aside_name(task, task.members[0]))
        assert aside is not None
        assert (aside.snapshots, aside.token) == ((), None)


@RULE
@CONVERGES
@pytest.mark.fault("leader stopped for a minute and woken")
async def test_a_new_leader_goes_on_and_the_old_one_that_wakes_is_refused(
    world: ContractWorld,
) -> None:
    async with failover(world, "d0") as over:
        old, new = (world.port(world.target, term=t, installation=world.own) for t in (5, 6))
        await world.target.set(world.target.root, "dev.backstay:writer", f"5:{world.own}")
        await old.claim([world.target.root])
        task = await over.task()
        stopped = stopping(old, before="promote")
        with pytest.raises(Stopped):
            await promote(stopped, task, CLOCK)
        (state,) = await new.claim([world.target.root])
        assert state.outcome == "Held"
        with pytest.raises((Refused, Unreachable)):
            await promote(old, task, CLOCK)
        over.port = new
        (clone,) = await over.finals(task)
        assert clone.origin is not None
        assert (why := await promote(new, task, CLOCK)) is None, why
        (found,) = await over.finals(task)
        assert (found.guid, found.origin, found.readonly) == (clone.guid, None, False)


@RULE
@pytest.mark.fault("two operators of one installation")
async def test_a_swap_that_another_run_won_ends_the_promotion(world: ContractWorld) -> None:
    async with failover(world, "d0") as over:
        task = await over.task()
        with pytest.raises(Stopped):
            await promote(stopping(over.port, before="swap_roles"), task, CLOCK)
        (clone,) = await over.finals(task)
        await world.target.set(clone.name, ROLE, PRIMARY)
        await world.target.set(clone.name, ROLE_EPOCH, "7")
        said = await promote(over.port, task, CLOCK)
        assert isinstance(said, Conflict)
        assert said.reason == "RoleChanged"
        (still,) = await over.finals(task)
        assert (still.origin, still.readonly) == (clone.origin, True)


# --- undo ---------------------------------------------------------------------------------------


@RULE
@CONVERGES
@pytest.mark.parametrize("before", ["clone", "swap_roles", "promote"])
async def test_until_the_promote_all_of_it_can_be_undone(world: ContractWorld, before: str) -> None:
    async with failover(world, "d0", "d1") as over:
        task = await over.task()
        were = [await over.story.replica(m) for m, _ in over.pairs]
        with pytest.raises(Stopped):
            await promote(stopping(over.port, before=before), task, CLOCK)
        assert (why := await undo_promotion(over.port, task, CLOCK)) is None, why
        now = [await over.story.replica(m) for m, _ in over.pairs]
        assert [(d.guid, d.properties, d.snapshots) for d in now] == [
            (d.guid, d.properties, d.snapshots) for d in were
        ]
        for member in task.members:
            assert not await world.target.exists(member.final)
        # What was undone goes on receiving, and can be promoted later.
        over.pairs = await news(over.story, over.pairs)
        assert (why := await promote(over.port, await over.task(), CLOCK)) is None, why


@RULE
async def test_what_was_promoted_is_not_undone(world: ContractWorld) -> None:
    async with failover(world, "d0") as over:
        task = await over.task()
        assert (why := await promote(over.port, task, CLOCK)) is None, why
        said = await undo_promotion(over.port, task, CLOCK)
        assert isinstance(said, Conflict)
        assert said.reason == "AlreadyPromoted"
        assert not (await over.finals(task))[0].readonly
