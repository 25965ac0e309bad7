"""What passes really take is measured, and said before the RPO is breached."""

from __future__ import annotations

from fakes.lab import Lab


async def measured(lab: Lab, *, latency_s: float, seconds: float = 900) -> tuple[str, str]:
    """The pair's `Achievable` after some passes over hosts of that latency."""
    lab.a.latency_s = lab.b.latency_s = latency_s
    await lab.core.live(seconds)
    return lab.core.condition("erp", "Achievable")


def message(lab: Lab) -> str:
    conditions = lab.core.status("erp")["conditions"]
    return next(c["message"] for c in conditions if c["type"] == "Achievable")


async def test_it_is_said_once_three_passes_were_measured(lab: Lab) -> None:
    lab.core.pair("erp", lab.volumes(1))
    await lab.core.live(5)
    assert lab.core.condition("erp", "Achievable") == ("Unknown", "NotMeasured")
    assert await measured(lab, latency_s=1) == ("True", "PassesFit")
    assert message(lab).startswith("a pass every 150 s + 1.5 × ")


async def test_slow_hosts_are_said_to_be_too_slow_until_they_are_quick_again(lab: Lab) -> None:
    lab.core.policy(rpo="1m")
    lab.core.pair("erp", lab.volumes(1))
    assert await measured(lab, latency_s=15) == ("False", "PassesTooLong")
    assert await measured(lab, latency_s=0.1) == ("True", "PassesFit")


async def test_a_host_that_refuses_at_once_does_not_make_passes_quick(lab: Lab) -> None:
    lab.core.policy(rpo="1m")
    lab.core.pair("erp", lab.volumes(1))
    await measured(lab, latency_s=15)
    before = message(lab)
    lab.b.reachable = False
    assert await measured(lab, latency_s=0, seconds=3600) == ("False", "PassesTooLong")
    assert message(lab) == before


async def test_a_restart_goes_on_saying_what_was_measured(lab: Lab) -> None:
    lab.core.policy(rpo="1m")
    lab.core.pair("erp", lab.volumes(1))
    await measured(lab, latency_s=15)
    lab.core.restart()
    assert await measured(lab, latency_s=15, seconds=5) == ("False", "PassesTooLong")


async def test_a_restart_says_nothing_of_another_rpo(lab: Lab) -> None:
    lab.core.policy(rpo="1m")
    lab.core.pair("erp", lab.volumes(1))
    await measured(lab, latency_s=15)
    lab.core.policy(rpo="10m")
    lab.core.restart()
    assert await measured(lab, latency_s=15, seconds=5) == ("Unknown", "NotMeasured")
    assert await measured(lab, latency_s=15) == ("True", "PassesFit")
