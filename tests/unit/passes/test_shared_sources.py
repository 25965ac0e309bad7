"""One source with two targets: each route prunes while the other one sends."""

from __future__ import annotations

import asyncio

import pytest

from backstay.domain.pairs import HostKey, Route
from backstay.domain.steps import MadeSnapshot, TakeSnapshots
from fakes.core import NAMESPACE
from fakes.host import FakePort
from fakes.lab import Lab

D0 = "tank/vm/d0"
RETENTION = {"source": {"last": 1}, "target": {"last": 1}}


def fan_out(lab: Lab, also: str) -> tuple[Route, Route]:
    """`d0` goes to two hosts, to the second one from Site `also`; returns both routes."""
    c = lab.world.host("ber/h", pools=("vault",))
    c.create("vault/backstay")
    lab.core.site("ber", c, roots=("vault/backstay",))
    lab.core.site(also, lab.a)
    lab.core.policy(retention=RETENTION)
    lab.a.create(D0, volume=True)
    lab.a.write(D0, 4096)
    lab.core.pair("erp", {"d0": (D0, "backup/backstay/d0")})
    at = {
        also: {"host": "h", "dataset": D0},
        "ber": {"host": "h", "dataset": "vault/backstay/d0"},
    }
    lab.core.pair(
        "fan", {}, sites=[also, "ber"], preferredSite=also, datasets=[{"name": "d0", "at": at}]
    )
    source = HostKey(NAMESPACE, "fra", "h")
    alias = HostKey(NAMESPACE, also, "h")
    return Route(source, HostKey(NAMESPACE, "muc", "h")), Route(
        alias, HostKey(NAMESPACE, "ber", "h")
    )


@pytest.mark.rule("Pruning keeps the chain")
@pytest.mark.parametrize("also", ["fra", "ams"], ids=["one Site", "two Sites of one machine"])
async def test_a_route_does_not_prune_what_another_one_has_just_sent(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, also: str
) -> None:
    """Its listing is older than the other's bookmark, which says that the point is a base."""
    to_muc, to_ber = fan_out(lab, also)
    await lab.core.live(100)
    lab.a.write(D0, 4096)
    lab.world.advance(151)
    await lab.core.run(to_muc)  # takes a point that the other route has not seen yet
    lab.a.write(D0, 4096)
    lab.world.advance(151)

    may_mark, plain = asyncio.Event(), FakePort.snapshot

    async def snapshot(port: FakePort, step: TakeSnapshots) -> tuple[MadeSnapshot, ...]:
        if not step.datasets:
            await may_mark.wait()
        return await plain(port, step)

    monkeypatch.setattr(FakePort, "snapshot", snapshot)
    reached, go_on = lab.world.transfer_faults.pause(after_bytes=100)
    ber = asyncio.create_task(lab.core.run(to_ber))  # has listed, and is about to mark the point
    for _ in range(20):
        await asyncio.sleep(0)
    muc = asyncio.create_task(lab.core.run(to_muc))  # takes a newer one, for which the old may go
    await reached.wait()
    may_mark.set()
    await ber
    go_on.set()
    await muc

    there = {s.guid for s in lab.world.hosts["ber/h"].dataset("vault/backstay/d0").snapshots}
    here = {s.guid for s in lab.a.dataset(D0).snapshots}
    assert there & here, "a failback needs a common snapshot, not only a bookmark"
