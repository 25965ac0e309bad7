"""Contract of `RolePort`: all members or none, by identity, under the fence."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence

import pytest

from backstay.domain.errors import BackstayError, Waiting
from backstay.domain.moves import NewClone, Promotion
from backstay.domain.roles import (
    PRIMARY,
    ROLE_EPOCH,
    SECONDARY,
    CloneRef,
    DiscardClones,
    HaltReceives,
    OpenPromoted,
    RoleChange,
    RoleState,
    SetReadonly,
    SwapRoles,
)
from backstay.domain.zfs import LINEAGE, ROLE, Dataset, SnapshotRef
from contract.host.worlds import MIB, ContractWorld, Hands, Member, Story, seed

RULE = pytest.mark.rule("Promotion clones the point, never the head")
FENCED = pytest.mark.rule("Single writer, fenced at the host")
NONE = RoleState("", 0)


async def volumes(world: ContractWorld, *names: str) -> list[RoleChange]:
    """Volumes at the target that no role was ever set on."""
    made = []
    for name in names:
        dataset = f"{world.target.root}/{name}"
        await world.target.create(dataset, volume=True)
        guid = await world.target.guid(dataset)
        made.append(RoleChange(dataset=dataset, guid=guid, found=NONE))
    return made


async def roles(hands: Hands, changes: Sequence[RoleChange]) -> list[tuple[str | None, str | None]]:
    """Role and roleEpoch as set on each member itself."""
    return [
        (await hands.local(c.dataset, ROLE), await hands.local(c.dataset, ROLE_EPOCH))
        for c in changes
    ]


async def outcome(act: Awaitable[object]) -> str:
    """The reason of an act that was refused; empty when it was done."""
    try:
        await act
    except BackstayError as error:
        return error.reason
    return ""


# --- compare and swap ---------------------------------------------------------------------------


@RULE
async def test_roles_are_swapped_for_all_members_or_none(world: ContractWorld) -> None:
    story = Story(world)
    await story.claim()
    changes = await volumes(world, "d0", "d1", "d2")
    to = RoleState(PRIMARY, 3)
    await world.target.set(changes[2].dataset, ROLE, SECONDARY)
    with pytest.raises(Waiting) as error:
        await story.target.swap_roles(SwapRoles(changes=tuple(changes), to=to))
    assert error.value.reason == "RoleChanged"
    assert await roles(world.target, changes) == [(None, None), (None, None), (SECONDARY, None)]
    changes[2] = RoleChange(
        dataset=changes[2].dataset, guid=changes[2].guid, found=RoleState(SECONDARY, 0)
    )
    await story.target.swap_roles(SwapRoles(changes=tuple(changes), to=to))
    assert await roles(world.target, changes) == [(PRIMARY, "3")] * 3
    # Asked for again, it finds what it did, and says so.
    assert (
        await outcome(story.target.swap_roles(SwapRoles(changes=tuple(changes), to=to)))
        == "RoleChanged"
    )


@RULE
async def test_another_dataset_of_that_name_is_not_swapped(world: ContractWorld) -> None:
    story = Story(world)
    await story.claim()
    changes = await volumes(world, "d0", "d1")
    await world.target.destroy(changes[1].dataset)
    step = SwapRoles(changes=tuple(changes), to=RoleState(PRIMARY, 1))
    assert await outcome(story.target.swap_roles(step)) == "RoleChanged"
    await world.target.create(changes[1].dataset, volume=True)
    assert await outcome(story.target.swap_roles(step)) == "RoleChanged"
    assert await roles(world.target, changes) == [(None, None), (None, None)]


@RULE
async def test_a_role_that_a_parent_has_is_not_the_childs(world: ContractWorld) -> None:
    story = Story(world)
    await story.claim()
    root = world.target.root
    await world.target.set(root, ROLE, PRIMARY)
    await world.target.set(root, ROLE_EPOCH, "9")
    changes = await volumes(world, "d0")
    step = SwapRoles(changes=tuple(changes), to=RoleState(SECONDARY, 1))
    await story.target.swap_roles(step)
    assert await roles(world.target, changes) == [(SECONDARY, "1")]
    (found,) = await story.look(story.target, changes[0].dataset)
    assert found is not None
    assert found.properties == {ROLE: SECONDARY, ROLE_EPOCH: "1"}


@RULE
@FENCED
@pytest.mark.fault("two operators of one installation")
async def test_of_two_operators_that_swap_exactly_one_wins(world: ContractWorld) -> None:
    first = world.port(world.target, installation=f"{world.own}-1")
    second = world.port(world.target, installation=f"{world.own}-2")
    for port in (first, second):
        await port.claim([])
    changes = await volumes(world, "d0", "d1")
    for epoch in (1, 2, 3):
        to = RoleState(PRIMARY, epoch)
        step = SwapRoles(changes=tuple(changes), to=to)
        said = await asyncio.gather(*(outcome(p.swap_roles(step)) for p in (first, second)))
        # The loser finds the winner's role, or its locks.
        assert sorted(said)[0] == ""
        assert sorted(said)[1] in ("RoleChanged", "SourceBusy")
        assert await roles(world.target, changes) == [(PRIMARY, str(epoch))] * 2
        changes = [RoleChange(dataset=c.dataset, guid=c.guid, found=to) for c in changes]


@RULE
@FENCED
@pytest.mark.fault("leader stopped for a minute and woken")
async def test_a_woken_old_leader_moves_no_role(world: ContractWorld) -> None:
    old = world.port(world.target, term=5, installation=world.own)
    await old.claim([])
    changes = await volumes(world, "d0")
    await world.port(world.target, term=6, installation=world.own).claim([])
    named = ((changes[0].dataset, changes[0].guid),)
    for act in (
        old.swap_roles(SwapRoles(changes=tuple(changes), to=RoleState(PRIMARY, 1))),
        old.set_readonly(SetReadonly(datasets=named, on=True)),
        old.open_promoted(OpenPromoted(targets=((*named[0], False),), epoch=1)),
    ):
        assert await outcome(act) in ("Superseded", "Unreachable")
    assert await roles(world.target, changes) == [(None, None)]
    assert await world.target.local(changes[0].dataset, "readonly") is None


@RULE
async def test_the_head_of_a_replica_never_becomes_primary(world: ContractWorld) -> None:
    story = Story(world)
    ((member, _),) = await story.seeded("d0")
    change = RoleChange(
        dataset=member.target, guid=await world.target.guid(member.target), found=NONE
    )
    step = SwapRoles(changes=(change,), to=RoleState(PRIMARY, 1))
    assert await outcome(story.target.swap_roles(step)) == "SourceIsReplica"
    assert await roles(world.target, [change]) == [(None, None)]


# --- demotion -----------------------------------------------------------------------------------


@RULE
@pytest.mark.parametrize("volume", [True, False])
async def test_a_source_that_is_read_only_takes_no_write(
    world: ContractWorld, volume: bool
) -> None:
    story = Story(world)
    await story.source.claim([])
    member = await story.member("d0", volume=volume)
    named = ((member.source, member.guid),)
    await story.source.set_readonly(SetReadonly(datasets=named, on=True))
    (found,) = await story.look(story.source, member.source)
    assert found is not None
    assert found.readonly
    with pytest.raises(Exception, match=r"(?i)read-?only|not permitted|failed"):
        await world.source.write(member.source, MIB)
    await story.source.set_readonly(SetReadonly(datasets=named, on=False))
    await world.source.write(member.source, MIB)


@RULE
async def test_a_source_is_demoted_while_it_is_sent(world: ContractWorld) -> None:
    """A seed takes hours; a disaster at the other target does not wait for it."""
    story = Story(world)
    await story.claim()
    await story.source.claim([])
    member = await story.member("d0", size=4 * MIB)
    (point,) = await story.point(member)
    async with world.hang_next(2 * MIB) as reached:
        running = asyncio.create_task(story.send(seed(member, point)))
        async with asyncio.timeout(60):
            await reached.wait()
        named = ((member.source, member.guid),)
        await story.source.set_readonly(SetReadonly(datasets=named, on=True))
        change = RoleChange(dataset=member.source, guid=member.guid, found=NONE)
        await story.source.swap_roles(SwapRoles(changes=(change,), to=RoleState(SECONDARY, 1)))
        assert await roles(world.source, [change]) == [(SECONDARY, "1")]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@RULE
async def test_a_secondary_and_a_replica_stay_read_only(world: ContractWorld) -> None:
    story = Story(world)
    ((member, _),) = await story.seeded("d0")
    replica = await story.replica(member)
    await story.source.claim([])
    source = RoleChange(dataset=member.source, guid=member.guid, found=NONE)
    await story.source.swap_roles(SwapRoles(changes=(source,), to=RoleState(SECONDARY, 1)))
    await world.source.set(member.source, "readonly", "on")
    for port, name, guid in (
        (story.source, member.source, member.guid),
        (story.target, replica.name, replica.guid),
    ):
        step = SetReadonly(datasets=((name, guid),), on=False)
        assert await outcome(port.set_readonly(step)) == "TargetIsPrimary"
        (found,) = await story.look(port, name)
        assert found is not None
        assert found.readonly


@pytest.mark.rule("Seed only into nothing, and only what was planned")
async def test_another_source_of_that_name_is_not_demoted(world: ContractWorld) -> None:
    story = Story(world)
    await story.source.claim([])
    member = await story.member("d0")
    await world.source.destroy(member.source)
    await world.source.create(member.source, volume=True)
    step = SetReadonly(datasets=((member.source, member.guid),), on=True)
    assert await outcome(story.source.set_readonly(step)) == "NewLineage"
    assert await world.source.local(member.source, "readonly") is None


# --- what was promoted --------------------------------------------------------------------------


async def cloned(story: Story, *, volume: bool = True) -> tuple[Member, CloneRef]:
    """A replica with one point, and a clone of it out of sight."""
    ((member, made),) = await story.seeded("d0", volume=volume)
    point = SnapshotRef(dataset=member.target, name=made.name, guid=made.guid)
    hidden = {"volmode": "none"} if volume else {"canmount": "noauto"}
    name = f"{story.world.target.root}/final"
    wanted = NewClone(snapshot=point, dataset=name, properties={"readonly": "on", **hidden})
    assert await story.target.clone([wanted]) == ()
    guid = await story.world.target.guid(name)
    return member, CloneRef(dataset=name, guid=guid, origin=point)


async def open_clone(story: Story, clone: CloneRef) -> OpenPromoted:
    """The clone is promoted and primary; the step that opens it."""
    change = RoleChange(dataset=clone.dataset, guid=clone.guid, found=NONE)
    await story.target.swap_roles(SwapRoles(changes=(change,), to=RoleState(PRIMARY, 1)))
    promotion = Promotion(dataset=clone.dataset, guid=clone.guid, origin=clone.origin)
    assert await story.target.promote([promotion]) == ()
    return OpenPromoted(targets=((clone.dataset, clone.guid, False),), epoch=1)


async def final(story: Story, clone: CloneRef) -> Dataset:
    (found,) = await story.look(story.target, clone.dataset)
    assert found is not None
    return found


@RULE
@pytest.mark.parametrize("volume", [True, False])
async def test_what_was_promoted_can_be_written_to(world: ContractWorld, volume: bool) -> None:
    story = Story(world)
    _, clone = await cloned(story, volume=volume)
    step = await open_clone(story, clone)
    for _ in range(2):  # the second time it is open already
        await story.target.open_promoted(step)
        found = await final(story, clone)
        assert (found.readonly, found.mounted) == (False, not volume)
    await world.target.write(clone.dataset, MIB)


@RULE
async def test_a_thick_volume_gets_its_space(world: ContractWorld) -> None:
    story = Story(world)
    _, clone = await cloned(story)
    step = await open_clone(story, clone)
    thick = OpenPromoted(targets=((clone.dataset, clone.guid, True),), epoch=step.epoch)
    await story.target.open_promoted(thick)
    reserved = await world.target.local(clone.dataset, "refreservation")
    assert reserved not in (None, "none", "0")


@RULE
async def test_only_the_primary_of_this_epoch_is_opened(world: ContractWorld) -> None:
    story = Story(world)
    _, clone = await cloned(story)
    target = (clone.dataset, clone.guid, False)
    early = OpenPromoted(targets=(target,), epoch=1)
    assert await outcome(story.target.open_promoted(early)) == "TargetIsPrimary"
    await open_clone(story, clone)
    late = OpenPromoted(targets=(target,), epoch=2)
    assert await outcome(story.target.open_promoted(late)) == "TargetIsPrimary"
    assert (await final(story, clone)).readonly


# --- undo ---------------------------------------------------------------------------------------


@RULE
@pytest.mark.rule("No implicit destruction")
async def test_a_clone_that_nobody_wrote_to_goes_and_only_that_one(world: ContractWorld) -> None:
    story = Story(world)
    member, clone = await cloned(story)
    step = DiscardClones(clones=(clone,))
    other = CloneRef(
        dataset=member.target, guid=await world.target.guid(member.target), origin=clone.origin
    )
    failed = await story.target.discard_clones(DiscardClones(clones=(other,)))
    assert [f.reason for f in failed] == ["NameCollision"]
    for _ in range(2):  # what is gone is gone
        assert await story.target.discard_clones(step) == ()
        assert not await world.target.exists(clone.dataset)
    assert await world.target.exists(clone.origin.full_name)


@RULE
@pytest.mark.rule("No implicit destruction")
async def test_a_clone_that_somebody_wrote_to_stays(world: ContractWorld) -> None:
    story = Story(world)
    _, clone = await cloned(story)
    await world.target.set(clone.dataset, "readonly", "off")
    await world.target.set(clone.dataset, "volmode", "default")
    await world.target.write(clone.dataset, MIB)
    await story.look(story.target, clone.dataset, sync=True)
    failed = await story.target.discard_clones(DiscardClones(clones=(clone,)))
    assert [f.reason for f in failed] == ["TargetModified"]
    assert await world.target.exists(clone.dataset)


@pytest.mark.rule("Honest dry run")
async def test_a_dry_run_moves_no_role(world: ContractWorld) -> None:
    story = Story(world)
    await story.claim()
    changes = await volumes(world, "d0")
    dry = world.dry(world.target)
    named = ((changes[0].dataset, changes[0].guid),)
    await dry.swap_roles(SwapRoles(changes=tuple(changes), to=RoleState(SECONDARY, 1)))
    await dry.set_readonly(SetReadonly(datasets=named, on=True))
    await dry.halt(HaltReceives(datasets=(changes[0].dataset,)))
    assert [argv[:2] for argv in dry.commands] == [("zfs", "program"), ("zfs", "set")]
    assert await roles(world.target, changes) == [(None, None)]
    assert await world.target.local(changes[0].dataset, LINEAGE) is None
