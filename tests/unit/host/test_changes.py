"""Snapshots, pruning, and changes below a receive root: by identity, isolated, never more."""

from __future__ import annotations

import json
from typing import Any

import pytest

from backstay_host import protocol
from backstay_host.zfs import argv
from unit.host.client import Client, HostError
from unit.host.conftest import INSTALLATION, World

NAME = "backstay_20260101T000000.000Z_ab12c0de"


def _take(world: World, *datasets: str, lineage: str = "4c1f") -> protocol.TakeSnapshot:
    targets = [protocol.Target(name, world.things[name]["guid"]) for name in datasets]
    bookmarks = [protocol.NewBookmark(name, NAME, lineage) for name in datasets]
    return protocol.TakeSnapshot(targets, NAME, bookmarks)


@pytest.mark.rule("Atomic groups")
@pytest.mark.rule("Bookmark with snapshot")
def test_a_group_is_one_snapshot_command_and_each_member_has_its_bookmark(world: World) -> None:
    world.put("tank/w")
    client = world.connect(claim=3)
    made = client.request("snapshot", _take(world, "tank/v", "tank/w"))["made"]
    assert world.argvs("snapshot") == [["zfs", "snapshot", f"tank/v@{NAME}", f"tank/w@{NAME}"]]
    assert len({item["createtxg"] for item in made}) == 1
    for item in made:
        assert item["guid"] == world.things[f"{item['dataset']}@{NAME}"]["guid"]
        bookmark = f"backstay_4c1f_{item['guid']:016x}_{item['createtxg']}"
        assert item["bookmarks"] == [bookmark]
        assert world.things[f"{item['dataset']}#{bookmark}"]["guid"] == item["guid"]


def test_a_bookmark_that_is_there_with_the_same_guid_is_fine_and_another_is_not(
    world: World,
) -> None:
    client = world.connect(claim=3)
    client.request("snapshot", _take(world, "tank/v"))
    again = protocol.TakeSnapshot([], NAME, [protocol.NewBookmark("tank/v", NAME, "4c1f")])
    made = client.request("snapshot", again)["made"][0]
    assert made["guid"] == world.things[f"tank/v@{NAME}"]["guid"]
    world.put(f"tank/v#{made['bookmarks'][0]}", guid=5)
    with pytest.raises(HostError) as error:
        client.request("snapshot", again)
    assert error.value.reason == "NameCollision"


@pytest.mark.rule("Seed only into nothing, and only what was planned")
def test_a_dataset_replaced_under_its_name_is_new_lineage_and_gets_no_bookmark(
    world: World,
) -> None:
    client = world.connect(claim=3)
    body = _take(world, "tank/v")
    world.put("tank/v")
    with pytest.raises(HostError) as error:
        client.request("snapshot", body)
    assert error.value.reason == "NewLineage"
    assert not world.argvs("bookmark")


@pytest.mark.rule("Atomic groups")
def test_a_missing_member_leaves_no_snapshot_of_the_others(world: World) -> None:
    body = _take(world, "tank/v")
    body.targets.append(protocol.Target("tank/gone", 1))
    with pytest.raises(HostError) as error:
        world.connect(claim=3).request("snapshot", body)
    assert error.value.reason == "NoSuchDataset"
    assert f"tank/v@{NAME}" not in world.things


@pytest.mark.rule("Atomic groups")
@pytest.mark.fault("member list above 128 KiB")
def test_a_group_that_does_not_fit_into_one_command_is_refused(world: World) -> None:
    many = [protocol.Target(f"tank/{'x' * 200}{n}", n) for n in range(6000)]
    with pytest.raises(HostError) as error:
        world.connect(claim=3).request("snapshot", protocol.TakeSnapshot(many, NAME, []))
    assert error.value.reason == "GroupTooLarge"
    assert not world.argvs("snapshot")


