"""Contract of `TransferPort`: streams that are cut, resumed, dropped and cancelled."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from backstay.domain.errors import BackstayError
from backstay.domain.steps import AbortReceive, MadeSnapshot, Prune
from backstay.domain.zfs import LINEAGE, SnapshotRef
from backstay.ports.host import SurveyRequest
from contract.host.worlds import (
    MIB,
    ContractWorld,
    Member,
    Story,
    increment,
    reason,
    resume,
    seed,
)


@pytest.mark.fault("full stream cut in the middle")
@pytest.mark.rule("Resume tokens are untrusted input")
async def test_a_cut_seed_goes_on_from_its_token(world: ContractWorld) -> None:
    story = Story(world)
    member, point = await cut_seed(story)
    token = (await story.replica(member)).token
    assert token is not None
    assert token.to_name == f"{member.source}@{point.name}"
    assert (token.to_guid, token.from_guid, token.raw) == (point.guid, None, False)
    assert token.received_bytes > 0
    outcome = await story.send(resume(member, point, token.text, of_seed=True))
    assert outcome.failure is None
    replica = await story.replica(member)
    assert [s.guid for s in replica.snapshots] == [point.guid]
    assert replica.token is None
    assert replica.properties[LINEAGE] == member.lineage
    assert replica.readonly


@pytest.mark.fault("incremental stream cut in the middle")
async def test_a_cut_increment_goes_on_from_its_token(world: ContractWorld) -> None:
    story = Story(world)
    ((member, first),) = await story.seeded("d0")
    await world.source.write(member.source, 4 * MIB)
    (second,) = await story.point(member)
    world.cut_next(2 * MIB)
    outcome = await story.send(increment(member, second, first))
    assert reason(outcome) == "TransferFailed"
    token = (await story.replica(member)).token
    assert token is not None
    assert (token.to_guid, token.from_guid) == (second.guid, first.guid)
    outcome = await story.send(resume(member, second, token.text, of_seed=False))
    assert outcome.failure is None
    assert await story.replica_guids([member]) == [[first.guid, second.guid]]


@pytest.mark.fault("stream cut before its first byte")
async def test_a_seed_cut_before_its_first_byte_leaves_nothing(world: ContractWorld) -> None:
    story = Story(world)
    await story.claim()
    member = await story.member("d0")
    (point,) = await story.point(member)
    world.cut_next(0)
    outcome = await story.send(seed(member, point))
    assert outcome.failure is not None
    assert not await world.target.exists(member.target)
    assert (await story.send(seed(member, point))).failure is None


@pytest.mark.fault(
    "token's source snapshot destroyed", "token's source snapshot recreated under the same name"
)
async def test_a_token_without_its_snapshot_is_useless(world: ContractWorld) -> None:
    story = Story(world)
    member, point = await cut_seed(story)
    token = (await story.replica(member)).token
    assert token is not None
    await world.source.destroy(f"{member.source}@{point.name}")
    await world.source.snapshot(f"{member.source}@{point.name}")
    outcome = await story.send(resume(member, point, token.text, of_seed=True))
    assert outcome.failure is not None
    assert (await story.replica(member)).snapshots == ()
    await story.target.abort_receive(abort(member, token.text))
    assert not await world.target.exists(member.target)


@pytest.mark.rule("Resume tokens are untrusted input")
async def test_only_the_own_partial_receive_is_dropped(world: ContractWorld) -> None:
    story = Story(world)
    member, _ = await cut_seed(story)
    token = (await story.replica(member)).token
    assert token is not None
    foreign = replace(abort(member, token.text), lineage="feedfacefeedface")
    outdated = abort(member, token.text[:-4] + "0000")
    for wrong in (foreign, outdated):
        with pytest.raises(BackstayError):
            await story.target.abort_receive(wrong)
        assert (await story.replica(member)).token == token
    await story.target.abort_receive(abort(member, token.text))
    assert not await world.target.exists(member.target)


@pytest.mark.rule("Resume tokens are untrusted input")
async def test_dropping_a_partial_increment_keeps_the_replica(world: ContractWorld) -> None:
    story = Story(world)
    ((member, first),) = await story.seeded("d0")
    await world.source.write(member.source, 4 * MIB)
    (second,) = await story.point(member)
    world.cut_next(2 * MIB)
    await story.send(increment(member, second, first))
    token = (await story.replica(member)).token
    assert token is not None
    await story.target.abort_receive(abort(member, token.text))
    replica = await story.replica(member)
    assert replica.token is None
    assert [s.guid for s in replica.snapshots] == [first.guid]
    assert (await story.send(increment(member, second, first))).failure is None


async def test_cancelling_a_transfer_ends_both_sides(world: ContractWorld) -> None:
    story = Story(world)
    await story.claim()
    member = await story.member("d0", size=4 * MIB)
    (point,) = await story.point(member)
    async with world.hang_next(2 * MIB) as reached:
        running = asyncio.create_task(story.send(seed(member, point)))
        async with asyncio.timeout(60):
            await reached.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    token = (await story.replica(member)).token
    assert token is not None
    # Nothing holds the dataset any more: the rest goes through at once.
    assert (await story.send(resume(member, point, token.text, of_seed=True))).failure is None


async def test_a_dataset_that_is_received_into_is_busy(world: ContractWorld) -> None:
    story = Story(world)
    await story.claim()
    member = await story.member("d0", size=4 * MIB)
    (point,) = await story.point(member)
    async with world.hang_next(2 * MIB) as reached:
        running = asyncio.create_task(story.send(seed(member, point)))
        async with asyncio.timeout(60):
            await reached.wait()
        request = SurveyRequest(roots=((world.target.root, True),), sync=False)
        assert member.target in (await story.target.survey(request)).busy
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert (await story.target.survey(request)).busy == ()


@pytest.mark.parametrize("of_replica", [False, True])
async def test_a_replica_that_is_sent_on_is_not_in_use(
    world: ContractWorld, of_replica: bool
) -> None:
    story = Story(world)
    await story.claim()
    member = await story.member("d0", size=16 * MIB)  # more than lines hold
    (old,) = await story.point(member)
    (new,) = await story.point(member)
    request = SurveyRequest(roots=((member.source, False),), sync=False)
    doomed = SnapshotRef(dataset=member.source, name=old.name, guid=old.guid)
    async with world.hang_next(2 * MIB) as reached:
        step = replace(seed(member, new), of_replica=of_replica)
        running = asyncio.create_task(story.send(step))
        async with asyncio.timeout(60):
            await reached.wait()
        busy = (await story.source.survey(request)).busy
        assert busy == (() if of_replica else (member.source,))
        if of_replica:
            assert await story.source.prune(Prune(snapshots=(doomed,), bookmarks=())) == ()
            assert not await world.source.exists(doomed.full_name)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


# --- words of the cases ---


def abort(member: Member, token: str) -> AbortReceive:
    """Drop the member's partial receive."""
    return AbortReceive(
        dataset=member.target, lineage=member.lineage, token=token, because="the test says so"
    )


async def cut_seed(story: Story) -> tuple[Member, MadeSnapshot]:
    """A member whose first stream was cut in the middle."""
    await story.claim()
    member = await story.member("d0", size=4 * MIB)
    (point,) = await story.point(member)
    story.world.cut_next(2 * MIB)
    outcome = await story.send(seed(member, point))
    assert reason(outcome) == "TransferFailed"
    return member, point
