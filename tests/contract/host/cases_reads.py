"""Contract of `HostPort`: what is read is what is there."""

from __future__ import annotations

import asyncio

import pytest

from backstay.domain.errors import Unreachable
from backstay.domain.zfs import DatasetKind
from backstay.ports.host import SurveyRequest
from backstay_host.points import SETTLED_S
from contract.host.worlds import MIB, ContractWorld, Story


async def test_hello_tells_the_versions_and_the_pools(world: ContractWorld) -> None:
    facts = await world.port(world.source).hello()
    assert facts.zfs_version.startswith("2.")
    assert facts.python_version.startswith("3.")
    assert facts.uid == 0
    (pool,) = [p for p in facts.pools if p.name == world.source.root.split("/")[0]]
    assert pool.health == "ONLINE"
    assert 0 < pool.free_bytes <= pool.size_bytes


async def test_a_survey_is_complete_for_its_roots(world: ContractWorld) -> None:
    root = world.source.root
    for name in ("tree", "tree/b", "tree/a", "alone", "alone/below"):
        await world.source.create(f"{root}/{name}")
    await world.source.create(f"{root}/tree/vol", volume=True)
    request = SurveyRequest(roots=((f"{root}/tree", True), (f"{root}/alone", False)), sync=True)
    listing = await world.port(world.source).survey(request)
    assert list(listing.datasets) == [
        f"{root}/{name}" for name in ("alone", "tree", "tree/a", "tree/b", "tree/vol")
    ]
    volume = listing.datasets[f"{root}/tree/vol"]
    assert volume.kind is DatasetKind.VOLUME
    assert volume.volsize_bytes
    assert listing.datasets[f"{root}/tree"].kind is DatasetKind.FILESYSTEM
    assert listing.datasets[f"{root}/tree"].volsize_bytes is None
    assert volume.guid == await world.source.guid(volume.name)


async def test_settings_are_listed_where_they_are_set_and_when_they_are_asked_for(
    world: ContractWorld,
) -> None:
    root = world.source.root
    for name in ("set", "set/below"):
        await world.source.create(f"{root}/{name}")
    for key, value in (("compression", "zstd"), ("recordsize", "16384"), ("atime", "off")):
        await world.source.set(f"{root}/set", key, value)
    asked = SurveyRequest(roots=((f"{root}/set", True),), sync=False, settings=True)
    found = (await world.port(world.source).survey(asked)).datasets
    assert found[f"{root}/set"].settings == {"compression": "zstd", "recordsize": "16384"}
    assert found[f"{root}/set/below"].settings == {}, "inherited"
    plain = SurveyRequest(roots=asked.roots, sync=False)
    found = (await world.port(world.source).survey(plain)).datasets
    assert found[f"{root}/set"].settings == {}


async def test_what_does_not_exist_is_absent(world: ContractWorld) -> None:
    root = world.source.root
    roots = ((f"{root}/nothing", True), ("nopool/x", False), (root, False))
    listing = await world.port(world.source).survey(SurveyRequest(roots=roots, sync=True))
    assert set(listing.absent) == {f"{root}/nothing", "nopool/x"}
    assert list(listing.datasets) == [root]


async def test_what_cannot_be_reached_is_not_absent(world: ContractWorld) -> None:
    port = world.unreachable()
    with pytest.raises(Unreachable):
        await port.survey(SurveyRequest(roots=(("tank/x", False),), sync=False))


async def test_points_are_listed_oldest_first_with_their_identity(world: ContractWorld) -> None:
    story = Story(world)
    member = await story.member("d0")
    for name in ("zz", "mm", "aa"):
        await world.source.snapshot(f"{member.source}@{name}")
    (found,) = await story.look(story.source, member.source)
    assert found is not None
    assert [s.name for s in found.snapshots] == ["zz", "mm", "aa"]
    assert [s.guid for s in found.snapshots] == [
        await world.source.guid(s.full_name) for s in found.snapshots
    ]
    assert len({s.createtxg for s in found.snapshots}) == 3


