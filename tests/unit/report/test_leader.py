"""Who leads, as a reader of the Lease can tell."""

from __future__ import annotations

from datetime import timedelta

import pytest

from backstay.report.leader import Leader, LeaseSeen, LeaseUnseen, judge_leader
from fakes.reported import NOW


def lease(age_s: float | None, holder: str = "pod-1") -> LeaseSeen:
    renewed = None if age_s is None else NOW - timedelta(seconds=age_s)
    return LeaseSeen(
        place="backstay/backstay", holder=holder, term=7, duration_s=30, renewed_at=renewed
    )


@pytest.mark.parametrize(
    ("seen", "leads"),
    [
        (lease(2), True),
        (lease(30), True),
        (lease(31), False),
        (lease(2, holder=""), False),
        (lease(None), None),
        (lease(-10), True),
        (lease(-3600), None),
        (LeaseUnseen(place="backstay/backstay", why="does not exist"), None),
    ],
)
def test_a_leader_is_one_whose_lease_was_renewed_in_time(
    seen: LeaseSeen | LeaseUnseen, leads: bool | None
) -> None:
    judged = judge_leader(seen, NOW)
    assert judged.leads is leads
    assert "backstay/backstay" in judged.says
    assert bool(judged.next_step) is (leads is not True)


def test_a_renewal_in_the_future_shows_that_the_readers_clock_is_behind() -> None:
    assert judge_leader(lease(-10), NOW).ahead_s == 10
    assert judge_leader(lease(10), NOW).ahead_s == 0


def test_a_silent_leader_is_said_with_its_silence() -> None:
    judged: Leader = judge_leader(lease(7200), NOW)
    assert "not renewed for 120m; it lasts 30s" in judged.says
    assert "`kubectl -n backstay logs deployment/backstay`" in judged.next_step
