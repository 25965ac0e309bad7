"""Contract of `HostPort`: what is written, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backstay.domain.errors import BackstayError, Stalled, Waiting
from backstay.domain.steps import BookmarkOf, CreateParents, Prune, RestorePosture, TakeSnapshots
from backstay.domain.zfs import BookmarkRef, Guid, SnapshotRef
from contract.host.worlds import ContractWorld, Story


@pytest.mark.rule("Atomic groups")
async def test_all_members_of_a_point_have_one_txg(world: ContractWorld) -> None:
    story = Story(world)
    members = [await story.member(name) for name in ("d0", "d1", "d2")]
    made = await story.point(*members)
    assert [m.dataset for m in made] == [m.source for m in members]
    assert len({m.createtxg for m in made}) == 1
    assert [m.guid for m in made] == [
        await world.source.guid(f"{m.dataset}@{m.name}") for m in made
    ]


@pytest.mark.rule("Atomic groups")
async def test_a_point_is_taken_of_all_or_of_none(world: ContractWorld) -> None:
    story = Story(world)
    members = [await story.member(name) for name in ("d0", "d1", "d2")]
    await world.source.destroy(members[1].source)
    step = story.points(*members)
    with pytest.raises(Waiting) as error:
        await story.source.snapshot(step)
    assert error.value.reason == "SourceMissing"
    for member in (members[0], members[2]):
        assert not await world.source.exists(f"{member.source}@{step.snapshot}")


@pytest.mark.rule("Bookmark with snapshot")
async def test_a_point_has_a_bookmark_of_its_lineage(world: ContractWorld) -> None:
    story = Story(world)
    member = await story.member("d0")
    (point,) = await story.point(member)
    wanted = f"backstay_{member.lineage}_{point.guid:016x}_{point.createtxg}"
    assert point.bookmarks == (wanted,)
    (found,) = await story.look(story.source, member.source)
    assert found is not None
    (bookmark,) = found.bookmarks
    assert (bookmark.name, bookmark.guid, bookmark.createtxg) == (
        wanted,
        point.guid,
        point.createtxg,
    )


@pytest.mark.rule("Bookmark with snapshot")
async def test_a_missing_bookmark_is_made_once(world: ContractWorld) -> None:
    story = Story(world)
    member = await story.member("d0")
    (point,) = await story.point(member)
    other = "feedfacefeedface"
    step = TakeSnapshots(
        datasets=(),
        snapshot=point.name,
        bookmarks=(BookmarkOf(dataset=member.source, snapshot=point.name, lineage=other),),
    )
    for _ in range(2):
        (made,) = await story.source.snapshot(step)
        assert (made.name, made.guid, made.createtxg) == (point.name, point.guid, point.createtxg)
        assert made.bookmarks == (f"backstay_{other}_{point.guid:016x}_{point.createtxg}",)
    (found,) = await story.look(story.source, member.source)
    assert found is not None
    assert len(found.bookmarks) == 2


@pytest.mark.rule("Seed only into nothing, and only what was planned")
async def test_a_recreated_dataset_is_no_member_any_more(world: ContractWorld) -> None:
    story = Story(world)
    member = await story.member("d0")
    await world.source.destroy(member.source)
    await world.source.create(member.source, volume=True)
    step = story.points(member)
    with pytest.raises(Waiting) as error:
        await story.source.snapshot(step)
    assert error.value.reason == "NewLineage"
    (found,) = await story.look(story.source, member.source)
    assert found is not None
    assert found.bookmarks == ()


async def test_a_second_snapshot_of_one_name_is_a_collision(world: ContractWorld) -> None:
    story = Story(world)
    member = await story.member("d0")
    step = story.points(member)
    await story.source.snapshot(step)
    before = await world.source.guid(f"{member.source}@{step.snapshot}")
    with pytest.raises(Waiting) as error:
        await story.source.snapshot(step)
    assert error.value.reason == "NameCollision"
    assert await world.source.guid(f"{member.source}@{step.snapshot}") == before


async def test_parents_exist_unmounted_and_are_made_once(world: ContractWorld) -> None:
    story = Story(world)
    await story.claim()
    root = world.target.root
    step = CreateParents(root=root, datasets=(f"{root}/vm", f"{root}/vm/100"))
    await story.target.create_parents(step)
    guid = await world.target.guid(f"{root}/vm")
    await story.target.create_parents(step)
    assert await world.target.guid(f"{root}/vm") == guid
    for found in await story.look(story.target, f"{root}/vm", f"{root}/vm/100"):
        assert found is not None
        assert not found.mounted


async def test_parents_are_made_below_the_receive_root_only(world: ContractWorld) -> None:
    story = Story(world)
    await story.claim()
    root = world.target.root
    for name in (f"{root}x/vm", root, f"{root.split('/')[0]}/elsewhere"):
        with pytest.raises(BackstayError):
            await story.target.create_parents(CreateParents(root=root, datasets=(name,)))
    assert not await world.target.exists(f"{root.split('/')[0]}/elsewhere")


@pytest.mark.rule("Replica posture")
async def test_posture_is_set_on_a_replica_of_the_lineage_only(world: ContractWorld) -> None:
    story = Story(world)
    ((member, _),) = await story.seeded("d0")
    await world.target.set(member.target, "readonly", "off")
    wrong = RestorePosture(
        dataset=member.target, lineage="feedfacefeedface", properties={"readonly": "on"}
    )
    with pytest.raises(Waiting) as error:
        await story.target.restore_posture(wrong)
    assert error.value.reason == "TargetHasForeignData"
    assert await world.target.local(member.target, "readonly") == "off"
    await story.target.restore_posture(
        RestorePosture(dataset=member.target, lineage=member.lineage, properties={"readonly": "on"})
    )
    assert await world.target.local(member.target, "readonly") == "on"


async def test_a_setting_is_set_on_a_replica_and_nothing_that_exposes_it(
    world: ContractWorld,
) -> None:
    story = Story(world)
    ((member, _),) = await story.seeded("d0")
    step = RestorePosture(
        dataset=member.target, lineage=member.lineage, properties={"compression": "zstd"}
    )
    await story.target.restore_posture(step)
    assert await world.target.local(member.target, "compression") == "zstd"
    for exposed in ({"sharenfs": "on"}, {"quota": "1"}, {"sync": "disabled"}):
        with pytest.raises(BackstayError):
            await story.target.restore_posture(replace(step, properties=exposed))
    assert await world.target.local(member.target, "compression") == "zstd"


@pytest.mark.rule("Destroy by identity")
@pytest.mark.rule("Isolation")
@pytest.mark.fault("foreign holds on both sides")
async def test_pruning_goes_by_identity_and_one_failure_isolates_one_item(
    world: ContractWorld,
) -> None:
    story = Story(world)
    member = await story.member("d0")
    names = ("plain", "held", "other", "gone", "kept")
    for name in names:
        await world.source.snapshot(f"{member.source}@{name}")
    refs = {
        name: SnapshotRef(
            dataset=member.source,
            name=name,
            guid=await world.source.guid(f"{member.source}@{name}"),
        )
        for name in names
    }
    (point,) = await story.point(member)
    mark = BookmarkRef(dataset=member.source, name=point.bookmarks[0], guid=point.guid)
    await world.source.hold(f"{member.source}@held")
    await world.source.destroy(f"{member.source}@gone")
    await world.source.destroy(f"{member.source}@other")
    await world.source.snapshot(f"{member.source}@other")
    doomed = tuple(refs[name] for name in ("held", "other", "gone", "plain"))
    failures = await story.source.prune(Prune(snapshots=doomed, bookmarks=(mark,)))
    await world.source.release(f"{member.source}@held")
    assert {f.name.split("@")[1]: f.reason for f in failures} == {
        "held": "SourceBusy",
        "other": "NameCollision",
    }
    (found,) = await story.look(story.source, member.source)
    assert found is not None
    assert [s.name for s in found.snapshots] == ["held", "kept", point.name, "other"]
    assert found.bookmarks == ()


@pytest.mark.rule("Destroy by identity")
async def test_a_bookmark_with_another_guid_stays(world: ContractWorld) -> None:
    story = Story(world)
    member = await story.member("d0")
    (point,) = await story.point(member)
    mark = BookmarkRef(dataset=member.source, name=point.bookmarks[0], guid=Guid(point.guid + 1))
    (failed,) = await story.source.prune(Prune(snapshots=(), bookmarks=(mark,)))
    assert failed.reason == "NameCollision"
    assert await world.source.exists(mark.full_name)


@pytest.mark.rule("Honest dry run")
async def test_a_dry_run_names_the_commands_and_changes_nothing(world: ContractWorld) -> None:
    story = Story(world)
    member = await story.member("d0")
    (point,) = await story.point(member)
    before = await story.look(story.source, member.source)
    dry = world.dry(world.source)
    step = story.points(member)
    (made,) = await dry.snapshot(step)
    assert made.name == step.snapshot
    ref = SnapshotRef(dataset=member.source, name=point.name, guid=point.guid)
    assert await dry.prune(Prune(snapshots=(ref,), bookmarks=())) == ()
    verbs = [argv[:2] for argv in dry.commands]
    assert ("zfs", "snapshot") in verbs
    assert ("zfs", "destroy") in verbs
    assert ("zfs", "snapshot", f"{member.source}@{step.snapshot}") in dry.commands
    assert await story.look(story.source, member.source) == before


@pytest.mark.rule("Honest dry run")
async def test_a_dry_claim_and_dry_parents_leave_the_target_alone(world: ContractWorld) -> None:
    dry = world.dry(world.target)
    root = world.target.root
    (state,) = await dry.claim([root])
    assert state.outcome == "Held"
    await dry.create_parents(CreateParents(root=root, datasets=(f"{root}/vm",)))
    assert any(argv[:2] == ("zfs", "create") and argv[-1] == f"{root}/vm" for argv in dry.commands)
    assert not await world.target.exists(f"{root}/vm")
    assert await world.target.local(root, "dev.backstay:writer") is None


@pytest.mark.rule("Atomic groups")
async def test_members_of_two_pools_are_not_one_point(world: ContractWorld) -> None:
    story = Story(world)
    member = await story.member("d0")
    step = story.points(member)
    both = TakeSnapshots(
        datasets=(*step.datasets, ("backup", Guid(1))), snapshot=step.snapshot, bookmarks=()
    )
    with pytest.raises((Waiting, Stalled)):
        await story.source.snapshot(both)
    assert not await world.source.exists(f"{member.source}@{step.snapshot}")
