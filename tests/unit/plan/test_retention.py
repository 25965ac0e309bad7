"""Which points a policy keeps, and why."""

from __future__ import annotations

from datetime import timedelta

import pytest

from backstay.domain.pairs import Keep
from backstay.plan.naming import snapshot_name
from backstay.plan.retention import judge_points
from unit.plan.sides import SHORT, T0

HOURLY = [snapshot_name(T0 + timedelta(minutes=30 * i), SHORT, f"{i:04x}") for i in range(8)]
"""Eight points, one every half hour."""


def kept(keep: Keep, needed: dict[str, str] | None = None) -> list[int]:
    """Which of the eight stay."""
    verdict = judge_points(HOURLY, keep, needed or {})
    assert set(verdict.keep) | set(verdict.remove) == set(HOURLY)
    assert not set(verdict.keep) & set(verdict.remove)
    return [HOURLY.index(name) for name in verdict.keep]


def test_the_last_count_from_the_newest() -> None:
    assert kept(Keep(last=3)) == [5, 6, 7]
    assert kept(Keep(last=99)) == list(range(8))
    assert kept(Keep(last=0)) == []


def test_of_an_hour_its_newest_counts() -> None:
    assert kept(Keep(last=0, hourly=2)) == [5, 7]
    assert kept(Keep(last=0, hourly=99)) == [1, 3, 5, 7]


def test_of_a_day_its_newest_counts() -> None:
    assert kept(Keep(last=0, daily=3)) == [7]


def test_the_rules_add_up() -> None:
    assert kept(Keep(last=2, hourly=2, daily=1)) == [5, 6, 7]


@pytest.mark.rule("Pruning keeps the chain")
def test_what_is_needed_stays_whatever_the_policy_says() -> None:
    assert kept(Keep(last=1), {HOURLY[0]: "base", "no such name": "gone"}) == [0, 7]


def test_each_that_stays_says_why() -> None:
    verdict = judge_points(HOURLY, Keep(last=1, hourly=1), {HOURLY[0]: "base of b/two"})
    assert verdict.keep == {HOURLY[0]: ("base of b/two",), HOURLY[7]: ("last 1", "hourly 1")}


@pytest.mark.rule("No wall clock")
def test_hours_count_in_the_order_of_txg_when_the_clock_stepped_back() -> None:
    stepped = [*HOURLY[4:], *HOURLY[:4]]
    verdict = judge_points(stepped, Keep(last=1, hourly=1), {})
    assert list(verdict.keep) == [HOURLY[3]]
