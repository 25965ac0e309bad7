"""A replica as a source, and a source of several targets."""

from __future__ import annotations

from typing import Any

import pytest

from fakes.lab import Lab
from fakes.world import FakeHost

SOURCE, REPLICA = "tank/vm/d0", "backup/backstay/d0"
KEEP_ONE = {"source": {"last": 1}, "target": {"last": 1}}


@pytest.fixture
def far(lab: Lab) -> FakeHost:
    """A third host, of the Site `ber`."""
    host = lab.world.host("ber/h", pools=("backup",))
    host.create("backup/backstay")
    lab.core.site("ber", host, roots=("backup/backstay",))
    return host


def pair_to_far(lab: Lab, site: str, dataset: str, *, name: str = "far") -> None:
    """A pair from a dataset of a Site to its like at `ber`."""
    at = {
        site: {"host": "h", "dataset": dataset},
        "ber": {"host": "h", "dataset": REPLICA},
    }
    spec: dict[str, Any] = {
        "sites": [site, "ber"],
        "preferredSite": site,
        "datasets": [{"name": "d0", "at": at}],
    }
    lab.core.pair(name, {}, **spec)


async def chained(lab: Lab, *, encrypted: bool = False) -> None:
    """d0 goes from `fra` to `muc`, and from there to `ber`."""
    lab.a.create(SOURCE, volume=True, encrypted=encrypted)
    lab.a.write(SOURCE, 4096)
    lab.core.pair("erp", {"d0": (SOURCE, REPLICA)})
    pair_to_far(lab, "muc", REPLICA)
    await lab.core.live(400)
    all_is_well(lab)


async def write(lab: Lab, seconds: float = 400) -> None:
    """Something is written and has the time to arrive at the end."""
    lab.a.write(SOURCE, 4096)
    await lab.core.live(seconds)


def all_is_well(lab: Lab) -> None:
    """Both pairs say so."""
    for name in ("erp", "far"):
        assert lab.core.condition(name, "Ready") == ("True", "UpToDate"), name
        assert lab.core.condition(name, "RPOMet") == ("True", "WithinRPO"), name


def taken(host: FakeHost) -> int:
    """How many snapshots we have taken at the host."""
    return sum(1 for command in host.commands if command[:2] == ("zfs", "snapshot"))


@pytest.mark.rule("Proven base")
@pytest.mark.parametrize("encrypted", [False, True])
async def test_a_replica_is_sent_on_and_stays_as_it_came(
    lab: Lab, far: FakeHost, encrypted: bool
) -> None:
    await chained(lab, encrypted=encrypted)
    for _ in range(3):
        await write(lab)
        assert far.content(REPLICA) == lab.b.content(REPLICA) == lab.a.content(SOURCE)
    all_is_well(lab)
    assert taken(lab.b) == 0
    assert far.dataset(REPLICA).encrypted == encrypted
    modes = {word for c in lab.b.commands if c[1] == "send" for word in c if word[:2] == "-L"}
    assert modes == {"-Lecw" if encrypted else "-Lec"}


@pytest.mark.rule("RPO truth")
async def test_an_idle_chain_is_as_good_as_its_first_pair_says(lab: Lab, far: FakeHost) -> None:
    await chained(lab)
    lab.core.sent()
    await lab.core.live(3600)
    all_is_well(lab)
    assert lab.core.sent() == []


@pytest.mark.rule("RPO truth")
async def test_that_the_replica_is_unchanged_proves_nothing_of_its_source(
    lab: Lab, far: FakeHost
) -> None:
    await chained(lab)
    lab.a.reachable = False
    await lab.core.live(900)
    assert lab.core.condition("far", "RPOMet") == ("False", "RPOBreached")
    assert lab.core.condition("far", "Ready") == ("True", "UpToDate")


@pytest.mark.rule("Pruning keeps the chain")
async def test_what_the_far_end_goes_on_from_is_kept_while_it_is_away(
    lab: Lab, far: FakeHost
) -> None:
    lab.core.policy(retention=KEEP_ONE)
    await chained(lab)
    far.reachable = False
    for _ in range(4):
        await write(lab)
    assert taken(lab.b) == 0
    assert len(lab.b.dataset(REPLICA).snapshots) == 2
    far.reachable = True
    await write(lab, 900)
    assert far.content(REPLICA) == lab.a.content(SOURCE)
    all_is_well(lab)
    assert len(lab.b.dataset(REPLICA).snapshots) <= 2


@pytest.mark.rule("Isolation")
async def test_a_long_stream_from_the_replica_does_not_hold_up_what_it_receives(
    lab: Lab, far: FakeHost
) -> None:
    lab.a.create(SOURCE, volume=True)
    lab.a.write(SOURCE, 100_000)
    lab.core.pair("erp", {"d0": (SOURCE, REPLICA)})
    await lab.core.live(200)
    reached, go_on = lab.world.transfer_faults.pause(after_bytes=50_000)
    pair_to_far(lab, "muc", REPLICA)
    await lab.core.live(100)
    assert reached.is_set()
    for _ in range(3):
        await write(lab)
        assert lab.equal("d0")
    assert lab.core.condition("erp", "RPOMet") == ("True", "WithinRPO")
    go_on.set()
    await lab.core.live(400)
    assert far.content(REPLICA) == lab.a.content(SOURCE)
    all_is_well(lab)


@pytest.mark.rule("Pruning keeps the chain")
@pytest.mark.parametrize("encrypted", [False, True])
async def test_a_source_of_two_targets_has_one_set_for_both(
    lab: Lab, far: FakeHost, encrypted: bool
) -> None:
    lab.core.policy(retention=KEEP_ONE)
    lab.a.create(SOURCE, volume=True, encrypted=encrypted)
    lab.a.write(SOURCE, 4096)
    lab.core.pair("erp", {"d0": (SOURCE, REPLICA)})
    pair_to_far(lab, "fra", SOURCE)
    await lab.core.live(200)
    before = taken(lab.a)
    for _ in range(5):
        await write(lab, 151)
    await lab.core.live(200)
    assert far.content(REPLICA) == lab.b.content(REPLICA) == lab.a.content(SOURCE)
    all_is_well(lab)
    assert taken(lab.a) - before <= 6
    lineages = {h.dataset(REPLICA).properties["dev.backstay:lineage"] for h in (lab.b, far)}
    marks = [b.name.split("_")[1] for b in lab.a.dataset(SOURCE).bookmarks]
    assert set(marks) == lineages
    assert len(lineages) == 2
