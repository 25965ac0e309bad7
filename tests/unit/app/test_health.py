"""What the health server and the metrics say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import pytest

from backstay.app.health import DEAD_LAG_S, LoopPulse, serve_health
from backstay.app.metrics import AT_A_TIME, Metrics
from backstay.controllers.keys import ObjectKey
from backstay.domain.pairs import HostKey, Route
from backstay.report.metrics import View
from fakes.clock import START, FakeClock, settle
from worlds.processes import free_port


@dataclass(slots=True)
class World:
    clock: FakeClock
    metrics: Metrics
    pulse: LoopPulse
    url: str
    session: aiohttp.ClientSession
    ready: bool = False

    async def get(self, path: str) -> tuple[int, str]:
        async with self.session.get(self.url + path) as answer:
            return answer.status, await answer.text()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    clock, metrics, port = FakeClock(), Metrics(), free_port(21080)
    pulse = LoopPulse(clock)
    async with aiohttp.ClientSession() as session:
        world = World(clock, metrics, pulse, f"http://127.0.0.1:{port}", session)
        async with serve_health(port, metrics, pulse, lambda: world.ready):
            yield world


async def test_ready_means_that_the_first_list_is_done(world: World) -> None:
    assert (await world.get("/readyz"))[0] == 503
    world.ready = True
    assert (await world.get("/readyz"))[0] == 200


async def test_a_loop_that_stood_still_is_not_alive_until_it_turns_again(world: World) -> None:
    beat = asyncio.create_task(world.pulse.run())
    await world.clock.advance(3)
    assert (await world.get("/livez"))[0] == 200
    world.clock.freeze_and_jump(DEAD_LAG_S + 2)
    await world.clock.advance(0)
    status, said = await world.get("/livez")
    assert (status, said) == (500, "lag 11.000 s\n")
    await world.clock.advance(2)
    assert (await world.get("/livez"))[0] == 200
    assert world.pulse.worst_s() == DEAD_LAG_S + 1
    assert world.pulse.worst_s() == 0
    beat.cancel()
    await settle()


async def test_every_series_of_the_api_is_there(world: World) -> None:
    pair = View(
        kind="ReplicationPair",
        namespace="ns",
        name="p",
        conditions=(("RPOMet", "True"),),
        rpo_s=300.0,
        point_time=START,
        transfer={"transfer_moved_bytes": 7.0},
    )
    world.metrics.objects(lambda: [pair], world.clock)
    world.metrics.gauge("leader", "x", lambda: 1)
    world.metrics.count_write("status", "transition")
    world.metrics.count_request("fra/pve1", "survey")
    world.metrics.count_fault("Site")
    route = Route(HostKey("ns", "fra", "h"), HostKey("ns", "muc", "h"))
    world.metrics.run_ended(route, 0.3)
    world.metrics.run_started(ObjectKey("Site", "ns", "fra"), 2.0)
    await world.clock.advance(42)
    status, text = await world.get("/metrics")
    assert status == 200
    lines = text.splitlines()
    for series in (
        'backstay_recovery_point_lag_seconds{namespace="ns",pair="p"} 42.0',
        'backstay_rpo_target_seconds{namespace="ns",pair="p"} 300.0',
        'backstay_transfer_moved_bytes{namespace="ns",pair="p"} 7.0',
        'backstay_condition{kind="ReplicationPair",name="p",namespace="ns",status="True",'
        'type="RPOMet"} 1.0',
        "backstay_leader 1.0",
        'backstay_kube_writes_total{reason="transition",verb="status"} 1.0',
        'backstay_host_requests_total{request="survey"} 1.0',
        'backstay_faults_total{kind="Site"} 1.0',
        'backstay_pass_duration_seconds_bucket{le="0.5",of="route"} 1.0',
        'backstay_pass_lateness_seconds_bucket{le="1.0",of="object"} 0.0',
    ):
        assert series in lines


async def test_a_scrape_of_many_objects_lets_others_run(world: World) -> None:
    views = [
        View(kind="Site", namespace="ns", name=f"s{n}", conditions=(("Ready", "True"),))
        for n in range(10 * AT_A_TIME)
    ]
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    world.metrics.objects(lambda: views, world.clock)
    task = asyncio.create_task(others())
    text = await world.metrics.text()
    task.cancel()
    assert turns >= 10
    assert text.count(b'kind="Site"') == len(views)
