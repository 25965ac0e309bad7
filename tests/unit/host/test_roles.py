"""Roles at the host: all members or none, by identity, and what is read back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from backstay_host import protocol
from backstay_host.zfs import argv
from unit.host.client import Client, HostError
from unit.host.conftest import World

ROLE, EPOCH, LINEAGE = "dev.backstay:role", "dev.backstay:roleepoch", "dev.backstay:lineage"
RULE = pytest.mark.rule("Promotion clones the point, never the head")
FENCED = pytest.mark.rule("Single writer, fenced at the host")


def _change(world: World, name: str, role: str = "", epoch: int = 0) -> protocol.RoleChange:
    return protocol.RoleChange(name, world.things[name]["guid"], role, epoch)


def _named(world: World, *datasets: str) -> list[protocol.Named]:
    return [protocol.Named(name, world.things[name]["guid"]) for name in datasets]


def _refusal(client: Client, name: str, body: Any) -> str:
    with pytest.raises(HostError) as error:
        client.request(name, body)
    return error.value.reason


def _roles(world: World, *datasets: str) -> list[tuple[str | None, str | None]]:
    props = [world.things[name]["props"] for name in datasets]
    return [(p.get(ROLE), p.get(EPOCH)) for p in props]


@pytest.fixture(params=["program", "commands"])
def way(request: pytest.FixtureRequest, world: World) -> str:
    """As root, and as somebody who may run no channel programs."""
    if request.param == "commands":
        (world.home / "no-programs").touch()
    return str(request.param)


# --- compare and swap ---------------------------------------------------------------------------


@RULE
def test_roles_are_swapped_for_all_members(world: World, way: str) -> None:
    world.put("tank/w", props={ROLE: "secondary", EPOCH: "3"})
    client = world.connect(claim=3)
    changes = [_change(world, "tank/v"), _change(world, "tank/w", "secondary", 3)]
    client.request("roles", protocol.SwapRoles(changes, "primary", 4))
    assert _roles(world, "tank/v", "tank/w") == [("primary", "4")] * 2
    (vector,) = client.commands
    guids = [f"{change.guid:016x}" for change in changes]
    assert (
        vector
        == {
            "program": [
                *("zfs", "program", "-j", "tank", "-", "primary", "4"),
                *("tank/v", guids[0], "", "", "tank/w", guids[1], "secondary", "3"),
            ],
            "commands": ["zfs", "set", f"{ROLE}=primary", f"{EPOCH}=4", "tank/v", "tank/w"],
        }[way]
    )


@RULE
@pytest.mark.parametrize(
    "props", [{ROLE: "primary"}, {EPOCH: "4"}, {ROLE: "primary", EPOCH: "4"}, {EPOCH: "00"}]
)
def test_one_member_that_differs_leaves_all_as_they_are(
    world: World, way: str, props: dict[str, str]
) -> None:
    world.put("tank/w", props=props)
    client = world.connect(claim=3)
    changes = [_change(world, "tank/v"), _change(world, "tank/w")]
    body = protocol.SwapRoles(changes, "primary", 5)
    assert _refusal(client, "roles", body) == "RoleChanged"
    assert _roles(world, "tank/v") == [(None, None)]
    assert world.things["tank/w"]["props"] == props
    assert not world.argvs("set")[1:]  # the claim's only


@RULE
def test_another_dataset_of_that_name_changes_nothing(world: World, way: str) -> None:
    client = world.connect(claim=3)
    wrong = protocol.RoleChange("tank/v", world.things["tank/v"]["guid"] + 1, "", 0)
    gone = protocol.RoleChange("tank/gone", 5, "", 0)
    for change in (wrong, gone):
        body = protocol.SwapRoles([change], "primary", 1)
        assert _refusal(client, "roles", body) == "RoleChanged"
    assert _roles(world, "tank/v") == [(None, None)]


@RULE
@pytest.mark.fault("two operators of one installation")
def test_of_two_that_swap_the_second_finds_the_first(world: World, way: str) -> None:
    one, two = world.connect(claim=3), world.connect(claim=3)
    body = protocol.SwapRoles([_change(world, "tank/v")], "primary", 1)
    answers = [client.post("roles", body) for client in (one, two)]
    reasons = []
    for client, waiting in zip((one, two), answers, strict=True):
        try:
            client.result(waiting)
            reasons.append("")
        except HostError as error:
            reasons.append(error.reason)
    assert sorted(reasons) == ["", "RoleChanged"]


@RULE
def test_a_program_that_finds_a_change_after_our_look_is_heard(world: World) -> None:
    client = world.connect(claim=3)
    said = '{"return": {"tank/v": "has role \'primary\' and epoch \'9\'"}}'
    world.trouble("zfs-program", out=said, status=0)
    body = protocol.SwapRoles([_change(world, "tank/v")], "primary", 1)
    assert _refusal(client, "roles", body) == "RoleChanged"
    for noise in ("", "[]", '{"return": 3}', "x" * 100, "[" * 10_000):
        world.trouble("zfs-program", out=noise, status=0)
        assert _refusal(client, "roles", body) == "UnexpectedOutput"


@RULE
def test_a_partial_result_is_said(world: World) -> None:
    """Programs are no transactions: what is read back counts."""
    client = world.connect(claim=3)
    world.trouble("zfs-program", out='{"return": {}}', status=0)  # and nothing was set
    body = protocol.SwapRoles([_change(world, "tank/v")], "primary", 1)
    assert _refusal(client, "roles", body) == "RoleChanged"


@RULE
def test_the_head_of_a_replica_never_becomes_primary(world: World, way: str) -> None:
    world.put("backup/r/v", props={LINEAGE: "4c1f"})
    client = world.connect(claim=3)
    body = protocol.SwapRoles([_change(world, "backup/r/v")], "primary", 1)
    assert _refusal(client, "roles", body) == "IsReplica"
    client.request("roles", protocol.SwapRoles(body.members, "secondary", 1))
    assert _roles(world, "backup/r/v") == [("secondary", "1")]


@FENCED
def test_roles_below_another_installations_root_are_not_touched(world: World, way: str) -> None:
    client = world.connect(claim=3, roots=())
    world.put("backup/r", props={"dev.backstay:writer": "9:other"})
    world.put("backup/r/v")
    body = protocol.SwapRoles([_change(world, "backup/r/v")], "secondary", 1)
    assert _refusal(client, "roles", body) == "ForeignWriter"
    assert _roles(world, "backup/r/v") == [(None, None)]


@pytest.mark.parametrize(
    "body",
    [
        protocol.SwapRoles([], "primary", 1),
        protocol.SwapRoles([protocol.RoleChange("tank/v", 1, "", 0)], "king", 1),
        protocol.SwapRoles([protocol.RoleChange("tank/v", 1, "", 0)], "primary", 0),
        protocol.SwapRoles([protocol.RoleChange("tank/v", 1, "x", 0)], "primary", 1),
        protocol.SwapRoles(
            [protocol.RoleChange("tank/v", 1, "", 0), protocol.RoleChange("backup/r", 1, "", 0)],
            "primary",
            1,
        ),
    ],
)
def test_what_is_no_swap_is_refused(world: World, body: protocol.SwapRoles) -> None:
    assert _refusal(world.connect(claim=3), "roles", body) == "BadRequest"


@pytest.mark.fault("member list above 128 KiB")
def test_a_swap_that_does_not_fit_into_one_command_is_refused(world: World) -> None:
    many = [protocol.RoleChange(f"tank/{'x' * 200}{n}", n, "", 0) for n in range(6000)]
    body = protocol.SwapRoles(many, "primary", 1)
    assert _refusal(world.connect(claim=3), "roles", body) == "GroupTooLarge"


# --- read-only ----------------------------------------------------------------------------------


@RULE
def test_a_source_is_read_only_and_said_so(world: World) -> None:
    world.put("tank/w")
    client = world.connect(claim=3)
    body = protocol.SetReadonly(_named(world, "tank/v", "tank/w"), on=True)
    client.request("readonly", body)
    assert client.commands == [["zfs", "set", "readonly=on", "tank/v", "tank/w"]]
    assert [world.things[n]["readonly"] for n in ("tank/v", "tank/w")] == ["on", "on"]
    client.request("readonly", protocol.SetReadonly(body.targets, on=False))
    assert [world.things[n]["readonly"] for n in ("tank/v", "tank/w")] == ["off", "off"]


@RULE
def test_a_demotion_that_does_not_last_is_none(world: World) -> None:
    client = world.connect(claim=3)
    body = protocol.SetReadonly(_named(world, "tank/v"), on=True)
    world.trouble("zfs-set", status=0)  # it says that it did, and did not
    assert _refusal(client, "readonly", body) == "ReadonlyNotKept"


@RULE
def test_only_what_was_planned_is_closed_and_no_secondary_is_opened(world: World) -> None:
    client = world.connect(claim=3)
    wrong = protocol.SetReadonly([protocol.Named("tank/v", 5)], on=True)
    assert _refusal(client, "readonly", wrong) == "NewLineage"
    for props in ({ROLE: "secondary"}, {LINEAGE: "4c1f"}):
        world.put("tank/w", props=props, readonly="on")
        body = protocol.SetReadonly(_named(world, "tank/v", "tank/w"), on=False)
        assert _refusal(client, "readonly", body) == "RoleMismatch"
    assert not world.argvs("set")[1:]


# --- open and undo ------------------------------------------------------------------------------


def _opening(world: World, *datasets: str, thick: bool = False) -> protocol.OpenPromoted:
    targets = [protocol.Opening(n, world.things[n]["guid"], thick) for n in datasets]
    return protocol.OpenPromoted(targets, 4)


@RULE
def test_promoted_datasets_are_opened_and_readonly_goes_last(world: World) -> None:
    primary = {"props": {ROLE: "primary", EPOCH: "4"}, "readonly": "on"}
    world.put("tank/d", type="volume", **primary)
    world.put("tank/f", mountpoint="/tank/f", **primary)
    world.put("tank/n", mountpoint="none", **primary)
    client = world.connect(claim=3)
    client.request("open", _opening(world, "tank/d", "tank/f", "tank/n"))
    assert client.commands == [
        ["zfs", "set", "volmode=default", "tank/d"],
        ["zfs", "set", "canmount=on", "tank/f", "tank/n"],
        ["zfs", "mount", "tank/f"],
        ["zfs", "set", "readonly=off", "tank/d", "tank/f", "tank/n"],
    ]
    client.request("open", _opening(world, "tank/d", thick=True))
    assert client.commands[0] == ["zfs", "set", "refreservation=auto", "tank/d"]
    assert ["zfs", "mount", "tank/f"] not in client.commands


@RULE
@pytest.mark.parametrize(
    ("props", "reason"),
    [
        ({}, "RoleMismatch"),
        ({ROLE: "secondary", EPOCH: "4"}, "RoleMismatch"),
        ({ROLE: "primary", EPOCH: "3"}, "RoleMismatch"),
        ({ROLE: "primary", EPOCH: "4", LINEAGE: "4c1f"}, "IsReplica"),
    ],
)
def test_only_a_primary_of_this_epoch_is_opened(
    world: World, props: dict[str, str], reason: str
) -> None:
    world.put("tank/d", type="volume", props=props)
    client = world.connect(claim=3)
    assert _refusal(client, "open", _opening(world, "tank/d")) == reason
    assert not world.argvs("set")[1:]


@RULE
@pytest.mark.rule("No implicit destruction")
def test_only_the_clone_that_was_planned_goes_and_only_if_nobody_wrote_to_it(world: World) -> None:
    world.put("backup/a")
    point = world.put("backup/a@b")
    doomed = []
    clones: dict[str, dict[str, Any]] = {
        "backup/vm": {},
        "backup/vm/d": {},
        "backup/other": {"origin": "backup/a@c"},
        "backup/lone": {"origin": "-"},
        "backup/used": {"written": 8192},
    }
    for name, facts in clones.items():
        guid = world.put(name, **{"origin": "backup/a@b", **facts})
        doomed.append(protocol.DoomedClone(name, guid, "backup/a@b", point))
    doomed.append(protocol.DoomedClone("backup/gone", 5, "backup/a@b", point))
    client = world.connect(claim=3)
    items = client.request("discard", protocol.DiscardClones(doomed))["items"]
    assert {item["name"]: item["reason"] for item in items} == {
        "backup/vm": "",
        "backup/vm/d": "",
        "backup/other": "IdentityChanged",
        "backup/lone": "IdentityChanged",
        "backup/used": "CloneModified",
        "backup/gone": "",
    }
    assert world.argvs("destroy") == [
        ["zfs", "destroy", "backup/vm/d"],
        ["zfs", "destroy", "backup/vm"],
    ]


@RULE
def test_a_clone_of_another_point_of_that_name_stays(world: World) -> None:
    point = world.put("backup/a@b")
    guid = world.put("backup/vm", origin="backup/a@b")
    client = world.connect(claim=3)
    doomed = protocol.DoomedClone("backup/vm", guid, "backup/a@b", point + 1)
    (item,) = client.request("discard", protocol.DiscardClones([doomed]))["items"]
    assert item["reason"] == "IdentityChanged"
    assert not world.argvs("destroy")


# --- halt ---------------------------------------------------------------------------------------


@FENCED
@pytest.mark.fault("promotion with a receive in flight, or half a group received")
def test_halt_kills_who_holds_a_replica_and_waits_for_it(world: World) -> None:
    world.put("backup/r/v", props={LINEAGE: "4c1f"})
    client = world.connect(claim=3)
    locks = world.home / "run" / "locks"
    before = set(locks.iterdir())
    client.request("halt", protocol.Halt(["backup/r/v"]))  # nobody holds it: the files are made
    held = sorted(set(locks.iterdir()) - before)
    assert len(held) == 2  # by name and by GUID
    holder = subprocess.Popen(_holding(held), stdout=subprocess.PIPE)
    world.streams.append(holder)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    assert client.request("survey", _survey())["busy"] == ["backup/r/v"]
    client.request("halt", protocol.Halt(["backup/r/v", "backup/r/gone"]))
    assert holder.wait(10) == -9
    assert client.request("survey", _survey())["busy"] == []


@FENCED
def test_halt_reaches_only_what_our_term_has_claimed(world: World) -> None:
    client = world.connect(claim=3, roots=())
    world.put("backup/r", props={"dev.backstay:writer": "9:other"})
    world.put("backup/r/v")
    assert _refusal(client, "halt", protocol.Halt(["backup/r/v"])) == "ForeignWriter"
    assert _refusal(client, "halt", protocol.Halt(["tank/v"])) == "NotClaimed"


def _survey() -> protocol.Survey:
    return protocol.Survey([protocol.SurveyRoot("backup/r/v")], "ab12")


def _holding(paths: list[Path]) -> list[str]:
    text = (
        "import fcntl, signal, sys\n"
        "for path in sys.argv[1:]:\n"
        "    held = open(path)\n"
        "    globals()[path] = held\n"
        "    fcntl.flock(held, fcntl.LOCK_EX)\n"
        "print('held', flush=True)\n"
        "signal.pause()\n"
    )
    return [sys.executable, "-c", text, *map(str, paths)]


# --- dry run ------------------------------------------------------------------------------------


@pytest.mark.rule("Honest dry run")
def test_a_dry_run_of_roles_changes_nothing(world: World, way: str) -> None:
    point = world.put("backup/a@b")
    world.put("backup/vm", origin="backup/a@b", type="volume", props={ROLE: "primary", EPOCH: "4"})
    guid = world.things["backup/vm"]["guid"]
    changes: list[tuple[str, Any]] = [
        ("roles", protocol.SwapRoles([_change(world, "tank/v")], "secondary", 1)),
        ("readonly", protocol.SetReadonly(_named(world, "tank/v"), on=True)),
        ("open", _opening(world, "backup/vm", thick=True)),
        ("discard", protocol.DiscardClones(
            [protocol.DoomedClone("backup/vm", guid, "backup/a@b", point)]
        )),
    ]  # fmt: skip
    dry, before = world.connect(), world.things
    dry.term = 3
    planned = []
    for name, body in changes:
        dry.request(name, body, dry=True)
        planned.append(dry.commands)
    dry.request("halt", protocol.Halt(["backup/r"]), dry=True)
    assert dry.commands == []
    assert world.things == before
    real, ran = world.connect(claim=3), []
    for name, body in changes:
        real.request(name, body)
        ran.append(real.commands)
    assert planned == ran
    assert ran[-1] == [argv.destroy_clone("backup/vm")]
