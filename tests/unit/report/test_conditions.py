"""Which change of a status is worth a write, and when."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from backstay.report.conditions import NoWrite, Worth, WriteAfter, WriteNow, worth_writing

OLD: dict[str, Any] = {
    "observedGeneration": 1,
    "activeSite": "fra",
    "conditions": [
        {
            "type": "Ready",
            "status": "True",
            "reason": "UpToDate",
            "message": "newest common point s1",
            "lastTransitionTime": "2030-01-01T00:00:00Z",
            "observedGeneration": 1,
        }
    ],
    "recoveryPoint": {"time": "2030-01-01T00:00:00Z", "snapshot": "s1", "guid": "1", "bytes": 10},
    "members": {"total": 4, "confirmed": 4},
    "hosts": [{"name": "h", "pools": [{"name": "tank", "sizeBytes": 1000, "freeBytes": 500}]}],
}


def changed(path: str, value: Any) -> dict[str, Any]:
    new = copy.deepcopy(OLD)
    *way, last = path.split(".")
    at: Any = new
    for step in way:
        at = at[int(step)] if step.isdigit() else at[step]
    if value is None:
        del at[last]
    else:
        at[last] = value
    return new


def judge(new: dict[str, Any], *, age_s: float = 0, rpo_s: float | None = 300) -> Worth:
    return worth_writing(OLD, new, age_s=age_s, rpo_s=rpo_s)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("conditions.0.status", "False"),
        ("conditions.0.reason", "Seeding"),
        ("conditions", []),
        ("observedGeneration", 2),
        ("lastHandledRequest", "again"),
        ("activeSite", "muc"),
        ("recoveryPoint", None),
    ],
)
def test_a_turn_is_written_at_once(path: str, value: Any) -> None:
    assert judge(changed(path, value)) == WriteNow("transition")


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("recoveryPoint.guid", "2", "recovery-point"),
        ("members.confirmed", 3, "detail"),
        ("recoveryPoint.bytes", 11, "detail"),
        ("hosts.0.pools.0.freeBytes", 400, "detail"),
        ("hosts", [], "detail"),
    ],
)
def test_news_of_numbers_wait_until_a_minute_is_over(path: str, value: Any, reason: str) -> None:
    assert judge(changed(path, value), age_s=20) == WriteAfter(40, reason)
    assert judge(changed(path, value), age_s=60) == WriteNow(reason)


def test_how_many_pairs_a_policy_has_is_told_within_seconds() -> None:
    assert judge(changed("pairs", 2), age_s=2) == WriteAfter(3, "detail")
    assert judge(changed("pairs", 2), age_s=5) == WriteNow("detail")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("recoveryPoint.time", "2030-01-01T00:02:30Z"),
        ("conditions.0.message", "lag 31 s of 300 s"),
    ],
)
def test_what_only_time_has_changed_is_written_once_an_rpo(path: str, value: Any) -> None:
    assert judge(changed(path, value), age_s=100) == WriteAfter(200, "as-of")
    assert judge(changed(path, value), age_s=300) == WriteNow("as-of")
    assert judge(changed(path, value), age_s=30, rpo_s=None) == WriteAfter(30, "as-of")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("activeSite", "fra"),
        ("conditions.0.lastTransitionTime", "2031-01-01T00:00:00Z"),
        ("hosts.0.pools.0.freeBytes", 505),
    ],
)
def test_what_means_the_same_is_never_written(path: str, value: Any) -> None:
    assert judge(changed(path, value), age_s=1e9) == NoWrite()


def test_the_first_status_is_written_at_once() -> None:
    assert worth_writing({"observedGeneration": -1}, OLD, age_s=0, rpo_s=300) == WriteNow(
        "transition"
    )


def test_a_status_that_somebody_has_broken_is_written_over() -> None:
    broken = {"conditions": "none", "recoveryPoint": {}}
    assert worth_writing(broken, OLD, age_s=0, rpo_s=300) == WriteNow("transition")
