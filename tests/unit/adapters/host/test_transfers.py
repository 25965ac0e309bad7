"""*Relay*: two processes, a pipe, and what both hosts say about it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from backstay.adapters.clock import SystemClock
from backstay.adapters.host import transfers
from backstay.adapters.host.dryrun import DryRunHost
from backstay.adapters.host.process import STDERR_LIMIT_BYTES, Child
from backstay.adapters.host.transfers import OpenSshTransfers
from backstay.domain.errors import Stalled
from backstay.domain.steps import Base, Increment, Pipe, PipeOutcome, Seed, Transfer
from backstay.domain.zfs import Guid
from fakes.peers import Bench

# Both hosts run this. A stream leaves what it wants to have said in a file, and `serve` says it.
PROGRAM = """
folder = pathlib.Path({folder!r})
role = sys.argv[2] if sys.argv[1:2] == ["stream"] else ""

def end(*outcomes):
    items = [dict(name="", reason=reason, message=reason) for reason in outcomes]
    (folder / (role + ".tmp")).write_text(json.dumps(items))
    (folder / (role + ".tmp")).rename(folder / (role + ".ended"))

def note(name):
    (folder / name).write_text(str(os.getpid()))

def when_ended(ticket):
    while not (folder / (ticket + ".ended")).exists():
        time.sleep(0.002)
    size = folder / "size"
    if ticket == "receive" and size.exists():
        put({{"progress": {{"ticket": ticket, "index": 0, "bytes": int(size.read_text())}}}})
    outcomes = json.loads((folder / (ticket + ".ended")).read_text())
    put({{"ended": {{"ticket": ticket, "outcomes": outcomes}}}})

def serve():
    greet()
    while True:
        frame = get()
        polite(frame)
        if frame["request"] == "claim":
            claimed(frame)
        elif frame["request"] == "ticket":
            ticket = "send" if frame["body"]["sends"] else "receive"
            if frame["dryRun"]:
                answer(frame, {{"ticket": "", "command": []}}, [["zfs", ticket]])
                continue
            again = [sys.executable, "-I", str(pathlib.Path(__file__).parent.parent)]
            answer(frame, {{"ticket": ticket, "command": [*again, "stream", ticket]}})
            threading.Thread(target=when_ended, args=(ticket,), daemon=True).start()
        elif frame["request"] == "cancel":
            note("cancelled-" + frame["body"]["ticket"])
            answer(frame, {{"items": []}})
        {more}

if role == "send":
    {send}
elif role == "receive":
    {receive}
else:
    serve()
"""
SEND = 'write(b"x" * 1000000); end("")'
RECEIVE = 'data = sys.stdin.buffer.read(); (folder / "size").write_text(str(len(data))); end("")'


def program(folder: Path, *, send: str = SEND, receive: str = RECEIVE, more: str = "") -> str:
    """Both hosts' program."""
    return PROGRAM.format(folder=str(folder), send=send, receive=receive, more=more)


def transfer(name: str = "d0", *, increment: bool = False) -> Transfer:
    """One member's step."""
    base = Base(full_name=f"tank/{name}@a", guid=Guid(1))
    return Transfer(
        member=name,
        source_dataset=f"tank/{name}",
        source_guid=Guid(7),
        snapshot="b",
        guid=Guid(2),
        target_dataset=f"backup/{name}",
        lineage="feed",
        how=Increment(base=base) if increment else Seed(),
        properties={},
        size_bytes=1,
    )


async def move(
    bench: Bench, script: str, *members: Transfer, stall_s: float = 60, failed_before: int = 0
) -> PipeOutcome:
    """One pipe between two hosts that run this script."""
    source = bench.host(script, name="fra/zfs-a")
    target = bench.host(script, name="ams/zfs-b")
    pipe = Pipe(transfers=members or (transfer(),), failed_before=failed_before)
    mover = OpenSshTransfers(SystemClock(), stall_s=stall_s)
    return await mover.transfer(source, target, pipe, lambda index, moved: None)


async def test_what_one_side_writes_the_other_side_reads(bench: Bench, tmp_path: Path) -> None:
    outcome = await move(bench, program(tmp_path))
    assert (outcome.completed, outcome.failure) == (1, None)
    assert outcome.sent_bytes == 1_000_000
    assert outcome.duration_s > 0


