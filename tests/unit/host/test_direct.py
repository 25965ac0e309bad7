"""*Direct*: the source's stream runs ssh to the target's, with a key that opens nothing else."""

from __future__ import annotations

import dataclasses
import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from backstay_host import protocol
from backstay_host.carriers import NOT_YET
from unit.host import fake_ssh, program
from unit.host.client import HostError
from unit.host.conftest import SRC, World

SECRET = "c2VjcmV0LW9mLXRoZS1saW5l"
MARK = "OPENSSH PRIVATE KEY-----"
KEY = f"-----BEGIN {MARK}\n{SECRET}\n-----END {MARK}"
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA"
GATE = ("gate", "--only", "stream", "--receive", "backup/r")


class Line:
    """A target that admits the data key, seen from the source on the same machine."""

    def __init__(self, world: World) -> None:
        self.world = world
        path = world.home / "bin" / "ssh"
        path.write_text(f"#!{sys.executable} -IS\n{Path(str(fake_ssh.__file__)).read_text()}")
        path.chmod(0o755)
        (world.home / "host_key").write_text(HOST_KEY)
        (world.home / "data_key").write_text(KEY + "\n")
        self.force(*GATE)
        self.client = world.connect(claim=1)

    def force(self, *arguments: str) -> None:
        """The forced command of the data key."""
        argv = [sys.executable, str(program.__file__), str(self.world.home), *arguments]
        forced = {"argv": argv, "env": {"PYTHONPATH": f"{SRC}:{SRC.parent}/tests"}}
        (self.world.home / "forced").write_text(json.dumps(forced))

    @property
    def calls(self) -> list[dict[str, Any]]:
        """Every call of ssh."""
        path = self.world.home / "ssh.log"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def destination(self, ticket: str, **changed: Any) -> protocol.Destination:
        """The target, for the ticket."""
        to = protocol.Destination("192.0.2.2", 2222, "root", [HOST_KEY], KEY, ticket)
        return dataclasses.replace(to, **changed)

    def receive(self, *orders: protocol.ReceiveOrder, **way: Any) -> str:
        """The ticket of these receives."""
        made = self.client.request("ticket", protocol.Ticket([], list(orders), **way))
        return str(made["ticket"])

    def send(
        self, to: protocol.Destination, *orders: protocol.SendOrder, **way: Any
    ) -> tuple[str, subprocess.Popen[bytes]]:
        """The stream of these sends runs; its ticket."""
        body = protocol.Ticket(list(orders), [], destination=to, **way)
        made = self.client.request("ticket", body)
        null = subprocess.DEVNULL
        return str(made["ticket"]), self.world.start(made["command"], stdin=null, stdout=null)


@pytest.fixture
def line(world: World) -> Line:
    return Line(world)


def _source(world: World, name: str = "v", size: int = 70_000) -> protocol.SendOrder:
    world.put(f"tank/{name}")
    base = world.put(f"tank/{name}@a")
    guid = world.put(f"tank/{name}@b", size=size)
    dataset = world.things[f"tank/{name}"]["guid"]
    return protocol.SendOrder(f"tank/{name}", dataset, "b", guid, f"tank/{name}@a", base)


def _replica(world: World, name: str = "v") -> protocol.ReceiveOrder:
    world.put(f"backup/r/{name}", props={"dev.backstay:lineage": "4c1f"})
    return protocol.ReceiveOrder(f"backup/r/{name}", "4c1f", False, False, {})


def _reasons(outcomes: list[dict[str, str]]) -> list[tuple[str, str]]:
    return [(outcome["name"], outcome["reason"]) for outcome in outcomes]


def test_increments_go_from_source_to_target_in_turn(line: Line) -> None:
    world = line.world
    sends = [_source(world, f"d{n}") for n in range(3)]
    received = line.receive(*(_replica(world, f"d{n}") for n in range(3)))
    sent, running = line.send(line.destination(received), *sends)
    assert _reasons(line.client.ended(sent)) == [(f"tank/d{n}@b", "") for n in range(3)]
    assert _reasons(line.client.ended(received)) == [(f"backup/r/d{n}", "") for n in range(3)]
    assert running.wait(10) == 0
    assert [world.things[f"backup/r/d{n}@b"]["guid"] for n in range(3)] == [s.guid for s in sends]
    assert len(line.calls) == 1
    assert line.calls[0]["argv"][-2:] == ["192.0.2.2", f"backstay-host stream {received}"]


