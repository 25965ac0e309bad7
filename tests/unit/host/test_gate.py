"""The gate: a key runs the installed program only, within its lists, whatever is asked for."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from backstay.app.hostzip import executable_host_program
from backstay.domain.zfs import DatasetKind
from backstay.plan.posture import replica_posture
from backstay_host import protocol
from backstay_host.allow import Allowed, check, check_token, is_below, is_within
from backstay_host.gate import admitted_ticket, read_lists
from backstay_host.protocol import HELLO_MARK
from backstay_host.refusal import Refused
from backstay_host.version import protocol_version
from unit.host import program
from unit.host.client import Client, HostError
from unit.host.conftest import SRC, World

LISTS = ("--send", "tank/v", "--receive", "backup/r")
ALLOWED = Allowed(("tank/v",), ("backup/r",))
ASIDE_ROOT = "backup/backstay-aside"
TAME = {"volmode": "none"}
NAME = "backstay_20260101T000000.000Z_ab12c0de"
TICKET = f"{'a' * 32}.{'b' * 32}"


def _argv(world: World, asked: str, lists: Sequence[str]) -> list[str]:
    """What sshd would run for a key with these lists."""
    path = f"PYTHONPATH={SRC}:{SRC.parent}/tests"
    there = [sys.executable, str(program.__file__), str(world.home)]
    return ["env", path, f"SSH_ORIGINAL_COMMAND={asked}", *there, "gate", *lists]


def _connect(world: World, *, claim: int = 0, lists: Sequence[str] = LISTS) -> Client:
    client = Client(_argv(world, "backstay-host serve", lists), log=world.home / "serve.err")
    world.clients.append(client)
    if claim:
        world.claim(client, claim)
    return client


def _send(world: World, name: str = "tank/v", **more: Any) -> protocol.SendOrder:
    guid = world.put(f"{name}@b", size=100)
    return protocol.SendOrder(name, world.things[name]["guid"], "b", guid, **more)


# --- matching -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "within", "below"),
    [
        ("tank/vm", True, False),
        ("tank/vm/d0", True, True),
        ("tank/vm/d0/x", True, True),
        ("tank/vm2", False, False),
        ("tank", False, False),
        ("tank/v", False, False),
        ("Tank/vm", False, False),
        ("tank/vm/", False, False),
        ("tank/vm//d0", False, False),
        ("tank/vm/../other", False, False),
        ("tank/vm@a", False, False),
        ("tank/vm/d0@a", False, False),
        ("", False, False),
    ],
)
def test_a_prefix_is_compared_by_whole_components(name: str, within: bool, below: bool) -> None:
    assert (is_within(name, "tank/vm"), is_below(name, "tank/vm")) == (within, below)


def test_there_are_no_wildcards() -> None:
    assert not is_within("tank/vm", "tank/*")
    assert not is_within("tank/vm", "")


CLONED = protocol.ReceiveOrder("backup/r/v", "4c", True, False, TAME, "backup/x@a", 1)
_OUTSIDE: list[tuple[object, str, str]] = [
    # the request, the dataset that its refusal names, the list
    (protocol.Survey([protocol.SurveyRoot("tank", True)], "ab"), "tank", "--send"),
    (protocol.TakeSnapshot([protocol.Target("tank/w", 1)], NAME, []), "tank/w", "--send"),
    (
        protocol.TakeSnapshot([], NAME, [protocol.NewBookmark("backup/r/v", NAME, "4c")]),
        "backup/r/v",
        "--send",
    ),
    (protocol.Prune([protocol.Doomed("tank/w@a", 1)]), "tank/w", "--send"),
    (protocol.Prune([protocol.Doomed("backup/r@a", 1)]), "backup/r", "--receive"),
    (protocol.Claim("test/one", ["backup"], "one"), "backup", "--receive"),
    (protocol.Claim("test/one", ["tank/v"], "one"), "tank/v", "--receive"),
    (protocol.CreateParents("backup", ["backup/r/x"]), "backup", "--receive"),
    (protocol.CreateParents("backup/r", ["backup/x"]), "backup/x", "--receive"),
    (protocol.AbortReceive("tank/v", "4c", "1-a-b-c"), "tank/v", "--receive"),
    (protocol.AbortReceive("backup/r", "4c", "1-a-b-c"), "backup/r", "--receive"),
    (protocol.Posture("backup/r2", "4c", {"readonly": "on"}), "backup/r2", "--receive"),
    (protocol.Ticket([protocol.SendOrder("tank/w", 1, "b", 2)], []), "tank/w", "--send"),
    (protocol.Ticket([protocol.SendOrder("backup/r/v", 1, "b", 2)], []), "backup/r/v", "--send"),
    (
        protocol.Ticket([protocol.SendOrder("tank/v", 1, "b", 2, "tank/w@a", 3)], []),
        "tank/w",
        "--send",
    ),
    (
        protocol.Ticket([], [protocol.ReceiveOrder("tank/v", "4c", True, False, {})]),
        "tank/v",
        "--receive",
    ),
    (
        protocol.Ticket([], [protocol.ReceiveOrder("backup/r", "4c", True, False, {})]),
        "backup/r",
        "--receive",
    ),
    (protocol.Ticket([], [CLONED]), "backup/x", "--receive"),
    *(
        (body, outside, "--receive")
        for outside in ("tank/v", "backup/r", "backup/x", ASIDE_ROOT, "tank/backstay-aside/1")
        for body in (
            protocol.Rename([protocol.Move(outside, 1, f"{ASIDE_ROOT}/1", True)]),
            protocol.Rename([protocol.Move("backup/r/v", 1, outside, True)]),
            protocol.Clone([protocol.NewClone(f"{outside}@a", 1, "backup/r/v", TAME)]),
            protocol.Clone([protocol.NewClone("backup/r/v@a", 1, outside, TAME)]),
            protocol.Promote([protocol.Promotion(outside, 1, "backup/r/v@a", 2)]),
            protocol.Promote([protocol.Promotion("backup/r/v", 1, f"{outside}@a", 2)]),
            protocol.Label([protocol.Mark(outside, 1, {}, ["dev.backstay:lineage"])]),
            protocol.Rollback([protocol.Rewind(outside, 1, "a", 2, [], 0, {})]),
        )
    ),
    (
        protocol.Rollback([protocol.Rewind(f"{ASIDE_ROOT}/1", 1, "a", 2, [], 0, {})]),
        f"{ASIDE_ROOT}/1",
        "--receive",
    ),
    (
        protocol.Survey([protocol.SurveyRoot("tank/backstay-aside", True)], "ab"),
        "tank/backstay-aside",
        "--receive",
    ),
]


@pytest.mark.parametrize(("body", "dataset", "of_list"), _OUTSIDE)
def test_a_refusal_names_the_dataset_the_list_and_the_next_step(
    body: object, dataset: str, of_list: str
) -> None:
    with pytest.raises(Refused) as error:
        check(ALLOWED, body)
    assert error.value.reason == "NotAllowed"
    assert repr(dataset) in error.value.message
    assert of_list in error.value.message
    assert "kubectl backstay grant" in error.value.message


def test_a_request_that_has_no_row_is_refused() -> None:
    with pytest.raises(Refused, match="NotAllowed"):
        check(ALLOWED, object())


def test_what_lies_within_the_lists_passes() -> None:
    for body in (
        protocol.Hello(),
        protocol.Survey(
            [protocol.SurveyRoot("tank/v"), protocol.SurveyRoot("backup/r", True)], "ab"
        ),
        protocol.Claim("test/one", ["backup/r"], "one"),
        protocol.Claim("test/one", [], "one"),
        protocol.CreateParents("backup/r", ["backup/r/x", "backup/r/x/y"]),
        protocol.Prune([protocol.Doomed("tank/v#a", 1), protocol.Doomed("backup/r/v@a", 1)]),
        protocol.Ticket([protocol.SendOrder("tank/v/d", 1, "b", 2, "tank/v/d#a", 3)], []),
        protocol.Ticket([], [protocol.ReceiveOrder("backup/r/v", "4c", False, False, {})]),
        protocol.Ticket([], [protocol.ReceiveOrder("backup/r/v", "4c", True, True, {})]),
        protocol.Survey([protocol.SurveyRoot(ASIDE_ROOT, True)], "ab"),
        protocol.Rename([protocol.Move("backup/r/v", 1, f"{ASIDE_ROOT}/1", True)]),
        protocol.Rename([protocol.Move(f"{ASIDE_ROOT}/1/c", 1, "backup/r/v/c", True)]),
        protocol.Clone([protocol.NewClone(f"{ASIDE_ROOT}/1@a", 1, "backup/r/v", TAME)]),
        protocol.Promote([protocol.Promotion("backup/r/v", 1, f"{ASIDE_ROOT}/1@a", 2)]),
        protocol.Label([protocol.Mark(f"{ASIDE_ROOT}/1", 1, {}, ["dev.backstay:lineage"])]),
        protocol.Rollback([protocol.Rewind("backup/r/v", 1, "a", 2, [], 0, {})]),
    ):
        check(ALLOWED, body)


def test_what_the_operator_seeds_passes() -> None:
    for kind in DatasetKind:
        properties = dict(replica_posture(kind))
        check(ALLOWED, protocol.Posture("backup/r/v", "4c", properties))
        order = protocol.ReceiveOrder("backup/r/v", "4c", True, False, properties)
        check(ALLOWED, protocol.Ticket([], [order]))


@pytest.mark.parametrize(
    "properties",
    [
        {},
        {"readonly": "on"},
        {"volmode": "dev"},
        {"canmount": "on"},
        {"canmount": "noauto", "mountpoint": "/etc"},
        {"canmount": "noauto", "setuid": "on"},
    ],
)
def test_nothing_is_received_that_would_mount_itself(properties: dict[str, str]) -> None:
    order = protocol.ReceiveOrder("backup/r/v", "4c", True, False, properties)
    clone = protocol.NewClone(f"{ASIDE_ROOT}/1@a", 1, "backup/r/v", properties)
    for body in (protocol.Ticket([], [order]), protocol.Clone([clone])):
        with pytest.raises(Refused, match="NotAllowed"):
            check(ALLOWED, body)


@pytest.mark.parametrize("name", ["canmount", "mountpoint", "exec", "setuid", "devices"])
def test_a_replica_is_not_made_usable(name: str) -> None:
    with pytest.raises(Refused, match="NotAllowed"):
        check(ALLOWED, protocol.Posture("backup/r/v", "4c", {name: "on"}))
    with pytest.raises(Refused, match="NotAllowed"):
        check(ALLOWED, protocol.Label([protocol.Mark("backup/r/v", 1, {name: "on"}, [])]))


@pytest.mark.parametrize(("name", "guid"), [("tank/w@b", 2), ("tank/v@b", 3), ("", 0)])
def test_a_token_may_name_no_more_than_its_order(name: str, guid: int) -> None:
    order = protocol.SendOrder("tank/v", 1, "b", 2, token="1-a-b-c")
    check_token(ALLOWED, order, protocol.TokenFacts("1-a-b-c", "tank/v@b", 2, 0, 9, False))
    with pytest.raises(Refused, match="NotAllowed"):
        check_token(ALLOWED, order, protocol.TokenFacts("1-a-b-c", name, guid, 0, 9, False))


# --- the command line ---------------------------------------------------------------------------


def test_only_serve_and_streams_are_admitted() -> None:
    assert admitted_ticket("backstay-host serve") is None
    assert admitted_ticket(f"backstay-host stream {TICKET}") == TICKET


@pytest.mark.parametrize(
    "asked",
    [
        "",
        "serve",
        "backstay-host",
        "backstay-host serve ",
        "backstay-host serve\n",
        "backstay-host serve; id",
        "backstay-host gate --send tank",
        "/tmp/backstay-host serve",
        "backstay-host stream",
        "backstay-host stream ../../x.y",
        f"backstay-host stream {TICKET} {TICKET}",
        f"backstay-host stream {TICKET}\nid",
        "python3 -I -c pass",
        f"python3 -I /run/backstay/{'a' * 32}.zip stream {TICKET}",
        "bash -i",
    ],
)
def test_nothing_else_is_admitted(asked: str) -> None:
    with pytest.raises(Refused, match="NotAllowed"):
        admitted_ticket(asked)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--send"],
        ["--sends", "tank"],
        ["--send", "tank/*"],
        ["--send", "tank@a"],
        ["--send", ""],
        ["tank", "--send"],
    ],
)
def test_lists_that_are_none_admit_nothing(arguments: list[str]) -> None:
    with pytest.raises(Refused, match="NotAllowed: the forced command in authorized_keys is wrong"):
        read_lists(arguments)


def test_each_direction_has_its_own_list() -> None:
    words = ["--send", "tank/a", "--receive", "rpool/b", "--send", "tank/c"]
    assert read_lists(words) == Allowed(("tank/a", "tank/c"), ("rpool/b",))


def test_a_fed_program_does_not_run_behind_the_gate_and_the_operator_is_told_why(
    world: World,
) -> None:
    done = subprocess.run(
        _argv(world, "python3 -I -c 'print(1)'", LISTS),
        input=b"5\nprint(2)",
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    said = json.loads(done.stdout.decode().removeprefix(HELLO_MARK))
    assert said["error"]["reason"] == "NotAllowed"
    assert "Installed" in said["error"]["message"]


def test_a_refused_stream_prints_no_byte_on_its_data(world: World) -> None:
    done = subprocess.run(
        _argv(world, "backstay-host stream x", LISTS), capture_output=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout) == (3, b"")
    assert b"NotAllowed" in done.stderr


# --- sessions -----------------------------------------------------------------------------------


def test_the_greeting_names_the_installed_command_and_the_version(world: World) -> None:
    greeting = _connect(world).greeting
    assert greeting["program"] == ["backstay-host"]
    assert greeting["version"] == protocol_version()


@pytest.mark.parametrize(("body", "dataset", "of_list"), _OUTSIDE)
def test_nothing_is_read_or_run_for_a_request_outside_the_lists(
    world: World, body: object, dataset: str, of_list: str
) -> None:
    client = _connect(world)
    name = next(n for n, (kind, _) in protocol.REQUESTS.items() if isinstance(body, kind))
    for dry in (False, True):
        with pytest.raises(HostError) as error:
            client.request(name, body, dry=dry)
        assert error.value.reason == "NotAllowed"
        assert dataset in error.value.message
        assert of_list in error.value.message
        assert error.value.commands == []
    assert world.log == []


def test_a_session_within_its_lists_takes_snapshots_and_sends_them(world: World) -> None:
    client = _connect(world, claim=1)
    target = protocol.Target("tank/v", world.things["tank/v"]["guid"])
    client.request("snapshot", protocol.TakeSnapshot([target], NAME, []))
    made = client.request("ticket", protocol.Ticket([_send(world)], []))
    assert made["command"][:2] == ["backstay-host", "stream"]
    stream = world.start(
        _argv(world, " ".join(made["command"]), LISTS),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    assert len(stream.communicate(timeout=30)[0]) == 512 + 100
    assert [outcome["reason"] for outcome in client.ended(made["ticket"])] == [""]


def test_a_ticket_of_a_wider_key_is_refused_to_a_narrower_one(world: World) -> None:
    client = world.connect(claim=1)
    made = client.request("ticket", protocol.Ticket([_send(world)], []))
    asked = f"backstay-host stream {made['ticket']}"
    stream = world.start(
        _argv(world, asked, ("--send", "tank/w")), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    assert stream.communicate(timeout=30)[0] == b""
    assert [outcome["reason"] for outcome in client.ended(made["ticket"])] == ["NotAllowed"]
    assert world.argvs("send") == []


@pytest.mark.parametrize(("named", "reason"), [("tank/v@b", ""), ("tank/w@b", "NotAllowed")])
def test_a_token_of_another_dataset_does_not_leave_by_the_order_of_an_allowed_one(
    world: World, named: str, reason: str
) -> None:
    world.put("tank/w")
    world.put("tank/w@b", size=77)
    order = _send(world)
    told = {"name": named, "guid": world.things[named]["guid"], "bytes": 5}
    token = f"1-abc-def-{json.dumps(told).encode().hex()}"
    client = _connect(world, claim=1)
    wanted = protocol.SendOrder("tank/v", order.dataset_guid, "b", order.guid, token=token)
    made = client.request("ticket", protocol.Ticket([wanted], []))
    stream = world.start(
        _argv(world, " ".join(made["command"]), LISTS),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    assert (stream.communicate(timeout=30)[0] == b"") is bool(reason)
    assert [outcome["reason"] for outcome in client.ended(made["ticket"])] == [reason]


def test_the_installed_file_is_a_program_by_its_name(world: World) -> None:
    installed = world.home / "backstay-host"
    installed.write_bytes(executable_host_program(sys.executable))
    installed.chmod(0o755)
    for asked, status in (("backstay-host stream x", 3), ("id", 1)):
        done = subprocess.run(
            [str(installed), "gate", *LISTS],
            env={"SSH_ORIGINAL_COMMAND": asked},
            capture_output=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == status
        assert b"NotAllowed" in done.stderr
