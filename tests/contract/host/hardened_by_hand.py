"""Hardened hosts behind their real ssh servers: `pytest tests/contract/host/hardened_by_hand.py`.

The program is installed at both hosts, and a key of its own opens it and nothing else, by the very
line that `kubectl backstay grant` prints.
"""

from __future__ import annotations

import base64
import secrets
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import pytest_asyncio

from backstay.adapters.clock import SystemClock
from backstay.adapters.host.endpoint import SshLauncher
from backstay.adapters.host.hosts import Leader, OpenSshHost, OpenSshHosts, Setup
from backstay.adapters.host.transfers import OpenSshTransfers
from backstay.api.v1alpha1.site import Host
from backstay.app.hostzip import executable_host_program
from backstay.domain.errors import BackstayError
from backstay.domain.steps import Pipe, PipeOutcome, Prune, Transfer
from backstay.domain.zfs import SnapshotRef
from backstay.ports.host import Endpoint, SurveyRequest
from backstay.report.grant import FILE, INSTALL, PROGRAM, Grant
from contract.host.keys import admitted, new_key
from contract.host.real_world import RealContractWorld, RealHands, endpoint
from contract.host.worlds import SHORT_ID, Story, increment, seed

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(900)]


@dataclass
class Hardened:
    """Ports of one leader to both hosts, that come with the limited key only."""

    source: OpenSshHost
    target: OpenSshHost
    story: Story
    """The unlimited hands and ports of the same test."""

    async def send(self, *transfers: Transfer) -> PipeOutcome:
        """One pipe between the gates."""
        pipe = Pipe(transfers=transfers)
        pipes = OpenSshTransfers(SystemClock())
        return await pipes.transfer(self.source, self.target, pipe, lambda index, moved: None)


def _line(hands: RealHands, public: str, *, sends: bool) -> str:
    """The line that `grant` prints for a host that sends or receives what is below the root."""
    host = hands.host
    return Grant(
        site="contract/hardened",
        host=Host(name="h", address=host.address, host_keys=host.host_keys, program="Installed"),
        send=(hands.root,) if sends else (),
        receive=() if sends else (hands.root,),
        pairs=(),
        public_key=public,
    ).key_line


@pytest_asyncio.fixture(loop_scope="session")
async def hardened(world: RealContractWorld, tmp_path: Path) -> AsyncIterator[Hardened]:
    """Both hosts with the program and the line; both are gone afterwards."""
    private, public = new_key(tmp_path)
    leader = Leader(
        installation_id=f"contract/{secrets.token_hex(4)}",
        short_id=SHORT_ID,
        process_id="hardened",
        term=lambda: 1,
        remaining_s=lambda: 25.0,
    )
    setup = Setup(program=b"", leader=leader, clock=SystemClock(), require_installed=True)
    hosts = OpenSshHosts(setup)
    both = (world.source, world.target)
    source, target = (
        hosts.open(replace(endpoint(hands.host), installed=True, private_key=private))
        for hands in both
    )
    program = base64.b64encode(executable_host_program()).decode()
    lines = {hands.host: _line(hands, public, sends=hands is world.source) for hands in both}
    with admitted(lines, public):
        for host in lines:
            host.run(f"base64 -d > {FILE}", given=program)
            host.run(f"{INSTALL} && rm {FILE}")
        try:
            yield Hardened(source, target, Story(world))
        finally:
            await hosts.close()
            for host in lines:
                host.attempt(f"rm -f {PROGRAM}")


async def test_a_pair_is_replicated_and_pruned_through_both_gates(hardened: Hardened) -> None:
    story = hardened.story
    (state,) = await hardened.target.claim([story.world.target.root])
    assert state.outcome == "Held"
    member = await story.member("d0")
    (first,) = await hardened.source.snapshot(story.points(member))
    assert (await hardened.send(seed(member, first))).failure is None
    await story.world.source.write(member.source, 256 * 1024)
    (second,) = await hardened.source.snapshot(story.points(member))
    assert (await hardened.send(increment(member, second, first))).failure is None
    listing = await hardened.target.survey(
        SurveyRequest(roots=((member.target, False),), sync=False)
    )
    replica = listing.datasets[member.target]
    assert [s.guid for s in replica.snapshots] == [first.guid, second.guid]
    doomed = SnapshotRef(dataset=member.target, name=first.name, guid=first.guid)
    assert await hardened.target.prune(Prune(snapshots=(doomed,), bookmarks=())) == ()
    assert not await story.world.target.exists(f"{member.target}@{first.name}")


async def test_no_gate_admits_the_other_direction_or_another_dataset(hardened: Hardened) -> None:
    story = hardened.story
    source, target = story.world.source.root, story.world.target.root
    for port, name in (
        (hardened.source, target),
        (hardened.source, f"{source}x"),
        (hardened.target, source),
        (hardened.target, "backup"),
    ):
        with pytest.raises(BackstayError) as refused:
            await port.survey(SurveyRequest(roots=((name, False),), sync=False))
        assert refused.value.reason == "NotAllowed", name
    member = await story.member("d0")
    with pytest.raises(BackstayError) as refused:
        await hardened.target.snapshot(story.points(member))
    assert refused.value.reason == "NotAllowed"


async def test_the_key_opens_no_shell_no_file_and_no_fed_program(hardened: Hardened) -> None:
    launcher = SshLauncher(hardened.source.endpoint)
    try:
        for command in (["id"], [], ["/bin/sh", "-c", "zfs list"], ["python3", "-c", "print(1)"]):
            done = ssh(launcher.argv(command))
            assert "uid=" not in done.stdout, command
            assert "NotAllowed" in done.stdout + done.stderr, (command, done)
            assert done.returncode, command
        done = ssh(with_options(launcher.argv(["sftp"]), "-s"))
        assert "NotAllowed" in done.stdout + done.stderr
    finally:
        launcher.close()


async def test_the_key_forwards_no_port(hardened: Hardened) -> None:
    """While root's own key does, by the same command."""
    for host, forwards in ((hardened.source.endpoint, False), (own(hardened), True)):
        launcher = SshLauncher(host)
        try:
            done = ssh(with_options(launcher.argv([])[:-1], "-W", "127.0.0.1:22"))
        finally:
            launcher.close()
        assert ("SSH-2.0" in done.stdout) is forwards, done


def own(hardened: Hardened) -> Endpoint:
    """The same host for a key without limits."""
    source = hardened.story.world.source
    assert isinstance(source, RealHands)
    return endpoint(source.host)


def with_options(argv: list[str], *options: str) -> list[str]:
    """The command line with more options of ssh."""
    at = argv.index("--")
    return [*argv[:at], *options, *argv[at:]]


def ssh(argv: list[str]) -> subprocess.CompletedProcess[str]:
    """What comes of a login without any input."""
    return subprocess.run(argv, capture_output=True, text=True, input="", check=False, timeout=120)