@pytest.mark.rule("Single writer, fenced at the host")
def test_the_data_key_is_in_memory_only(line: Line) -> None:
    received = line.receive(_replica(line.world))
    sent, _ = line.send(line.destination(received), _source(line.world))
    assert line.client.ended(sent)[-1]["reason"] == ""
    assert line.calls
    assert SECRET not in json.dumps([*line.calls, *line.world.log])
    kept = [path for path in line.world.home.rglob("*") if path.is_file()]
    found = [path.name for path in kept if SECRET.encode() in path.read_bytes()]
    assert found == ["data_key"]


@pytest.mark.fault("changed host key", "wrong key")
@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"host_keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5BBBB"]}, "Host key verification failed"),
        ({"key": KEY.replace("c2Vj", "AAAA")}, "Permission denied (publickey)"),
    ],
)
def test_what_ssh_says_of_the_target_is_told(
    line: Line, changed: dict[str, Any], said: str
) -> None:
    received = line.receive(_replica(line.world))
    sent, _ = line.send(line.destination(received, **changed), _source(line.world))
    outcome = line.client.ended(sent)[-1]
    assert outcome["reason"] == "LinkFailed"
    assert said in outcome["message"]
    assert not line.world.argvs("receive")


@pytest.mark.rule("Single writer, fenced at the host")
def test_the_data_key_opens_nothing_without_a_ticket(line: Line) -> None:
    sent, _ = line.send(line.destination(f"{'a' * 32}.{'b' * 32}"), _source(line.world))
    outcome = line.client.ended(sent)[-1]
    assert (outcome["reason"], "NoSuchTicket" in outcome["message"]) == ("LinkRefused", True)
    forced = json.loads((line.world.home / "forced").read_text())
    for asked in ("backstay-host serve", "sh", ""):
        env = {**os.environ, **forced["env"], "SSH_ORIGINAL_COMMAND": asked}
        done = subprocess.run(forced["argv"], env=env, capture_output=True, timeout=30, check=False)
        assert done.returncode == 1
        assert b"NotAllowed" in done.stdout
    assert not line.world.argvs("receive")


def test_the_data_key_receives_within_its_list_only(line: Line) -> None:
    line.force("gate", "--only", "stream", "--receive", "backup/other")
    received = line.receive(_replica(line.world))
    sent, _ = line.send(line.destination(received), _source(line.world))
    assert line.client.ended(received)[-1]["reason"] == "NotAllowed"
    assert line.client.ended(sent)[-1]["reason"] in ("PeerEnded", "")
    assert not line.world.argvs("receive")


@pytest.mark.rule("A pipe cannot mix up members")
def test_both_ends_stop_when_the_receiver_fails(line: Line) -> None:
    world = line.world
    sends = [_source(world, f"d{n}", size=9_000_000) for n in range(2)]
    wanted = [_replica(world, f"d{n}") for n in range(2)]
    world.trouble("zfs-receive", err="cannot receive: out of space", status=1)
    received = line.receive(*wanted)
    sent, _ = line.send(line.destination(received), *sends)
    assert _reasons(line.client.ended(received)) == [("backup/r/d0", "InsufficientSpace")]
    assert _reasons(line.client.ended(sent)) == [("tank/d0@b", "PeerEnded")]


@pytest.mark.rule("A pipe cannot mix up members")
def test_a_sender_that_may_not_send_ends_the_receiver(line: Line) -> None:
    order = _source(line.world)
    line.world.put("tank/v@b")
    received = line.receive(_replica(line.world))
    sent, _ = line.send(line.destination(received), order)
    assert _reasons(line.client.ended(sent)) == [("tank/v@b", "SourceChanged")]
    assert _reasons(line.client.ended(received)) == [("backup/r/v", "BadStream")]


def _hanging(line: Line) -> tuple[str, str, subprocess.Popen[bytes]]:
    """A direct stream whose receive stands still, with all of its processes running."""
    order = _replica(line.world)
    line.world.trouble("zfs-receive", hang=True)
    received = line.receive(order)
    sent, running = line.send(line.destination(received), _source(line.world, size=9_000_000))
    line.client.wait_for(lambda: {p["ticket"] for p in line.client.progress} == {sent, received})
    return sent, received, running