@pytest.mark.parametrize(
    ("send", "receive", "completed", "failed"),
    [
        # the receiver names it, the sender only sees a broken pipe
        ('end("", "PeerEnded")', 'end("", "TargetModified")', 1, ("d1", "TargetModified")),
        # the sender names it, the receiver only sees a stream that stops
        ('end("NoRights")', 'end("BadStream")', 0, ("d0", "NoRights")),
        # one that stood still ends the other one, unless that knows more
        ('end("TransferStalled")', 'end("BadStream")', 0, ("d0", "TransferStalled")),
        ('end("PeerEnded")', 'end("TransferStalled")', 0, ("d0", "TransferStalled")),
        ('end("TransferStalled")', 'end("InsufficientSpace")', 0, ("d0", "InsufficientSpace")),
        # the end of a stream whose end the receiver has not seen counts for nothing
        ('end("", "", "")', 'end("", "")', 2, ("d2", "TransferFailed")),
        # a failure at the sender only: what the receiver has is there
        ('end("", "CommandFailed")', 'end("", "", "")', 3, None),
    ],
)
async def test_the_failure_that_explains_the_other_one_is_told(
    bench: Bench, send: str, receive: str, completed: int, failed: tuple[str, str] | None
) -> None:
    members = [transfer(name, increment=True) for name in ("d0", "d1", "d2")]
    script = program(bench.file(""), send=send, receive=receive)
    outcome = await move(bench, script, *members)
    assert outcome.completed == completed
    told = outcome.failure
    assert (None if told is None else (told.name, told.reason)) == failed


@pytest.mark.parametrize(
    ("send", "receive", "first"),
    [
        # a killed receive: the sender's SIGPIPE is its echo
        ('end("PeerEnded")', 'end("CommandFailed")', "CommandFailed"),
        ('end("SourceChanged")', 'end("BadStream")', "SourceChanged"),
    ],
)
async def test_the_cause_is_told_before_its_echo(
    bench: Bench, send: str, receive: str, first: str
) -> None:
    outcome = await move(bench, program(bench.file(""), send=send, receive=receive))
    assert outcome.failure is not None
    assert outcome.failure.message.split(";")[0] == first


async def test_what_ssh_says_is_told_when_no_host_says_more(bench: Bench, tmp_path: Path) -> None:
    send = 'sys.stderr.write("Connection to zfs-a closed by remote host.\\n"); end("StreamLost")'
    outcome = await move(bench, program(tmp_path, send=send, receive='end("BadStream")'))
    assert outcome.failure is not None
    assert outcome.failure.reason == "TransferFailed"
    assert "fra/zfs-a: Connection to zfs-a closed by remote host." in outcome.failure.message


async def test_cancelling_ends_both_processes_and_both_tickets(
    bench: Bench, tmp_path: Path
) -> None:
    wait = 'note(role + "-runs"); time.sleep(600)'
    running = asyncio.create_task(move(bench, program(tmp_path, send=wait, receive=wait)))
    async with asyncio.timeout(30):
        pids = [await appear(tmp_path / name) for name in ("send-runs", "receive-runs")]
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not any(is_running(pid) for pid in pids)
    assert (tmp_path / "cancelled-send").exists()
    assert (tmp_path / "cancelled-receive").exists()


@pytest.mark.rule("Deadlines")
@pytest.mark.fault("half-open line, or all packets lost for minutes")
async def test_a_stream_that_stands_still_is_ended(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfers, "STALL_MARGIN_S", 0.0)
    monkeypatch.setattr(transfers, "START_S", 0.0)
    wait = 'note(role + "-runs"); time.sleep(600)'
    outcome = await move(bench, program(tmp_path, send=wait, receive=wait), stall_s=0.1)
    assert outcome.completed == 0
    assert outcome.failure is not None
    assert outcome.failure.reason == "TransferStalled"
    assert "no byte moved" in outcome.failure.message
    assert (tmp_path / "cancelled-receive").exists()


@pytest.mark.rule("Deadlines")
@pytest.mark.parametrize(
    ("failed_before", "stall_s"), [(0, 60), (1, 120), (4, 960), (5, 1800), (99999, 1800)]
)
async def test_a_stream_that_has_failed_may_stand_still_twice_as_long_up_to_a_cap(
    bench: Bench, tmp_path: Path, failed_before: int, stall_s: float
) -> None:
    """Else a disk that is too slow for the first limit were too slow for ever."""
    script = program(tmp_path).replace(
        'if frame["dryRun"]:',
        '(folder / (ticket + ".stall")).write_text(str(frame["body"]["stall_s"]))\n'
        '            if frame["dryRun"]:',
    )
    outcome = await move(bench, script, failed_before=failed_before)
    assert outcome.failure is None
    told = [float((tmp_path / f"{role}.stall").read_text()) for role in ("send", "receive")]
    assert told == [stall_s, stall_s]


