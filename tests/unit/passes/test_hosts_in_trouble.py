"""A host or Secret that is missing: what is unknown is said to be, and it heals by itself."""

from __future__ import annotations

import pytest

from backstay.domain.steps import Increment
from fakes import truths
from fakes.core import Core
from fakes.lab import Lab


@pytest.mark.fault("missing Secret")
async def test_a_missing_secret_is_named_and_heals_by_itself(lab: Lab) -> None:
    """A user applies the Secret last: nothing else may be needed."""
    secret = lab.core.secrets.pop("key")
    lab.core.pair("erp", lab.volumes(1))
    await lab.core.live(120)
    assert lab.core.condition("erp", "Ready") == ("Unknown", "SecretMissing")
    assert lab.core.condition("erp", "RPOMet") == ("Unknown", "NeverObserved")
    assert lab.core.condition("fra", "Ready", "Site") == ("False", "SecretMissing")
    lab.core.secrets["key"] = secret
    await lab.core.live(120)
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")
    assert lab.core.condition("fra", "Ready", "Site") == ("True", "Reachable")


@pytest.mark.rule("RPO truth")
@pytest.mark.fault("unreachable host")
@pytest.mark.parametrize("side", ["a", "b"])
async def test_an_unreachable_host_is_unknown_and_the_rpo_runs_out_by_the_clock(
    lab: Lab, side: str
) -> None:
    """A promise that cannot be checked is judged by what was last confirmed, never as kept."""
    lab.core.pair("erp", lab.volumes(1))
    await lab.core.live(600)
    host = lab.a if side == "a" else lab.b
    host.reachable = False
    await lab.core.live(200)
    assert lab.core.condition("erp", "Ready") == ("Unknown", "Unreachable")
    assert lab.core.condition("erp", "RPOMet") == ("True", "WithinRPO")
    assert lab.core.condition("erp", "Protected")[0] == "True"
    await lab.core.live(300)
    assert lab.core.condition("erp", "RPOMet") == ("False", "RPOBreached")
    host.reachable = True
    await lab.core.live(60)
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")
    assert lab.core.condition("erp", "RPOMet") == ("True", "WithinRPO")


@pytest.mark.rule("Isolation")
@pytest.mark.fault("unreachable host")
async def test_other_routes_go_on_beside_an_unreachable_host(lab: Lab) -> None:
    """One dead target must not cost another site its points."""
    other = lab.world.host("ber/h", pools=("backup",))
    other.create("backup/backstay")
    lab.core.site("ber", other, roots=("backup/backstay",))
    members = lab.volumes(2)
    lab.core.pair("erp", {"d0": members["d0"]})
    at = {
        "fra": {"host": "h", "dataset": "tank/vm/d1"},
        "ber": {"host": "h", "dataset": "backup/backstay/d1"},
    }
    lab.core.pair("crm", {}, sites=["fra", "ber"], datasets=[{"name": "d1", "at": at}])
    lab.b.reachable = False
    await lab.core.live(300)
    assert lab.core.condition("erp", "Ready") == ("Unknown", "Unreachable")
    assert lab.core.condition("crm", "Ready") == ("True", "UpToDate")
    assert other.content("backup/backstay/d1") == lab.a.content("tank/vm/d1")


@pytest.mark.rule("RPO truth")
async def test_a_point_confirmed_as_of_later_keeps_that_time_while_the_source_is_away(
    lab: Lab,
) -> None:
    """The lag counts from the last confirmation, not from the birth of an idle dataset's point."""
    lab.core.pair("erp", lab.volumes(1))
    await lab.core.live(7200)
    confirmed = lab.core.status("erp")["recoveryPoint"]["time"]
    lab.a.reachable = False
    await lab.core.live(60)
    assert lab.core.status("erp")["recoveryPoint"]["time"] >= confirmed
    assert lab.core.condition("erp", "RPOMet") == ("True", "WithinRPO")


