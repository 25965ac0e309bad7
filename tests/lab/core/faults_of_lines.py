"""Lines between real hosts that stand still, crawl, fall silent or are refused."""

from __future__ import annotations

import asyncio
import shlex
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from time import monotonic

import pytest
import structlog.testing

from backstay.adapters.host import connection
from backstay.domain.steps import Increment, Resume
from lab.core.real import PAIR, Hand, RealLab

KIB = 1024
STANDS_STILL = "(head -c 300000; exec sleep 900)"
CRAWL = """
import sys, time
while block := sys.stdin.buffer.read(16384):
    sys.stdout.buffer.write(block)
    sys.stdout.buffer.flush()
    time.sleep(4)
"""
HOLE_S = 200
"""How long a host's answers are lost: longer than the operator waits for them."""


async def told(lab: RealLab, reason: str, within_s: float) -> None:
    """The pair is at risk for this reason within so many seconds, while its stream runs."""
    until = monotonic() + within_s
    while True:
        await lab.core.run(PAIR)
        if lab.core.condition("erp", "AtRisk") == ("True", reason):
            return
        assert monotonic() < until, lab.core.status("erp")
        await asyncio.sleep(2)


async def goes_on(lab: RealLab) -> None:
    """The next passes bring the point, by increments or from what has arrived."""
    for _ in range(3):
        await lab.core.passing(151)
    await lab.expect_fresh()
    await lab.expect_little_left()
    assert all(isinstance(t.how, Increment | Resume) for t in lab.core.sent())


async def streams(hand: Hand) -> str:
    """The commands that send or receive at a host."""
    return await hand.run("pgrep -ax zfs | grep -E ' (send|receive|recv) ' || true")


@pytest.mark.rule("Deadlines")
@pytest.mark.fault("stream stands still")
async def test_a_stream_that_stands_still_is_told_stopped_and_gone_on_with(lab: RealLab) -> None:
    await lab.protected()
    await lab.write(size=512 * KIB)
    lab.core.breaker.through = STANDS_STILL
    running = asyncio.create_task(lab.core.passing(151))
    await told(lab, "TransferStalled", within_s=120)
    await running
    assert lab.core.condition("erp", "Ready") == ("False", "TransferStalled")
    assert await streams(lab.a) == await streams(lab.b) == ""
    await lab.core.passing(151)
    assert [type(t.how) for t in lab.core.sent()] == [Increment, Resume]
    await goes_on(lab)


@pytest.mark.fault("stream far slower than those before it")
async def test_a_stream_that_crawls_is_told_and_left_alone(lab: RealLab) -> None:
    lab.core.policy(rpo="2m")
    await lab.protected()
    await lab.write(size=384 * KIB)
    lab.core.breaker.through = f"python3 -c {shlex.quote(CRAWL)}"
    running = asyncio.create_task(lab.core.passing(61))
    await told(lab, "TransferSlow", within_s=180)
    await running
    assert [type(t.how) for t in lab.core.sent()] == [Increment]
    await lab.expect_fresh()


@asynccontextmanager
async def unheard(hand: Hand) -> AsyncIterator[None]:
    """All that a host sends this machine is lost, from now until `HOLE_S` later."""
    to = hand.host.address_from_hosts
    lose = f"sleep 2; ip route add blackhole {to}/32; sleep {HOLE_S}; ip route del blackhole {to}"
    await hand.run(f"nohup sh -c {shlex.quote(lose)} >/dev/null 2>&1 </dev/null &")
    over = monotonic() + HOLE_S + 2
    hand.host.hang_up()
    yield
    assert monotonic() < over, "it was heard again before the end of what was to be seen"
    await asyncio.sleep(over - monotonic())
    assert await asyncio.to_thread(hand.host.is_up, 60)


@pytest.mark.rule("Deadlines")
@pytest.mark.fault("half-open line, or all packets lost for minutes")
@pytest.mark.fault("unreachable host")
async def test_a_host_that_falls_silent_amid_a_stream_ends_it_as_we_do(
    lab: RealLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "GREETING_S", 60.0)
    await lab.protected()
    await lab.write(size=512 * KIB)
    async with lab.amid_a_stream(300_000) as running, unheard(lab.b):
        await running
        assert lab.core.condition("erp", "Ready")[0] != "True"
        assert await streams(lab.a) == ""
    assert await streams(lab.b) == "", "nobody had told the host to end it"
    await goes_on(lab)


@pytest.mark.fault("ssh refuses one more login (MaxStartups)")
async def test_a_login_that_is_refused_is_tried_again(lab: RealLab) -> None:
    await lab.protected()
    few, host = "/etc/ssh/sshd_config.d/zz-few.conf", lab.b.host  # of this word the last counts
    await lab.b.run(f"echo 'MaxStartups 1:100:1' > {few}; systemctl restart ssh")
    try:
        await lab.core.kill()
        await lab.write()
        with closing(socket.create_connection((host.address, host.port))) as another:
            assert await asyncio.to_thread(another.recv, 64), "it says who it is"
            await lab.core.passing(151)
            ready = lab.core.condition("erp", "Ready")
            assert ready == ("Unknown", "Unreachable"), lab.core.message("erp", "Ready")
            assert lab.core.condition("erp", "Stalled") == ("", "")
        await goes_on(lab)
    finally:
        await lab.b.run(f"rm {few}; systemctl restart ssh")


@pytest.mark.fault("no `mbuffer` or `zstd` on a host")
@pytest.mark.rule("Negotiated capabilities")
async def test_what_a_host_lacks_is_left_out_and_said(lab: RealLab) -> None:
    lab.core.policy(transfer={"compression": "Zstd", "buffer": "16MiB"})
    await lab.b.run("for tool in zstd mbuffer; do mv /usr/bin/$tool /usr/bin/$tool.away; done")
    try:
        with structlog.testing.capture_logs() as logs:
            await lab.protected()
            await lab.next_point()
        await lab.expect_fresh()
        said = {entry["why"] for entry in logs if entry["event"] == "transport-left-out"}
        assert {why.split(" on ")[0] for why in said} == {"zstd is missing", "mbuffer is missing"}
    finally:
        await lab.b.run("for tool in zstd mbuffer; do mv /usr/bin/$tool.away /usr/bin/$tool; done")
