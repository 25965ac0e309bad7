"""People rename, roll back and decide on real pools, and replicas follow without a second copy."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from backstay.api.kinds import YIELD
from backstay.controllers.look import look_around
from backstay.domain.divergence import Resolution
from backstay.domain.steps import Increment
from backstay.plan.resolve import ResolvedPair
from backstay.plan.room import Offer, offer_room
from backstay.report.room import yield_of
from fakes.core import NAMESPACE
from lab.core.decisions import clear_asides, decide, set_aside
from lab.core.real import KEEP_NINE, RealLab


async def offered(lab: RealLab) -> Offer:
    """What `kubectl backstay yield erp --to before` shows."""
    resolved = lab.core.shares.resolve(NAMESPACE, "erp")
    assert isinstance(resolved, ResolvedPair)
    looks = await look_around(resolved, lab.core.shares, lab.core.clock)
    return offer_room(f"{NAMESPACE}/erp", looks, "before")


@pytest.mark.rule("Room for a rollback")
@pytest.mark.fault("source rolled back, target ahead")
async def test_a_source_is_rolled_back_where_room_was_made_and_only_the_delta_travels(
    lab: RealLab,
) -> None:
    """The very command that ZFS refuses before: `zfs rollback` without `-r`, as Proxmox runs it."""
    lab.core.policy(retention=KEEP_NINE)
    await lab.protected()
    await lab.a.run(f"zfs snapshot {lab.a.at('d0')}@before")
    for _ in range(2):
        await lab.next_point()
    back = f"udevadm settle; zfs rollback {lab.a.at('d0')}@before"
    assert "more recent snapshots or bookmarks" in lab.a.host.attempt(back).stderr
    until = lab.world.now + timedelta(minutes=15)
    document = yield_of(await offered(lab), until).document()
    lab.core.annotate("ReplicationPair", "erp", YIELD, json.dumps(document))
    await lab.core.settle()
    said = lab.core.condition("erp", "Yielding")
    assert said == ("True", "MakesRoom"), lab.core.message("erp", "Yielding")
    await lab.a.run(back)
    await lab.core.passing(901)
    assert lab.core.condition("erp", "Ready") == ("False", "TargetAhead")
    points = set(await lab.b.guids("d0"))
    lab.core.sent()
    await decide(lab, Resolution.SET_ASIDE)
    await lab.next_point()
    await lab.expect_fresh()
    assert all(isinstance(t.how, Increment) for t in lab.core.sent())
    assert points <= await set_aside(lab) | set(await lab.b.guids("d0"))
    await clear_asides(lab)


async def test_replicas_follow_a_rename_and_a_swap_in_a_tree(lab: RealLab) -> None:
    tree = ("t", "t/a", "t/b", "t/c")
    for name in tree:
        await lab.a.create(lab.a.at(name))
        await lab.a.write(lab.a.at(name), 64 * 1024)
    lab.core.pair("erp", {"t": (lab.a.at("t"), lab.b.at("t"))}, recursive=True)
    await lab.core.passing()
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")
    before = {name: await lab.b.guid(lab.b.at(name)) for name in tree}
    lab.core.sent()
    for old, new in (("a", "x"), ("b", "tmp"), ("c", "b"), ("tmp", "c")):
        await lab.a.run(f"zfs rename {lab.a.at(f't/{old}')} {lab.a.at(f't/{new}')}")
    for name in ("t/x", "t/b", "t/c"):
        await lab.a.write(lab.a.at(name), 64 * 1024)
    for _ in range(2):
        await lab.core.passing(151)
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate"), lab.core.message(
        "erp", "Ready"
    )
    after = {name: await lab.b.guid(lab.b.at(name)) for name in ("t/x", "t/b", "t/c")}
    assert after == {"t/x": before["t/a"], "t/b": before["t/c"], "t/c": before["t/b"]}
    assert not await lab.b.exists(lab.b.at("t/a"))
    assert all(isinstance(t.how, Increment) for t in lab.core.sent())
    for name in ("t/x", "t/b", "t/c"):
        assert (await lab.a.guids(name))[-1] == (await lab.b.guids(name))[-1]
