"""One writer at any time: leaders of one installation, and installations beside each other."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from backstay.domain.pairs import Unseen
from backstay.domain.steps import Seed
from backstay.domain.zfs import WRITER
from backstay.plan.checks import writers_of_others
from backstay.plan.naming import short_id
from fakes.core import Core
from fakes.faults import RequestFault, RequestFaults
from fakes.lab import Lab
from fakes.truths import nothing_destructive
from fakes.world import INSTALLATION
from fakes.yields import look

OTHER = "elsewhere/backstay"
OTHER_SHORT = short_id(OTHER)


def successor(lab: Lab, *, term: int = 2) -> Core:
    """A second operator of the installation, over the same hosts and objects."""
    core = Core(lab.world, term=term)
    _same_objects(core, lab)
    return core


def stranger(lab: Lab) -> Core:
    """An operator of another installation, over the same hosts and with the same manifests."""
    core = Core(lab.world, installation=OTHER, short_id=OTHER_SHORT)
    _same_objects(core, lab)
    return core


def _same_objects(core: Core, lab: Lab) -> None:
    core.site("fra", lab.a)
    core.site("muc", lab.b, roots=("backup/backstay",))
    core.policy()


class Stopped(RequestFaults):
    """The leader stops at a request; when it goes on, a new one has made its term known."""

    def __init__(self, lab: Lab, stage: str) -> None:
        super().__init__()
        self.lab, self.stage = lab, stage
        self.commands: list[tuple[str, ...]] | None = None

    def draw(self, request: str) -> RequestFault | None:
        """The new leader comes once, right before the request."""
        if request == self.stage and self.commands is None:
            for host in (self.lab.a, self.lab.b):
                host.want[INSTALLATION] = (2, "one")
            self.lab.b.set("backup/backstay", WRITER, f"2:{INSTALLATION}")
            self.commands = list(self.lab.world.commands)
        return super().draw(request)


async def working(lab: Lab) -> dict[str, tuple[str, str]]:
    members = lab.volumes(2)
    lab.core.pair("erp", members)
    await lab.core.live(100)
    return members


@pytest.mark.rule("Single writer, fenced at the host")
@pytest.mark.fault("two operators of one installation", "leader stopped for a minute and woken")
async def test_an_old_leader_that_wakes_changes_nothing_and_learns_of_the_new_one(
    lab: Lab,
) -> None:
    members = await working(lab)
    new = successor(lab)
    new.pair("erp", members)
    await new.live(30)
    lab.a.write("tank/vm/d0", 4096)
    before = list(lab.world.commands)
    await lab.core.passing(151)
    assert lab.world.commands == before
    assert lab.core.superseded == [2]
    assert lab.core.condition("erp", "Ready") == ("Unknown", "Superseded")
    await new.passing(1)
    assert lab.equal("d0", "d1")


@pytest.mark.rule("Single writer, fenced at the host")
@pytest.mark.fault("two operators of one installation")
@pytest.mark.parametrize("is_seed", [True, False])
async def test_a_new_leader_ends_the_streams_of_the_old_one_before_it_looks(
    lab: Lab, is_seed: bool
) -> None:
    """Two receives into one dataset must never exist, and the old one's must not end late."""
    if is_seed:
        members = lab.volumes(1)
    else:
        members = await working(lab)
        lab.a.write("tank/vm/d0", 4096)
    reached, _ = lab.world.transfer_faults.pause(after_bytes=1000)
    if is_seed:
        lab.core.pair("erp", members)
    old = asyncio.create_task(lab.core.passing(151))
    await reached.wait()
    new = successor(lab)
    new.pair("erp", members)
    await new.live(60)
    await old
    before = list(lab.world.commands)
    await lab.core.passing(100)
    assert lab.world.commands == before
    await new.live(100)
    assert new.condition("erp", "Ready") == ("True", "UpToDate")
    assert lab.equal("d0")
    assert [t for t in new.sent() if isinstance(t.how, Seed)] == []


@pytest.mark.rule("Single writer, fenced at the host")
@pytest.mark.fault("leader stopped for a minute and woken")
@pytest.mark.parametrize(
    ("side", "stage"), [("a", "survey"), ("b", "survey"), ("a", "snapshot"), ("b", "prune")]
)
async def test_a_leader_stopped_amid_a_pass_does_no_more_when_it_is_woken(
    lab: Lab, side: str, stage: str
) -> None:
    """Between any two requests another leader may have come: the host refuses, not the Lease."""
    lab.core.policy(retention={"source": {"last": 1}, "target": {"last": 1}})
    members = await working(lab)
    for _ in range(2):
        lab.a.write("tank/vm/d0", 4096)
        await lab.core.passing(151)
    lab.a.write("tank/vm/d0", 4096)
    stopped = Stopped(lab, stage)
    (lab.a if side == "a" else lab.b).faults = stopped
    await lab.core.passing(151)
    assert stopped.commands is not None, f"no {stage} came"
    assert lab.world.commands == stopped.commands
    assert lab.core.superseded[-1:] == [2]
    new = successor(lab)
    new.pair("erp", members)
    await new.live(30)
    assert lab.equal("d0", "d1")


@pytest.mark.rule("Single writer, fenced at the host")
@pytest.mark.fault("another installation on the same hosts")
async def test_another_installation_stays_away_and_says_so(lab: Lab) -> None:
    members = await working(lab)
    other = stranger(lab)
    other.pair("erp", members)
    before = list(lab.world.commands)
    await other.live(600)
    assert other.condition("erp", "Ready") == ("False", "ForeignWriter")
    assert other.condition("erp", "ForeignWriter") == ("True", "ForeignWriter")
    assert "backstay/backstay" in other.message("erp", "ForeignWriter")
    assert lab.world.commands == before
    lab.a.write("tank/vm/d0", 4096)
    await lab.core.live(200)
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")


