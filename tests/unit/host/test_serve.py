"""The control channel: greeting, requests, bounds, and every way in which it ends."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from backstay_host import codec, places, protocol, serve, tickets
from backstay_host.children import Children
from backstay_host.codec import encode_frame
from backstay_host.request import Host
from backstay_host.wire import Message
from unit.host.client import HostError
from unit.host.conftest import World


def _survey(*names: str) -> protocol.Survey:
    return protocol.Survey([protocol.SurveyRoot(name, True) for name in names], "ab12", True)


def test_hello_names_the_host_and_its_pools(world: World) -> None:
    client = world.connect()
    facts = client.request("hello", protocol.Hello())
    assert facts["zfs_version"] == "2.3.9-fake"
    assert [pool["name"] for pool in facts["pools"]] == ["backup", "tank"]
    assert facts["uid"] == os.getuid()


@pytest.mark.fault("other locale")
def test_children_get_a_fixed_environment_and_a_group_of_their_own(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("LD_PRELOAD_X", "1")
    world.connect().request("hello", protocol.Hello())
    for call in world.log:
        assert call["env"].pop("PATH").endswith("/usr/bin:/bin")
        assert call["env"] in (
            {"LC_ALL": "C", "LANG": "C", "TZ": "UTC"},
            # what the interpreter of the fake adds for itself
            {"LC_ALL": "C", "LANG": "C", "TZ": "UTC", "LC_CTYPE": "C.UTF-8"},
        )
        assert call["group"] == call["pid"]


def test_end_of_input_ends_the_program_and_removes_its_files(world: World) -> None:
    client = world.connect()
    assert list((world.home / "run").glob("*.sock"))
    assert client.close() == 0
    assert not list((world.home / "run").glob("*.sock"))


def test_end_of_input_kills_the_child_at_work(world: World) -> None:
    world.trouble("zfs-list", hang=True)
    client = world.connect()
    client.post("survey", _survey("tank"))
    client.wait_for(lambda: bool(client.beats))
    while not world.argvs("list"):
        os.sched_yield()
    assert client.close() == 0
    pid = next(call["pid"] for call in world.log if call["argv"][1] == "list")
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.rule("Deadlines")
def test_a_passed_deadline_is_a_timeout_and_the_session_goes_on(world: World) -> None:
    world.trouble("zfs-list", hang=True)
    client = world.connect()
    with pytest.raises(HostError) as error:
        client.request("survey", _survey("tank"), deadline_s=1.0)
    assert error.value.reason == "Timeout"
    (world.home / "zfs-list").unlink()
    assert client.request("survey", _survey("tank"))["datasets"]


@pytest.mark.rule("Single writer, fenced at the host")
def test_a_lease_that_runs_out_ends_the_session(world: World) -> None:
    client = world.connect()
    client.first_beat.wait(10)
    client.answers_beats = False
    seen = len(client.beats)
    client.wait_for(lambda: len(client.beats) > seen)
    client.beat(client.beats[-1], 0.3)
    assert client.closed.wait(10)


@pytest.mark.rule("Single writer, fenced at the host")
def test_changes_wait_for_the_first_heartbeat_and_are_refused_without(world: World) -> None:
    client = world.connect(answers_beats=False)
    client.term = 1
    body = protocol.Claim("test/one", ["backup/r"], "one")
    with pytest.raises(HostError) as error:
        client.request("claim", body, deadline_s=1.0)
    assert error.value.reason == "LeaseLost"
    assert not world.argvs("set")
    waiting = client.post("claim", body, deadline_s=10.0)
    client.beat(client.beats[-1], 30.0)
    assert client.result(waiting)["roots"][0]["outcome"] == "Held"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_session_cleanly(world: World, number: signal.Signals) -> None:
    client = world.connect()
    client.request("hello", protocol.Hello())
    client.process.send_signal(number)
    assert client.closed.wait(10)
    assert client.process.wait(10) == 0
    assert not list((world.home / "run").glob("*.sock"))


@pytest.mark.parametrize(
    "broken",
    [b"\xff\xff\xff\xff", encode_frame({"id": 1}), b"\0\0\0\2[]", b"\0\0\0\4abcd"],
    ids=["too long", "no request", "no object", "no JSON"],
)
def test_a_broken_frame_ends_the_session(world: World, broken: bytes) -> None:
    client = world.connect()
    assert client.process.stdin is not None
    client.process.stdin.write(broken)
    assert client.closed.wait(10)


def test_a_wrong_body_is_named_and_the_session_goes_on(world: World) -> None:
    client = world.connect()
    with pytest.raises(HostError, match=r"Survey\.roots\[0\]: field 'name' is missing"):
        client.request("survey", {"roots": [{}], "ours": "x"})
    with pytest.raises(HostError, match="unknown request 'format'"):
        client.request("format", {})
    with pytest.raises(HostError, match="'-r' is not the name of a dataset"):
        client.request("survey", _survey("-r"))
    assert client.request("hello", protocol.Hello())["uid"] == os.getuid()


def _peak_bytes(pid: int) -> int:
    """The most memory that a process ever had."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


