"""What is said of an object when the work on it broke on a fault of ours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backstay.report.fault import fault_status, judged_rpo_s

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SAID = "ReplicationPair dr/erp: a fault of backstay itself, please report it: KeyError('x')"


def condition(kind: str, status: str, reason: str) -> dict[str, Any]:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": "as it was",
        "lastTransitionTime": "2026-11-22T10:00:00Z",
        "observedGeneration": 1,
    }


def kept_until(point_age_s: float) -> dict[str, Any]:
    """A pair within its RPO of 5 minutes when its point was so old."""
    time = NOW - timedelta(seconds=point_age_s)
    return {
        "observedGeneration": 1,
        "activeSite": "fra",
        "rpo": "5m",
        "recoveryPoint": {"time": time.isoformat(), "snapshot": "s", "guid": "7"},
        "conditions": [
            condition("Protected", "True", "Confirmed"),
            condition("RPOMet", "True", "WithinRPO"),
            condition("Ready", "True", "UpToDate"),
        ],
    }


def verdicts(status: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c["reason"]) for c in status["conditions"]}


def test_ready_turns_unknown_and_the_rest_stays() -> None:
    before = kept_until(60)
    after = fault_status(before, SAID, 2, NOW)
    assert verdicts(after) == {
        "Protected": ("True", "Confirmed"),
        "RPOMet": ("True", "WithinRPO"),
        "Ready": ("Unknown", "InternalError"),
    }
    ready = after["conditions"][2]
    assert ready["message"] == SAID
    assert (ready["lastTransitionTime"], ready["observedGeneration"]) == ("2026-11-22T12:00:00Z", 2)
    assert after["recoveryPoint"] == before["recoveryPoint"]
    assert after["observedGeneration"] == 2


def test_a_fault_does_not_hide_that_the_rpo_ran_out() -> None:
    """A promise that nobody judges any more must not stay kept."""
    assert verdicts(fault_status(kept_until(301), SAID, 1, NOW))["RPOMet"] == (
        "False",
        "RPOBreached",
    )


@pytest.mark.parametrize(
    "broken",
    [{}, {"conditions": "none", "rpo": "soon"}, {"recoveryPoint": {"time": 1}, "rpo": "5m"}],
)
def test_a_status_that_says_nothing_gets_the_one_condition(broken: dict[str, Any]) -> None:
    assert verdicts(fault_status(broken, SAID, 1, NOW)) == {"Ready": ("Unknown", "InternalError")}


def test_the_rpo_is_that_of_the_status() -> None:
    assert judged_rpo_s(kept_until(0)) == 300
    assert judged_rpo_s({"rpo": "soon"}) is None
    assert judged_rpo_s({}) is None
