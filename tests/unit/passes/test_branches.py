"""Clones at the source are clones at the target, where that can be had."""

from __future__ import annotations

import pytest

from fakes.lab import Lab

PAIR = {
    "base": ("tank/vm/base", "backup/backstay/base"),
    "guest": ("tank/vm/guest", "backup/backstay/guest"),
}
BASE, GUEST = (target for _, target in PAIR.values())
ORIGIN = "tank/vm/base@__base__"
LARGE = 1 << 20


def template(lab: Lab, *, encrypted: bool = False) -> None:
    """A template of 1 MiB and its linked clone, which differs by 4 KiB, as Proxmox makes them."""
    lab.a.create("tank/vm/base", volume=True, encrypted=encrypted)
    lab.a.write("tank/vm/base", LARGE)
    lab.a.snapshot(ORIGIN)
    lab.a.clone(ORIGIN, "tank/vm/guest")
    lab.a.write("tank/vm/guest", 4096)


def is_shared(lab: Lab) -> bool:
    """Whether the replica of the guest is a clone of the template's."""
    return lab.b.dataset(GUEST).origin == f"{BASE}@__base__"


def is_whole(lab: Lab) -> bool:
    """Whether both replicas hold what their sources hold, and the pair says so."""
    equal = all(lab.b.content(there) == lab.a.content(here) for here, there in PAIR.values())
    return equal and lab.core.condition("erp", "Protected") == ("True", "Confirmed")


@pytest.mark.parametrize("group", [False, True])
async def test_a_linked_clone_shares_the_replica_of_its_template(lab: Lab, group: bool) -> None:
    template(lab)
    lab.core.pair("erp", PAIR, group=group)
    await lab.core.live(400)
    assert is_shared(lab)
    assert is_whole(lab)
    assert sum(r.outcome.sent_bytes for r in lab.world.transfers.records) < 1.2 * LARGE
    sends = [argv for argv in lab.world.commands if argv[:2] == ("zfs", "send") and "-i" in argv]
    assert sends[0][-3:-1] == ("-i", ORIGIN)


async def test_the_next_clone_of_a_template_shares_it_too(lab: Lab) -> None:
    template(lab)
    lab.core.pair("erp", PAIR)
    await lab.core.live(400)
    lab.a.clone(ORIGIN, "tank/vm/more")
    lab.core.pair("erp", {**PAIR, "more": ("tank/vm/more", "backup/backstay/more")})
    await lab.core.live(200)
    assert lab.b.dataset("backup/backstay/more").origin == f"{BASE}@__base__"
    assert lab.core.condition("erp", "Protected") == ("True", "Confirmed")


@pytest.mark.rule("Resume tokens are untrusted input")
async def test_both_streams_go_on_where_they_were_cut(lab: Lab) -> None:
    """The template's ends at a snapshot that is not ours, the clone's begins at it."""
    template(lab)
    lab.core.pair("erp", PAIR)
    for number in (1, 4):  # the template's seed; that goes on, and its next point; then the clone's
        lab.world.transfer_faults.cut(after_bytes=3000, nth=number)
    await lab.core.live(900)
    cut = [r for r in lab.world.transfers.records if r.outcome.failure is not None]
    assert [r.pipe.transfers[0].target_dataset for r in cut] == [BASE, GUEST]
    assert is_shared(lab)
    assert is_whole(lab)
    resumed = [argv for argv in lab.world.commands if argv[:2] == ("zfs", "send") and "-t" in argv]
    assert len(resumed) == 2
    assert not [argv for argv in lab.world.commands if argv[:3] == ("zfs", "receive", "-A")]


async def test_a_clone_of_what_is_not_replicated_comes_in_full(lab: Lab) -> None:
    template(lab)
    lab.core.pair("erp", {"guest": PAIR["guest"]})
    await lab.core.live(200)
    assert lab.b.dataset(GUEST).origin is None
    assert lab.b.content(GUEST) == lab.a.content("tank/vm/guest")


async def test_an_encrypted_clone_comes_in_full(lab: Lab) -> None:
    template(lab, encrypted=True)
    lab.core.pair("erp", PAIR)
    await lab.core.live(400)
    assert lab.b.dataset(GUEST).origin is None
    assert is_whole(lab)


async def test_an_origin_older_than_the_replica_was_never_sent(lab: Lab) -> None:
    """Snapshots are only ever added to a replica at its end."""
    template(lab)
    lab.core.pair("erp", {"base": PAIR["base"]})
    await lab.core.live(200)
    assert lab.b.dataset(BASE).snapshot("__base__") is None, "nobody waited for it"
    lab.core.pair("erp", PAIR)
    await lab.core.live(200)
    assert lab.b.dataset(GUEST).origin is None
    assert is_whole(lab)


async def test_a_clone_does_not_wait_for_a_template_that_may_not_be_sent(lab: Lab) -> None:
    template(lab)
    lab.b.create(BASE)
    lab.core.pair("erp", PAIR)
    await lab.core.live(400)
    assert lab.b.dataset(GUEST).origin is None
    assert lab.b.content(GUEST) == lab.a.content("tank/vm/guest")


async def test_a_clone_waits_while_its_template_is_sent_and_says_so(lab: Lab) -> None:
    template(lab)
    lab.core.pair("erp", PAIR)
    _, go_on = lab.world.transfer_faults.pause(after_bytes=3000)
    await lab.core.passing(20)
    assert not lab.b.exists(GUEST)
    said = {w["member"]: w["reason"] for w in lab.core.status("erp")["worst"]}
    assert said["guest"] == "OriginMissing"
    go_on.set()
    await lab.core.live(400)
    assert is_shared(lab)
    assert is_whole(lab)


@pytest.mark.rule("Pruning keeps the chain")
async def test_a_point_of_ours_that_a_clone_came_from_stays_as_long_as_the_clone(lab: Lab) -> None:
    lab.core.policy(retention={"source": {"last": 1}, "target": {"last": 1}})
    lab.a.create("tank/vm/base", volume=True)
    lab.a.write("tank/vm/base", LARGE)
    lab.core.pair("erp", {"base": PAIR["base"]})
    await lab.core.live(200)
    ours = lab.a.dataset("tank/vm/base").snapshots[-1].name
    lab.a.clone(f"tank/vm/base@{ours}", "tank/vm/guest")
    lab.core.pair("erp", PAIR)
    for _ in range(4):
        await lab.core.live(200)
        lab.a.write("tank/vm/base", 4096)
    assert lab.b.dataset(GUEST).origin == f"{BASE}@{ours}"
    assert lab.a.dataset("tank/vm/base").snapshot(ours) is not None
    assert lab.core.condition("erp", "Ready")[0] == "True"
    destroys = [argv for argv in lab.world.commands if argv[:2] == ("zfs", "destroy")]
    assert not [argv for argv in destroys if argv[-1].endswith(f"@{ours}")], "none was even tried"
