"""Objects that go or are made again while their streams run, or while their hosts are away."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from backstay.adapters.host import connection
from backstay.controllers.farewell import TRIES
from backstay.domain.steps import Seed
from lab.core.real import PAIR, Hand, RealLab

KIB = 1024
KIND = "ReplicationPair"


@contextmanager
def frozen(hand: Hand) -> Iterator[None]:
    """The whole machine stands still, as one whose hypervisor hangs; its lines stay open."""
    pid = hand.host.machine.process.pid()
    assert pid is not None
    hand.host.hang_up()
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
        assert hand.host.is_up(60)


async def leave(lab: RealLab) -> int:
    """How many runs it takes until the deleted pair has been released."""
    lab.core.delete(KIND, "erp")
    for run in range(1, TRIES + 2):
        await lab.core.run(PAIR)
        if lab.core.registry.pairs() == ():
            return run
        lab.world.advance(15)
    raise AssertionError(lab.core.events)


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
    lab: RealLab, how: str
) -> None:
    lab.core.pair("erp", await lab.volumes(1, size=512 * KIB))
    await lab.core.run(PAIR)
    async with lab.amid_a_stream(300_000):
        assert [type(t.how) for t in lab.core.sent()] == [Seed]
        if how == "re-created":
            lab.core.delete(KIND, "erp")
            await lab.core.run(PAIR)
            assert lab.core.registry.pairs() == ()
            lab.core.pair("erp", lab.places)
        else:
            lab.core.replace(KIND, "erp")
        await lab.core.run(PAIR)
        receives = await lab.b.run("pgrep -ax zfs | grep -c ' receive ' || true")
        assert int(receives) == (0 if how == "re-created" else 1)
    for _ in range(3):
        await lab.core.passing(151)
    await lab.expect_fresh()
    await lab.expect_little_left()
    assert [t for t in lab.core.sent() if isinstance(t.how, Seed)] == []


@pytest.mark.fault("pair deleted while what it needs is away")
async def test_a_dead_source_holds_a_deleted_pair_for_a_bounded_time_and_it_is_said(
    lab: RealLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "GREETING_S", 10.0)
    await lab.protected()
    marks, points = await lab.a.names("d0", "bookmark"), await lab.b.guids("d0")
    with frozen(lab.a):
        assert await leave(lab) == TRIES
    (event,) = lab.core.events
    assert (event.type, event.reason) == ("Warning", "BookmarksLeft")
    assert await lab.a.names("d0", "bookmark") == marks
    assert await lab.b.guids("d0") == points


@pytest.mark.fault("pair deleted while what it needs is away")
async def test_a_dead_target_is_not_waited_for(lab: RealLab) -> None:
    await lab.protected()
    points = await lab.a.guids("d0")
    with frozen(lab.b):
        assert await leave(lab) == 1
    assert lab.core.events == []
    assert await lab.a.names("d0", "bookmark") == []
    assert await lab.a.guids("d0") == await lab.b.guids("d0") == points