@pytest.mark.rule("Destroy by identity")
@pytest.mark.rule("Isolation")
def test_prune_destroys_what_bears_the_guid_and_isolates_the_rest(world: World) -> None:
    doomed = [
        protocol.Doomed("tank/v@a", world.put("tank/v@a")),
        protocol.Doomed("tank/v@held", world.put("tank/v@held", held=True)),
        protocol.Doomed("tank/v@other", world.put("tank/v@other") + 1),
        protocol.Doomed("tank/v@gone", 7),
        protocol.Doomed("tank/v#bm", world.put("tank/v#bm")),
        protocol.Doomed("tank/w@b", world.put("tank/w@b")),
    ]
    world.put("tank/w")
    client = world.connect(claim=3)
    items = client.request("prune", protocol.Prune(doomed))["items"]
    assert [(item["name"], item["reason"]) for item in items] == [
        ("tank/v@a", ""),
        ("tank/v@held", "SnapshotHeld"),
        ("tank/v@other", "IdentityChanged"),
        ("tank/v@gone", ""),
        ("tank/v#bm", ""),
        ("tank/w@b", ""),
    ]
    left = {name for name in world.things if "@" in name or "#" in name}
    assert left == {"tank/v@held", "tank/v@other"}


NO_TABLES: list[Any] = [
    {"found": 5, "made": {}, "gone": 5},
    {"found": {"tank/v@x": f"{1:016x} {2:016x} 3 -"}, "made": {}, "gone": {"tank/v@x": 0}},
    {"found": {}, "made": {"x": "0"}, "gone": {"tank/v@a": False}},
]
"""Answers of channel programs that are no tables, tell of something else, or tell no errno."""


@pytest.mark.rule("Destroy by identity")
def test_what_a_program_does_not_say_is_gone_is_destroyed_by_commands(world: World) -> None:
    client = world.connect(claim=3)
    for said in NO_TABLES:
        doomed = [protocol.Doomed("tank/v@a", world.put("tank/v@a"))]
        world.trouble("zfs-program", status=0, out=json.dumps({"return": said}))
        (item,) = client.request("prune", protocol.Prune(doomed))["items"]
        assert (item["name"], item["reason"]) == ("tank/v@a", ""), said
        assert "tank/v@a" not in world.things, said


@pytest.mark.rule("Bookmark with snapshot")
def test_what_a_program_cannot_tell_is_looked_at_by_commands(world: World) -> None:
    client = world.connect(claim=3)
    for number, said in enumerate(NO_TABLES):
        world.put(dataset := f"tank/v{number}")
        world.trouble("zfs-program", status=0, out=json.dumps({"return": said}))
        (made,) = client.request("snapshot", _take(world, dataset))["made"]
        assert made["guid"] == world.things[f"{dataset}@{NAME}"]["guid"], said
        (short,) = made["bookmarks"]
        assert world.things[f"{dataset}#{short}"]["guid"] == made["guid"], said


@pytest.mark.rule("No implicit destruction")
@pytest.mark.parametrize("name", ["tank/v", "tank", "tank/v@", "tank/v@a,b", "tank/v@a%b", "-r@a"])
def test_prune_takes_nothing_but_one_snapshot_or_bookmark(world: World, name: str) -> None:
    with pytest.raises(HostError) as error:
        world.connect(claim=3).request("prune", protocol.Prune([protocol.Doomed(name, 1)]))
    assert error.value.reason == "BadRequest"
    assert not world.argvs("destroy")


@pytest.mark.rule("Pruning keeps the chain")
@pytest.mark.fault("another installation on the same hosts")
def test_prune_leaves_the_points_of_another_installation_but_not_bookmarks(world: World) -> None:
    world.put("backup/r/v")
    snapshot = protocol.Doomed("backup/r/v@a", world.put("backup/r/v@a"))
    bookmark = protocol.Doomed("backup/r/v#a", world.put("backup/r/v#a"))
    client = world.connect(claim=3, roots=())
    world.put("backup/r", props={"dev.backstay:writer": "9:other"})
    snapped = client.request("prune", protocol.Prune([snapshot]))["items"]
    assert [item["reason"] for item in snapped] == ["ForeignWriter"]
    assert client.request("prune", protocol.Prune([bookmark]))["items"][0]["reason"] == ""


def test_parents_are_made_in_order_below_our_root_only(world: World) -> None:
    client = world.connect(claim=3)
    body = protocol.CreateParents("backup/r", ["backup/r/a", "backup/r/a/b"])
    client.request("create", body)
    client.request("create", body)
    assert world.argvs("create") == [
        argv.create_parent("backup/r/a"),
        argv.create_parent("backup/r/a/b"),
    ]
    with pytest.raises(HostError, match="is not below"):
        client.request("create", protocol.CreateParents("backup/r", ["backup/rx"]))
    with pytest.raises(HostError) as error:
        client.request("create", protocol.CreateParents("backup", ["backup/x"]))
    assert error.value.reason == "NotClaimed"