@pytest.mark.parametrize("text", ["x", "€"], ids=["a byte a character", "three bytes a character"])
def test_a_listing_without_end_is_refused_and_kept_nowhere(world: World, text: str) -> None:
    zfs = world.home / "bin" / "zfs"
    zfs.write_text(
        f"#!/bin/sh\n[ $1 != version ] || exec echo zfs-2.3.9\nyes {text} | head -c 100000000\n",
        encoding="utf-8",
    )
    client = world.connect()
    client.request("hello", protocol.Hello())
    before = _peak_bytes(client.process.pid)
    with pytest.raises(HostError, match="zfs get printed 64 MiB or more") as error:
        client.request("survey", _survey("tank"))
    assert error.value.reason == "OutputTooLarge"
    assert _peak_bytes(client.process.pid) < before + (8 << 20)
    kept = [str(fd.readlink()) for fd in Path(f"/proc/{client.process.pid}/fd").iterdir()]
    assert not [path for path in kept if "memfd:" in path]
    assert client.request("hello", protocol.Hello())["uid"] == os.getuid()


def test_an_answer_that_fits_no_frame_is_refused_in_its_stead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(codec, "MAX_FRAME_BYTES", 1000)
    answers: list[Message] = [
        {"id": 7, "result": {"x": "y" * 1000}, "commands": []},
        {"id": 7, "error": {"reason": "NoZfs", "message": ""}, "commands": [["z" * 1000]]},
    ]
    for answer in answers:
        frame = serve._encoded(answer)
        assert len(frame) < 1000
        told = codec.decode_message(frame[4:])
        assert (told["id"], told["error"]["reason"]) == (7, "OutputTooLarge")
    fits: Message = {"id": 7, "result": {"x": "y" * 900}}
    assert codec.decode_message(serve._encoded(fits)[4:]) == fits


@pytest.mark.fault("no ZFS")
def test_a_host_without_zfs_says_so(world: World) -> None:
    client = world.connect()
    client.request("hello", protocol.Hello())
    (world.home / "bin" / "zfs").unlink()
    with pytest.raises(HostError) as error:
        client.request("hello", protocol.Hello())
    assert error.value.reason == "NoZfs"


@pytest.mark.fault("no ZFS")
def test_a_host_without_the_kernel_module_says_so(world: World) -> None:
    message = "/dev/zfs and /proc/self/mounts are required.\nTry running 'udevadm trigger'"
    world.trouble("zfs-version", err=message)
    with pytest.raises(HostError) as error:
        world.connect().request("hello", protocol.Hello())
    assert error.value.reason == "NoZfs"


def test_goodbye_ends_the_program_once_nothing_runs(world: World) -> None:
    client = world.connect()
    client.request("goodbye", protocol.Goodbye())
    assert client.process.wait(10) == 0


def test_a_killed_session_leaves_files_that_the_next_one_sweeps(world: World) -> None:
    client = world.connect()
    client.process.kill()
    client.process.wait()
    (left,) = (world.home / "run").glob("*.sock")
    left.with_suffix(".zip").touch()
    second = world.connect()
    second.request("hello", protocol.Hello())
    assert not left.exists()
    assert not left.with_suffix(".zip").exists()


def test_a_session_that_was_killed_before_it_listened_is_swept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while its name stands for nobody, a bound socket of a living session is not."""
    folder = world.home / "run"
    monkeypatch.setattr(places, "RUN_FOLDER", folder)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(places.socket_path("ab12").with_suffix(places.UNBORN)))
    (folder / "ab12.zip").touch()
    with socket.socket(socket.AF_UNIX) as living:
        living.bind(str(places.socket_path("cd34").with_suffix(places.UNBORN)))
        (folder / "cd34.zip").touch()
        places.sweep()
        assert sorted(path.name for path in folder.iterdir()) == ["cd34.new", "cd34.zip"]
    places.sweep()
    assert not list(folder.iterdir())


def test_a_session_that_sweeps_leaves_one_that_is_about_to_listen_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Swept(socket.socket):
        def listen(self, backlog: int = 1) -> None:
            places.sweep()
            super().listen(backlog)

    folder = world.home / "run"
    monkeypatch.setattr(places, "RUN_FOLDER", folder)
    monkeypatch.setattr(socket, "socket", Swept)
    (folder / "ab12.zip").touch()
    streams = tickets.Streams(Host(Children(), "ab12"), lambda _: None)
    streams.listen()
    places.sweep()
    assert sorted(path.name for path in folder.iterdir()) == ["ab12.sock", "ab12.zip"]
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(str(places.socket_path("ab12")))
    streams.end(0)
