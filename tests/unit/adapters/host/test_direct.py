"""*Direct* and what goes with a transport, as the operator sees it: who is asked for what."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from backstay.adapters.clock import SystemClock
from backstay.adapters.host import transfers, ways
from backstay.adapters.host.dryrun import DryRunHost
from backstay.adapters.host.transfers import OpenSshTransfers
from backstay.api.words import Reason
from backstay.domain.steps import Pipe, PipeOutcome, Transport
from backstay_host.protocol import ItemOutcome
from fakes.peers import Bench
from unit.adapters.host.test_transfers import appear, is_running, program, transfer

ALL = ("ssh", "zstd", "mbuffer")
MIB = 1024 * 1024
Tools: TypeAlias = tuple[str, ...]
# The source's stream: what it would tell the target's, it leaves where the target's host looks.
SENT = '(folder / "size").write_text("1000"); end("")'
NOTE = """
            (folder / (ticket + ".body")).write_text(json.dumps(frame["body"]))"""


def script(
    folder: Path, *, send: str, tools: tuple[str, ...] = ALL, receive: str = 'end("")'
) -> str:
    """A host's program; the receive's stream is never started by us, so `send` speaks for it."""
    made = program(folder, send=send, receive=receive)
    made = made.replace("greet()", f"greet(tools={list(tools)!r})")
    at = 'ticket = "send" if frame["body"]["sends"] else "receive"'
    assert at in made
    return made.replace(at, at + NOTE)


def both(send: str, receive: str) -> str:
    """What both hosts say in the end: outcomes of the sender and of the receiver."""
    return f'{send}; role = "receive"; {receive}'


async def move(
    bench: Bench,
    source: str,
    target: str | None = None,
    *,
    transport: Transport,
    dry: bool = False,
    **more: Any,
) -> PipeOutcome:
    """One direct pipe between two hosts."""
    data: dict[str, Any] = {"data_key": b"-----BEGIN X PRIVATE KEY-----", **more}
    here = bench.host(source, name="fra/zfs-a")
    there = bench.host(target or source, name="ams/zfs-b", **data)
    pipe = Pipe(transfers=(transfer(),), transport=transport)
    mover = OpenSshTransfers(SystemClock())
    if dry:
        return await mover.transfer(
            DryRunHost(here), DryRunHost(there), pipe, lambda index, moved: None
        )
    return await mover.transfer(here, there, pipe, lambda index, moved: None)


def body(folder: Path, role: str) -> dict[str, Any]:
    """What a host was asked for."""
    found: dict[str, Any] = json.loads((folder / f"{role}.body").read_text())
    return found


async def test_the_source_is_given_the_targets_address_keys_and_ticket(
    bench: Bench, tmp_path: Path
) -> None:
    outcome = await move(
        bench,
        script(tmp_path, send=both('end("")', SENT)),
        transport=Transport(direct=True, rate_bytes_s=5 * MIB, buffer_bytes=64 * MIB),
        data_address="10.1.0.2",
        data_port=2222,
    )
    assert (outcome.completed, outcome.failure, outcome.sent_bytes) == (1, None, 1000)
    assert outcome.left_out == ()
    sends, receives = body(tmp_path, "send"), body(tmp_path, "receive")
    assert sends["destination"] == {
        "address": "10.1.0.2",
        "port": 2222,
        "user": "root",
        "host_keys": ["ssh-ed25519 AAAA"],
        "key": "-----BEGIN X PRIVATE KEY-----",
        "ticket": "receive",
    }
    assert receives["destination"] is None
    assert (sends["rate_bytes_s"], receives["rate_bytes_s"]) == (5 * MIB, 0)
    assert (sends["buffer_bytes"], receives["buffer_bytes"]) == (64 * MIB, 64 * MIB)


async def test_without_an_address_for_data_streams_come_in_where_we_do(
    bench: Bench, tmp_path: Path
) -> None:
    await move(
        bench,
        script(tmp_path, send=both('end("")', SENT)),
        transport=Transport(direct=True),
    )
    to = body(tmp_path, "send")["destination"]
    assert (to["address"], to["port"]) == ("192.0.2.1", 22)


async def test_the_private_key_of_the_site_is_never_handed_on(bench: Bench, tmp_path: Path) -> None:
    await move(
        bench,
        script(tmp_path, send=both('end("")', SENT)),
        transport=Transport(direct=True),
    )
    assert "top secret" not in json.dumps([body(tmp_path, "send"), body(tmp_path, "receive")])


async def test_a_site_without_a_data_key_is_named_and_nothing_is_asked_for(
    bench: Bench, tmp_path: Path
) -> None:
    outcome = await move(
        bench,
        script(tmp_path, send=SENT),
        transport=Transport(direct=True),
        data_key=None,
    )
    assert outcome.failure is not None
    assert outcome.failure.reason == Reason.SECRET_MISSING
    assert "Site ams has no key data-privatekey" in outcome.failure.message
    assert "kubectl backstay grant ams/zfs-b" in outcome.failure.message
    assert not list(tmp_path.glob("*.body"))


async def test_a_source_without_ssh_is_named(bench: Bench, tmp_path: Path) -> None:
    outcome = await move(
        bench, script(tmp_path, send=SENT, tools=("zstd",)), transport=Transport(direct=True)
    )
    assert outcome.failure is not None
    assert "fra/zfs-a has no ssh" in outcome.failure.message


@pytest.mark.fault("no `mbuffer` or `zstd` on a host")
@pytest.mark.parametrize(
    ("tools", "left", "said"),
    [
        ((ALL, ALL), (True, 64 * MIB), []),
        ((ALL, ("ssh", "mbuffer")), (False, 64 * MIB), ["zstd is missing on ams/zfs-b"]),
        ((("ssh", "zstd"), ALL), (True, 0), ["mbuffer is missing on fra/zfs-a"]),
        (
            (("ssh",), ("ssh",)),
            (False, 0),
            [
                "zstd is missing on fra/zfs-a and ams/zfs-b",
                "mbuffer is missing on fra/zfs-a and ams/zfs-b",
            ],
        ),
    ],
)
@pytest.mark.parametrize("direct", [True, False])
async def test_what_a_host_lacks_is_left_out_at_both_and_said(
    bench: Bench, direct: bool, tools: tuple[Tools, Tools], left: tuple[bool, int], said: list[str]
) -> None:
    tmp_path, (here, there) = bench.file(""), tools
    ends = both('end("")', SENT) if direct else 'end("")'
    receive = 'sys.stdin.buffer.read(); end("")'
    outcome = await move(
        bench,
        script(tmp_path, send=ends, tools=here, receive=receive),
        script(tmp_path, send=ends, tools=there, receive=receive),
        transport=Transport(direct=direct, compressed=True, buffer_bytes=64 * MIB),
    )
    assert outcome.failure is None
    for role in ("send", "receive"):
        asked = body(tmp_path, role)
        assert (asked["compressed"], asked["buffer_bytes"]) == left
    assert [sentence.split(":")[0] for sentence in outcome.left_out] == said


async def test_a_line_that_does_not_stand_is_told_at_once_in_our_words(
    bench: Bench, tmp_path: Path
) -> None:
    refused = 'end("LinkFailed")'
    async with asyncio.timeout(transfers.ENDED_S - 1):
        outcome = await move(
            bench, script(tmp_path, send=refused), transport=Transport(direct=True)
        )
    assert outcome.failure is not None
    assert (outcome.failure.name, outcome.failure.reason) == ("d0", "TransferFailed")
    assert (tmp_path / "cancelled-receive").exists()


@pytest.mark.fault("changed host key", "wrong key")
@pytest.mark.parametrize(
    ("reason", "message", "told", "advice"),
    [
        ("LinkFailed", "Host key verification failed.", "HostKeyChanged", "spec.hosts[].hostKeys"),
        (
            "LinkFailed",
            "root@10.1.0.2: Permission denied (publickey).",
            "KeyRefused",
            "`kubectl backstay grant ams/b` prints the line of the data key",
        ),
        (
            "LinkFailed",
            "ssh: connect to host 10.1.0.2 port 22: Connection refused",
            "TransferFailed",
            "Connection refused",
        ),
        ("LinkRefused", "backstay-host: NoSuchTicket: nobody", "TransferFailed", "NoSuchTicket"),
        ("LinkRefused", "sh: 1: backstay-host: not found", "NotAllowed", "authorized_keys"),
        ("LinkRefused", "backstay-host: NotAllowed: 'x'", "NotAllowed", "grant ams/b"),
        ("NoTool", "no mbuffer in /usr/bin", "TransferFailed", "no mbuffer"),
    ],
)
def test_what_a_source_says_of_its_line_says_what_to_do(
    reason: str, message: str, told: str, advice: str
) -> None:
    found = ways.explained(ItemOutcome("", reason, message), "fra/a", "ams/b")
    assert found.reason == told
    assert found.message.startswith("from fra/a to ams/b: ")
    assert advice in found.message


async def test_the_receivers_failure_explains_a_direct_pipe(bench: Bench, tmp_path: Path) -> None:
    ends = both('end("PeerEnded")', 'end("InsufficientSpace")')
    outcome = await move(bench, script(tmp_path, send=ends), transport=Transport(direct=True))
    assert outcome.failure is not None
    assert outcome.failure.reason == "InsufficientSpace"


@pytest.mark.rule("A pipe cannot mix up members")
async def test_a_direct_sender_does_not_outlive_its_receiver(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfers, "ENDED_S", 0.1)
    hangs = 'note("send-runs"); role = "receive"; end("TargetModified"); time.sleep(600)'
    outcome = await move(bench, script(tmp_path, send=hangs), transport=Transport(direct=True))
    assert outcome.failure is not None
    assert outcome.failure.reason == "TargetModified"
    assert not is_running(await appear(tmp_path / "send-runs"))
    assert (tmp_path / "cancelled-send").exists()


@pytest.mark.rule("Honest dry run")
async def test_a_dry_direct_transfer_hands_no_key_on(bench: Bench, tmp_path: Path) -> None:
    outcome = await move(
        bench,
        script(tmp_path, send=SENT, tools=("ssh",)),
        transport=Transport(direct=True, compressed=True),
        dry=True,
    )
    assert (outcome.completed, outcome.failure, len(outcome.left_out)) == (1, None, 1)
    sends = body(tmp_path, "send")
    assert (sends["destination"]["key"], sends["destination"]["ticket"]) == ("", "TICKET")
    assert not sends["compressed"]
    assert not list(tmp_path.glob("*.ended"))


def test_a_host_is_another_one_with_another_data_key() -> None:
    """Else a key that was changed would never be used."""
    from fakes.peers import endpoint

    assert dataclasses.replace(endpoint(), data_key=b"a") != endpoint()
