"""An object changes while a stream of it runs: the stream has a defined end, and data stays."""

from __future__ import annotations

import asyncio

import pytest

from backstay.api.kinds import REQUESTED_AT
from backstay.domain.steps import Increment, Resume, Seed
from fakes.lab import Lab

HALF = 2000


async def seeding(lab: Lab, count: int = 1) -> asyncio.Event:
    """The first member's seed has got half way; returns what lets it go on."""
    reached, go_on = lab.world.transfer_faults.pause(after_bytes=HALF)
    lab.core.pair("erp", lab.volumes(count))
    await lab.core.live(5)
    assert reached.is_set()
    assert lab.b.flights
    return go_on


async def in_increment(lab: Lab) -> tuple[asyncio.Event, asyncio.Task[None]]:
    """An increment of d0 has got half way, within a pass that runs as a task."""
    members = lab.volumes(1)
    lab.core.pair("erp", members)
    await lab.core.live(100)
    lab.a.write("tank/vm/d0", 4096)
    reached, go_on = lab.world.transfer_faults.pause(after_bytes=HALF)
    task = asyncio.create_task(lab.core.passing(150))
    await reached.wait()
    return go_on, task


def receives(lab: Lab) -> int:
    """How many receives of d0 run at this moment."""
    return sum(f.receives and f.dataset == "backup/backstay/d0" for f in lab.b.flights)


@pytest.mark.fault("object edited during a transfer")
async def test_an_edit_that_still_wants_the_member_lets_its_seed_go_on(lab: Lab) -> None:
    go_on = await seeding(lab)
    lab.core.sent()
    lab.core.pair("erp", lab.extended(1))
    await lab.core.live(200)
    assert receives(lab) == 1
    assert [t.member for t in lab.core.sent()] == ["d1"]
    go_on.set()
    await lab.core.live(120)
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")
    assert lab.equal("d0", "d1")


@pytest.mark.fault("object edited during a transfer")
async def test_an_edit_that_drops_the_member_ends_its_seed(lab: Lab) -> None:
    await seeding(lab)
    both = lab.extended(1)
    lab.core.pair("erp", {"d1": both["d1"]})
    await lab.core.live(10)
    assert receives(lab) == 0
    await lab.core.live(200)
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")
    assert lab.equal("d1")
    lab.core.sent()
    lab.core.pair("erp", both)
    await lab.core.live(200)
    assert [type(t.how) for t in lab.core.sent()] == [Resume]
    assert lab.equal("d0", "d1")


@pytest.mark.fault("object edited during a transfer")
async def test_suspend_ends_a_seed_and_what_had_arrived_is_gone_on_with(lab: Lab) -> None:
    """`suspend` is what an admin sets when the line is needed for something else."""
    await seeding(lab)
    lab.core.pair("erp", lab.known(1), suspend=True)
    await lab.core.live(10)
    assert lab.b.flights == []
    before = list(lab.world.commands)
    await lab.core.live(600)
    assert lab.world.commands == before
    assert lab.b.dataset("backup/backstay/d0").partial is not None
    lab.core.sent()
    lab.core.pair("erp", lab.known(1), suspend=False)
    await lab.core.live(120)
    assert [type(t.how) for t in lab.core.sent()] == [Resume]
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")
    assert lab.equal("d0")


@pytest.mark.fault("object deleted during a transfer")
async def test_deletion_during_a_seed_ends_it_and_takes_the_bookmarks(lab: Lab) -> None:
    await seeding(lab)
    lab.core.delete("ReplicationPair", "erp")
    await lab.core.live(10)
    assert lab.b.flights == []
    assert lab.a.dataset("tank/vm/d0").bookmarks == []
    assert lab.core.registry.pairs() == ()
    before = list(lab.world.commands)
    await lab.core.live(600)
    assert lab.world.commands == before


@pytest.mark.fault("object deleted during a transfer")
async def test_deletion_during_an_increment_waits_for_its_end_and_keeps_data(lab: Lab) -> None:
    go_on, task = await in_increment(lab)
    lab.core.delete("ReplicationPair", "erp")
    farewell = asyncio.create_task(lab.core.settle())
    for _ in range(50):
        await asyncio.sleep(0)
    assert lab.a.dataset("tank/vm/d0").bookmarks
    go_on.set()
    await asyncio.gather(task, farewell)
    await lab.core.live(60)
    assert lab.a.dataset("tank/vm/d0").bookmarks == []
    assert lab.equal("d0")
    assert lab.core.registry.pairs() == ()


