"""Hosts that have the program: the command, the version, and who refuses what."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from backstay.adapters.clock import SystemClock
from backstay.adapters.host.hosts import Leader, OpenSshHost, OpenSshHosts, Setup
from backstay.domain.errors import Stalled
from backstay.ports.host import Endpoint
from backstay_host.version import protocol_version
from fakes.peers import Bench, endpoint, peer

SERVE = """
greet(version=VERSION)
while True:
    frame = get()
    polite(frame)
    answer(frame, facts())
"""


LEADER = Leader(
    installation_id="ns/backstay",
    short_id="0badcafe",
    process_id="one",
    term=lambda: 1,
    remaining_s=lambda: 20.0,
)


class InstalledLauncher:
    """Runs a scripted program as `backstay-host`, and remembers what it was asked for."""

    def __init__(self, program: Path, asked: list[list[str]]) -> None:
        self._program = program
        self._asked = asked

    def argv(self, command: Sequence[str]) -> list[str]:
        """See `Launcher`."""
        self._asked.append(list(command))
        return [sys.executable, str(self._program), *command[1:]]

    stream_argv = argv

    def trunk_argv(self, command: Sequence[str]) -> None:
        """See `Launcher`."""

    def close(self) -> None:
        """See `Launcher`."""


class Installed:
    """An operator and one host with the program."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[list[str]] = []
        self._folder = folder
        self._hosts: list[OpenSshHosts] = []

    def host(self, script: str) -> OpenSshHost:
        """A host whose installed program runs this script."""
        program = self._folder / "backstay-host"
        program.write_bytes(peer(script))
        self._hosts.append(
            OpenSshHosts(
                Setup(
                    program=b"never fed",
                    leader=LEADER,
                    clock=SystemClock(),
                    launcher=lambda _: InstalledLauncher(program, self.asked),
                    require_installed=True,
                )
            )
        )
        return self._hosts[-1].open(dataclasses.replace(endpoint(), installed=True))

    async def close(self) -> None:
        """Everything has ended."""
        for hosts in self._hosts:
            await hosts.close()


@pytest.fixture
async def installed(tmp_path: Path) -> AsyncIterator[Installed]:
    made = Installed(tmp_path)
    yield made
    await made.close()


async def test_the_installed_program_is_started_by_its_name_and_fed_nothing(
    installed: Installed,
) -> None:
    host = installed.host(SERVE.replace("VERSION", repr(protocol_version())))
    assert (await host.hello()).hostname == "h"
    assert installed.asked == [["backstay-host", "serve"]]


@pytest.mark.parametrize(
    ("greeting", "theirs"),
    [
        ("greet(version='1.00000000')", "1.00000000"),
        ("greet()", "1 without a version"),
        ("greet(protocol=2)", "2"),
        ("greet(mark='backstay-host/2 ')", "2"),
    ],
)
async def test_another_version_is_named_with_both_and_the_next_step(
    installed: Installed, greeting: str, theirs: str
) -> None:
    host = installed.host(f"{greeting}\ntime.sleep(60)")
    with pytest.raises(Stalled) as error:
        await host.hello()
    assert error.value.reason == "ProtocolError"
    assert f"protocol {theirs}, this operator 1" in error.value.message
    assert "kubectl backstay grant fra/zfs-a" in error.value.message


async def test_a_fed_program_is_of_this_version_by_itself(bench: Bench) -> None:
    host = bench.host(SERVE.replace("VERSION", "'1.00000000'"))
    assert (await host.hello()).hostname == "h"


async def test_what_a_gate_says_is_a_reason_of_the_site(bench: Bench) -> None:
    said = '{"error": {"reason": "NotAllowed", "message": "serve only"}}'
    host = bench.host(f"write(b'backstay-host/1 ' + {said!r}.encode() + b'\\n')")
    with pytest.raises(Stalled, match="fra/zfs-a: serve only") as error:
        await host.hello()
    assert error.value.reason == "NotAllowed"


def test_an_operator_that_requires_installed_programs_never_opens_a_fed_host() -> None:
    def launch(_: Endpoint) -> InstalledLauncher:
        raise AssertionError("nothing is launched")

    setup = Setup(
        program=b"", leader=LEADER, clock=SystemClock(), launcher=launch, require_installed=True
    )
    with pytest.raises(Stalled) as error:
        OpenSshHosts(setup).open(endpoint())
    assert error.value.reason == "FedProgramRefused"
    assert "kubectl backstay grant fra/zfs-a" in error.value.message