@pytest.mark.rule("Single writer, fenced at the host")
@pytest.mark.parametrize("how", ["cancel", "kill -9 of the stream", "session lost"])
def test_the_children_of_a_direct_send_die_with_the_call(line: Line, how: str) -> None:
    sent, _, running = _hanging(line)
    pids = [call["pid"] for call in [*line.calls, *line.world.log] if _is_running(call["pid"])]
    assert len(pids) == 3  # ssh, send, receive
    assert all(call["group"] == call["pid"] for call in line.calls)
    if how == "cancel":
        line.client.request("cancel", protocol.Cancel(sent))
        assert line.client.ended(sent)[-1]["reason"] == "Cancelled"
    elif how == "session lost":
        line.client.process.kill()
    else:
        running.send_signal(signal.SIGKILL)
        assert _reasons(line.client.ended(sent)) == [("", "StreamLost")]
    here = [call["pid"] for call in line.calls] + [
        call["pid"] for call in line.world.log if call["argv"][1] == "send"
    ]
    assert all(_ended(pid) for pid in here)


@pytest.mark.rule("Deadlines")
def test_a_direct_stream_that_does_not_move_is_killed(line: Line) -> None:
    order = _replica(line.world)
    line.world.trouble("zfs-receive", hang=True)
    received = line.receive(order, stall_s=60.0)
    to = line.destination(received)
    sent, running = line.send(to, _source(line.world, size=9_000_000), stall_s=0.5)
    assert line.client.ended(sent)[-1]["reason"] == "TransferStalled"
    assert running.wait(10) == 1
    assert all(_ended(call["pid"]) for call in line.calls)


@pytest.mark.rule("Deadlines")
def test_a_target_that_works_on_what_it_has_is_waited_for(line: Line) -> None:
    """All was sent: whether the rest takes too long is seen there, where it moves."""
    order = _replica(line.world)
    line.world.trouble("zfs-receive", hang=True)
    received = line.receive(order)
    sent, running = line.send(line.destination(received), _source(line.world, size=9), stall_s=0.5)
    with pytest.raises(subprocess.TimeoutExpired):
        running.wait(4)
    line.client.request("cancel", protocol.Cancel(received))
    assert line.client.ended(sent)[-1]["reason"] == "PeerEnded"


@pytest.mark.rule("Single writer, fenced at the host")
def test_a_higher_term_at_the_target_ends_a_direct_receive(line: Line) -> None:
    sent, received, _ = _hanging(line)
    other = line.world.connect(claim=2)
    receives = [c["pid"] for c in line.world.log if c["argv"][1] == "receive"]
    assert not any(_is_running(pid) for pid in receives)
    assert line.client.ended(received)[-1]["reason"]
    assert line.client.ended(sent)[-1]["reason"]
    assert other.request("hello", protocol.Hello())


@pytest.mark.rule("Honest dry run")
def test_a_dry_ticket_shows_the_ssh_without_any_secret(line: Line) -> None:
    to = line.destination(NOT_YET, key="")
    body = protocol.Ticket([_source(line.world)], [], destination=to)
    line.client.request("ticket", body, dry=True)
    shown = line.client.commands[-1]
    assert (shown[0], shown[-2:]) == ("ssh", ["192.0.2.2", "backstay-host stream TICKET"])
    assert "UserKnownHostsFile=HOST-KEYS" in shown


@pytest.mark.parametrize(
    "changed",
    [
        {"address": "-oProxyCommand=x"},
        {"address": "a b"},
        {"user": "-x"},
        {"port": 0},
        {"host_keys": []},
        {"host_keys": ["ssh-ed25519 AAAA\n* ssh-rsa BBBB"]},
        {"ticket": "../x"},
        {"ticket": "x; true"},
        {"key": "no key"},
        {"key": KEY + "x" * 20_000},
    ],
)
def test_a_destination_that_says_more_than_one_is_refused(
    line: Line, changed: dict[str, Any]
) -> None:
    to = dataclasses.replace(line.destination(f"{'a' * 32}.{'b' * 32}"), **changed)
    with pytest.raises(HostError) as error:
        line.client.request("ticket", protocol.Ticket([_source(line.world)], [], destination=to))
    assert error.value.reason == "BadRequest"
    order = _replica(line.world)
    with pytest.raises(HostError):
        line.client.request("ticket", protocol.Ticket([], [order], destination=to))


def _ended(pid: int, patience_s: float = 20.0) -> bool:
    """Whether a process ends in time."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([process], [], [], patience_s)[0])
    finally:
        os.close(process)


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