@pytest.mark.rule("RPO truth")
@pytest.mark.parametrize("group", [False, True])
async def test_a_child_that_has_no_point_yet_counts_also_while_the_source_is_away(
    lab: Lab, group: bool
) -> None:
    """The target cannot tell of it. What there was before it came is as old as it was."""
    tree = {"t": ("tank/vm/t", "backup/backstay/t")}
    lab.a.create("tank/vm/t")
    lab.core.pair("erp", tree, recursive=True, group=group)
    await lab.core.live(600)
    lab.a.create("tank/vm/t/new")
    lab.a.write("tank/vm/t/new", 4096)
    lab.world.transfer_faults.cut(after_bytes=0)
    await lab.core.live(1)
    await lab.core.passing(150)
    lab.a.reachable = False
    for _ in range(3):
        await lab.core.passing(5)
        assert lab.core.condition("erp", "Ready") == ("Unknown", "Unreachable")
        assert lab.core.condition("erp", "Protected") == ("False", "Seeding")
        assert lab.core.status("erp")["members"]["total"] == 2
        assert lab.core.condition("erp", "RPOMet") == ("True", "WithinRPO")
    await lab.core.live(300)
    assert lab.core.condition("erp", "RPOMet")[0] == "False"
    lab.a.reachable = True
    await lab.core.live(120)
    assert lab.core.condition("erp", "Protected") == ("True", "Confirmed")


@pytest.mark.rule("RPO truth")
async def test_a_failed_transfer_does_not_take_back_what_was_confirmed(lab: Lab) -> None:
    """The replica still equals the source as of the last sync: only from then on it lags."""
    lab.core.pair("erp", lab.volumes(1))
    await lab.core.live(7200)
    lab.a.write("tank/vm/d0", 4096)
    lab.world.transfer_faults.cut(after_bytes=0)
    lab.b.pools["backup"].health = "ONLINE"
    await lab.core.live(149)
    assert lab.core.condition("erp", "RPOMet") == ("True", "WithinRPO")


@pytest.mark.rule("Fixpoint")
async def test_an_exported_pool_is_named_and_heals_when_it_is_imported(lab: Lab) -> None:
    """An exported pool looks like missing datasets; nothing may be concluded from that."""
    lab.core.pair("erp", lab.volumes(2))
    await lab.core.live(600)
    lab.b.export_pool("backup")
    lab.a.write("tank/vm/d0", 4096)
    before = len(lab.world.commands)
    await lab.core.live(400)
    assert lab.core.condition("erp", "Ready") == ("Unknown", "PoolNotImported")
    assert lab.core.condition("erp", "RPOMet") == ("False", "RPOBreached")
    assert lab.core.condition("erp", "Protected") == ("True", "Confirmed")
    assert lab.core.status("erp")["recoveryPoint"]
    assert lab.core.condition("muc", "PoolsHealthy", "Site") == ("False", "PoolNotImported")
    assert [c for c in lab.world.commands[before:] if c[1] != "snapshot"] == []
    lab.b.import_pool("backup")
    lab.core.sent()
    await lab.core.live(300)
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")
    assert [type(t.how).__name__ for t in lab.core.sent()] == ["Increment"]
    assert lab.equal("d0", "d1")


KEEP = {"source": {"last": 3}, "target": {"last": 9}}
INTERVAL_S = 150
WRITES = 5
"""In each interval."""


def points(lab: Lab, name: str) -> list[str]:
    """Our snapshots of a source, oldest first."""
    return [s.name for s in lab.a.dataset(f"tank/vm/{name}").snapshots]


async def outage(lab: Lab, count: int = 2, *, group: bool = True, intervals: int = 10) -> None:
    """A seeded pair whose target is away for some intervals, with writes to d0 in each."""
    lab.core.policy(retention=KEEP)
    lab.core.pair("erp", lab.volumes(count), group=group)
    await lab.core.live(100)
    lab.core.sent()
    lab.b.reachable = False
    for _ in range(intervals * WRITES):
        lab.a.write("tank/vm/d0", 4096)
        await lab.core.live(INTERVAL_S / WRITES)


