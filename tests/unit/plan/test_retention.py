"""Which points a policy keeps, and why."""

from __future__ import annotations

from datetime import datetime, timedelta

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


def points(*times: str) -> list[str]:
    """Points of ours at these times, in this order."""
    moments = [datetime.fromisoformat(time) for time in times]
    return [snapshot_name(at, SHORT, f"{i:04x}") for i, at in enumerate(moments)]


def stay(names: list[str], keep: Keep) -> list[int]:
    """Which of the names stay, by their place."""
    return [names.index(name) for name in judge_points(names, keep, {}).keep]


class TestWhereTheSiteIs:
    def test_a_day_is_the_day_of_the_site(self) -> None:
        evening = points("2026-11-22T22:30+00:00", "2026-11-22T23:30+00:00")
        assert stay(evening, Keep(last=0, daily=2)) == [1]
        assert stay(evening, Keep(last=0, daily=2, time_zone="Europe/Berlin")) == [0, 1]

    def test_an_hour_that_the_clock_repeats_counts_as_two(self) -> None:
        night = points(
            "2026-10-25T02:20+02:00",
            "2026-10-25T02:40+02:00",
            "2026-10-25T02:20+01:00",
            "2026-10-25T02:40+01:00",
        )
        berlin = Keep(last=0, hourly=9, daily=9, time_zone="Europe/Berlin")
        assert stay(night, berlin) == [1, 3]
        assert judge_points(night, berlin, {}).keep[night[3]] == ("hourly 9", "daily 9")

    def test_an_hour_that_the_clock_skips_does_not_count(self) -> None:
        night = points("2026-03-29T00:30+01:00", "2026-03-29T01:30+01:00", "2026-03-29T03:30+02:00")
        assert stay(night, Keep(last=0, hourly=3, time_zone="Europe/Berlin")) == [0, 1, 2]

    def test_a_day_that_the_calendar_skips_does_not_count(self) -> None:
        week = points("2011-12-28T12:00-10:00", "2011-12-29T12:00-10:00", "2011-12-31T12:00+14:00")
        assert stay(week, Keep(last=0, daily=3, time_zone="Pacific/Apia")) == [0, 1, 2]

    def test_a_week_begins_on_monday_and_may_lie_in_two_years(self) -> None:
        turn = points(
            "2026-12-27T12:00+00:00",  # Sunday
            "2026-12-28T12:00+00:00",  # Monday of 2026-W53
            "2027-01-03T12:00+00:00",  # its Sunday
            "2027-01-04T12:00+00:00",
        )
        assert stay(turn, Keep(last=0, weekly=9)) == [0, 2, 3]

    def test_months_and_years_are_those_of_the_calendar(self) -> None:
        leap = points(
            "2027-12-31T23:30+00:00",
            "2028-02-28T12:00+00:00",
            "2028-02-29T22:30+00:00",
            "2028-02-29T23:30+00:00",
        )
        assert stay(leap, Keep(last=0, monthly=9)) == [0, 3]
        assert stay(leap, Keep(last=0, yearly=9)) == [0, 3]
        berlin = Keep(last=0, monthly=9, time_zone="Europe/Berlin")
        # The first is of January and the last of March there.
        assert stay(leap, berlin) == [0, 2, 3]

    def test_a_time_that_no_other_zone_has_is_taken_as_it_is(self) -> None:
        ends = [
            f"backstay_{year}.000Z_{SHORT}0000" for year in ("00010101T000000", "99991231T235959")
        ]
        for zone in ("America/New_York", "Pacific/Kiritimati"):
            assert stay(ends, Keep(last=0, yearly=2, time_zone=zone)) == [0, 1]
