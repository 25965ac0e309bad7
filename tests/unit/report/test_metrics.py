"""What is computed at a scrape."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backstay.report.metrics import View, samples, view_of

NOW = datetime(2030, 1, 1, 0, 10, tzinfo=UTC)
STATUS: dict[str, Any] = {
    "conditions": [{"type": "RPOMet", "status": "True", "reason": "WithinRPO"}],
    "recoveryPoint": {"time": "2030-01-01T00:08:00Z"},
}


def values(view: View, now: datetime = NOW) -> dict[tuple[str, ...], float]:
    return {(s.name, *s.labels): s.value for s in samples([view], now)}


@pytest.mark.rule("RPO truth")
def test_a_lag_grows_with_the_clock_and_without_any_write() -> None:
    view = view_of("ReplicationPair", ("ns", "p"), STATUS, 300)
    assert values(view)["recovery_point_lag_seconds", "ns", "p"] == 120
    later = NOW + timedelta(hours=1)
    assert values(view, later)["recovery_point_lag_seconds", "ns", "p"] == 3720
    assert values(view)["rpo_target_seconds", "ns", "p"] == 300


@pytest.mark.rule("RPO truth")
def test_an_unknown_lag_has_no_series_but_its_condition_has_one() -> None:
    unknown = {"conditions": [{"type": "RPOMet", "status": "Unknown", "reason": "NeverObserved"}]}
    found = values(view_of("ReplicationPair", ("ns", "p"), unknown, 300))
    assert ("recovery_point_lag_seconds", "ns", "p") not in found
    assert found["condition", "ReplicationPair", "ns", "p", "RPOMet", "Unknown"] == 1


@pytest.mark.rule("No wall clock")
@pytest.mark.fault("clock steps by an hour")
def test_a_clock_that_went_back_makes_no_negative_lag() -> None:
    view = view_of("ReplicationPair", ("ns", "p"), STATUS, 300)
    past = NOW - timedelta(seconds=150)
    assert values(view, past)["recovery_point_lag_seconds", "ns", "p"] == 0
    past = NOW - timedelta(hours=1)
    assert ("recovery_point_lag_seconds", "ns", "p") not in values(view, past)


def test_streams_under_way_have_series_of_what_is_known_of_them() -> None:
    known = {"bytes": 10, "expectedBytes": 40, "streams": 1, "time": "2030-01-01T00:08:00Z"}
    told = STATUS | {"transfer": known}
    found = values(view_of("ReplicationPair", ("ns", "p"), told, 300))
    assert found["transfer_moved_bytes", "ns", "p"] == 10
    assert found["transfer_expected_bytes", "ns", "p"] == 40
    assert ("transfer_bytes_per_second", "ns", "p") not in found
    assert not [
        name
        for name, *_ in values(view_of("ReplicationPair", ("ns", "p"), STATUS, 300))
        if name.startswith("transfer")
    ]