@pytest.mark.rule("Pruning keeps the chain")
@pytest.mark.rule("RPO truth")
@pytest.mark.parametrize("group", [True, False])
async def test_local_points_go_on_while_the_target_is_away_and_only_the_newest_is_sent(
    lab: Lab, group: bool
) -> None:
    await outage(lab, group=group)
    taken = [c for c in lab.world.commands if c[1] == "snapshot"]
    # Tries at a lost host have jitter, so an interval may fall between two of them.
    assert 1 + 8 <= len(taken) <= 1 + 10, "one an interval"
    before = lab.b.dataset("backup/backstay/d0")
    changed, unchanged = points(lab, "d0"), points(lab, "d1")
    base = before.snapshots[-1].name
    assert changed[0] == base
    assert len(changed) == 1 + 3, "the base, and as many as the policy wants"
    assert unchanged == (changed if group else [base])
    assert lab.core.condition("erp", "RPOMet") == ("False", "RPOBreached")
    assert lab.core.status("erp")["recoveryPoint"]["snapshot"] == base

    lab.b.reachable = True
    await lab.core.live(61)
    sent = {t.member: t for t in lab.core.sent()}
    assert sent.keys() == ({"d0", "d1"} if group else {"d0"})
    for transfer in sent.values():
        assert isinstance(transfer.how, Increment)
        assert transfer.how.base.full_name.endswith(f"@{base}")
        assert transfer.snapshot == changed[-1]
    after = lab.b.dataset("backup/backstay/d0")
    assert (after.guid, [s.name for s in after.snapshots]) == (before.guid, [base, changed[-1]])
    assert points(lab, "d0") == changed[-3:]
    await lab.core.live(2 * INTERVAL_S)
    assert lab.equal("d0", "d1")
    assert len(points(lab, "d0")) == 3
    assert lab.core.condition("erp", "RPOMet") == ("True", "WithinRPO")
    truths.little_is_left_over(lab.a, lab.b, {"tank/vm/d0": "backup/backstay/d0"})


@pytest.mark.rule("Fixpoint")
async def test_a_new_leader_goes_on_with_local_points(lab: Lab) -> None:
    """What it never saw of the target is told by the bookmarks."""
    await outage(lab, intervals=2)
    lab.core.restart()
    for _ in range(3):
        lab.a.write("tank/vm/d1", 4096)
        await lab.core.live(INTERVAL_S)
    assert len(points(lab, "d1")) == 1 + 3
    lab.b.reachable = True
    await lab.core.live(60)
    assert lab.equal("d0", "d1")


async def test_no_local_point_is_taken_while_nothing_is_written(lab: Lab) -> None:
    await outage(lab, intervals=1)
    await lab.core.live(2 * INTERVAL_S)
    before = lab.world.commands[:]
    await lab.core.live(10 * INTERVAL_S)
    assert lab.world.commands == before


@pytest.mark.parametrize("group", [True, False])
async def test_no_local_point_is_taken_of_what_was_never_seeded(lab: Lab, group: bool) -> None:
    lab.b.reachable = False
    lab.core.pair("erp", lab.volumes(2), group=group)
    await lab.core.live(5 * INTERVAL_S)
    assert [c for c in lab.world.commands if c[1] == "snapshot"] == []


async def test_a_suspended_pair_takes_no_local_points(lab: Lab) -> None:
    await outage(lab, intervals=1)
    lab.core.pair("erp", lab.known(2), group=True, suspend=True)
    before = lab.world.commands[:]
    lab.a.write("tank/vm/d0", 4096)
    await lab.core.live(5 * INTERVAL_S)
    assert lab.world.commands == before


@pytest.mark.rule("Isolation")
async def test_a_joiner_of_an_outage_does_not_hold_its_group_up_afterwards(lab: Lab) -> None:
    """It is in none of the local sets, and is seeded alone."""
    await outage(lab, intervals=1)
    lab.core.pair("erp", lab.extended(2), group=True)
    lab.a.write("tank/vm/d0", 4096)
    await lab.core.live(INTERVAL_S)
    assert points(lab, "d2") == []
    reached, go_on = lab.world.transfer_faults.pause(after_bytes=2000, nth=1)
    lab.b.reachable = True
    await lab.core.live(INTERVAL_S)
    assert reached.is_set()
    assert lab.equal("d0", "d1")
    assert lab.core.condition("erp", "RPOMet") == ("True", "WithinRPO")
    go_on.set()
    await lab.core.live(INTERVAL_S)
    assert lab.equal("d0", "d1", "d2")


@pytest.mark.rule("Single writer, fenced at the host")
async def test_an_operator_that_was_superseded_takes_no_local_points(lab: Lab) -> None:
    """The source knows the term of the new leader, though nobody reaches the target."""
    await outage(lab, intervals=1)
    newer = Core(lab.world, term=9)
    newer.site("fra", lab.a)
    newer.site("muc", lab.b, roots=("backup/backstay",))
    newer.policy()
    newer.pair("erp", lab.known(2), group=True)
    await newer.live(5)
    before = points(lab, "d0")
    lab.a.write("tank/vm/d0", 4096)
    await lab.core.live(INTERVAL_S)
    assert points(lab, "d0") == before
    assert lab.core.superseded