@pytest.mark.rule("Single writer, fenced at the host")
@pytest.mark.fault("another installation on the same hosts")
async def test_who_only_looks_sees_whose_a_root_is_in_the_listing(lab: Lab) -> None:
    await working(lab)
    for one in await look(lab):
        told = replace(one.task, short_id=OTHER_SHORT)
        assert writers_of_others(one.task, one.observation.target) == {}
        assert writers_of_others(told, one.observation.target) == {"backup/backstay": INSTALLATION}
        assert writers_of_others(told, Unseen(reason="Unreachable", message="")) == {}


@pytest.mark.rule("Single writer, fenced at the host")
@pytest.mark.fault("another installation on the same hosts")
async def test_a_root_that_is_taken_over_is_found_without_a_restart(lab: Lab) -> None:
    """A take-over is explicit, by the mark on the root: the one who lost it must see it."""
    await working(lab)
    lab.b.set("backup/backstay", "dev.backstay:writer", f"7:{OTHER}")
    lab.a.write("tank/vm/d0", 4096)
    before = list(lab.world.commands)
    await lab.core.passing(151)
    assert lab.world.commands == before
    assert lab.core.condition("erp", "ForeignWriter") == ("True", "ForeignWriter")


@pytest.mark.rule("Single writer, fenced at the host")
async def test_a_receive_root_that_was_moved_up_goes_on_under_the_next_leader(lab: Lab) -> None:
    """Nobody claims the one below it again: its mark stays that of the term of then."""
    lab.b.create("backup/backstay/sub")
    lab.core.site("muc", lab.b, roots=("backup/backstay/sub",))
    lab.volumes(1)
    lab.core.pair("erp", {"d0": ("tank/vm/d0", "backup/backstay/sub/d0")})
    await lab.core.live(100)
    lab.core.site("muc", lab.b, roots=("backup/backstay",))
    await lab.core.live(100)
    lab.core.restart()
    lab.a.write("tank/vm/d0", 4096)
    await lab.core.live(400)
    below, above = (lab.b.dataset(f"backup/{n}").properties for n in ("backstay/sub", "backstay"))
    assert (below[WRITER], above[WRITER]) == (f"1:{INSTALLATION}", f"2:{INSTALLATION}")
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")
    assert lab.b.content("backup/backstay/sub/d0") == lab.a.content("tank/vm/d0")


@pytest.mark.rule("Pruning keeps the chain")
@pytest.mark.fault("another installation on the same hosts")
async def test_two_installations_share_a_source_and_leave_each_others_points(lab: Lab) -> None:
    lab.b.create("backup/other")
    other = stranger(lab)
    for core, last in ((lab.core, 1), (other, 3)):
        core.policy(retention={"source": {"last": last}, "target": {"last": last}})
    other.site("muc", lab.b, roots=("backup/other",))
    members = lab.volumes(1)
    lab.core.pair("erp", members)
    other.pair("erp", {"d0": (members["d0"][0], "backup/other/d0")})
    for _ in range(5):
        lab.a.write("tank/vm/d0", 4096)
        await lab.core.passing(80)
        await other.passing(80)
    await lab.core.passing(1)
    for core in (lab.core, other):
        assert core.condition("erp", "Ready") == ("True", "UpToDate")
    names = [s.name for s in lab.a.dataset("tank/vm/d0").snapshots]
    assert sum(OTHER_SHORT in n for n in names) == 3
    assert sum(OTHER_SHORT not in n for n in names) == 1
    assert lab.b.content("backup/other/d0") == lab.b.content("backup/backstay/d0")
    nothing_destructive(lab.world)


@pytest.mark.rule("Fixpoint")
@pytest.mark.fault("etcd emptied and manifests applied again")
async def test_a_cluster_rebuilt_from_git_carries_on(lab: Lab) -> None:
    """New uids, no status, a term that begins again above what the hosts know."""
    members = await working(lab)
    rebuilt = successor(lab, term=9)
    rebuilt.pair("erp", members)
    lab.a.write("tank/vm/d0", 4096)
    await rebuilt.live(100)
    assert [t for t in rebuilt.sent() if isinstance(t.how, Seed)] == []
    assert rebuilt.condition("erp", "Ready") == ("True", "UpToDate")
    assert lab.equal("d0", "d1")


@pytest.mark.rule("No wall clock")
@pytest.mark.fault("clock steps by an hour")
@pytest.mark.parametrize("step_s", [-3600, 3600])
async def test_a_clock_that_steps_creates_skips_and_prunes_nothing(lab: Lab, step_s: int) -> None:
    lab.core.policy(retention={"source": {"last": 3}, "target": {"last": 3}})
    await working(lab)
    for _ in range(4):
        lab.a.write("tank/vm/d0", 4096)
        await lab.core.live(151)
    lab.world.now += timedelta(seconds=step_s)
    lab.a.requests.clear()
    lab.a.write("tank/vm/d0", 4096)
    await lab.core.live(310)
    assert lab.equal("d0")
    assert lab.core.condition("erp", "RPOMet") == ("True", "WithinRPO")
    assert lab.a.requests["snapshot"] <= 2
    kept = lab.b.dataset("backup/backstay/d0").snapshots
    assert len(kept) == 3
    assert kept[-1].state.digest == lab.a.content("tank/vm/d0")
    txgs = [s.createtxg for s in kept]
    assert txgs == sorted(txgs)
