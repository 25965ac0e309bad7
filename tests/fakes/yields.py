"""A pair whose source is to be rolled back, and what `kubectl backstay yield` sees and writes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from backstay.api.kinds import YIELD
from backstay.controllers.look import look_around
from backstay.plan.resolve import ResolvedPair
from backstay.plan.room import Offer, RouteLook, offer_room
from backstay.report.room import yield_of
from fakes.core import NAMESPACE
from fakes.lab import Lab

SOURCE = "tank/vm/d0"
REPLICA = "backup/backstay/d0"
KEPT = {"source": {"last": 9}, "target": {"last": 9}}


async def look(lab: Lab, pair: str = "erp") -> tuple[RouteLook, ...]:
    """All that the pair's sources are sent to."""
    resolved = lab.core.shares.resolve(NAMESPACE, pair)
    assert isinstance(resolved, ResolvedPair)
    return await look_around(resolved, lab.core.shares, lab.core.clock)


async def offer(lab: Lab, to: str | None = "snap1") -> Offer:
    """What `kubectl backstay yield erp` shows."""
    return offer_room(f"{NAMESPACE}/erp", await look(lab), to)


def approve(lab: Lab, shown: Offer, *, minutes: int = 15) -> None:
    """What it writes."""
    document = yield_of(shown, lab.world.now + timedelta(minutes=minutes)).document()
    lab.core.annotate("ReplicationPair", "erp", YIELD, json.dumps(document))


async def points(lab: Lab, count: int = 1) -> None:
    """A pair with a point, then `snap1` by Proxmox, then two points with more data."""
    lab.core.policy(retention=KEPT)
    lab.core.pair("erp", lab.volumes(count))
    await lab.core.live(200)
    names = [f"tank/vm/d{i}" for i in range(count)]
    for name in names:
        lab.a.write(name, 4096)
    lab.a.snapshot(*(f"{name}@snap1" for name in names))
    await newer(lab, count)


async def newer(lab: Lab, count: int = 1) -> None:
    """Two points more, with data."""
    for _ in range(2):
        for i in range(count):
            lab.a.write(f"tank/vm/d{i}", 1 << 20)
        await lab.core.live(160)


def in_the_way(lab: Lab, name: str = SOURCE, to: str = "snap1") -> list[str]:
    """What ZFS refuses the rollback for."""
    found = lab.a.dataset(name)
    at = next(s.createtxg for s in found.snapshots if s.name == to)
    kept = [f"@{s.name}" for s in found.snapshots if s.createtxg > at]
    return kept + [f"#{b.name}" for b in found.bookmarks if b.createtxg > at]


def yielding(lab: Lab, pair: str = "erp") -> tuple[str, str]:
    """Status and reason of the condition."""
    return lab.core.condition(pair, "Yielding")


def said(lab: Lab) -> Mapping[str, Any]:
    """The whole condition."""
    return next(c for c in lab.core.status("erp")["conditions"] if c["type"] == "Yielding")
