"""Contract of `HostPort` and `TransferPort` for encrypted datasets: raw streams."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backstay.domain.steps import MadeSnapshot
from backstay.domain.zfs import STREAM, Bookmark, Snapshot
from contract.host.worlds import (
    MIB,
    ContractWorld,
    Member,
    Story,
    increment,
    raw_seed,
    reason,
    resume,
    seed,
)

HALF = MIB // 2


@pytest.mark.rule("Raw lineage")
@pytest.mark.rule("Replica posture")
@pytest.mark.parametrize("volume", [True, False])
async def test_a_raw_seed_makes_a_replica_that_nobody_can_read(
    world: ContractWorld, volume: bool
) -> None:
    story = Story(world)
    member, point = await seeded(story, volume=volume)
    (origin,) = await story.look(story.source, member.source)
    assert origin is not None
    assert (origin.encrypted, origin.key_available) == (True, True)
    replica = await story.replica(member)
    assert (replica.encrypted, replica.key_available) == (True, False)
    assert replica.properties[STREAM] == "Lecw"
    assert [s.guid for s in replica.snapshots] == [point.guid]
    assert replica.written_bytes == 0
    assert not replica.mounted
    await world.target.load_key(member.target)
    assert (await story.replica(member)).key_available is True


@pytest.mark.rule("Raw lineage")
async def test_what_is_not_encrypted_has_neither_key_nor_iv_sets(world: ContractWorld) -> None:
    story = Story(world)
    member = await story.member("plain")
    await story.point(member)
    (found,) = await story.look(story.source, member.source)
    assert found is not None
    assert (found.encrypted, found.key_available) == (False, None)
    points: tuple[Snapshot | Bookmark, ...] = (*found.snapshots, *found.bookmarks)
    assert {p.ivset for p in points} == {None}


@pytest.mark.rule("Raw lineage")
async def test_iv_sets_are_those_of_the_source_on_snapshots_and_bookmarks(
    world: ContractWorld,
) -> None:
    story = Story(world)
    member, first = await seeded(story)
    second = await raw_news(story, member)
    await sent(story, member, second, first)
    (origin,) = await story.look(story.source, member.source)
    assert origin is not None
    assert [first.ivset, second.ivset] == [s.ivset for s in origin.snapshots]
    points: tuple[Snapshot | Bookmark, ...] = (*origin.snapshots, *origin.bookmarks)
    for made in points:
        assert made.ivset == await world.source.ivset(made.full_name)
    ivsets = [s.ivset for s in origin.snapshots]
    assert len(set(ivsets)) == 2
    assert [s.ivset for s in (await story.replica(member)).snapshots] == ivsets
    assert {b.ivset for b in origin.bookmarks} == set(ivsets)


@pytest.mark.rule("Raw lineage")
@pytest.mark.parametrize("bookmark", [False, True])
async def test_a_raw_increment_goes_on_without_any_key_at_the_target(
    world: ContractWorld, bookmark: bool
) -> None:
    story = Story(world)
    member, first = await seeded(story)
    second = await raw_news(story, member)
    if bookmark:
        await world.source.destroy(f"{member.source}@{first.name}")
    step = replace(increment(member, second, first, bookmark=bookmark), mode="Lecw")
    assert (await story.send(step)).failure is None
    assert await story.replica_guids([member]) == [[first.guid, second.guid]]
    assert (await story.replica(member)).key_available is False


@pytest.mark.rule("Raw lineage")
async def test_a_child_that_inherits_its_key_goes_on_raw_on_its_own(world: ContractWorld) -> None:
    """Its replica is an encryption root of its own."""
    story = Story(world)
    await story.claim()
    tree = await story.member("t", volume=False, encrypted=True)
    child = await story.member("t/v")
    first = await story.point(tree, child)
    for member, point, volume in zip((tree, child), first, (False, True), strict=True):
        assert (await story.send(raw_seed(member, point, volume=volume))).failure is None
    second = await raw_news(story, child)
    await sent(story, child, second, first[1])
    replica = await story.replica(child)
    assert replica.encrypted
    assert [s.guid for s in replica.snapshots] == [first[1].guid, second.guid]


@pytest.mark.rule("Raw lineage")
@pytest.mark.fault("someone snapshots the replica")
async def test_a_raw_increment_is_refused_by_a_newer_snapshot_at_the_target(
    world: ContractWorld,
) -> None:
    story = Story(world)
    member, first = await seeded(story)
    await world.target.snapshot(f"{member.target}@manual")
    second = await raw_news(story, member)
    outcome = await story.send(replace(increment(member, second, first), mode="Lecw"))
    assert reason(outcome) == "TargetModified"
    await world.target.destroy(f"{member.target}@manual")
    await sent(story, member, second, first)


@pytest.mark.rule("Raw lineage")
@pytest.mark.fault("manual non-raw receive into a raw replica")
async def test_a_plain_receive_keeps_the_guid_and_breaks_the_raw_lineage(
    world: ContractWorld,
) -> None:
    story = Story(world)
    member, first = await seeded(story)
    second, third = await raw_news(story, member), await raw_news(story, member)
    await world.target.load_key(member.target)
    points = [f"{member.source}@{made.name}" for made in (second, first)]
    await world.copy_by_hand(points[0], points[1], member.target, mode="Lec")
    replica = await story.replica(member)
    assert [s.guid for s in replica.snapshots] == [first.guid, second.guid]
    ivsets = [await world.source.ivset(point) for point in reversed(points)]
    assert replica.snapshots[0].ivset == ivsets[0]
    assert replica.snapshots[1].ivset != ivsets[1]
    outcome = await story.send(replace(increment(member, third, second), mode="Lecw"))
    assert reason(outcome) == "RawLineageBroken"
    assert await story.replica_guids([member]) == [[first.guid, second.guid]]


@pytest.mark.rule("Raw lineage")
async def test_a_raw_increment_is_refused_by_a_plain_replica(world: ContractWorld) -> None:
    """Of an encrypted source that was once sent as it is read."""
    story = Story(world)
    await story.claim()
    member = await story.member("d0", encrypted=True)
    (first,) = await story.point(member)
    assert (await story.send(seed(member, first))).failure is None
    assert not (await story.replica(member)).encrypted
    second = await raw_news(story, member)
    outcome = await story.send(replace(increment(member, second, first), mode="Lecw"))
    assert reason(outcome) == "TransferFailed"
    assert await story.replica_guids([member]) == [[first.guid]]


@pytest.mark.rule("Raw lineage")
async def test_a_plain_stream_needs_a_key_at_a_raw_replica(world: ContractWorld) -> None:
    story = Story(world)
    member, first = await seeded(story)
    second = await raw_news(story, member)
    outcome = await story.send(increment(member, second, first))
    assert reason(outcome) == "KeyNotAvailable"
    assert await story.replica_guids([member]) == [[first.guid]]


@pytest.mark.rule("Raw lineage")
@pytest.mark.fault("full stream cut in the middle")
@pytest.mark.rule("Resume tokens are untrusted input")
async def test_the_token_of_a_raw_stream_says_so_and_goes_on_raw(world: ContractWorld) -> None:
    story = Story(world)
    await story.claim()
    member = await story.member("d0", encrypted=True, size=8 * MIB)
    (point,) = await story.point(member)
    world.cut_next(4 * MIB)
    assert (await story.send(raw_seed(member, point))).failure is not None
    replica = await story.replica(member)
    assert replica.properties[STREAM] == "Lecw"
    assert replica.token is not None
    assert replica.token.raw
    outcome = await story.send(resume(member, point, replica.token.text, of_seed=True))
    assert outcome.failure is None
    whole = await story.replica(member)
    assert whole.encrypted
    assert [s.guid for s in whole.snapshots] == [point.guid]


# --- words of the cases -------------------------------------------------------------------------


async def seeded(story: Story, *, volume: bool = True) -> tuple[Member, MadeSnapshot]:
    """An encrypted member with a first point at the target."""
    (pair,) = await story.seeded("d0", volume=volume, encrypted=True)
    return pair


async def raw_news(story: Story, member: Member) -> MadeSnapshot:
    """A further point with some data in it."""
    await story.world.source.write(member.source, HALF)
    (made,) = await story.point(member)
    return made


async def sent(story: Story, member: Member, point: MadeSnapshot, base: MadeSnapshot) -> None:
    """A raw increment has arrived."""
    outcome = await story.send(replace(increment(member, point, base), mode="Lecw"))
    assert outcome.failure is None
