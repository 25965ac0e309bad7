"""What a Site says of its hosts' clocks: the number, the next step, and no flapping."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from backstay.api.v1alpha1.site import SiteStatus
from backstay.report.clocks import known_skew_s
from backstay.report.site import HostView, site_status

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def status(skews_s: dict[str, float], before: SiteStatus | None = None) -> SiteStatus:
    """A Site whose hosts have these clocks."""
    views = [HostView(name=name, clock_skew_s=skew_s) for name, skew_s in skews_s.items()]
    known = before or SiteStatus()
    return site_status(known, views, generation=1, requested_at=None, now=NOW)


def told(site: SiteStatus) -> tuple[str, str, str]:
    """(status, reason, message) of `ClocksAgree`."""
    (found,) = [c for c in site.conditions if c.type == "ClocksAgree"]
    return found.status, found.reason, found.message


@pytest.mark.fault("clocks of two hosts differ by five minutes")
@pytest.mark.parametrize(
    ("skews_s", "expected"),
    [
        ({"a": 0.4, "b": -2.4}, ("True", "ClocksRight", "2 of 2 hosts")),
        ({"a": 0.0, "b": 3.0}, ("False", "ClockOff", "b: its clock is 3 s ahead of the operator")),
        ({"a": 3.0, "b": -150.0}, ("False", "ClockOff", "b: its clock is 150 s behind")),
        ({"a": 3.0, "b": -150.0}, ("False", "ClockOff", "(and 1 more of 2 hosts)")),
        ({"a": 3.0, "b": -150.0}, ("False", "ClockOff", "timedatectl set-ntp true")),
        # It is not two clocks that are wrong by the same, it is one.
        ({"a": 301.0, "b": 300.0}, ("False", "ClockOff", "the clock of the operator's node first")),
        ({}, ("Unknown", "NeverObserved", "no host has told its clock yet")),
    ],
)
def test_a_clock_that_is_off_is_a_condition_with_the_seconds_and_the_next_step(
    skews_s: dict[str, float], expected: tuple[str, str, str]
) -> None:
    *words, part = expected
    *said, message = told(status(skews_s))
    assert said == words
    assert part in message


def test_a_clock_near_the_limit_does_not_turn_the_condition_each_minute() -> None:
    right = status({"a": 2.0})
    assert told(right)[0] == "True"
    off = status({"a": 3.0}, right)
    assert told(off)[0] == "False"
    assert told(status({"a": 2.0}, off))[0] == "False"
    assert told(status({"a": 1.0}, off))[0] == "True"


@pytest.mark.parametrize(
    ("skew_s", "uncertainty_s", "told_s", "known_s"),
    [
        (150.2, 0.05, None, 150),
        (-2.6, 1.0, 0, -3),
        (4.0, 5.0, 0, 0),  # the host was busy: nothing new is known
        (4.0, 5.0, None, None),
        (60.0, 5.0, 0, 55),  # but so much it is off in any case
        (-60.0, 5.0, 0, -55),
    ],
)
def test_a_skew_is_told_no_better_than_half_the_round_trip_allows(
    skew_s: float, uncertainty_s: float, told_s: int | None, known_s: int | None
) -> None:
    assert known_skew_s(skew_s, uncertainty_s, told_s) == known_s