@pytest.mark.rule("RPO truth")
async def test_written_counts_since_the_newest_snapshot_that_we_made(world: ContractWorld) -> None:
    story = Story(world)
    member = await story.member("d0")
    (fresh,) = await story.look(story.source, member.source, sync=True)
    assert fresh is not None
    assert fresh.written_since is None
    assert fresh.written_bytes

    (point,) = await story.point(member)
    (unchanged,) = await story.look(story.source, member.source, sync=True)
    assert unchanged is not None
    assert unchanged.written_since is not None
    assert unchanged.written_since.snapshot == point.name
    assert unchanged.written_since.size_bytes == 0

    await world.source.write(member.source, MIB)
    await world.source.snapshot(f"{member.source}@foreign")
    (changed,) = await story.look(story.source, member.source, sync=True)
    assert changed is not None
    assert changed.written_bytes == 0
    assert changed.written_since is not None
    assert changed.written_since.snapshot == point.name
    assert changed.written_since.size_bytes
    assert changed.written_since.size_bytes >= MIB


@pytest.mark.rule("RPO truth")
async def test_what_is_known_below_snapshots_of_others_hides_nothing(world: ContractWorld) -> None:
    """What was asked for and has settled is not asked for again (points.py)."""
    story = Story(world)
    member = await story.member("d0")
    (point,) = await story.point(member)

    async def written() -> int:
        (found,) = await story.look(story.source, member.source, sync=True)
        assert found is not None
        assert found.written_since is not None
        assert found.written_since.snapshot == point.name
        assert found.written_since.size_bytes is not None
        return found.written_since.size_bytes

    await world.source.snapshot(f"{member.source}@foreign")
    await asyncio.sleep(SETTLED_S + 0.5)
    assert [await written(), await written()] == [0, 0]
    await world.source.write(member.source, MIB)
    assert await written() >= MIB
    await world.source.snapshot(f"{member.source}@later")
    assert await written() >= MIB
    await asyncio.sleep(SETTLED_S + 0.5)
    first, again = await written(), await written()
    assert first == again >= MIB


async def test_only_properties_of_the_dataset_itself_are_told(world: ContractWorld) -> None:
    root = world.source.root
    await world.source.create(f"{root}/p")
    await world.source.create(f"{root}/p/c")
    await world.source.set(f"{root}/p", "dev.backstay:role", "primary")
    await world.source.set(f"{root}/p", "readonly", "on")
    request = SurveyRequest(roots=((f"{root}/p", True),), sync=False)
    listing = await world.port(world.source).survey(request)
    assert listing.datasets[f"{root}/p"].properties == {"dev.backstay:role": "primary"}
    assert listing.datasets[f"{root}/p/c"].properties == {}
    assert listing.datasets[f"{root}/p"].readonly
    assert listing.datasets[f"{root}/p/c"].readonly


async def test_points_that_come_and_go_between_two_looks_are_seen(world: ContractWorld) -> None:
    """What was listed before and has settled is not listed again (points.py)."""
    story = Story(world)
    member = await story.member("d0")
    await world.source.snapshot(f"{member.source}@a")
    await world.source.snapshot(f"{member.source}@b")

    async def names() -> list[str]:
        (found,) = await story.look(story.source, member.source)
        assert found is not None
        return [s.name for s in found.snapshots]

    await asyncio.sleep(SETTLED_S + 0.5)
    assert [await names(), await names()] == [["a", "b"], ["a", "b"]]
    await world.source.snapshot(f"{member.source}@c")
    assert await names() == ["a", "b", "c"]
    await asyncio.sleep(SETTLED_S + 0.5)
    assert await names() == ["a", "b", "c"]
    await world.source.destroy(f"{member.source}@a")
    assert await names() == ["b", "c"]
    await asyncio.sleep(SETTLED_S + 0.5)
    assert await names() == ["b", "c"]
    (point,) = await story.point(member)
    assert await names() == ["b", "c", point.name]
    (found,) = await story.look(story.source, member.source)
    assert found is not None
    assert [b.name for b in found.bookmarks] == list(point.bookmarks)
