"""Streams beside the passes: seeds do not hold up what is nearly there, and a fault is said."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, NoReturn

import pytest

from fakes.lab import Lab


@pytest.mark.rule("Isolation")
async def test_an_interrupted_increment_does_not_wait_for_the_seeds_of_others(lab: Lab) -> None:
    """They may take days; its RPO is minutes."""
    lab.core.pair("old", lab.volumes(1))
    await lab.core.live(100)
    ends = [lab.world.transfer_faults.pause(after_bytes=100, nth=nth)[1] for nth in (1, 2)]
    members = [lab.extended(i) for i in range(1, 7)][-1]
    del members["d0"]
    lab.core.pair("new", members)
    await lab.core.live(20)
    assert sum(f.receives for f in lab.b.flights) == 2
    lab.a.write("tank/vm/d0", 4096)
    lab.world.transfer_faults.cut(after_bytes=2048)
    await lab.core.live(600)
    assert lab.equal("d0")
    assert sum(f.receives for f in lab.b.flights) == 2
    for end in ends:
        end.set()
    await lab.core.live(200)
    assert lab.equal(*members)


@pytest.mark.rule("Isolation")
async def test_a_lane_that_dies_of_a_fault_of_ours_is_said_logged_and_tried_ever_later(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, logs: list[MutableMapping[str, Any]]
) -> None:
    tries = 0

    async def no_more_processes(*_args: object) -> NoReturn:
        nonlocal tries
        tries += 1
        raise BlockingIOError(11, "Resource temporarily unavailable")

    with monkeypatch.context() as patched:
        patched.setattr(lab.core, "transfer", no_more_processes)
        lab.core.pair("erp", lab.volumes(1))
        await lab.core.live(1200)
        assert lab.core.condition("erp", "Ready") == ("False", "InternalError")
        assert "Resource temporarily unavailable" in lab.core.message("erp", "Ready")
        assert 4 <= tries <= 12
        assert {log["event"] for log in logs if log["log_level"] == "error"} == {"lane-failed"}
    await lab.core.live(300)
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")
    assert lab.equal("d0")


@pytest.mark.rule("Deadlines")
async def test_a_stream_that_stands_still_where_it_did_before_gets_twice_the_time(lab: Lab) -> None:
    """One whose token has moved meanwhile is quick enough, and one that was cut was not slow."""
    faults = lab.world.transfer_faults
    faults.cut(after_bytes=100, nth=1)
    for nth in (2, 3, 4):
        faults.stall(after_bytes=0, nth=nth)
    faults.stall(after_bytes=100, nth=5)
    faults.stall(after_bytes=0, nth=6)
    faults.cut(after_bytes=0, nth=7)
    lab.core.pair("erp", lab.volumes(1))
    await lab.core.live(3000)
    assert lab.equal("d0")
    assert [pipe.failed_before for pipe in lab.core.pipes] == [0, 0, 1, 2, 3, 0, 1, 1]
    lab.core.pipes.clear()
    lab.a.write("tank/vm/d0", 4096)
    faults.stall(after_bytes=100)
    await lab.core.live(600)
    assert lab.equal("d0")
    assert [pipe.failed_before for pipe in lab.core.pipes] == [0, 0]
