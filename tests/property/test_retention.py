"""Retention × histories × time zones, against an oracle that counts each point by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import product
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from backstay.domain.pairs import Keep
from backstay.plan.naming import snapshot_name, snapshot_time
from backstay.plan.retention import judge_points
from unit.plan.sides import SHORT

# Moments that a zone's clock or the calendar stumbles over.
TROUBLES = (
    ("2026-03-29T01:00+00:00", "Europe/Berlin"),  # an hour is skipped
    ("2026-10-25T01:00+00:00", "Europe/Berlin"),  # an hour is repeated
    ("2026-11-01T06:00+00:00", "America/New_York"),  # likewise
    ("2026-04-04T15:00+00:00", "Australia/Lord_Howe"),  # half an hour is repeated
    ("2011-12-30T10:00+00:00", "Pacific/Apia"),  # a day is skipped
    ("2028-02-29T00:00+00:00", "Asia/Kathmandu"),  # a leap day, at a quarter to
    ("2028-02-29T00:00+00:00", "Pacific/Kiritimati"),  # a leap day, most of it a day ahead
    ("2027-01-01T00:00+00:00", "UTC"),  # a week in two years
)
OF_WHOLE_HOURS = tuple(x for x in TROUBLES if x[1] not in {"Australia/Lord_Howe", "Asia/Kathmandu"})
FORMATS = {
    "hourly": "%Y-%m-%d %H %z",
    "daily": "%Y-%m-%d",
    "weekly": "%G-W%V",
    "monthly": "%Y-%m",
    "yearly": "%Y",
}
LONGEST = {
    "hourly": timedelta(hours=1),
    "daily": timedelta(hours=25),
    "weekly": timedelta(days=7, hours=1),
    "monthly": timedelta(days=31, hours=1),
    "yearly": timedelta(days=366),
}
MINUTES = (10, 25, 60, 60 * 7, 60 * 24, 60 * 24 * 9, 60 * 24 * 40)
"""Between two points."""
COUNTS = st.integers(0, 6)


@dataclass(frozen=True)
class History:
    """Points, oldest first by createtxg, and the zone of their site."""

    names: list[str]
    zone: str


@st.composite
def histories(
    draw: st.DrawFn, *, troubles: tuple[tuple[str, str], ...] = TROUBLES, steady: bool = False
) -> History:
    """Points before and after a moment of trouble.

    Unless `steady`, the operator's clock steps back now and then.
    """
    moment, zone = draw(st.sampled_from(troubles))
    minutes = draw(st.sampled_from(MINUTES))
    at = datetime.fromisoformat(moment) - timedelta(minutes=minutes * draw(st.integers(0, 12)))
    names = []
    for number in range(draw(st.integers(1, 30))):
        step = draw(st.sampled_from((1, 1, 1, 2, 5) if steady else (1, 1, 1, 1, 1, 2, 5, 0, -2)))
        at += timedelta(minutes=minutes * step, seconds=1)
        names.append(snapshot_name(at, SHORT, f"{number:04x}"))
    return History(names, zone)


def with_rules(keep: Keep, counts: Mapping[str, int]) -> Keep:
    """The policy with these counts, by the names of its fields."""
    changes: dict[str, Any] = dict(counts)
    return replace(keep, **changes)


@st.composite
def keeps(draw: st.DrawFn) -> Keep:
    """Any policy, or one of a single rule."""
    counts = {rule: draw(COUNTS) for rule in FORMATS}
    only = draw(st.sampled_from((None, *FORMATS)))
    chosen = {rule: n for rule, n in counts.items() if only in (None, rule)}
    return with_rules(Keep(last=draw(st.integers(1, 4))), chosen)


def at_of(name: str) -> datetime:
    found = snapshot_time(name)
    assert found is not None
    return found


def wanted(names: list[str], place: int, keep: Keep) -> bool:
    """Whether a point stays, by looking at all that are newer for each rule anew."""
    if len(names) - place <= keep.last:
        return True
    zone = ZoneInfo(keep.time_zone)
    for rule, form in FORMATS.items():
        buckets = [at_of(name).astimezone(zone).strftime(form) for name in names[place:]]
        is_newest_of_its_own = buckets[0] not in buckets[1:]
        if is_newest_of_its_own and len(set(buckets)) <= getattr(keep, rule):
            return True
    return False


@pytest.mark.parametrize(("moment", "zone"), TROUBLES)
@pytest.mark.parametrize("minutes", MINUTES)
def test_around_each_moment_each_rule_keeps_what_the_oracle_says(
    moment: str, zone: str, minutes: int
) -> None:
    middle = datetime.fromisoformat(moment)
    times = [middle + timedelta(minutes=minutes * i) for i in range(-12, 12)]
    names = [snapshot_name(at, SHORT, f"{i:04x}") for i, at in enumerate(times)]
    for rule, count in product(FORMATS, (0, 1, 2, 5, 99)):
        keep = with_rules(Keep(last=0, time_zone=zone), {rule: count})
        kept = list(judge_points(names, keep, {}).keep)
        assert kept == [n for i, n in enumerate(names) if wanted(names, i, keep)], (rule, count)


@given(history=histories(), keep=keeps())
def test_what_stays_is_what_the_oracle_says(history: History, keep: Keep) -> None:
    names, local = history.names, replace(keep, time_zone=history.zone)
    verdict = judge_points(names, local, {})
    event(f"removes: {bool(verdict.remove)}")
    assert list(verdict.keep) == [n for i, n in enumerate(names) if wanted(names, i, local)]
    assert sorted([*verdict.keep, *verdict.remove]) == sorted(names)
    assert all(verdict.keep.values()), "each says why"


@given(history=histories(), keep=keeps(), more=st.lists(COUNTS, min_size=6, max_size=6))
def test_a_larger_policy_keeps_no_less(history: History, keep: Keep, more: list[int]) -> None:
    local = replace(keep, time_zone=history.zone)
    sums = {
        rule: getattr(keep, rule) + extra
        for rule, extra in zip(("last", *FORMATS), more, strict=True)
    }
    kept = judge_points(history.names, local, {}).keep
    assert kept.keys() <= judge_points(history.names, replace(local, **sums), {}).keep.keys()


@given(history=histories(), keep=keeps())
def test_the_newest_always_stays(history: History, keep: Keep) -> None:
    local = replace(keep, time_zone=history.zone)
    assert history.names[-1] in judge_points(history.names, local, {}).keep


@pytest.mark.rule("No wall clock")
@given(history=histories(troubles=OF_WHOLE_HOURS), count=st.integers(1, 30))
def test_hours_are_the_same_in_all_zones_of_whole_hours(history: History, count: int) -> None:
    here = judge_points(history.names, Keep(last=0, hourly=count, time_zone=history.zone), {})
    assert here == judge_points(history.names, Keep(last=0, hourly=count), {})


@given(history=histories(steady=True), rule=st.sampled_from(list(FORMATS)))
def test_what_goes_has_a_newer_point_no_further_than_its_bucket_is_long(
    history: History, rule: str
) -> None:
    every = with_rules(Keep(last=0, time_zone=history.zone), {rule: 1000})
    verdict = judge_points(history.names, every, {})
    event(f"{rule} removes: {bool(verdict.remove)}")
    for gone in verdict.remove:
        later = [at_of(name) - at_of(gone) for name in verdict.keep if at_of(name) > at_of(gone)]
        assert min(later) <= LONGEST[rule]
