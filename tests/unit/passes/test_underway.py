"""While streams run: how far they are, whether one is stuck, and the RPO goes by the clock."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from backstay.controllers.keys import ObjectKey
from backstay.domain.pairs import HostKey, Route
from backstay.report.events import turns
from fakes.core import NAMESPACE
from fakes.lab import Lab

ROUTE = Route(HostKey(NAMESPACE, "fra", "h"), HostKey(NAMESPACE, "muc", "h"))
RPO_S = 300
KIB = 1024


def transfer(lab: Lab, pair: str = "erp") -> dict[str, Any]:
    """What status says of the streams under way; empty when nothing."""
    told: dict[str, Any] = lab.core.status(pair).get("transfer") or {}
    return told


def at_risk(lab: Lab, pair: str = "erp") -> str:
    """The reason of `AtRisk`; empty while the pair is not."""
    return lab.core.condition(pair, "AtRisk")[1]


def turned_at(lab: Lab, kind: str) -> datetime:
    """When the condition of erp has turned."""
    (found,) = [c for c in lab.core.status("erp")["conditions"] if c["type"] == kind]
    return datetime.fromisoformat(found["lastTransitionTime"])


async def protected(lab: Lab, *pairs: str) -> None:
    """Pairs of one member each, d0, d1 …, with a point and nothing to do."""
    for name, member in zip(pairs, lab.volumes(len(pairs)).items(), strict=True):
        lab.core.pair(name, dict([member]))
    await lab.core.live(600)


async def sending(
    lab: Lab, size: int, *, member: int = 0
) -> tuple[asyncio.Event, asyncio.Task[Any]]:
    """A pass whose increments stand still after so many bytes of a member; sent when set."""
    reached, go_on = lab.world.transfer_faults.pause(member=member, after_bytes=size)
    await lab.core.live(lab.core.due_in(ROUTE) - 0.1)
    lab.world.advance(0.1)
    task = lab.core.begin(ROUTE)
    await asyncio.wait_for(reached.wait(), 10)
    return go_on, task


@pytest.mark.rule("Deadlines")
@pytest.mark.fault("stream stands still")
async def test_a_first_copy_tells_how_far_it_is_and_that_it_stands_still(lab: Lab) -> None:
    _, go_on = lab.world.transfer_faults.pause(after_bytes=2 * KIB)
    lab.core.pair("erp", lab.volumes(1))
    await lab.core.live(19)
    assert transfer(lab) == {}
    assert at_risk(lab) == ""
    calm = lab.core.status("erp")
    await lab.core.live(11)
    told = transfer(lab)
    assert (told["streams"], told["bytes"], told["expectedBytes"]) == (1, 2 * KIB, 4 * KIB)
    assert "secondsLeft" not in told
    began = datetime.fromisoformat(told["startTime"])
    assert 20 <= (lab.world.now - began).total_seconds() <= 30
    assert at_risk(lab) == "TransferStalled"
    assert "no byte has moved for" in lab.core.message("erp", "AtRisk")
    warned = [t for t in turns(calm, lab.core.status("erp")) if t.type == "Warning"]
    assert [turn.reason for turn in warned] == ["TransferStalled"]
    go_on.set()
    await lab.core.live(60)
    assert (transfer(lab), at_risk(lab)) == ({}, "")
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")


async def test_pairs_that_share_a_pipe_see_their_own_bytes_and_the_end_of_it(lab: Lab) -> None:
    await protected(lab, "erp", "crm")
    lab.a.write("tank/vm/d0", 4 * KIB)
    lab.a.write("tank/vm/d1", 64 * KIB)
    go_on, task = await sending(lab, 2 * KIB, member=1)
    for name in ("erp", "crm"):  # a look at a Site may come a minute later
        assert lab.core.due_in(ObjectKey("ReplicationPair", NAMESPACE, name)) <= 20
    await lab.core.live(30)
    first, second = transfer(lab, "erp"), transfer(lab, "crm")
    assert first["bytes"] >= 4 * KIB
    assert second["bytes"] == 2 * KIB
    assert first["expectedBytes"] < second["expectedBytes"]
    # What stands still is the pipe, and neither has its point before all of it has ended.
    assert at_risk(lab, "erp") == at_risk(lab, "crm") == "TransferStalled"
    assert lab.core.message("erp", "AtRisk").startswith("d1: ")
    go_on.set()
    await task
    await lab.core.settle()
    assert (transfer(lab, "erp"), at_risk(lab, "crm")) == ({}, "")
    assert lab.equal("d0", "d1")


@pytest.mark.fault("stream far slower than those before it")
async def test_a_stream_that_moves_but_takes_far_longer_than_usual_is_said_before_the_breach(
    lab: Lab,
) -> None:
    await protected(lab, "erp")
    lab.a.write("tank/vm/d0", 64 * KIB)
    more = [lab.world.transfer_faults.pause(after_bytes=n * KIB) for n in range(2, 6)]
    go_on, task = await sending(lab, KIB)
    for reached, follows in more:
        await lab.core.live(12)
        assert at_risk(lab) == ("" if reached is not more[-1][0] else "TransferSlow")
        go_on.set()
        await asyncio.wait_for(reached.wait(), 10)
        go_on = follows
    await lab.core.live(10)
    assert at_risk(lab) == "TransferSlow"
    assert transfer(lab)["bytesPerSecond"] > 0
    assert "secondsLeft" in transfer(lab)
    assert lab.core.condition("erp", "RPOMet") == ("True", "WithinRPO")
    go_on.set()
    await task
    await lab.core.settle()
    assert at_risk(lab) == ""


@pytest.mark.rule("Deadlines")
@pytest.mark.fault("stream stands still")
async def test_what_stood_still_is_stopped_named_and_resumed(lab: Lab) -> None:
    await protected(lab, "erp")
    lab.a.write("tank/vm/d0", 64 * KIB)
    lab.world.transfer_faults.stall(after_bytes=32 * KIB)
    await lab.core.live(lab.core.due_in(ROUTE) + 1)
    assert lab.core.condition("erp", "Ready") == ("False", "TransferStalled")
    assert lab.core.condition("erp", "RPOMet") == ("True", "WithinRPO")
    lab.core.sent()
    await lab.core.live(60)
    assert [type(t.how).__name__ for t in lab.core.sent()] == ["Resume"]
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")
    assert lab.equal("d0")


@pytest.mark.rule("RPO truth")
@pytest.mark.fault("unreachable host")
@pytest.mark.parametrize("how", ["suspended", "unreachable", "a pass that does not end"])
async def test_the_rpo_is_breached_by_a_timer_whatever_else_happens(lab: Lab, how: str) -> None:
    """To the second: no pass, no look at a Site and no next success has a part in it."""
    await protected(lab, "erp")
    task = None
    if how == "suspended":
        lab.core.pair("erp", lab.known(1), suspend=True)
        await lab.core.settle()
    elif how == "unreachable":
        lab.b.reachable = False
    else:
        lab.a.write("tank/vm/d0", 4 * KIB)
        _, task = await sending(lab, KIB)
    point = datetime.fromisoformat(lab.core.status("erp")["recoveryPoint"]["time"])
    await lab.core.live(RPO_S - (lab.world.now - point).total_seconds() - 5)
    assert lab.core.condition("erp", "RPOMet") == ("True", "WithinRPO")
    await lab.core.live(10)
    assert lab.core.condition("erp", "RPOMet") == ("False", "RPOBreached")
    late = turned_at(lab, "RPOMet") - point - timedelta(seconds=RPO_S)
    assert abs(late.total_seconds()) <= 2
    before = lab.core.message("erp", "RPOMet")
    await lab.core.live(120)
    assert lab.core.message("erp", "RPOMet") != before, "the lag grows"
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
