"""A host or Secret that is missing: what is unknown is said to be, and it heals by itself."""

from __future__ import annotations

import pytest

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
    """The target cannot tell of it. A group's set stands without a member that joins, as ever."""
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
        assert lab.core.condition("erp", "RPOMet")[0] == ("True" if group else "False")
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
    assert lab.core.condition("erp", "Ready") == ("False", "ReceiveRootMissing")
    assert lab.core.condition("erp", "RPOMet") == ("False", "RPOBreached")
    assert [c for c in lab.world.commands[before:] if c[1] != "snapshot"] == []
    lab.b.import_pool("backup")
    lab.core.sent()
    await lab.core.live(300)
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")
    assert [type(t.how).__name__ for t in lab.core.sent()] == ["Increment"]
    assert lab.equal("d0", "d1")
