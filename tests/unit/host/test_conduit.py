"""Compression, buffers and rates: what runs beside the orders, on either way."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from backstay_host import protocol
from backstay_host.children import Children
from backstay_host.conduit import Brake, Conduit
from unit.host.client import Client, HostError
from unit.host.conftest import World

MIB = 1024 * 1024
ZSTD = """
import sys, zlib
data = sys.stdin.buffer.read()
made = zlib.decompress(data) if "-d" in sys.argv else zlib.compress(data)
sys.stdout.buffer.write(made)
"""
MBUFFER = """
import os
while data := os.read(0, 65536):
    while data:
        data = data[os.write(1, data):]
"""
SLOW_MBUFFER = """
import os, time
data = b""
while got := os.read(0, 65536):
    data += got
size = len(data) // 8 + 1
for at in range(0, len(data), size):
    time.sleep(0.5)
    os.write(1, data[at:at + size])
"""


def _tool(world: World, name: str, script: str) -> None:
    """The host has this program; each call leaves its arguments in `tools`."""
    path = world.home / "bin" / name
    note = f"import sys; open({str(world.home / 'tools')!r}, 'a').write(' '.join(sys.argv) + '\\n')"
    path.write_text(f"#!{sys.executable} -IS\n{note}\n{script}")
    path.chmod(0o755)


def _orders(world: World, *sizes: int) -> tuple[list[Any], list[Any]]:
    """Increments of so many bytes, and what receives them."""
    sends, receives = [], []
    for at, size in enumerate(sizes):
        dataset = world.put(f"tank/d{at}")
        base, guid = world.put(f"tank/d{at}@a"), world.put(f"tank/d{at}@b", size=size)
        world.put(f"backup/r/d{at}", props={"dev.backstay:lineage": "4c1f"})
        sends.append(protocol.SendOrder(f"tank/d{at}", dataset, "b", guid, f"tank/d{at}@a", base))
        receives.append(protocol.ReceiveOrder(f"backup/r/d{at}", "4c1f", False, False, {}))
    return sends, receives


def _relay(
    world: World, client: Client, sends: protocol.Ticket, receives: protocol.Ticket
) -> tuple[list[str], list[str]]:
    """The reasons of both ends of a *Relay*."""
    sent, received = client.request("ticket", sends), client.request("ticket", receives)
    null = subprocess.DEVNULL
    sender = world.start(sent["command"], stdin=null, stdout=subprocess.PIPE)
    world.start(received["command"], stdin=sender.stdout, stdout=null)
    assert sender.stdout is not None
    sender.stdout.close()
    ended = client.ended(sent["ticket"]), client.ended(received["ticket"])
    return [o["reason"] for o in ended[0]], [o["reason"] for o in ended[1]]


def test_compression_and_buffers_serve_all_orders_of_a_pipe(world: World) -> None:
    _tool(world, "zstd", ZSTD)
    _tool(world, "mbuffer", MBUFFER)
    client = world.connect(claim=1)
    assert {"zstd", "mbuffer"} <= set(client.greeting["tools"])
    sends, receives = _orders(world, 70_000, 5, 300_000)
    way: dict[str, Any] = {"compressed": True, "buffer_bytes": 64 * MIB}
    ends = _relay(
        world, client, protocol.Ticket(sends, [], **way), protocol.Ticket([], receives, **way)
    )
    assert ends == ([""] * 3, [""] * 3)
    assert [world.things[f"backup/r/d{n}@b"]["guid"] for n in range(3)] == [s.guid for s in sends]
    called = [line.split("/")[-1] for line in (world.home / "tools").read_text().splitlines()]
    buffer = "mbuffer -q -s 128k -m 64M"
    assert sorted(called) == [buffer, buffer, "zstd -q -1 -c", "zstd -q -d -c"]


@pytest.mark.fault("no `mbuffer` or `zstd` on a host")
def test_a_tool_that_is_missing_is_named_and_nothing_is_sent(world: World) -> None:
    client = world.connect(claim=1)
    (send,), _ = _orders(world, 100)
    made = client.request("ticket", protocol.Ticket([send], [], buffer_bytes=MIB))
    if "mbuffer" in client.greeting["tools"]:
        pytest.fail("this machine has mbuffer below /usr/bin: the test needs a host without it")
    null = subprocess.DEVNULL
    world.start(made["command"], stdin=null, stdout=null)
    (outcome,) = client.ended(made["ticket"])
    assert (outcome["reason"], "no mbuffer in" in outcome["message"]) == ("NoTool", True)
    assert not world.argvs("send")


@pytest.mark.rule("A pipe cannot mix up members")
def test_a_filter_that_dies_is_a_failure_though_every_send_went_well(world: World) -> None:
    _tool(world, "zstd", "import os; os.read(0, 100); sys.exit(3)")
    client = world.connect(claim=1)
    sends, receives = _orders(world, 100)
    sent, received = _relay(
        world,
        client,
        protocol.Ticket(sends, [], compressed=True),
        protocol.Ticket([], receives),
    )
    assert sent[-1] == "CommandFailed"
    assert received == ["BadStream"]


@pytest.mark.rule("Deadlines")
def test_a_full_buffer_that_drains_slowly_is_no_stall(world: World) -> None:
    """The sends have ended long ago; what they left in the buffer still moves."""
    _tool(world, "mbuffer", SLOW_MBUFFER)
    client = world.connect(claim=1)
    sends, receives = _orders(world, 30_000)
    began = time.monotonic()
    ends = _relay(
        world,
        client,
        protocol.Ticket(sends, [], buffer_bytes=MIB, stall_s=1.2),
        protocol.Ticket([], receives),
    )
    assert ends == ([""], [""])
    assert time.monotonic() - began > 2 * 1.2


def test_a_rate_holds_for_all_orders_together(world: World) -> None:
    client = world.connect(claim=1)
    sends, receives = _orders(world, 100_000, 100_000, 100_000)
    began = time.monotonic()
    ends = _relay(
        world,
        client,
        protocol.Ticket(sends, [], rate_bytes_s=200_000),
        protocol.Ticket([], receives),
    )
    assert ends == ([""] * 3, [""] * 3)
    assert time.monotonic() - began > 300_000 / 200_000 * 0.9


def test_streams_of_one_rate_are_told_to_share_it(world: World) -> None:
    client = world.connect(claim=1)
    (send,), _ = _orders(world, 100)
    visitors = []
    for rate in (200_000, 200_000, 10**9):
        made = client.request("ticket", protocol.Ticket([send], [], rate_bytes_s=rate))
        visitors.append(world.visit(client, made["ticket"], stays=True))
    for visitor, streams in zip(visitors, (2, 2, 1), strict=True):
        assert visitor.stdout is not None
        heard = (json.loads(line).get("sharing") for line in visitor.stdout)
        assert streams in heard


def test_a_shared_rate_is_the_rate_of_all_of_them() -> None:
    source, sink = os.pipe()
    conduit = Conduit(Children(), protocol.Ticket([], [], rate_bytes_s=400_000))
    conduit.stdout = sink
    conduit.open()
    conduit.share(4)
    began = time.monotonic()
    with os.fdopen(conduit.stdout, "wb") as given:
        given.write(b"x" * 100_000)
    with os.fdopen(source, "rb") as read:
        assert len(read.read()) == 100_000
    assert time.monotonic() - began > 100_000 / (400_000 / 4) * 0.7


@pytest.mark.parametrize("rate", [64 * 1024, 10**6, 10**9])
def test_a_brake_moves_every_byte_in_order(rate: int) -> None:
    data = os.urandom(150_000)
    inlet, outlet = os.pipe(), os.pipe()
    brake = Brake(inlet[0], outlet[1], rate)
    brake.start()

    def write() -> None:
        with os.fdopen(inlet[1], "wb") as sink:
            sink.write(data)

    threading.Thread(target=write, daemon=True).start()
    began = time.monotonic()
    with os.fdopen(outlet[0], "rb") as source:
        assert source.read() == data
    assert brake.moved_bytes == len(data)
    assert time.monotonic() - began >= (len(data) - 64 * 1024) / rate * 0.9


def test_a_brake_whose_reader_is_gone_tells_the_writer() -> None:
    inlet, outlet = os.pipe(), os.pipe()
    Brake(inlet[0], outlet[1], 10**9).start()
    os.close(outlet[0])
    with os.fdopen(inlet[1], "wb", buffering=0) as sink, pytest.raises(BrokenPipeError):
        sink.writelines(itertools.repeat(b"x" * 4096))


@pytest.mark.parametrize(
    "way",
    [
        {"buffer_bytes": 1000},
        {"buffer_bytes": -MIB},
        {"buffer_bytes": 17 * 1024 * MIB},
        {"rate_bytes_s": 1000},
        {"rate_bytes_s": -1},
    ],
)
def test_sizes_that_no_tool_could_keep_are_refused(world: World, way: dict[str, Any]) -> None:
    client = world.connect()
    (send,), _ = _orders(world, 100)
    with pytest.raises(HostError) as error:
        client.request("ticket", protocol.Ticket([send], [], **way), dry=True)
    assert error.value.reason == "BadRequest"


def test_a_receive_has_no_rate(world: World) -> None:
    client = world.connect()
    _, (receive,) = _orders(world, 100)
    with pytest.raises(HostError) as error:
        client.request("ticket", protocol.Ticket([], [receive], rate_bytes_s=MIB), dry=True)
    assert error.value.reason == "BadRequest"


@pytest.mark.rule("Honest dry run")
def test_a_dry_ticket_shows_what_runs_beside_the_orders(world: World) -> None:
    client = world.connect()
    _, (receive,) = _orders(world, 100)
    body = protocol.Ticket([], [receive], compressed=True, buffer_bytes=2 * MIB)
    client.request("ticket", body, dry=True)
    assert client.commands[1:] == [
        ["zstd", "-q", "-d", "-c"],
        ["mbuffer", "-q", "-s", "128k", "-m", "2M"],
    ]
