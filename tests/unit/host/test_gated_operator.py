"""The operator's adapter in front of a gate, as sshd would put it there."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import AsyncIterator, Sequence

import pytest

from backstay.adapters.clock import SystemClock
from backstay.adapters.host.endpoint import quote
from backstay.adapters.host.hosts import Leader, OpenSshHosts, Setup
from backstay.adapters.host.transfers import OpenSshTransfers
from backstay.app.hostzip import pack_host_program
from backstay.domain.errors import Stalled
from backstay.domain.steps import Base, Increment, Pipe, TakeSnapshots, Transfer
from backstay.domain.zfs import Guid
from backstay.ports.host import Endpoint, SurveyRequest
from fakes.peers import endpoint
from unit.host import program
from unit.host.conftest import SRC, World

LISTS = ("--send", "tank/v", "--receive", "backup/r")


class Sshd:
    """Runs the forced command of a key, whatever is asked for, and says what that was."""

    def __init__(self, world: World) -> None:
        self._world = world

    def argv(self, command: Sequence[str]) -> list[str]:
        """See `Launcher`."""
        path = f"PYTHONPATH={SRC}:{SRC.parent}/tests"
        there = [sys.executable, str(program.__file__), str(self._world.home), "gate", *LISTS]
        return ["env", path, f"SSH_ORIGINAL_COMMAND={quote(command)}", *there]

    stream_argv = argv

    def trunk_argv(self, command: Sequence[str]) -> None:
        """See `Launcher`: a forced command admits none."""

    def close(self) -> None:
        """See `Launcher`."""


@pytest.fixture
async def hosts(world: World) -> AsyncIterator[OpenSshHosts]:
    """The hosts of an operator that leads."""
    leader = Leader(
        installation_id="test/one",
        short_id="ab12c0de",
        process_id="one",
        term=lambda: 1,
        remaining_s=lambda: 25.0,
    )
    setup = Setup(
        program=pack_host_program(),
        leader=leader,
        clock=SystemClock(),
        launcher=lambda _: Sshd(world),
    )
    made = OpenSshHosts(setup)
    yield made
    await made.close()


def gated(name: str) -> Endpoint:
    """A host with the program installed."""
    return dataclasses.replace(endpoint(name), installed=True)


async def test_an_operator_works_behind_a_gate_with_the_lists_of_its_pairs(
    world: World, hosts: OpenSshHosts
) -> None:
    base = world.put("tank/v@a")
    guid = world.put("tank/v@b", size=1000)
    world.put("backup/r/v", props={"dev.backstay:lineage": "4c1f"})
    source, target = hosts.open(gated("fra/a")), hosts.open(gated("muc/b"))
    assert [root.outcome for root in await target.claim(["backup/r"])] == ["Held"]
    await source.claim([])
    listing = await source.survey(SurveyRequest(roots=(("tank/v", False),), sync=True))
    transfer = Transfer(
        member="v",
        source_dataset="tank/v",
        source_guid=listing.datasets["tank/v"].guid,
        target_dataset="backup/r/v",
        lineage="4c1f",
        snapshot="b",
        guid=Guid(guid),
        how=Increment(base=Base(full_name="tank/v@a", guid=Guid(base))),
        properties={},
        size_bytes=1000,
    )
    pipe = Pipe(transfers=(transfer,))
    outcome = await OpenSshTransfers(SystemClock()).transfer(
        source, target, pipe, lambda _index, _bytes: None
    )
    assert (outcome.completed, outcome.failure) == (1, None)
    assert world.things["backup/r/v@b"]["guid"] == guid


async def test_a_dataset_outside_the_lists_is_named_to_the_operator(
    world: World, hosts: OpenSshHosts
) -> None:
    host = hosts.open(gated("fra/a"))
    with pytest.raises(Stalled, match="fra/a: 'tank/w'") as error:
        await host.survey(SurveyRequest(roots=(("tank/w", False),), sync=True))
    assert error.value.reason == "NotAllowed"
    step = TakeSnapshots(datasets=(("tank/w", Guid(1)),), snapshot="b", bookmarks=())
    with pytest.raises(Stalled, match="tank/w"):
        await host.snapshot(step)
    assert world.argvs("snapshot") == []


async def test_an_operator_that_would_feed_is_told_what_to_set(hosts: OpenSshHosts) -> None:
    with pytest.raises(Stalled, match="program of the Site to Installed") as error:
        await hosts.open(endpoint("fra/a")).hello()
    assert error.value.reason == "NotAllowed"