@pytest.mark.parametrize(
    "how",
    [
        pytest.param("re-created", marks=pytest.mark.fault("object re-created during a transfer")),
        pytest.param(
            "replaced without status",
            marks=pytest.mark.fault("object replaced without status during a transfer"),
        ),
    ],
)
async def test_a_new_object_of_the_same_name_goes_on_with_what_had_arrived(
    lab: Lab, how: str
) -> None:
    await seeding(lab)
    lab.core.sent()
    if how == "re-created":
        lab.core.delete("ReplicationPair", "erp")
        await lab.core.settle()
        lab.core.pair("erp", lab.known(1))
    else:
        lab.core.replace("ReplicationPair", "erp")
    await lab.core.live(5)
    assert receives(lab) <= 1
    lab.b.kill_streams()
    await lab.core.live(200)
    assert [t for t in lab.core.sent() if isinstance(t.how, Seed)] == []
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")
    assert lab.equal("d0")


@pytest.mark.fault("object deleted during a transfer")
async def test_an_object_that_vanishes_takes_its_stream_with_it(lab: Lab) -> None:
    """Somebody removed the finalizer by hand: nothing may run for an object that is gone."""
    await seeding(lab)
    lab.core.vanish("ReplicationPair", "erp")
    await lab.core.live(5)
    assert lab.b.flights == []
    assert lab.b.dataset("backup/backstay/d0").partial is not None


async def test_there_is_never_a_second_receive_beside_a_running_one(lab: Lab) -> None:
    """A pass that comes while a seed runs leaves the member alone, however often it comes."""
    go_on = await seeding(lab)
    for _ in range(5):
        lab.a.write("tank/vm/d0", 4096)
        await lab.core.passing(150)
        assert receives(lab) == 1
    go_on.set()
    await lab.core.live(200)
    assert lab.equal("d0")
    assert len([t for t in lab.core.sent() if isinstance(t.how, Seed)]) == 1


async def test_a_seed_that_waits_for_its_place_is_not_begun_a_second_time(lab: Lab) -> None:
    """Two run side by side; no host knows of those that wait, only we do."""
    ends = [lab.world.transfer_faults.pause(after_bytes=HALF, nth=nth)[1] for nth in (1, 2)]
    lab.core.pair("erp", lab.volumes(5))
    await lab.core.live(5)
    assert sum(f.receives for f in lab.b.flights) == 2
    for _ in range(3):
        await lab.core.passing(150)
    for end in ends:
        end.set()
    await lab.core.live(200)
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")
    assert sorted(t.member for t in lab.core.sent()) == ["d0", "d1", "d2", "d3", "d4"]


async def test_a_seed_that_ends_during_a_long_pass_is_seen_at_once(lab: Lab) -> None:
    """The bell that a stream rings at its end must not be lost in the pass that runs."""
    lab.core.pair("old", lab.volumes(1))
    await lab.core.live(100)
    lab.a.write("tank/vm/d0", 4096)
    more = lab.extended(1)
    _, seed = lab.world.transfer_faults.pause(after_bytes=HALF)
    lab.core.pair("erp", {"d1": more["d1"]})
    await lab.core.live(5)
    reached, increment = lab.world.transfer_faults.pause(after_bytes=HALF)
    task = asyncio.create_task(lab.core.passing(150))
    await reached.wait()
    seed.set()
    for _ in range(50):
        await asyncio.sleep(0)
    increment.set()
    await task
    await lab.core.live(3)
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")


async def test_a_request_is_acknowledged_when_a_pass_has_handled_it(lab: Lab) -> None:
    """A script that waits for the acknowledgement must find the point that it asked for."""
    lab.core.pair("erp", lab.volumes(1))
    await lab.core.live(20)
    lab.a.write("tank/vm/d0", 4096)
    reached, go_on = lab.world.transfer_faults.pause(after_bytes=HALF)
    lab.core.annotate("ReplicationPair", "erp", REQUESTED_AT, "now-1")
    lab.core.sent()
    task = asyncio.create_task(lab.core.settle())
    await reached.wait()
    assert lab.core.status("erp").get("lastHandledRequest") != "now-1"
    go_on.set()
    await task
    assert lab.core.status("erp")["lastHandledRequest"] == "now-1"
    assert [type(t.how) for t in lab.core.sent()] == [Increment]
    assert lab.equal("d0")


async def test_a_request_to_a_suspended_pair_is_acknowledged_without_work(lab: Lab) -> None:
    lab.core.pair("erp", lab.volumes(1), suspend=True)
    lab.core.annotate("ReplicationPair", "erp", REQUESTED_AT, "now-1")
    await lab.core.live(5)
    assert lab.core.status("erp")["lastHandledRequest"] == "now-1"
    assert lab.world.commands == []
