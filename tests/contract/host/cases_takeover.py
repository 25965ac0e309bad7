"""Contract of `RolePort`: what still runs is ended, and whose a receive root is."""

from __future__ import annotations

import asyncio

import pytest

from backstay.domain.errors import Refused
from backstay.domain.roles import (
    HaltReceives,
)
from backstay.domain.steps import CreateParents
from backstay.ports.host import SurveyRequest
from contract.host.worlds import MIB, ContractWorld, Story, reason, seed

RULE = pytest.mark.rule("Promotion clones the point, never the head")
FENCED = pytest.mark.rule("Single writer, fenced at the host")


# --- what still runs ----------------------------------------------------------------------------


@RULE
@FENCED
@pytest.mark.fault("promotion with a receive in flight, or half a group received")
async def test_a_receive_in_flight_is_ended_and_its_locks_are_free(world: ContractWorld) -> None:
    story = Story(world)
    await story.claim()
    member = await story.member("d0", size=4 * MIB)
    (point,) = await story.point(member)
    request = SurveyRequest(roots=((world.target.root, True),), sync=False)
    async with world.hang_next(2 * MIB) as reached:
        running = asyncio.create_task(story.send(seed(member, point)))
        async with asyncio.timeout(60):
            await reached.wait()
        await story.target.halt(HaltReceives(datasets=(member.target,)))
        assert (await story.target.survey(request)).busy == ()
        assert reason(await running) is not None
    assert (await story.replica(member)).snapshots == ()


# --- takeover -----------------------------------------------------------------------------------


@FENCED
@pytest.mark.fault("another installation on the same hosts")
async def test_a_root_is_taken_over_from_the_writer_that_was_seen(world: ContractWorld) -> None:
    root = world.target.root
    old = world.port(world.target, term=3, installation=world.own)
    await old.claim([root])
    new = world.port(world.target, installation=f"{world.own}-new")
    late = world.port(world.target, installation=f"{world.own}-late")
    (seen,) = await new.claim([root])
    assert (seen.outcome, seen.writer) == ("Foreign", f"3:{world.own}")
    (wrong,) = await new.take_over({root: f"2:{world.own}"})
    assert wrong.outcome == "Foreign"
    (mine,) = await new.take_over({root: seen.writer})
    assert (mine.outcome, mine.writer) == ("Held", f"1:{world.own}-new")
    # Who saw the same writer comes too late, and who was it is refused.
    (other,) = await late.take_over({root: seen.writer})
    assert (other.outcome, other.writer) == ("Foreign", mine.writer)
    parents = CreateParents(root=root, datasets=(f"{root}/vm",))
    with pytest.raises(Refused) as error:
        await old.create_parents(parents)
    assert error.value.reason == "ForeignWriter"
    await new.create_parents(parents)
