"""*Direct* between real hosts, by hand: `pytest tests/contract/host/direct_by_hand.py`.

Streams of some seconds each, which on emulated hosts is too long for `make test`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import shlex
import time
from typing import TypeAlias

import pytest

from backstay.domain.steps import MadeSnapshot, PipeOutcome, Transport
from contract.host.real_world import RealContractWorld
from contract.host.worlds import MIB, Member, Story, reason, resume, seed

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]
DIRECT = Transport(direct=True)
Running: TypeAlias = "asyncio.Task[PipeOutcome]"


async def halfway(world: RealContractWorld, story: Story) -> tuple[Member, MadeSnapshot, Running]:
    """A direct seed of 8 MiB at 1 MiB a second, of which something has arrived."""
    await story.claim()
    member = await story.member("d0", size=8 * MIB)
    (point,) = await story.point(member)
    world.transfers.reached = asyncio.Event()
    way = dataclasses.replace(DIRECT, rate_bytes_s=MIB)
    running = asyncio.create_task(story.send(seed(member, point), transport=way))
    waiting = asyncio.create_task(world.transfers.reached.wait())
    await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    assert not running.done(), running.result()
    return member, point, running


async def at_work(world: RealContractWorld, member: Member) -> list[str]:
    """The commands at both hosts that have to do with a member's stream."""
    found = []
    for host, words in (
        (world.source.host, ("zfs send", "backstay-host stream")),
        (world.target.host, ("zfs receive",)),
    ):
        for line in (await asyncio.to_thread(host.run, "ps -eo args")).splitlines():
            mine = member.source in line or member.target in line or "backstay-host stream" in line
            if mine and any(word in line for word in words) and "ps -eo" not in line:
                found.append(f"{host.name}: {line}")
    return found


async def test_a_cancelled_direct_seed_leaves_no_process_and_goes_on_from_its_token(
    world: RealContractWorld,
) -> None:
    story = Story(world)
    member, point, running = await halfway(world, story)
    seen = await at_work(world, member)
    assert len(seen) >= 3, seen  # zfs send and ssh at the source, zfs receive at the target
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await at_work(world, member) == []
    token = (await story.replica(member)).token
    assert token is not None
    again = resume(member, point, token.text, of_seed=True)
    assert (await story.send(again, transport=DIRECT)).failure is None
    assert await story.replica_guids([member]) == [[point.guid]]


async def test_a_rate_is_kept_between_hosts(world: RealContractWorld) -> None:
    story = Story(world)
    await story.claim()
    member = await story.member("d0", size=6 * MIB)
    (point,) = await story.point(member)
    way = dataclasses.replace(DIRECT, rate_bytes_s=MIB)
    began = time.monotonic()
    assert (await story.send(seed(member, point), transport=way)).failure is None
    assert time.monotonic() - began >= 5


async def test_no_secret_is_in_a_command_line_or_an_environment(world: RealContractWorld) -> None:
    story, host = Story(world), world.source.host
    kept = f"grep -rl 'OPENSSH PRIVATE KEY' {shlex.quote('/run/backstay')} /tmp /root 2>/dev/null"
    before = await asyncio.to_thread(host.attempt, kept)
    *_, running = await halfway(world, story)
    words = await asyncio.to_thread(
        host.run,
        "for p in $(pgrep -f 'backstay-host stream'); do tr '\\0' '\\n' < /proc/$p/cmdline; "
        "tr '\\0' '\\n' < /proc/$p/environ; done",
    )
    during = await asyncio.to_thread(host.attempt, kept)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert during.stdout == before.stdout
    assert "StrictHostKeyChecking=yes" in words
    assert "PRIVATE KEY" not in words
    assert (await asyncio.to_thread(host.attempt, kept)).stdout == before.stdout


async def test_a_new_leader_at_the_target_ends_a_direct_receive(world: RealContractWorld) -> None:
    """The last one: the usual leader is refused from then on."""
    story = Story(world)
    member, _, running = await halfway(world, story)
    newer = world.port(world.target, term=2, process="two")
    (state,) = await newer.claim([world.target.root])
    assert state.outcome == "Held"
    assert not [line for line in await at_work(world, member) if "zfs receive" in line]
    outcome = await running
    assert reason(outcome) is not None
