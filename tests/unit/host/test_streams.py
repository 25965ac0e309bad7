"""Streams: orders in turn, each looked at once more, stopping at the first failure."""

from __future__ import annotations

import signal
import subprocess
from dataclasses import replace
from typing import Any

import pytest

from backstay_host import protocol
from unit.host.client import Client, HostError
from unit.host.conftest import World

PROPERTIES = {"dev.backstay:lineage": "4c1f", "readonly": "on"}


def _source(world: World, name: str = "tank/v", size: int = 70_000) -> protocol.SendOrder:
    """A snapshot `b` of the dataset exists; the order to send it from `a`."""
    if name not in world.things:
        world.put(name)
    base = world.put(f"{name}@a")
    guid = world.put(f"{name}@b", size=size)
    return protocol.SendOrder(name, world.things[name]["guid"], "b", guid, f"{name}@a", base)


def _increment(world: World, name: str = "v", **props: str) -> protocol.ReceiveOrder:
    """A replica exists; the order to receive an increment into it."""
    world.put(f"backup/r/{name}", props={"dev.backstay:lineage": "4c1f", **props})
    return protocol.ReceiveOrder(f"backup/r/{name}", "4c1f", False, False, {})


def _send(world: World, client: Client, *orders: protocol.SendOrder) -> tuple[Any, bytes]:
    """Outcomes of a stream of sends, and what it wrote."""
    made = client.request("ticket", protocol.Ticket(list(orders), []))
    stream = world.start(made["command"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    data = stream.communicate(timeout=30)[0]
    return client.ended(made["ticket"]), data


def _reasons(outcomes: list[dict[str, str]]) -> list[tuple[str, str]]:
    return [(outcome["name"], outcome["reason"]) for outcome in outcomes]


@pytest.mark.parametrize(
    ("name", "guid", "told"), [("gone", 0, "does not exist any more"), ("a", 1, "has GUID")]
)
def test_a_clone_is_received_below_the_planned_origin_only(
    world: World, name: str, guid: int, told: str
) -> None:
    client = world.connect(claim=1)
    world.put("backup/r/base", props={"dev.backstay:lineage": "4c1f"})
    right = world.put("backup/r/base@a")
    order = protocol.ReceiveOrder(
        "backup/r/v", "4c1f", True, False, PROPERTIES, f"backup/r/base@{name}", right + guid
    )
    made = client.request("ticket", protocol.Ticket([], [order]))
    world.start(made["command"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    (outcome,) = client.ended(made["ticket"])
    assert outcome["reason"] == "IdentityChanged"
    assert told in outcome["message"]
    assert "backup/r/v" not in world.things


@pytest.mark.parametrize(
    "order",
    [
        protocol.SendOrder("tank/v", 1, "b", 2, "tank/w#a", 3),
        protocol.ReceiveOrder("backup/r/v", "4c1f", True, False, PROPERTIES, "backup/r/w@a"),
        protocol.ReceiveOrder("backup/r/v", "4c1f", False, False, {}, "backup/r/w@a", 1),
        protocol.ReceiveOrder("backup/r/v", "4c1f", True, False, PROPERTIES, "backup/r/w", 1),
    ],
)
def test_an_origin_is_a_snapshot_of_a_known_guid_and_of_a_new_dataset(
    world: World, order: protocol.SendOrder | protocol.ReceiveOrder
) -> None:
    is_send = isinstance(order, protocol.SendOrder)
    ticket = protocol.Ticket([order] if is_send else [], [] if is_send else [order])  # type: ignore[list-item]
    with pytest.raises(HostError, match="BadRequest"):
        world.connect(claim=1).request("ticket", ticket)


def test_a_branch_has_a_pipe_of_its_own(world: World) -> None:
    sends = [
        protocol.SendOrder("tank/v", 1, "b", 2, "tank/w@a", 3),
        protocol.SendOrder("tank/x", 1, "b", 2, "tank/x@a", 3),
    ]
    with pytest.raises(HostError, match="pipe of its own"):
        world.connect(claim=1).request("ticket", protocol.Ticket(sends, []))


def test_increments_run_in_turn_on_one_pipe_from_sender_to_receiver(world: World) -> None:
    client = world.connect(claim=1)
    sends = [_source(world, f"tank/d{n}") for n in range(3)]
    receives = [_increment(world, f"d{n}") for n in range(3)]
    sent = client.request("ticket", protocol.Ticket(sends, []))
    received = client.request("ticket", protocol.Ticket([], receives))
    sender = world.start(sent["command"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    receiver = world.start(received["command"], stdin=sender.stdout, stdout=subprocess.DEVNULL)
    assert _reasons(client.ended(sent["ticket"])) == [(f"tank/d{n}@b", "") for n in range(3)]
    assert _reasons(client.ended(received["ticket"])) == [(f"backup/r/d{n}", "") for n in range(3)]
    assert (sender.wait(10), receiver.wait(10)) == (0, 0)
    for number, order in enumerate(sends):
        assert world.things[f"backup/r/d{number}@b"]["guid"] == order.guid
    assert {p["index"] for p in client.progress} == {0, 1, 2}
    assert max(p["bytes"] for p in client.progress if p["ticket"] == sent["ticket"]) >= 70_000


@pytest.mark.rule("A pipe cannot mix up members")
@pytest.mark.fault("member of a shared pipe vanishes before its send")
def test_a_stream_stops_at_the_first_failure(world: World) -> None:
    client = world.connect(claim=1)
    orders = [_source(world, f"tank/d{n}", size=100) for n in range(3)]
    world.put("tank/d1@b")
    outcomes, data = _send(world, client, *orders)
    assert _reasons(outcomes) == [("tank/d0@b", ""), ("tank/d1@b", "SourceChanged")]
    assert len(data) == 512 + 100


@pytest.mark.rule("Proven base")
@pytest.mark.rule("Seed only into nothing, and only what was planned")
@pytest.mark.parametrize("changed", ["tank/v", "tank/v@a", "tank/v@b"])
def test_nothing_is_sent_whose_identity_is_not_the_planned_one(world: World, changed: str) -> None:
    client = world.connect(claim=1)
    order = _source(world)
    world.put(changed)
    outcomes, data = _send(world, client, order)
    assert _reasons(outcomes) == [("tank/v@b", "SourceChanged")]
    assert data == b""


def test_no_byte_but_the_streams_reaches_stdout(world: World) -> None:
    client = world.connect(claim=1)
    outcomes, data = _send(world, client, _source(world, size=9))
    assert outcomes[0]["reason"] == ""
    assert data.startswith(b'{"name": "tank/v@b"')
    assert data.endswith(b"x" * 9)
    assert world.argvs("send") == [
        ["zfs", "send", "-Lec", "-vP", "-i", "tank/v@a", "tank/v@b"]
    ]  # fmt: skip


@pytest.mark.rule("Seed only into nothing, and only what was planned")
@pytest.mark.rule("Single writer, fenced at the host")
@pytest.mark.parametrize(
    ("order", "state", "reason"),
    [
        ((True, False), {"props": {"dev.backstay:lineage": "4c1f"}}, "TargetHasForeignData"),
        ((False, False), None, "TargetMissing"),
        ((False, False), {"props": {"dev.backstay:lineage": "beef"}}, "LineageMismatch"),
        (
            (False, False),
            {"props": {"dev.backstay:lineage": "4c1f", "dev.backstay:role": "primary"}},
            "RoleMismatch",
        ),
        ((True, True), {"props": {"dev.backstay:lineage": "4c1f"}}, "StaleReceiveState"),
        (
            (False, False),
            {"props": {"dev.backstay:lineage": "4c1f"}, "receive_resume_token": "1-a-b-c"},
            "PartialState",
        ),
    ],
)
def test_nothing_is_received_into_what_was_not_planned(
    world: World, order: tuple[bool, bool], state: dict[str, Any] | None, reason: str
) -> None:
    client = world.connect(claim=1)
    if state is not None:
        world.put("backup/r/v", **state)
    seed, resumed = order
    properties = PROPERTIES if seed and not resumed else {}
    wanted = protocol.ReceiveOrder("backup/r/v", "4c1f", seed, resumed, properties)
    made = client.request("ticket", protocol.Ticket([], [wanted]))
    world.start(made["command"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    assert client.ended(made["ticket"])[-1]["reason"] == reason
    assert not world.argvs("receive")


@pytest.mark.rule("Replica posture")
def test_a_seed_sets_its_properties_and_an_increment_none(world: World) -> None:
    client = world.connect(claim=1)
    order = protocol.ReceiveOrder("backup/r/v", "4c1f", True, False, PROPERTIES)
    made = client.request("ticket", protocol.Ticket([], [order]))
    stream = world.start(made["command"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    stream.communicate(b'{"name": "tank/v@a", "guid": 5, "size": 3}'.ljust(512) + b"xxx")
    assert client.ended(made["ticket"])[-1]["reason"] == ""
    assert world.argvs("receive") == [
        [
            *("zfs", "receive", "-s", "-u", "-o", "dev.backstay:lineage=4c1f"),
            *("-o", "readonly=on", "backup/r/v"),
        ]
    ]
    assert world.things["backup/r/v@a"]["guid"] == 5


@pytest.mark.fault("incremental stream cut in the middle")
def test_a_cut_stream_is_named_and_leaves_a_token(world: World) -> None:
    client = world.connect(claim=1)
    made = client.request("ticket", protocol.Ticket([], [_increment(world)]))
    stream = world.start(made["command"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    stream.communicate(b'{"name": "tank/v@a", "guid": 5, "size": 3000}'.ljust(512) + b"xxx")
    assert client.ended(made["ticket"])[-1]["reason"] == "BadStream"
    assert world.things["backup/r/v"]["receive_resume_token"].startswith("1-")


@pytest.mark.rule("Deadlines")
@pytest.mark.fault("half-open line, or all packets lost for minutes")
def test_a_stream_that_does_not_move_is_killed(world: World) -> None:
    client = world.connect(claim=1)
    made = client.request("ticket", protocol.Ticket([], [_increment(world)], stall_s=0.5))
    stream = world.start(made["command"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert client.ended(made["ticket"])[-1]["reason"] == "TransferStalled"
    assert stream.wait(10) == 1


def test_a_ticket_admits_once_and_only_here(world: World) -> None:
    client = world.connect(claim=1)
    made = client.request("ticket", protocol.Ticket([_source(world, size=9_000_000)], []))
    first = world.start(made["command"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    client.wait_for(lambda: bool(client.progress))
    for _ in ("while it runs", "after its end"):
        again = world.start(made["command"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert again.communicate(timeout=30)[0] == b""
        assert again.returncode == 3
        if first.poll() is None:
            first.communicate(timeout=30)
    elsewhere = [*made["command"][:-1], "../../etc.x"]
    stranger = world.start(elsewhere, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    assert stranger.wait(30) == 3
    assert len(world.argvs("send")) == 1


@pytest.mark.rule("A pipe cannot mix up members")
@pytest.mark.parametrize(
    "body",
    [
        protocol.Ticket([], []),
        protocol.Ticket(
            [protocol.SendOrder("tank/v", 1, "b", 2)],
            [protocol.ReceiveOrder("backup/r/v", "4c1f", False, False, {})],
        ),
        protocol.Ticket([protocol.SendOrder("tank/v", 1, "b", 2)] * 2, []),
        protocol.Ticket(
            [], [protocol.ReceiveOrder("backup/r/v", "4c1f", True, False, PROPERTIES)] * 2
        ),
        protocol.Ticket([protocol.SendOrder("tank/v", 1, "b", 2, "tank/w#a", 3)], []),
        protocol.Ticket([protocol.SendOrder("tank/v", 1, "b", 2, "tank/v@a")], []),
        protocol.Ticket([protocol.SendOrder("tank/v", 1, "b;x", 2)], []),
        protocol.Ticket([protocol.SendOrder("tank/v", 1, "b", 2, mode="R")], []),
        protocol.Ticket([protocol.SendOrder("tank/v", 1, "b", 2, token="-R")], []),
        protocol.Ticket([], [protocol.ReceiveOrder("backup/r/v", "4c1f", True, False, {})]),
        protocol.Ticket(
            [], [protocol.ReceiveOrder("backup/r/v", "4c1f", False, False, {"readonly": "on"})]
        ),
        protocol.Ticket(
            [],
            [
                protocol.ReceiveOrder(
                    "backup/r/v", "4c1f", True, False, {**PROPERTIES, "sharenfs": "on"}
                )
            ],
        ),
        protocol.Ticket(
            [],
            [
                protocol.ReceiveOrder(
                    "backup/r/v", "4c1f", True, False, {**PROPERTIES, "dev.backstay:writer": "9:x"}
                )
            ],
        ),
    ],
)
def test_orders_that_could_mix_up_members_or_set_more_are_refused(
    world: World, body: protocol.Ticket
) -> None:
    client = world.connect()
    with pytest.raises(HostError) as error:
        client.request("ticket", body, dry=True)
    assert error.value.reason == "BadRequest"


@pytest.mark.rule("Raw lineage")
@pytest.mark.parametrize("mode", ["Lec", "Lc", "Lecw"])
def test_a_stream_is_sent_in_the_mode_of_its_order(world: World, mode: str) -> None:
    world.put("tank/v@b")
    order = protocol.SendOrder("tank/v", 1, "b", 2, mode=mode)
    client = world.connect()
    client.request("ticket", protocol.Ticket([order], []), dry=True)
    assert client.commands == [["zfs", "send", f"-{mode}", "-vP", "tank/v@b"]]


@pytest.mark.rule("Isolation")
@pytest.mark.parametrize("of_replica", [False, True])
def test_a_replica_that_is_sent_on_may_receive_meanwhile(world: World, of_replica: bool) -> None:
    world.put("tank/v@old")
    order = replace(_source(world), of_replica=of_replica)
    world.trouble("zfs-send", hang=True)
    client = world.connect(claim=3)
    made = client.request("ticket", protocol.Ticket([order], []))
    world.start(made["command"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    client.wait_for(lambda: bool(world.argvs("send")))
    root = protocol.SurveyRoot("tank/v")
    busy = client.request("survey", protocol.Survey([root], "ab12"))["busy"]
    assert busy == ([] if of_replica else ["tank/v"])
    doomed = protocol.Doomed("tank/v@old", world.things["tank/v@old"]["guid"])
    (outcome,) = client.request("prune", protocol.Prune([doomed]))["items"]
    assert outcome["reason"] == ("" if of_replica else "TargetBusy")


@pytest.mark.rule("Honest dry run")
def test_a_dry_ticket_shows_the_commands_and_admits_nobody(world: World) -> None:
    client = world.connect()
    order = _source(world)
    made = client.request("ticket", protocol.Ticket([order], []), dry=True)
    assert made == {"ticket": "", "command": []}
    assert client.commands == [["zfs", "send", "-Lec", "-vP", "-i", "tank/v@a", "tank/v@b"]]


@pytest.mark.fault("kill -9 of host program or ssh before the send")
def test_a_stream_that_dies_before_it_has_its_orders_has_ended(world: World) -> None:
    """Else the session would wait for it, and never be idle."""
    client = world.connect(claim=1)
    made = client.request("ticket", protocol.Ticket([_source(world)], []))
    client.process.send_signal(signal.SIGSTOP)
    assert world.visit(client, made["ticket"], stays=False).wait(10) == 0
    client.process.send_signal(signal.SIGCONT)
    assert _reasons(client.ended(made["ticket"], timeout_s=10)) == [("", "StreamLost")]
    client.request("goodbye", protocol.Goodbye())
    assert client.process.wait(10) == 0
