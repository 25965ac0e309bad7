"""*Direct* between two real hosts and their ssh servers: what the data key opens, and who ends."""

from __future__ import annotations

import asyncio
import dataclasses
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from backstay.adapters.host.endpoint import SshLauncher
from backstay.domain.steps import Pipe, Transport
from backstay.ports.host import Endpoint
from contract.host.keys import new_key
from contract.host.real_world import RealConnections, RealContractWorld, endpoint
from contract.host.worlds import Story, reason, seed

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]
DIRECT = Transport(direct=True)


async def flawed(
    world: RealContractWorld, connections: RealConnections, change: Callable[[Endpoint], Endpoint]
) -> tuple[str | None, str]:
    """Reason and message of a direct seed to a target whose endpoint is changed so."""
    story = Story(world)
    await story.claim()
    member = await story.member("d0")
    (point,) = await story.point(member)
    source, target = story.source, story.target
    # Our own connection stays as it is: only what the source is handed has the flaw.
    assert target.endpoint == connections.endpoint(world.target.host)  # type: ignore[attr-defined]
    good = target.endpoint  # type: ignore[attr-defined]
    target.endpoint = change(good)  # type: ignore[attr-defined]
    try:
        pipe = Pipe(transfers=(seed(member, point),), transport=DIRECT)
        outcome = await world.transfers.inner.transfer(source, target, pipe, lambda *_: None)
    finally:
        target.endpoint = good  # type: ignore[attr-defined]
    assert not await world.target.exists(member.target)
    assert outcome.failure is not None
    return reason(outcome), outcome.failure.message


@pytest.mark.fault("changed host key")
async def test_a_target_that_shows_another_key_is_never_sent_to(
    world: RealContractWorld, connections: RealConnections, tmp_path: Path
) -> None:
    _, other = new_key(tmp_path)
    said = await flawed(
        world, connections, lambda good: dataclasses.replace(good, host_keys=(other,))
    )
    assert said[0] == "HostKeyChanged"
    assert "pinned" in said[1]


@pytest.mark.fault("wrong key")
async def test_a_data_key_that_the_target_does_not_know_is_named(
    world: RealContractWorld, connections: RealConnections, tmp_path: Path
) -> None:
    key, _ = new_key(tmp_path)
    said = await flawed(world, connections, lambda good: dataclasses.replace(good, data_key=key))
    assert said[0] == "KeyRefused"
    assert "line of the data key" in said[1]


@pytest.mark.fault("unreachable host")
async def test_a_target_that_the_source_cannot_reach_is_named(
    world: RealContractWorld, connections: RealConnections
) -> None:
    said = await flawed(world, connections, lambda good: dataclasses.replace(good, data_port=1))
    assert said[0] == "TransferFailed"
    assert "port 1" in said[1]


@pytest.mark.rule("Single writer, fenced at the host")
@pytest.mark.parametrize(
    "asked",
    [
        ["id"],
        ["backstay-host", "serve"],
        ["python3", "-c", "print(1)"],
        ["backstay-host", "stream", f"{'a' * 32}.{'b' * 32}"],
        ["backstay-host", "stream", "../../tmp/x.y"],
    ],
)
async def test_the_data_key_alone_opens_nothing(
    world: RealContractWorld, data_key: bytes, asked: list[str]
) -> None:
    await Story(world).claim()  # a session runs there, and its program lies there
    launcher = SshLauncher(dataclasses.replace(endpoint(world.target.host), private_key=data_key))
    try:
        done = await asyncio.to_thread(
            subprocess.run,
            launcher.argv(asked),
            capture_output=True,
            timeout=120,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    finally:
        launcher.close()
    assert done.returncode not in (0, 255)
    assert b"uid=" not in done.stdout
    assert b"1\n" not in done.stdout