@pytest.mark.rule("Deadlines")
async def test_our_own_watch_is_as_patient_as_the_hosts(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfers, "STALL_MARGIN_S", 0.0)
    monkeypatch.setattr(transfers, "START_S", 0.0)
    wait = 'note(role + "-runs"); time.sleep(600)'
    script = program(tmp_path, send=wait, receive=wait)
    outcome = await move(bench, script, stall_s=0.25, failed_before=2)
    assert outcome.failure is not None
    assert "no byte moved for 1 s" in outcome.failure.message


@pytest.mark.fault("kill -9 of host program or ssh mid-send")
async def test_a_lost_control_connection_ends_the_stream(bench: Bench, tmp_path: Path) -> None:
    wait = 'note(role + "-runs"); time.sleep(600)'
    script = program(tmp_path, send=wait, receive=wait).replace(
        'size = folder / "size"', "os._exit(1)"
    )
    running = asyncio.create_task(move(bench, script))
    async with asyncio.timeout(30):
        pids = [await appear(tmp_path / name) for name in ("send-runs", "receive-runs")]
        (tmp_path / "receive.ended").write_text("[]")
        outcome = await running
    assert outcome.failure is not None
    assert "connection was lost" in outcome.failure.message
    assert not any(is_running(pid) for pid in pids)


@pytest.mark.rule("A pipe cannot mix up members")
async def test_a_sender_does_not_outlive_its_receiver(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfers, "ENDED_S", 0.1)
    started = 'while not (folder / "send-runs").exists(): time.sleep(0.002)'
    script = program(
        tmp_path,
        send='note(role + "-runs"); time.sleep(600)',
        receive=f'{started}\n    end("TargetModified")',
    )
    outcome = await move(bench, script)
    assert outcome.failure is not None
    assert outcome.failure.reason == "TargetModified"
    assert not is_running(await appear(tmp_path / "send-runs"))
    assert (tmp_path / "cancelled-send").exists()


@pytest.mark.rule("A pipe cannot mix up members")
async def test_only_increments_share_a_pipe(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(Stalled, match="only increments may share a pipe"):
        await move(bench, program(tmp_path), transfer("d0"), transfer("d1"))


@pytest.mark.rule("Honest dry run")
async def test_a_dry_transfer_starts_nothing(bench: Bench, tmp_path: Path) -> None:
    host = bench.host(program(tmp_path))
    source, target = DryRunHost(host), DryRunHost(host)
    pipe = Pipe(transfers=(transfer(),))
    mover = OpenSshTransfers(SystemClock())
    outcome = await mover.transfer(source, target, pipe, lambda index, moved: None)
    assert (outcome.completed, outcome.sent_bytes, outcome.failure) == (1, 0, None)
    assert (source.commands, target.commands) == ([("zfs", "send")], [("zfs", "receive")])
    assert not list(tmp_path.glob("*.ended"))
    # A dry run needs no term: the host was not claimed for it.
    assert [request for _, request in bench.office.requests] == ["ticket", "ticket"]


async def test_a_chatty_process_costs_bounded_memory() -> None:
    child = await Child.start(["sh", "-c", "yes noise | head -c 1000000 >&2; echo last words >&2"])
    assert await child.wait() == 0
    assert len(child.stderr) <= STDERR_LIMIT_BYTES
    assert child.stderr.endswith("last words\n")


async def appear(path: Path) -> int:
    """The process id that a scripted program left in a file, once it is there."""
    while not path.exists() or not path.read_text():
        await asyncio.sleep(0.002)
    return int(path.read_text())


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("index", [1, -1, '"0"', "[]", "None"])
async def test_progress_of_what_is_not_in_the_pipe_gives_the_host_up(
    bench: Bench, index: str
) -> None:
    """A list of the pipe's members would be asked for it, amid the reading of the connection."""
    wrong = f'put({{"progress": {{"ticket": ticket, "index": {index}, "bytes": 1}}}})'
    script = program(bench.file("")).replace(
        "    outcomes = json.loads",
        f'    if ticket == "receive":\n        {wrong}\n    outcomes = json.loads',
        1,
    )
    source, target = (bench.host(script, name=name) for name in ("fra/zfs-a", "ams/zfs-b"))
    pipe, seen = Pipe(transfers=(transfer(),)), []
    mover = OpenSshTransfers(SystemClock())
    outcome = await mover.transfer(
        source, target, pipe, lambda at, moved: seen.append((pipe.transfers[at].member, moved))
    )
    assert seen == [("d0", 1_000_000)]
    assert outcome.failure is not None
    assert "no word of 1 orders" in outcome.failure.message
    assert not target.is_connected
