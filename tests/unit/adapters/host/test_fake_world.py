"""What the fake hosts add to the contract: virtual time, faults that replay, an account of all."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from backstay.domain.errors import Unreachable, Waiting
from backstay.domain.steps import CreateParents, Prune, TakeSnapshots
from backstay.domain.zfs import Guid, SnapshotRef
from backstay.ports.host import SurveyRequest
from contract.host.fake_world import FakeContractWorld
from contract.host.worlds import MIB, Story, increment, seed
from fakes.faults import When
from fakes.world import GIB, TXG_S, FakeHost, World
from fakes.zfs import ZfsError


def look(name: str) -> SurveyRequest:
    """A survey of one dataset without a sync."""
    return SurveyRequest(roots=((name, True),), sync=False)


def one_host() -> tuple[World, FakeHost]:
    """A world with one host, one volume."""
    world = World()
    host = world.host("fra/zfs-a", pools={"tank": 1 * GIB})
    host.create("tank/d0", volume=True)
    return world, host


async def written(host: FakeHost, name: str = "tank/d0") -> int | None:
    """`written` as a survey without sync shows it."""
    return (await host.port().survey(look(name))).datasets[name].written_bytes


async def test_a_write_is_invisible_until_a_sync_or_a_txg() -> None:
    world, host = one_host()
    host.write("tank/d0", 4096)
    assert await written(host) == 0
    world.advance(TXG_S)
    assert await written(host) == 4096
    host.write("tank/d0", 4096)
    await host.port().survey(SurveyRequest(roots=(("tank/d0", False),), sync=True))
    assert await written(host) == 8192


async def test_a_power_loss_takes_what_was_not_synced() -> None:
    world, host = one_host()
    host.write("tank/d0", 4096)
    host.reboot()
    world.advance(TXG_S)
    assert await written(host) == 0


async def test_time_passes_only_when_told() -> None:
    world, host = one_host()
    began = world.now
    await host.port().hello()
    assert world.now == began
    host.latency_s = 0.5
    await host.port().hello()
    assert (world.now - began).total_seconds() == 0.5
    assert world.monotonic_s == 0.5


@pytest.mark.parametrize(
    ("when", "snapshots", "bookmarks"), [("before", 0, 0), ("middle", 1, 0), ("after", 1, 1)]
)
async def test_a_request_fails_before_amid_or_after_its_effect(
    when: When, snapshots: int, bookmarks: int
) -> None:
    fake = FakeContractWorld()
    story = Story(fake)
    member = await story.member("d0")
    fake.source.host.faults.fail("snapshot", when=when)
    with pytest.raises(Unreachable):
        await story.point(member)
    dataset = fake.source.host.dataset(member.source)
    assert (len(dataset.snapshots), len(dataset.bookmarks)) == (snapshots, bookmarks)
    await story.point(member)


async def test_the_nth_request_fails_once() -> None:
    _, host = one_host()
    host.faults.fail("hello", nth=2, error=Waiting("Timeout", "slow"))
    await host.port().hello()
    with pytest.raises(Waiting):
        await host.port().hello()
    await host.port().hello()
    assert host.requests["hello"] == 3


async def test_random_faults_replay_from_their_seed() -> None:
    async def run() -> list[bool]:
        _, host = one_host()
        host.faults.fail_randomly(0.5, Random(7))
        done = []
        for _ in range(30):
            try:
                await host.port().hello()
                done.append(True)
            except Unreachable:
                done.append(False)
        return done

    first = await run()
    assert first == await run()
    assert set(first) == {True, False}


async def test_equal_seeds_make_equal_worlds() -> None:
    listings = []
    for _ in range(2):
        story = Story(FakeContractWorld())
        ((member, _),) = await story.seeded("d0")
        listings.append(await story.replica(member))
    assert listings[0] == listings[1]


async def test_a_lost_acknowledgement_leaves_the_point_at_the_target() -> None:
    fake = FakeContractWorld()
    story = Story(fake)
    ((member, first),) = await story.seeded("d0")
    (second,) = await story.point(member)
    fake.world.transfer_faults.lose_acknowledgement()
    outcome = await story.send(increment(member, second, first))
    assert outcome.completed == 0
    assert outcome.failure is not None
    assert await story.replica_guids([member]) == [[first.guid, second.guid]]


async def test_a_garbled_byte_commits_nothing() -> None:
    fake = FakeContractWorld()
    story = Story(fake)
    ((member, first),) = await story.seeded("d0")
    (second,) = await story.point(member)
    fake.world.transfer_faults.garble()
    outcome = await story.send(increment(member, second, first))
    assert outcome.failure is not None
    assert await story.replica_guids([member]) == [[first.guid]]


async def test_a_new_leader_ends_the_streams_of_the_old_one() -> None:
    fake = FakeContractWorld()
    story = Story(fake)
    await story.claim()
    member = await story.member("d0")
    (point,) = await story.point(member)
    async with fake.hang_next(4096) as reached:
        running = asyncio.create_task(story.send(seed(member, point)))
        await reached.wait()
        await fake.port(fake.target, term=2).claim([fake.target.root])
        outcome = await running
    assert outcome.failure is not None
    assert "killed" in outcome.failure.message
    assert (await story.replica(member)).snapshots == ()


async def test_a_rename_during_a_receive_fails_it() -> None:
    fake = FakeContractWorld()
    story = Story(fake)
    ((member, first),) = await story.seeded("d0")
    await fake.source.write(member.source, MIB)
    (second,) = await story.point(member)
    async with fake.hang_next(4096) as reached:
        running = asyncio.create_task(story.send(increment(member, second, first)))
        await reached.wait()
        fake.target.host.rename(member.target, f"{fake.target.root}/aside")
    outcome = await running
    assert outcome.failure is not None
    aside = fake.target.host.dataset(f"{fake.target.root}/aside")
    assert [s.guid for s in aside.snapshots] == [first.guid]


async def test_replicas_hold_what_the_source_held_at_the_point() -> None:
    fake = FakeContractWorld()
    story = Story(fake)
    ((member, first),) = await story.seeded("d0")
    at_first = fake.source.host.content(f"{member.source}@{first.name}")
    await fake.source.write(member.source, MIB)
    assert fake.target.host.content(member.target) == at_first
    assert fake.source.host.content(member.source) != at_first


async def test_an_exported_pool_is_absent_and_comes_back() -> None:
    _, host = one_host()
    host.export_pool("tank")
    listing = await host.port().survey(look("tank/d0"))
    assert (listing.absent, listing.pools) == (("tank/d0",), ())
    host.import_pool("tank")
    assert list((await host.port().survey(look("tank/d0"))).datasets) == ["tank/d0"]


async def test_space_is_taken_and_given_back() -> None:
    _, host = one_host()
    host.write("tank/d0", 400 * MIB)
    host.snapshot("tank/d0@a")
    host.write("tank/d0", 500 * MIB, overwrite=True)
    host.snapshot("tank/d0@b")
    with pytest.raises(ZfsError) as full:
        host.write("tank/d0", 400 * MIB, overwrite=True)
    assert full.value.reason == "InsufficientSpace"
    ref = SnapshotRef(dataset="tank/d0", name="a", guid=host.guid("tank/d0@a"))
    assert await host.port().prune(Prune(snapshots=(ref,), bookmarks=())) == ()
    host.write("tank/d0", 400 * MIB, overwrite=True)


async def test_a_read_only_dataset_takes_no_write_by_hand() -> None:
    _, host = one_host()
    host.set("tank", "readonly", "on")
    with pytest.raises(ZfsError):
        host.write("tank/d0", 4096)


@pytest.mark.parametrize("kept", [True, False])
async def test_a_clone_keeps_its_origin_until_it_is_promoted(kept: bool) -> None:
    _, host = one_host()
    host.snapshot("tank/d0@a")
    host.clone("tank/d0@a", "tank/c")
    ref = SnapshotRef(dataset="tank/d0", name="a", guid=host.guid("tank/d0@a"))
    if not kept:
        host.promote("tank/c")
        assert host.dataset("tank/d0").origin == "tank/c@a"
    failures = await host.port().prune(Prune(snapshots=(ref,), bookmarks=()))
    assert bool(failures) is kept
    assert host.exists("tank/d0@a") is kept


async def test_a_busy_dataset_is_busy_for_as_often_as_told() -> None:
    _, host = one_host()
    host.busy_for["tank/d0"] = 1
    step = TakeSnapshots(
        datasets=(("tank/d0", host.guid("tank/d0")),), snapshot="backstay_x", bookmarks=()
    )
    with pytest.raises(Waiting) as error:
        await host.port().snapshot(step)
    assert error.value.reason == "SourceBusy"
    await host.port().snapshot(step)


async def test_all_that_was_run_is_on_record_and_none_of_it_destroys_blindly() -> None:
    fake = FakeContractWorld()
    story = Story(fake)
    ((member, first),) = await story.seeded("d0")
    root = fake.target.root
    await story.target.create_parents(CreateParents(root=root, datasets=(f"{root}/vm",)))
    gone = SnapshotRef(dataset=member.source, name=first.name, guid=Guid(first.guid))
    await story.source.prune(Prune(snapshots=(gone,), bookmarks=()))
    verbs = [argv[1] for argv in fake.world.commands]
    assert verbs == ["snapshot", "bookmark", "send", "destroy", "set", "receive", "create"]
    before = len(fake.world.commands)
    await story.target.survey(look(root))
    assert len(fake.world.commands) == before
