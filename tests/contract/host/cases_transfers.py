"""Contract of `TransferPort`: streams, and what they are refused for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backstay.domain.errors import BackstayError, Refused
from backstay.domain.steps import MadeSnapshot, Pipe, PipeOutcome, Transfer
from backstay.domain.zfs import LINEAGE, ROLE, SOURCE_GUID, Guid
from contract.host.worlds import MIB, ContractWorld, Member, Story, increment, reason, seed

HALF = MIB // 2


@pytest.mark.rule("Replica posture")
@pytest.mark.parametrize("volume", [True, False])
async def test_a_seed_makes_a_replica_with_posture_and_lineage(
    world: ContractWorld, volume: bool
) -> None:
    story = Story(world)
    ((member, point),) = await story.seeded("d0", volume=volume)
    replica = await story.replica(member)
    assert [(s.name, s.guid) for s in replica.snapshots] == [(point.name, point.guid)]
    assert replica.properties == {LINEAGE: member.lineage, SOURCE_GUID: str(member.guid)}
    assert replica.readonly
    assert not replica.mounted
    assert replica.token is None
    assert replica.written_bytes == 0
    assert await world.target.local(member.target, "readonly") == "on"


@pytest.mark.rule("Seed only into nothing, and only what was planned")
@pytest.mark.fault("target exists with foreign data")
async def test_a_seed_never_lands_on_something_that_exists(world: ContractWorld) -> None:
    story = Story(world)
    await story.claim()
    member = await story.member("d0")
    (point,) = await story.point(member)
    await world.target.create(member.target, volume=True)
    before = await world.target.guid(member.target)
    outcome = await story.send(seed(member, point))
    assert reason(outcome) == "TargetHasForeignData"
    assert await world.target.guid(member.target) == before
    assert (await story.replica(member)).snapshots == ()


@pytest.mark.rule("Seed only into nothing, and only what was planned")
async def test_a_source_recreated_since_the_plan_is_not_sent(world: ContractWorld) -> None:
    story = Story(world)
    await story.claim()
    member = await story.member("d0")
    (point,) = await story.point(member)
    await world.source.destroy(member.source)
    await world.source.create(member.source, volume=True)
    await world.source.snapshot(f"{member.source}@{point.name}")
    outcome = await story.send(seed(member, point))
    assert reason(outcome) == "TransferFailed"
    assert not await world.target.exists(member.target)


@pytest.mark.rule("Proven base")
@pytest.mark.parametrize("bookmark", [False, True])
async def test_an_increment_goes_on_from_a_snapshot_or_its_bookmark(
    world: ContractWorld, bookmark: bool
) -> None:
    story = Story(world)
    ((member, first),) = await story.seeded("d0")
    await world.source.write(member.source, HALF)
    (second,) = await story.point(member)
    if bookmark:
        await world.source.destroy(f"{member.source}@{first.name}")
    outcome = await story.send(increment(member, second, first, bookmark=bookmark))
    assert outcome.failure is None
    assert outcome.completed == 1
    assert outcome.sent_bytes >= HALF
    assert await story.replica_guids([member]) == [[first.guid, second.guid]]


@pytest.mark.rule("Proven base")
@pytest.mark.fault("someone writes to the replica")
async def test_an_increment_is_refused_where_the_target_was_written_to(
    world: ContractWorld,
) -> None:
    story = Story(world)
    ((member, first),) = await story.seeded("d0", volume=False)
    await world.target.set(member.target, "readonly", "off")
    await world.target.write(member.target, HALF)
    await world.source.write(member.source, HALF)
    (second,) = await story.point(member)
    outcome = await story.send(increment(member, second, first))
    assert reason(outcome) == "TargetModified"
    assert await story.replica_guids([member]) == [[first.guid]]


@pytest.mark.rule("Proven base")
@pytest.mark.fault("someone snapshots the replica")
async def test_a_foreign_snapshot_of_the_replica_is_kept(world: ContractWorld) -> None:
    story = Story(world)
    ((member, first),) = await story.seeded("d0")
    await world.target.snapshot(f"{member.target}@manual")
    manual = await world.target.guid(f"{member.target}@manual")
    await world.source.write(member.source, HALF)
    (second,) = await story.point(member)
    outcome = await story.send(increment(member, second, first))
    assert outcome.failure is None
    assert await story.replica_guids([member]) == [[first.guid, manual, second.guid]]


@pytest.mark.rule("Proven base")
async def test_a_base_that_is_another_snapshot_is_not_sent_from(world: ContractWorld) -> None:
    story = Story(world)
    ((member, first),) = await story.seeded("d0")
    (second,) = await story.point(member)
    lie = replace(first, guid=Guid(first.guid + 1))
    outcome = await story.send(increment(member, second, lie))
    assert outcome.failure is not None
    assert outcome.completed == 0
    assert await story.replica_guids([member]) == [[first.guid]]


@pytest.mark.rule("A pipe cannot mix up members")
async def test_increments_share_a_pipe(world: ContractWorld) -> None:
    story = Story(world)
    pairs, second = await three_with_news(story)
    outcome = await story.send(*steps(pairs, second))
    assert outcome.failure is None
    assert outcome.completed == 3
    assert await story.replica_guids([m for m, _ in pairs]) == [
        [first.guid, new.guid] for (_, first), new in zip(pairs, second, strict=True)
    ]


@pytest.mark.fault("member of a shared pipe vanishes before its send")
@pytest.mark.rule("A pipe cannot mix up members")
async def test_a_pipe_stops_at_a_member_that_cannot_be_sent(world: ContractWorld) -> None:
    story = Story(world)
    pairs, second = await three_with_news(story)
    await world.source.destroy(f"{pairs[1][0].source}@{second[1].name}")
    outcome = await story.send(*steps(pairs, second))
    assert (outcome.completed, member_of(outcome)) == (1, "d1")
    await only_the_first_came(story, pairs, second)


@pytest.mark.rule("A pipe cannot mix up members")
async def test_a_pipe_stops_at_a_member_that_cannot_be_received(world: ContractWorld) -> None:
    story = Story(world)
    pairs, second = await three_with_news(story)
    (_, first), member = pairs[1], pairs[1][0]
    await world.target.destroy(f"{member.target}@{first.name}")
    outcome = await story.send(*steps(pairs, second))
    assert (outcome.completed, member_of(outcome)) == (1, "d1")
    assert reason(outcome) == "NoCommonBase"
    guids = await story.replica_guids([m for m, _ in pairs])
    assert guids == [[pairs[0][1].guid, second[0].guid], [], [pairs[2][1].guid]]


@pytest.mark.rule("A pipe cannot mix up members")
async def test_a_seed_shares_no_pipe(world: ContractWorld) -> None:
    story = Story(world)
    await story.claim()
    members = [await story.member(name) for name in ("d0", "d1")]
    made = await story.point(*members)
    with pytest.raises(BackstayError):
        await story.send(*(seed(m, p) for m, p in zip(members, made, strict=True)))
    assert not await world.target.exists(members[0].target)


# --- whose replica it is ------------------------------------------------------------------------


@pytest.mark.rule("Single writer, fenced at the host")
async def test_nothing_is_received_into_another_lineage_or_a_primary(world: ContractWorld) -> None:
    story = Story(world)
    ((member, first),) = await story.seeded("d0")
    (second,) = await story.point(member)
    foreign = replace(increment(member, second, first), lineage="feedfacefeedface")
    assert reason(await story.send(foreign)) == "TargetHasForeignData"
    await world.target.set(member.target, ROLE, "primary")
    outcome = await story.send(increment(member, second, first))
    assert reason(outcome) == "TargetIsPrimary"
    assert await story.replica_guids([member]) == [[first.guid]]


@pytest.mark.rule("Single writer, fenced at the host")
@pytest.mark.fault("two operators of one installation")
async def test_an_older_leader_receives_nothing(world: ContractWorld) -> None:
    story = Story(world)
    mine = world.own
    member = await story.member("d0")
    (point,) = await story.point(member)
    root = world.target.root
    old = world.port(world.target, term=3, installation=mine)
    await old.claim([root])
    await world.port(world.target, term=4, installation=mine).claim([root])
    pipe = Pipe(transfers=(seed(member, point),))
    with pytest.raises(Refused) as error:
        await world.transfers.transfer(story.source, old, pipe, lambda index, moved: None)
    assert error.value.reason == "Superseded"
    assert not await world.target.exists(member.target)


@pytest.mark.fault("target fills up amid a stream")
async def test_a_full_target_keeps_what_came(world: ContractWorld) -> None:
    story = Story(world)
    await story.claim()
    member = await story.member("d0", size=12 * MIB)
    (point,) = await story.point(member)
    await world.target.set(world.target.root, "quota", str(4 * MIB))
    outcome = await story.send(seed(member, point))
    assert reason(outcome) == "InsufficientSpace"
    (replica,) = await story.look(story.target, member.target)
    assert replica is None or replica.snapshots == ()
    (root,) = await story.look(story.target, world.target.root)
    assert root is not None
    assert root.available_bytes <= 4 * MIB


@pytest.mark.rule("Honest dry run")
async def test_a_dry_transfer_names_both_sides_commands(world: ContractWorld) -> None:
    story = Story(world)
    await story.claim()
    member = await story.member("d0")
    (point,) = await story.point(member)
    source, target = world.dry(world.source), world.dry(world.target)
    pipe = Pipe(transfers=(seed(member, point),))
    outcome = await world.transfers.transfer(source, target, pipe, lambda index, moved: None)
    assert (outcome.completed, outcome.failure) == (1, None)
    (sent,) = source.commands
    assert sent[:2] == ("zfs", "send")
    assert sent[-1] == f"{member.source}@{point.name}"
    (received,) = target.commands
    assert received[:2] == ("zfs", "receive")
    assert received[-1] == member.target
    assert f"{LINEAGE}={member.lineage}" in received
    assert "-F" not in received
    assert not await world.target.exists(member.target)


# --- words of the cases -------------------------------------------------------------------------


def member_of(outcome: PipeOutcome) -> str | None:
    """Whose failure ended a pipe."""
    return None if outcome.failure is None else outcome.failure.name


Pairs = list[tuple[Member, MadeSnapshot]]


async def three_with_news(story: Story) -> tuple[Pairs, tuple[MadeSnapshot, ...]]:
    """Three members with a first point at the target, and a second one that is not there yet."""
    pairs = await story.seeded("d0", "d1", "d2")
    for member, _ in pairs:
        await story.world.source.write(member.source, HALF)
    return pairs, await story.point(*(member for member, _ in pairs))


def steps(pairs: Pairs, second: tuple[MadeSnapshot, ...]) -> list[Transfer]:
    """The increments of all three."""
    return [increment(m, new, first) for (m, first), new in zip(pairs, second, strict=True)]


async def only_the_first_came(story: Story, pairs: Pairs, second: tuple[MadeSnapshot, ...]) -> None:
    """Members behind the failed one have what they had."""
    guids = await story.replica_guids([member for member, _ in pairs])
    assert guids == [
        [pairs[0][1].guid, second[0].guid],
        [pairs[1][1].guid],
        [pairs[2][1].guid],
    ]
