"""Channel programs on real ZFS: bookmarks and destruction in the very txg of the look."""

from __future__ import annotations

import json
import shlex

import pytest

from backstay_host import protocol
from backstay_host.zfs.programs import DESTROY, MARK
from lab.host.scene import LINEAGE, Scene, stamp
from unit.host.client import HostError


def _guid(scene: Scene, name: str) -> int:
    return int(scene.host.run(f"zfs get -Hp -o value guid {name}"))


def _points(scene: Scene) -> dict[str, tuple[int, int]]:
    """Full name → (guid, createtxg) of all snapshots and bookmarks of the source."""
    kinds = "-t snapshot,bookmark"
    out = scene.host.run(f"zfs list -Hp -r {kinds} -o name,guid,createtxg {scene.source}")
    rows = [line.split("\t") for line in out.splitlines()]
    return {name: (int(guid), int(txg)) for name, guid, txg in rows}


def _verbs(commands: list[list[str]]) -> list[str]:
    return [argv[1] for argv in commands]


def _take(scene: Scene, *guids: int) -> protocol.TakeSnapshot:
    """The first snapshot of the volume and of `w`, which have these GUIDs, with their bookmarks."""
    names = (scene.volume, f"{scene.source}/w")
    targets = [protocol.Target(*target) for target in zip(names, guids, strict=True)]
    marks = [protocol.NewBookmark(name, stamp(1), LINEAGE) for name in names]
    marks.append(protocol.NewBookmark(names[0], stamp(1), "beef"))
    return protocol.TakeSnapshot(targets, stamp(1), marks)


def _run(scene: Scene, program: str, *words: str) -> object:
    """What the program returns when it is run by hand, without our own look before it."""
    pool = scene.source.split("/")[0]
    command = f"printf %s {shlex.quote(program)} | zfs program -j {pool} - {shlex.join(words)}"
    return json.loads(scene.host.run(command))["return"]


@pytest.mark.rule("Bookmark with snapshot")
@pytest.mark.rule("Atomic groups")
def test_a_group_is_bookmarked_by_one_program(scene: Scene) -> None:
    scene.host.run(f"zfs create -s -V 8M {scene.source}/w")
    guids = _guid(scene, scene.volume), _guid(scene, f"{scene.source}/w")
    made = scene.client.request("snapshot", _take(scene, *guids))["made"]
    assert _verbs(scene.client.commands) == ["snapshot", "program"]
    listed = _points(scene)
    assert [len(item["bookmarks"]) for item in made] == [2, 1]
    for item in made:
        facts = (item["guid"], item["createtxg"])
        assert listed.pop(f"{item['dataset']}@{stamp(1)}") == facts
        for short in item["bookmarks"]:
            assert listed.pop(f"{item['dataset']}#{short}") == facts
    assert listed == {}
    assert len({item["createtxg"] for item in made}) == 1


@pytest.mark.rule("Bookmark with snapshot")
@pytest.mark.rule("Seed only into nothing, and only what was planned")
def test_a_program_bookmarks_all_that_was_planned_or_nothing(scene: Scene) -> None:
    scene.host.run(f"zfs create -s -V 8M {scene.source}/w")
    guids = _guid(scene, scene.volume), _guid(scene, f"{scene.source}/w")
    with pytest.raises(HostError) as error:
        scene.client.request("snapshot", _take(scene, guids[0], guids[1] ^ 1))
    assert error.value.reason == "NewLineage"
    assert _verbs(error.value.commands) == ["snapshot", "program"]
    assert not [name for name in _points(scene) if "#" in name]
    words = [f"{scene.volume}@{stamp(1)}", f"{guids[0]:016x}", "1", LINEAGE]
    said = _run(scene, MARK, *words, f"{scene.source}/w@gone", "-", "0")
    assert isinstance(said, dict)
    assert (list(said["found"]), said["made"]) == ([words[0]], {})
    assert not [name for name in _points(scene) if "#" in name]


@pytest.mark.rule("Destroy by identity")
@pytest.mark.rule("Isolation")
@pytest.mark.fault("foreign holds on both sides")
def test_snapshots_are_pruned_by_one_program_and_a_held_one_by_its_word(scene: Scene) -> None:
    names = [f"{scene.volume}@{stamp(number)}" for number in (1, 2, 3)]
    guids = [scene.snapshot(number)["guid"] for number in (1, 2, 3)]
    marks = {name for name in _points(scene) if "#" in name}
    scene.host.run(f"zfs hold keep {names[1]}")
    planned = [guids[0], guids[1], guids[2] ^ 1]
    items = [protocol.Doomed(*item) for item in zip(names, planned, strict=True)]
    outcomes = scene.client.request("prune", protocol.Prune(items))["items"]
    scene.host.run(f"zfs release keep {names[1]}")
    assert [item["reason"] for item in outcomes] == ["", "SnapshotHeld", "IdentityChanged"]
    asked = [names[0], f"{guids[0]:016x}", names[1], f"{guids[1]:016x}"]
    assert scene.client.commands == [
        ["zfs", "program", "-j", scene.source.split("/")[0], "-", *asked],
        ["zfs", "destroy", names[1]],
    ]
    assert set(_points(scene)) == {*marks, names[1], names[2]}
    assert _run(scene, DESTROY, names[2], f"{guids[2] ^ 1:016x}") == {"gone": {}}
    assert names[2] in _points(scene)
    last = protocol.Prune([protocol.Doomed(names[2], guids[2])])
    (outcome,) = scene.client.request("prune", last)["items"]
    assert outcome["reason"] == ""
    assert _verbs(scene.client.commands) == ["program"]
    assert set(_points(scene)) == {*marks, names[1]}
