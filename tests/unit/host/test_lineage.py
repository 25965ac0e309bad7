"""Renames, clones, promotes, rollbacks and labels: by identity, and no more than was named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from backstay_host import protocol
from unit.host.client import Client
from unit.host.conftest import World

ASIDE = "backup/backstay-aside/1"
LINEAGE = {"dev.backstay:lineage": "4c1f"}
FLAGS_THAT_DESTROY = {"-r", "-R", "-f", "-F"}


def _outcomes(client: Client, name: str, body: Any) -> list[str]:
    return [item["reason"] for item in client.request(name, body)["items"]]


def _replica(world: World, name: str = "backup/r/v", **facts: Any) -> int:
    return world.put(name, **{"props": LINEAGE, **facts})


@pytest.mark.parametrize(("kind", "flags"), [("volume", []), ("filesystem", ["-u"])])
def test_a_rename_makes_the_place_where_things_are_set_aside_once(
    world: World, kind: str, flags: list[str]
) -> None:
    guid = _replica(world, type=kind)
    client = world.connect(claim=3)
    move = protocol.Move("backup/r/v", guid, ASIDE, kind == "volume")
    for _ in range(2):  # what was done already is fine
        assert _outcomes(client, "rename", protocol.Rename([move])) == [""]
    assert world.argvs("rename") == [["zfs", "rename", *flags, "backup/r/v", ASIDE]]
    (created,) = world.argvs("create")
    assert created[-1] == "backup/backstay-aside"
    assert "canmount=off" in created
    assert world.things[ASIDE]["guid"] == guid


@pytest.mark.rule("Destroy by identity")
@pytest.mark.rule("Isolation")
def test_another_dataset_of_the_name_is_left_alone_and_the_next_item_is_done(world: World) -> None:
    guid, other = _replica(world), _replica(world, "backup/r/w")
    client = world.connect(claim=3)
    moves = [
        protocol.Move("backup/r/v", guid + 1, ASIDE, False),
        protocol.Move("backup/r/gone", 7, ASIDE, False),
        protocol.Move("backup/r/w", other, ASIDE, False),
    ]
    said = _outcomes(client, "rename", protocol.Rename(moves))
    assert said == ["IdentityChanged", "NoSuchDataset", ""]
    assert "backup/r/v" in world.things


@pytest.mark.parametrize("to", ["tank/v2", "backup/r/v/below", "backup/r/v", "backup/r/../x"])
def test_a_rename_stays_in_its_pool_and_outside_itself(world: World, to: str) -> None:
    guid = _replica(world)
    moves = [protocol.Move("backup/r/v", guid, to, False)]
    answer = world.connect(claim=3).post("rename", protocol.Rename(moves)).get(timeout=60)
    assert answer["error"]["reason"] == "BadRequest"
    assert not world.argvs("rename")


def test_set_aside_step_by_step_each_of_which_may_come_twice(world: World) -> None:
    guid = _replica(world, type="volume")
    base = world.put("backup/r/v@a")
    world.put("backup/r/v@ahead")
    client = world.connect(claim=3)
    move = protocol.Move("backup/r/v", guid, ASIDE, True)
    clone = protocol.NewClone(f"{ASIDE}@a", base, "backup/r/v", {"volmode": "none", **LINEAGE})
    assert _outcomes(client, "rename", protocol.Rename([move])) == [""]
    for _ in range(2):
        assert _outcomes(client, "clone", protocol.Clone([clone])) == [""]
    made = world.things["backup/r/v"]
    item = protocol.Promotion("backup/r/v", made["guid"], f"{ASIDE}@a", base)
    for _ in range(2):
        assert _outcomes(client, "promote", protocol.Promote([item])) == [""]
    assert len(world.argvs("clone")) == len(world.argvs("promote")) == 1
    assert world.things["backup/r/v@a"]["guid"] == base
    assert f"{ASIDE}@ahead" in world.things
    assert made["props"] == LINEAGE
    mark = protocol.Mark(ASIDE, guid, {"dev.backstay:asideof": "backup/r/v"}, [*LINEAGE])
    assert _outcomes(client, "label", protocol.Label([mark])) == [""]
    assert world.things[ASIDE]["props"] == {"dev.backstay:asideof": "backup/r/v"}


@pytest.mark.rule("Destroy by identity")
def test_a_clone_and_a_promote_are_of_what_was_planned(world: World) -> None:
    guid = _replica(world)
    base = world.put("backup/r/v@a")
    _replica(world, "backup/r/w")
    client = world.connect(claim=3)
    clones = [
        protocol.NewClone("backup/r/v@a", base + 1, "backup/r/c", {}),
        protocol.NewClone("backup/r/v@b", base, "backup/r/c", {}),
        protocol.NewClone("backup/r/v@a", base, "backup/r/w", {}),
    ]
    said = _outcomes(client, "clone", protocol.Clone(clones))
    assert said == ["IdentityChanged", "NoSuchDataset", "NameCollision"]
    item = protocol.Promotion("backup/r/v", guid, "tank/v@b", 1)
    assert _outcomes(client, "promote", protocol.Promote([item])) == ["NoSuchDataset"]
    assert not world.argvs("clone")
    assert not world.argvs("promote")


@pytest.mark.rule("No implicit destruction")
def test_a_rollback_destroys_what_was_named_and_asks_zfs_for_no_more(world: World) -> None:
    guid = _replica(world, written=4096)
    base, newer = world.put("backup/r/v@a"), world.put("backup/r/v@b")
    marked = world.put("backup/r/v#b")
    client = world.connect(claim=3)
    lose = [protocol.Doomed("backup/r/v@b", newer), protocol.Doomed("backup/r/v#b", marked)]
    properties = {"dev.backstay:resolvedby": "a1"}
    rewind = protocol.Rewind("backup/r/v", guid, "a", base, lose, 4096, properties)
    void = [
        replace(rewind, lose=lose[:1]),
        replace(rewind, lose=lose[1:]),
        replace(rewind, lose=[*lose, protocol.Doomed("backup/r/v@c", 9)]),
        replace(rewind, lose=[lose[0], protocol.Doomed("backup/r/v#b", 9)]),
        replace(rewind, written=0),
    ]
    assert _outcomes(client, "rollback", protocol.Rollback(void)) == ["ListChanged"] * 5
    assert client.commands == []
    assert _outcomes(client, "rollback", protocol.Rollback([rewind])) == [""]
    assert client.commands == [
        ["zfs", "destroy", "backup/r/v@b"],
        ["zfs", "destroy", "backup/r/v#b"],
        ["zfs", "set", "dev.backstay:resolvedby=a1", "backup/r/v"],
        ["zfs", "rollback", "backup/r/v@a"],
    ]
    assert not any(FLAGS_THAT_DESTROY & set(command) for command in client.commands)
    assert world.things["backup/r/v"]["written"] == 0


@pytest.mark.rule("No implicit destruction")
@pytest.mark.parametrize("name", ["backup/r/w@b", "backup/r/v", "backup/r/v@b,c", "backup/r/v/c@b"])
def test_a_rollback_names_points_of_its_own_dataset(world: World, name: str) -> None:
    rewind = protocol.Rewind("backup/r/v", 1, "a", 2, [protocol.Doomed(name, 3)], 0, {})
    answer = world.connect(claim=3).post("rollback", protocol.Rollback([rewind])).get(timeout=60)
    assert answer["error"]["reason"] == "BadRequest"


@pytest.mark.rule("No implicit destruction")
def test_a_rollback_past_a_held_snapshot_loses_nothing(world: World) -> None:
    guid = _replica(world, written=0)
    base = world.put("backup/r/v@a")
    lose = [
        protocol.Doomed("backup/r/v@b", world.put("backup/r/v@b", held=True)),
        protocol.Doomed("backup/r/v@c", world.put("backup/r/v@c")),
        protocol.Doomed("backup/r/v#c", world.put("backup/r/v#c")),
    ]
    rewind = protocol.Rewind("backup/r/v", guid, "a", base, lose, 0, {})
    client = world.connect(claim=3)
    assert _outcomes(client, "rollback", protocol.Rollback([rewind])) == ["SnapshotHeld"]
    assert {doomed.name for doomed in lose} <= set(world.things)
    assert not world.argvs("rollback")


@pytest.mark.rule("Single writer, fenced at the host")
def test_nothing_of_another_installations_root_is_touched(world: World) -> None:
    guid = _replica(world, written=0)
    base = world.put("backup/r/v@a")
    world.put("backup/r", props={"dev.backstay:writer": "9:test/two"})
    client = world.connect(claim=3, roots=())
    rewind = protocol.Rewind("backup/r/v", guid, "a", base, [], 0, {})
    for name, body in (
        ("rename", protocol.Rename([protocol.Move("backup/r/v", guid, ASIDE, False)])),
        ("clone", protocol.Clone([protocol.NewClone("backup/r/v@a", base, "backup/c", {})])),
        ("rollback", protocol.Rollback([rewind])),
        ("label", protocol.Label([protocol.Mark("backup/r/v", guid, {}, [*LINEAGE])])),
    ):
        assert _outcomes(client, name, body) == ["ForeignWriter"]
        assert client.commands == []


def test_properties_that_are_not_ours_are_not_cleared(world: World) -> None:
    guid = _replica(world)
    for clear in (["readonly"], ["dev.backstay:writer"], ["org.example:x"], []):
        body = protocol.Label([protocol.Mark("backup/r/v", guid, {}, clear)])
        answer = world.connect(claim=3).post("label", body).get(timeout=60)
        assert answer["error"]["reason"] == "BadRequest"
