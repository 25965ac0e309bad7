"""The fence, attacked: kills, stops, late answers, two leaders, two installations."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from backstay_host import places, protocol
from backstay_host.fence import DatasetLock, Fence, holders
from backstay_host.refusal import Refused
from unit.host.client import Client, HostError
from unit.host.conftest import INSTALLATION, World

FENCED = pytest.mark.rule("Single writer, fenced at the host")
PROPERTIES = {"dev.backstay:lineage": "4c1f", "readonly": "on"}
SEED = protocol.Ticket([], [protocol.ReceiveOrder("backup/r/v", "4c1f", True, False, PROPERTIES)])


def _receiving(world: World, client: Client) -> tuple[str, subprocess.Popen[bytes]]:
    """A seed is being received and waits for data that only the test can send."""
    made = client.request("ticket", SEED)
    stream = world.start(made["command"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert stream.stdin is not None
    stream.stdin.write(b'{"name": "tank/v@a", "guid": 5, "size": 1000000}'.ljust(512) + b"x" * 9000)
    stream.stdin.flush()
    client.wait_for(lambda: "backup/r/v" in world.things)
    return made["ticket"], stream


def _zfs_pids(world: World) -> list[int]:
    return [
        call["pid"] for call in world.log if call["argv"][:2] == ["zfs", "receive"] and _runs(call)
    ]


def _runs(call: dict[str, Any]) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{call['pid']}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def _all_end(pids: list[int], within_s: float = 10.0) -> bool:
    until = time.monotonic() + within_s
    for pid in pids:
        try:
            watched = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        with os.fdopen(watched) as file:
            if not select.select([file], [], [], max(0.0, until - time.monotonic()))[0]:
                return False
    return True


@FENCED
def test_a_claim_tells_what_it_found_on_each_root(world: World) -> None:
    ours = INSTALLATION
    world.put("backup/lower", props={"dev.backstay:writer": f"2:{ours}"})
    world.put("backup/same", props={"dev.backstay:writer": f"5:{ours}"})
    world.put("backup/higher", props={"dev.backstay:writer": f"6:{ours}"})
    world.put("backup/foreign", props={"dev.backstay:writer": "1:other"})
    world.put("backup/broken", props={"dev.backstay:writer": "what?"})
    roots = ["r", "lower", "same", "higher", "foreign", "broken", "gone"]
    found = world.claim(client := world.connect(), 5, tuple(f"backup/{r}" for r in roots))
    assert [root["outcome"] for root in found] == [
        *("Held", "Held", "Held", "Superseded", "Foreign", "Foreign", "Missing")
    ]
    assert world.argvs("set") == [
        ["zfs", "set", f"dev.backstay:writer=5:{ours}", "backup/r", "backup/lower"]
    ]
    for seen, outcome in (
        ({}, "Foreign"),
        ({"backup/foreign": "2:other"}, "Foreign"),
        ({"backup/foreign": "1:other"}, "Held"),
    ):
        body = protocol.Claim(ours, ["backup/foreign"], "one", takeover=True, replaces=seen)
        assert client.request("claim", body)["roots"][0]["outcome"] == outcome
    assert world.things["backup/foreign"]["props"] == {"dev.backstay:writer": f"5:{ours}"}


@FENCED
def test_nothing_is_changed_without_a_claim_or_with_another_term(world: World) -> None:
    client = world.connect()
    create = protocol.CreateParents("backup/r", ["backup/r/a"])
    assert _reason(client, create) == "NotClaimed"
    world.claim(client, 5)
    client.term = 4
    with pytest.raises(HostError) as error:
        client.request("create", create)
    assert (error.value.reason, error.value.higher_term) == ("HigherTerm", 5)
    client.term = 6
    assert _reason(client, create) == "NotClaimed"
    assert not world.argvs("create")


@FENCED
@pytest.mark.fault("two operators of one installation")
def test_an_old_leader_is_refused_after_a_new_one_claimed(world: World) -> None:
    old, new = world.connect(claim=1), world.connect(claim=2)
    create = protocol.CreateParents("backup/r", ["backup/r/a"])
    with pytest.raises(HostError) as error:
        old.request("create", create)
    assert (error.value.reason, error.value.higher_term) == ("HigherTerm", 2)
    with pytest.raises(HostError) as error:
        world.claim(old, 1)
    assert (error.value.reason, error.value.higher_term) == ("HigherTerm", 2)
    assert _reason(old, SEED, "ticket") == "HigherTerm"
    assert _reason(new, create) == ""


@FENCED
def test_a_higher_writer_on_the_root_refuses_even_if_want_was_lost_by_a_reboot(
    world: World,
) -> None:
    client = world.connect(claim=2)
    world.put("backup/r", props={"dev.backstay:writer": f"7:{INSTALLATION}"})
    with pytest.raises(HostError) as error:
        client.request("create", protocol.CreateParents("backup/r", ["backup/r/a"]))
    assert (error.value.reason, error.value.higher_term) == ("HigherTerm", 7)


@FENCED
def test_a_receive_root_that_was_moved_up_goes_on_under_the_next_leader(world: World) -> None:
    world.put("backup/r/s", props={"dev.backstay:writer": f"2:{INSTALLATION}"})
    world.put("backup/r/s/v", props={"dev.backstay:lineage": "4c1f"})
    doomed = protocol.Prune([protocol.Doomed("backup/r/s/v@a", world.put("backup/r/s/v@a"))])
    client = world.connect(claim=3)
    (item,) = client.request("prune", doomed)["items"]
    assert item["reason"] == ""
    assert "backup/r/s/v@a" not in world.things


@FENCED
def test_sessions_of_one_term_leave_each_other_alone(world: World) -> None:
    first = world.connect(claim=1)
    _receiving(world, first)
    second = world.connect(claim=1)
    assert _zfs_pids(world)
    assert _reason(second, protocol.CreateParents("backup/r", ["backup/r/a"])) == ""


@FENCED
def test_a_second_leader_with_the_same_term_is_refused_and_the_first_goes_on(world: World) -> None:
    first, second = world.connect(claim=1), world.connect()
    with pytest.raises(HostError) as error:
        world.claim(second, 1, leader="two")
    assert (error.value.reason, error.value.higher_term) == ("HigherTerm", 1)
    create = protocol.CreateParents("backup/r", ["backup/r/a"])
    assert _reason(second, create) == "NotClaimed"
    assert _reason(first, create) == ""
    assert world.claim(second, 2, leader="two")[0]["outcome"] == "Held"
    assert _reason(first, create) == "HigherTerm"


@FENCED
@pytest.mark.fault("leader stopped for a minute and woken")
def test_a_claim_kills_stopped_holders_of_a_lower_term(world: World) -> None:
    old = world.connect(claim=1)
    _, stream = _receiving(world, old)
    (child,) = _zfs_pids(world)
    for pid in (child, stream.pid, old.process.pid):
        os.kill(pid, signal.SIGSTOP)
    new = world.connect()
    assert world.claim(new, 2)[0]["outcome"] == "Held"
    assert _all_end([child])
    # The stopped session wakes up: what it was told before is refused, nothing is changed.
    before = world.things
    waiting = old.post("create", protocol.CreateParents("backup/r", ["backup/r/a"]))
    os.kill(old.process.pid, signal.SIGCONT)
    with pytest.raises(HostError) as error:
        old.result(waiting)
    assert error.value.reason in ("HigherTerm", "Closed")
    assert world.things == before


@FENCED
@pytest.mark.fault("kill -9 of host program or ssh mid-send")
def test_killing_serve_kills_its_streams_and_their_children(world: World) -> None:
    client = world.connect(claim=1)
    _, stream = _receiving(world, client)
    pids = _zfs_pids(world)
    client.process.kill()
    client.process.wait()
    assert stream.wait(10) != 0
    assert _all_end(pids)
    token = world.things["backup/r/v"].get("receive_resume_token")
    assert world.claim(world.connect(), 2)[0]["outcome"] == "Held"
    assert world.things["backup/r/v"].get("receive_resume_token") == token


@FENCED
def test_the_child_itself_holds_the_locks_so_that_no_other_end_frees_them(world: World) -> None:
    client = world.connect(claim=1)
    _, stream = _receiving(world, client)
    (child,) = _zfs_pids(world)
    locks = world.home / "run" / "locks"
    (term,) = locks.glob("term-*-1")
    assert set(holders(term)) == {child, stream.pid}
    held = [set(holders(path)) for path in locks.glob("name-*")]
    assert held == [{child, stream.pid}]


@FENCED
@pytest.mark.fault("kill -9 of host program or ssh mid-send")
def test_killing_a_stream_kills_its_child_and_is_reported(world: World) -> None:
    client = world.connect(claim=1)
    ticket, stream = _receiving(world, client)
    pids = _zfs_pids(world)
    stream.kill()
    assert _all_end(pids)
    assert client.ended(ticket)[-1]["reason"] == "StreamLost"


@FENCED
@pytest.mark.rule("Deadlines")
def test_a_stream_whose_serve_is_silent_ends_itself(world: World) -> None:
    client = world.connect(claim=1)
    _, stream = _receiving(world, client)
    pids = _zfs_pids(world)
    os.kill(client.process.pid, signal.SIGSTOP)
    assert stream.wait(10) != 0
    assert _all_end(pids)
    os.kill(client.process.pid, signal.SIGCONT)


@FENCED
def test_a_lease_that_runs_out_ends_the_streams(world: World) -> None:
    client = world.connect(claim=1)
    _, stream = _receiving(world, client)
    pids = _zfs_pids(world)
    client.answers_beats = False
    seen = len(client.beats)
    client.wait_for(lambda: len(client.beats) > seen)
    client.beat("unknown", 600.0)
    client.beat(client.beats[-1], 0.2)
    client.beat(client.beats[-1], 600.0)
    assert client.closed.wait(10)
    assert stream.wait(10) != 0
    assert _all_end(pids)


def test_a_cancelled_stream_is_gone_when_the_answer_comes(world: World) -> None:
    client = world.connect(claim=1)
    ticket, _ = _receiving(world, client)
    pids = _zfs_pids(world)
    client.request("cancel", protocol.Cancel(ticket))
    assert not any(_runs({"pid": pid}) for pid in pids)
    assert client.ended(ticket)[-1]["reason"] == "Cancelled"
    client.request("cancel", protocol.Cancel("unknown"))


def test_a_stopped_stream_is_cancelled_all_the_same(world: World) -> None:
    client = world.connect(claim=1)
    ticket, stream = _receiving(world, client)
    pids = _zfs_pids(world)
    os.kill(stream.pid, signal.SIGSTOP)
    client.request("cancel", protocol.Cancel(ticket))
    assert _all_end(pids)
    assert client.ended(ticket)[-1]["reason"] == "StreamLost"


def test_a_dataset_in_use_is_busy_and_nothing_waits_for_it(world: World) -> None:
    client = world.connect(claim=1)
    _receiving(world, client)
    body = protocol.Posture("backup/r/v", "4c1f", {"readonly": "on"})
    assert _reason(client, body, "posture") == "TargetBusy"
    again = client.request(
        "ticket",
        protocol.Ticket([], [protocol.ReceiveOrder("backup/r/v", "4c1f", False, False, {})]),
    )
    world.start(again["command"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    assert client.ended(again["ticket"])[-1]["reason"] == "TargetBusy"


def _reason(client: Client, body: Any, name: str = "create") -> str:
    try:
        client.request(name, body)
    except HostError as error:
        return error.reason
    return ""


# --- locks ----------------------------------------------------------------------------------------


@pytest.fixture
def fence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fence:
    """A fence in a folder of its own, announced for term 3."""
    monkeypatch.setattr(places, "RUN_FOLDER", tmp_path / "run")
    monkeypatch.setattr("backstay_host.fence.PATIENCE_S", 0.05)
    made = Fence(INSTALLATION, 3)
    made.announce()
    return made


def test_a_lock_is_free_only_when_the_child_that_inherited_it_is_gone(fence: Fence) -> None:
    lock = DatasetLock("tank/v", 7, shared=False)
    with fence.term_shared() as term, fence.locked([lock]) as fds:
        child = subprocess.Popen(["sleep", "60"], pass_fds=term + fds)
    try:
        with pytest.raises(Refused, match="TargetBusy"), fence.locked([lock]):
            pass
        # … also for who knows the dataset by its new name, and for who knows only its name
        renamed = DatasetLock("tank/renamed", 7, shared=True)
        with pytest.raises(Refused, match="SourceBusy"), fence.locked([renamed]):
            pass
        assert holders(places.lock_folder() / next(
            path.name for path in places.lock_folder().glob("term-*-3")
        )) == [child.pid]  # fmt: skip
    finally:
        child.kill()
        child.wait()
    with fence.locked([lock]):
        pass


def test_readers_share_a_dataset_and_a_writer_has_it_alone(fence: Fence) -> None:
    shared = DatasetLock("tank/v", None, shared=True)
    alone = DatasetLock("tank/v", None, shared=False)
    with (
        fence.locked([shared]),
        fence.locked([shared]),
        pytest.raises(Refused, match="TargetBusy"),
        fence.locked([alone]),
    ):
        pass


def test_want_only_grows(fence: Fence) -> None:
    Fence(INSTALLATION, 5).announce()
    with pytest.raises(Refused) as error:
        fence.announce()
    assert error.value.higher_term == 5
    assert fence.wanted() == 5
    Fence("another", 1).announce()
    assert Fence(INSTALLATION, 5).wanted() == 5


def test_a_holder_that_the_kernel_keeps_is_fence_busy(
    fence: Fence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backstay_host.fence.CLAIM_PATIENCE_S", 0.2)
    monkeypatch.setattr("backstay_host.fence._kill", lambda _pid: None)
    with fence.term_shared() as fds:
        child = subprocess.Popen(["sleep", "60"], pass_fds=fds)
    higher = Fence(INSTALLATION, 4)
    higher.announce()
    with pytest.raises(Refused, match=rf"FenceBusy: processes \[{child.pid}\]"):
        higher.evict(float("inf"))
    child.kill()
    child.wait()
    higher.evict(float("inf"))
    with pytest.raises(Refused, match="HigherTerm"), fence.term_shared():
        pass
