"""A new leader takes nothing back that the one before it had confirmed."""

from __future__ import annotations

import pytest

from backstay.controllers.keys import ObjectKey
from fakes.core import NAMESPACE, Core
from fakes.lab import Lab

ERP = ObjectKey("ReplicationPair", NAMESPACE, "erp")


async def confirmed(lab: Lab) -> str:
    """A pair with a recovery point; the snapshot's name."""
    lab.core.pair("erp", lab.volumes(1))
    await lab.core.live(600)
    return str(lab.core.status("erp")["recoveryPoint"]["snapshot"])


def shown(core: Core) -> dict[str, object]:
    """The pair's status but for its words."""
    status = {**core.status("erp")}
    status["conditions"] = [
        (c["type"], c["status"], c["reason"], c["lastTransitionTime"]) for c in status["conditions"]
    ]
    return status


async def test_a_restart_shows_what_was_true_until_its_first_pass(lab: Lab) -> None:
    await confirmed(lab)
    before = shown(lab.core)
    lab.core.restart()
    await lab.core.run(ERP)
    assert shown(lab.core) == before


@pytest.mark.rule("RPO truth")
@pytest.mark.fault("unreachable host")
async def test_a_restart_while_the_target_is_away_goes_on_counting_the_lag(lab: Lab) -> None:
    point = await confirmed(lab)
    lab.b.reachable = False
    lab.core.restart()
    await lab.core.live(100)
    assert lab.core.condition("erp", "Ready") == ("Unknown", "Unreachable")
    assert lab.core.condition("erp", "RPOMet") == ("True", "WithinRPO")
    assert lab.core.condition("erp", "Protected") == ("True", "Confirmed")
    await lab.core.live(400)
    assert lab.core.condition("erp", "RPOMet") == ("False", "RPOBreached")
    assert lab.core.status("erp")["recoveryPoint"]["snapshot"] == point


@pytest.mark.rule("RPO truth")
async def test_a_restart_believes_no_status_once_the_target_was_read(lab: Lab) -> None:
    await confirmed(lab)
    lab.b.destroy("backup/backstay/d0")
    lab.a.reachable = False
    lab.core.restart()
    await lab.core.live(100)
    assert "recoveryPoint" not in lab.core.status("erp")
    assert lab.core.condition("erp", "Protected")[0] == "False"


@pytest.mark.rule("RPO truth")
async def test_a_restart_carries_nothing_over_to_another_spec(lab: Lab) -> None:
    """A member that was added meanwhile may have no point at all."""
    await confirmed(lab)
    lab.b.reachable = False
    lab.core.restart()
    lab.core.pair("erp", lab.extended(1))
    await lab.core.live(100)
    assert "recoveryPoint" not in lab.core.status("erp")
    assert lab.core.condition("erp", "RPOMet") == ("Unknown", "NeverObserved")


async def test_a_restart_keeps_a_divergence_until_it_is_looked_at(lab: Lab) -> None:
    await confirmed(lab)
    lab.b.set("backup/backstay/d0", "readonly", "off")
    lab.b.write("backup/backstay/d0", 4096)
    lab.a.write("tank/vm/d0", 4096)
    await lab.core.live(200)
    assert lab.core.condition("erp", "Diverged") == ("True", "TargetModified")
    lab.b.reachable = False
    lab.core.restart()
    await lab.core.live(30)
    assert lab.core.condition("erp", "Diverged") == ("True", "TargetModified")
    assert lab.core.condition("erp", "Stalled")[0] == "True"
    assert lab.core.condition("erp", "Reconciling") == ("", "")
