"""Contract of `HostPort`: which dataset a name stands for, and who is whose clone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from backstay.domain.moves import (
    ASIDE_OF,
    RESOLVED_BY,
    Mark,
    Move,
    NewClone,
    Promotion,
    Rewind,
    aside_root,
)
from backstay.domain.steps import ItemFailure, MadeSnapshot
from backstay.domain.zfs import LINEAGE, Dataset, DatasetKind, Guid, SnapshotRef
from contract.host.worlds import MIB, ContractWorld, Member, Story, increment, seed

POSTURE = {
    True: {"readonly": "on", "volmode": "none"},
    False: {"readonly": "on", "canmount": "noauto"},
}


@asynccontextmanager
async def aside(world: ContractWorld) -> AsyncIterator[str]:
    """A name at the target that nobody else sets anything aside at."""
    name = f"{aside_root(world.target.root)}/{world.own.replace('/', '-')}"
    try:
        yield name
    finally:
        if await world.target.exists(name):
            await world.target.destroy(name)


def ref(dataset: str, made: MadeSnapshot) -> SnapshotRef:
    return SnapshotRef(dataset=dataset, name=made.name, guid=made.guid)


def move(found: Dataset, to: str) -> Move:
    return Move(dataset=found.name, guid=found.guid, to=to, kind=found.kind)


def reasons(failures: Sequence[ItemFailure]) -> list[tuple[str, str]]:
    return [(failure.name, failure.reason) for failure in failures]


async def ahead(
    story: Story, name: str = "d0", *, volume: bool = True
) -> tuple[Member, MadeSnapshot, MadeSnapshot]:
    """A replica with two points, and both as made at the source."""
    ((member, first),) = await story.seeded(name, volume=volume)
    await story.world.source.write(member.source, MIB)
    (second,) = await story.point(member)
    assert (await story.send(increment(member, second, first))).failure is None
    return member, first, second


@pytest.mark.parametrize("volume", [True, False])
async def test_a_rename_takes_along_what_a_dataset_is_and_has(
    world: ContractWorld, volume: bool
) -> None:
    story = Story(world)
    ((member, point),) = await story.seeded("d0", volume=volume)
    before = await story.replica(member)
    async with aside(world) as name:
        for _ in range(2):  # the second time it is there already
            assert await story.target.rename([move(before, name)]) == ()
            (found,) = await story.look(story.target, name)
            assert found is not None
            assert (found.guid, found.properties) == (before.guid, before.properties)
            assert [s.guid for s in found.snapshots] == [point.guid]
            assert not found.mounted
        assert not await world.target.exists(member.target)


async def test_a_rename_takes_along_what_is_below(world: ContractWorld) -> None:
    story = Story(world)
    ((parent, _),) = await story.seeded("t", volume=False)
    child = await story.member("t/c", volume=False)
    (made,) = await story.point(child)
    assert (await story.send(seed(child, made, volume=False))).failure is None
    before = await story.replica(child)
    async with aside(world) as name:
        assert await story.target.rename([move(await story.replica(parent), name)]) == ()
        (found,) = await story.look(story.target, f"{name}/c")
        assert found is not None
        assert found.guid == before.guid


@pytest.mark.rule("Destroy by identity")
@pytest.mark.rule("Isolation")
async def test_a_rename_of_another_dataset_or_onto_one_is_refused_alone(
    world: ContractWorld,
) -> None:
    story = Story(world)
    pairs = await story.seeded("d0", "d1", "d2")
    d0, d1, d2 = [await story.replica(member) for member, _ in pairs]
    async with aside(world) as name:
        failures = await story.target.rename(
            [
                replace(move(d0, name), guid=Guid(d0.guid + 1)),
                move(d1, d2.name),
                move(d2, name),
            ]
        )
        assert reasons(failures) == [(d0.name, "NameCollision"), (d1.name, "NameCollision")]
        assert [await world.target.exists(d.name) for d in (d0, d1, d2)] == [True, True, False]


@pytest.mark.parametrize("volume", [True, False])
@pytest.mark.fault("source rolled back, target ahead")
async def test_a_replica_that_is_ahead_goes_on_from_its_base(
    world: ContractWorld, volume: bool
) -> None:
    """Rename, clone, promote: only the delta travels, and all that was ahead is kept aside."""
    story = Story(world)
    member, first, second = await ahead(story, volume=volume)
    await world.source.destroy(f"{member.source}@{second.name}")
    (third,) = await story.point(member)
    before = await story.replica(member)
    async with aside(world) as name:
        assert await story.target.rename([move(before, name)]) == ()
        wanted = NewClone(
            snapshot=ref(name, first),
            dataset=member.target,
            properties={**POSTURE[volume], LINEAGE: member.lineage},
        )
        for _ in range(2):
            assert await story.target.clone([wanted]) == ()
        clone = await story.replica(member)
        assert clone.origin == f"{name}@{first.name}"
        assert (clone.readonly, clone.mounted) == (True, False)
        promotion = Promotion(dataset=member.target, guid=clone.guid, origin=ref(name, first))
        for _ in range(2):
            assert await story.target.promote([promotion]) == ()
        promoted, kept = await story.look(story.target, member.target, name)
        assert promoted is not None
        assert kept is not None
        assert (promoted.guid, promoted.origin) == (clone.guid, None)
        assert promoted.properties == {LINEAGE: member.lineage}
        assert [s.guid for s in promoted.snapshots] == [first.guid]
        assert [s.guid for s in kept.snapshots] == [second.guid]
        assert kept.origin == f"{member.target}@{first.name}"
        outcome = await story.send(increment(member, third, first))
        assert outcome.failure is None
        assert await story.replica_guids([member]) == [[first.guid, third.guid]]


@pytest.mark.rule("Destroy by identity")
async def test_a_clone_is_made_of_the_planned_snapshot_and_over_nothing(
    world: ContractWorld,
) -> None:
    story = Story(world)
    (d0, first), (d1, _) = await story.seeded("d0", "d1")
    point = ref(d0.target, first)
    wanted = NewClone(snapshot=point, dataset=f"{world.target.root}/c", properties=POSTURE[True])
    failures = await story.target.clone(
        [
            replace(wanted, snapshot=replace(point, guid=Guid(point.guid + 1))),
            replace(wanted, dataset=d1.target),
        ]
    )
    assert reasons(failures) == [(wanted.dataset, "NameCollision"), (d1.target, "NameCollision")]
    assert not await world.target.exists(wanted.dataset)


async def test_what_is_no_clone_is_not_promoted(world: ContractWorld) -> None:
    story = Story(world)
    (d0, first), (d1, _) = await story.seeded("d0", "d1")
    here = await story.replica(d1)
    failures = await story.target.promote(
        [Promotion(dataset=d1.target, guid=here.guid, origin=ref(d0.target, first))]
    )
    assert [f.name for f in failures] == [d1.target]
    assert (await story.replica(d0)).origin is None


@pytest.mark.rule("No implicit destruction")
async def test_a_rollback_loses_exactly_what_was_named(world: ContractWorld) -> None:
    story = Story(world)
    member, first, second = await ahead(story)
    await world.target.snapshot(f"{member.target}@foreign")
    here = await story.replica(member)
    foreign = here.snapshots[-1]
    named = (
        ref(member.target, second),
        SnapshotRef(dataset=member.target, name=foreign.name, guid=foreign.guid),
    )
    rewind = Rewind(
        dataset=member.target,
        guid=here.guid,
        to=ref(member.target, first),
        lose=named,
        written_bytes=here.written_bytes or 0,
        properties={RESOLVED_BY: "a1"},
    )
    void = (
        replace(rewind, lose=named[:1]),
        replace(rewind, lose=(*named, replace(named[0], name="more"))),
        replace(rewind, lose=(named[0], replace(named[1], guid=Guid(foreign.guid + 1)))),
        replace(rewind, written_bytes=rewind.written_bytes + 512),
    )
    for other in void:
        assert reasons(await story.target.rollback([other])) == [(member.target, "ApprovalVoid")]
        assert await story.replica(member) == here
    assert await story.target.rollback([rewind]) == ()
    after = await story.replica(member)
    assert [s.guid for s in after.snapshots] == [first.guid]
    assert after.properties[RESOLVED_BY] == "a1"
    assert after.guid == here.guid


@pytest.mark.rule("No implicit destruction")
async def test_a_rollback_to_the_newest_point_loses_what_was_written_since(
    world: ContractWorld,
) -> None:
    story = Story(world)
    ((member, first),) = await story.seeded("d0")
    await world.target.set(member.target, "volmode", "default")
    await world.target.set(member.target, "readonly", "off")
    await world.target.write(member.target, MIB)
    (here,) = await story.look(story.target, member.target, sync=True)
    assert here is not None
    assert here.written_bytes
    rewind = Rewind(
        dataset=member.target,
        guid=here.guid,
        to=ref(member.target, first),
        lose=(),
        written_bytes=here.written_bytes,
    )
    assert await story.target.rollback([rewind]) == ()
    assert (await story.replica(member)).written_bytes == 0


@pytest.mark.rule("No implicit destruction")
@pytest.mark.fault("foreign holds on both sides")
async def test_a_rollback_past_a_hold_loses_nothing(world: ContractWorld) -> None:
    story = Story(world)
    member, first, second = await ahead(story)
    await world.target.snapshot(f"{member.target}@foreign")
    here = await story.replica(member)
    await world.target.hold(f"{member.target}@{second.name}")
    rewind = Rewind(
        dataset=member.target,
        guid=here.guid,
        to=ref(member.target, first),
        lose=tuple(
            SnapshotRef(dataset=s.dataset, name=s.name, guid=s.guid) for s in here.snapshots[1:]
        ),
        written_bytes=here.written_bytes or 0,
    )
    failures = await story.target.rollback([rewind])
    await world.target.release(f"{member.target}@{second.name}")
    assert reasons(failures) == [(member.target, "SourceBusy")]
    assert (await story.replica(member)).snapshots == here.snapshots


async def test_properties_are_set_and_cleared_by_identity(world: ContractWorld) -> None:
    story = Story(world)
    ((member, _),) = await story.seeded("d0")
    here = await story.replica(member)
    mark = Mark(
        dataset=member.target,
        guid=here.guid,
        properties={ASIDE_OF: "backup/x/d0"},
        clear=(LINEAGE,),
    )
    other = replace(mark, guid=Guid(here.guid + 1))
    assert reasons(await story.target.label([other])) == [(member.target, "NameCollision")]
    assert (await story.replica(member)).properties == here.properties
    for _ in range(2):
        assert await story.target.label([mark]) == ()
    after = (await story.replica(member)).properties
    assert after[ASIDE_OF] == "backup/x/d0"
    assert LINEAGE not in after


@pytest.mark.rule("Single writer, fenced at the host")
async def test_another_installations_replicas_keep_their_names(world: ContractWorld) -> None:
    story = Story(world)
    ((member, first),) = await story.seeded("d0")
    here = await story.replica(member)
    stranger = world.port(world.target, installation=world.own)
    await stranger.claim([])
    point = ref(member.target, first)
    rewind = Rewind(dataset=member.target, guid=here.guid, to=point, lose=(), written_bytes=0)
    async with aside(world) as name:
        wanted = NewClone(snapshot=point, dataset=name, properties=POSTURE[True])
        mark = Mark(dataset=member.target, guid=here.guid, properties={ASIDE_OF: "backup/x"})
        for failures in (
            await stranger.rename([move(here, name)]),
            await stranger.clone([wanted]),
            await stranger.rollback([rewind]),
            await stranger.label([mark]),
        ):
            assert [f.reason for f in failures] == ["ForeignWriter"]
        assert not await world.target.exists(name)
    assert await story.replica(member) == here


@pytest.mark.rule("Honest dry run")
async def test_a_dry_run_of_a_divergence_names_the_commands_and_changes_nothing(
    world: ContractWorld,
) -> None:
    story = Story(world)
    member, first, second = await ahead(story)
    here = await story.replica(member)
    dry = world.dry(world.target)
    async with aside(world) as name:
        await dry.label([Mark(dataset=here.name, guid=here.guid, properties={ASIDE_OF: "x"})])
        await dry.rename([move(here, name)])
        wanted = NewClone(snapshot=ref(name, first), dataset=here.name, properties={})
        await dry.clone([wanted])
        await dry.promote([Promotion(dataset=here.name, guid=Guid(1), origin=ref(name, first))])
        await dry.rollback(
            [
                Rewind(
                    dataset=here.name,
                    guid=here.guid,
                    to=ref(here.name, first),
                    lose=(ref(here.name, second),),
                    written_bytes=here.written_bytes or 0,
                )
            ]
        )
        said = [argv for argv in dry.commands if argv[1] != "create"]
        assert [argv[1] for argv in said] == [
            "set",
            "rename",
            "clone",
            "promote",
            "destroy",
            "rollback",
        ]
        assert said[2] == ("zfs", "clone", f"{name}@{first.name}", here.name)
        assert not await world.target.exists(name)
    assert here.kind is DatasetKind.VOLUME
    assert await story.replica(member) == here


@pytest.mark.rule("Proven base")
@pytest.mark.parametrize("volume", [True, False])
async def test_a_replica_that_was_renamed_goes_on_from_its_base(
    world: ContractWorld, volume: bool
) -> None:
    """At both ends: GUIDs, properties and bookmarks outlive the name; only the delta travels."""
    story = Story(world)
    ((member, first),) = await story.seeded("d0", volume=volume)
    before = await story.replica(member)
    renamed = replace(member, source=f"{world.source.root}/d9", target=f"{world.target.root}/d9")
    await world.source.rename(member.source, renamed.source)
    assert await story.target.rename([move(before, renamed.target)]) == ()
    (source,) = await story.look(story.source, renamed.source)
    after = await story.replica(renamed)
    assert source is not None
    assert source.guid == member.guid
    assert [(b.name, b.guid) for b in source.bookmarks] == [(first.bookmarks[0], first.guid)]
    assert (after.guid, after.properties) == (before.guid, before.properties)
    assert (after.readonly, after.mounted) == (True, False)
    await world.source.write(renamed.source, MIB)
    (second,) = await story.point(renamed)
    outcome = await story.send(increment(renamed, second, first, bookmark=True))
    assert outcome.failure is None
    assert await story.replica_guids([renamed]) == [[first.guid, second.guid]]
