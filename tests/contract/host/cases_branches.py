"""Contract of `TransferPort`: the seed of a clone branches off its origin's replica."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backstay.domain.steps import Branch, MadeSnapshot, Transfer
from backstay.domain.zfs import LINEAGE, Guid
from contract.host.worlds import (
    MIB,
    ContractWorld,
    Member,
    Story,
    branch,
    increment,
    reason,
    resume,
    seed,
)


@pytest.mark.rule("Proven base")
@pytest.mark.parametrize("volume", [True, False])
async def test_a_clone_is_received_as_a_clone(world: ContractWorld, volume: bool) -> None:
    """Only what differs travels; posture and lineage are its own, and increments go on."""
    story = Story(world)
    parent, origin, clone, point = await linked_clone(story, volume=volume)
    outcome = await story.send(branch(clone, point, (parent, origin), volume=volume))
    assert outcome.failure is None
    assert outcome.sent_bytes < 2 * MIB, "the origin has 8"
    replica = await story.replica(clone)
    assert replica.origin == f"{parent.target}@{origin.name}"
    assert [s.guid for s in replica.snapshots] == [point.guid]
    assert replica.properties[LINEAGE] == clone.lineage
    assert replica.readonly
    assert not replica.mounted
    await world.source.write(clone.source, MIB)
    (second,) = await story.point(clone)
    assert (await story.send(increment(clone, second, point))).failure is None


@pytest.mark.rule("Resume tokens are untrusted input")
async def test_a_cut_seed_of_a_clone_goes_on_from_its_token(world: ContractWorld) -> None:
    story = Story(world)
    parent, origin, clone, point = await linked_clone(story, differs=4 * MIB)
    world.cut_next(2 * MIB)
    assert reason(await story.send(branch(clone, point, (parent, origin)))) == "TransferFailed"
    partial = await story.replica(clone)
    assert partial.snapshots == ()
    assert partial.token is not None
    assert (partial.token.to_guid, partial.token.from_guid) == (point.guid, origin.guid)
    outcome = await story.send(resume(clone, point, partial.token.text, of_seed=True))
    assert outcome.failure is None
    replica = await story.replica(clone)
    assert (replica.origin, replica.token) == (f"{parent.target}@{origin.name}", None)
    assert [s.guid for s in replica.snapshots] == [point.guid]
    assert replica.properties[LINEAGE] == clone.lineage


@pytest.mark.rule("Proven base")
async def test_a_clone_branches_off_nothing_but_the_planned_snapshot(world: ContractWorld) -> None:
    story = Story(world)
    parent, origin, clone, point = await linked_clone(story)
    wrong = _off(branch(clone, point, (parent, origin)), guid=Guid(origin.guid + 1))
    assert reason(await story.send(wrong)) in ("NameCollision", "TransferFailed")
    assert not await world.target.exists(clone.target)


def _off(transfer: Transfer, **other: object) -> Transfer:
    assert isinstance(transfer.how, Branch)
    origin = replace(transfer.how.origin, **other)  # type: ignore[arg-type]
    return replace(transfer, how=replace(transfer.how, origin=origin))


async def linked_clone(
    story: Story, *, volume: bool = True, differs: int = MIB // 2
) -> tuple[Member, MadeSnapshot, Member, MadeSnapshot]:
    """A replica of 8 MiB, seeded up to a snapshot that is not ours; a clone of that, with a point,
    which is not at the target.
    """
    source = story.world.source
    await story.claim()
    parent = await story.member("base", volume=volume, size=8 * MIB)
    full = f"{parent.source}@__base__"
    await source.snapshot(full)
    origin = MadeSnapshot(
        dataset=parent.source,
        name="__base__",
        guid=await source.guid(full),
        createtxg=0,
        bookmarks=(),
    )
    assert (await story.send(seed(parent, origin, volume=volume))).failure is None
    await source.clone(full, f"{source.root}/guest")
    clone = await story.known("guest")
    await source.write(clone.source, differs)
    (point,) = await story.point(clone)
    return parent, origin, clone, point