@pytest.mark.rule("Replica posture")
@pytest.mark.parametrize(
    ("props", "reason"),
    [
        ({"dev.backstay:lineage": "4c1f"}, ""),
        ({"dev.backstay:lineage": "beef"}, "LineageMismatch"),
        ({}, "LineageMismatch"),
        ({"dev.backstay:lineage": "4c1f", "dev.backstay:role": "primary"}, "RoleMismatch"),
    ],
)
def test_posture_is_set_on_a_replica_of_this_lineage_only(
    world: World, props: dict[str, str], reason: str
) -> None:
    world.put("backup/r/v", props=props)
    client = world.connect(claim=3)
    body = protocol.Posture("backup/r/v", "4c1f", {"readonly": "on"})
    assert _reason(client, "posture", body) == reason
    assert world.things["backup/r/v"].get("readonly") == ("" if reason else "on") or reason


@pytest.mark.rule("Resume tokens are untrusted input")
@pytest.mark.fault("token shown but `receive -A` says there is none")
def test_a_partial_receive_is_dropped_by_lineage_and_token(world: World) -> None:
    props = {"dev.backstay:lineage": "4c1f"}
    token = "1-abc-def-00"
    client = world.connect(claim=3)
    world.put("backup/r/v", props=props, receive_resume_token=token)
    other = protocol.AbortReceive("backup/r/v", "4c1f", "1-abc-def-01")
    assert _reason(client, "abort", other) == "StaleReceiveState"
    assert not world.argvs("receive")
    assert _reason(client, "abort", protocol.AbortReceive("backup/r/v", "4c1f", token)) == ""
    assert "backup/r/v" not in world.things
    # openzfs#10439: a token is shown, and yet there is nothing to abort
    world.put("backup/r/v", props=props, receive_resume_token=token)
    message = "'backup/r/v' does not have any resumable receive state to abort"
    world.trouble("zfs-receive", err=message)
    assert _reason(client, "abort", protocol.AbortReceive("backup/r/v", "4c1f", token)) == (
        "StaleReceiveState"
    )


@pytest.mark.rule("Honest dry run")
def test_a_dry_run_names_the_commands_of_the_real_one_and_runs_none(world: World) -> None:
    world.put("backup/r/v", props={"dev.backstay:lineage": "4c1f"}, receive_resume_token="1-a-b-c")
    old = world.put("tank/v@old")
    changes: list[tuple[str, Any]] = [
        ("create", protocol.CreateParents("backup/r", ["backup/r/a"])),
        ("posture", protocol.Posture("backup/r/v", "4c1f", {"readonly": "on"})),
        ("abort", protocol.AbortReceive("backup/r/v", "4c1f", "1-a-b-c")),
        ("prune", protocol.Prune([protocol.Doomed("tank/v@old", old)])),
        ("claim", protocol.Claim(INSTALLATION, ["backup/r"], "one")),
    ]  # fmt: skip
    dry, before = world.connect(), world.things
    dry.term = 3
    planned = []
    for name, body in changes:
        dry.request(name, body, dry=True)
        planned.append(dry.commands)
    assert world.things == before
    real = world.connect(claim=3)
    ran = []
    for name, body in changes[:-1]:
        real.request(name, body)
        ran.append(real.commands)
    assert planned[:-1] == ran
    assert planned[-1] == [["zfs", "set", f"dev.backstay:writer=3:{INSTALLATION}", "backup/r"]]
    calls = [call["argv"] for call in world.log]
    assert all(command in calls for commands in ran for command in commands)


@pytest.mark.rule("Honest dry run")
def test_a_dry_snapshot_shows_what_is_not_known_yet(world: World) -> None:
    client = world.connect()
    client.request("snapshot", _take(world, "tank/v"), dry=True)
    assert client.commands == [
        ["zfs", "snapshot", f"tank/v@{NAME}"],
        ["zfs", "bookmark", f"tank/v@{NAME}", "tank/v#backstay_4c1f_<guid>_<createtxg>"],
    ]
    assert not world.argvs("snapshot")


def _reason(client: Client, name: str, body: Any) -> str:
    try:
        client.request(name, body)
    except HostError as error:
        return error.reason
    return ""
