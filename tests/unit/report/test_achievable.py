"""Whether passes are quick enough, and the sum that says so."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.api.values import duration_seconds
from backstay.api.words import ConditionType, Reason
from backstay.report.achievable import Pace, judge_pace
from backstay.report.verdict import Verdict

TOLD = Verdict(
    type=ConditionType.ACHIEVABLE, status="True", reason=Reason.PASSES_FIT, message="as before"
)


def judge(*durations_s: float, rpo_s: int = 300, interval_s: float = 150) -> tuple[str, str, str]:
    pace = Pace(rpo_s=rpo_s, interval_s=interval_s, durations_s=(durations_s,))
    verdict = judge_pace(pace, None)
    return verdict.status, verdict.reason, verdict.message


def test_the_sum_is_in_the_message() -> None:
    says = "a pass every 150 s + 1.5 × 92 s (mean of the last 15) = 288 s of 300 s"
    assert judge(*[91.5] * 15) == ("True", "PassesFit", says)


def test_the_rpo_itself_is_within_it() -> None:
    assert judge(100, 100, 100)[0] == "True"
    assert judge(100, 100, 101)[0] == "False"


def test_what_is_too_long_says_which_interval_would_do() -> None:
    status, reason, says = judge(110, 120, 100)
    assert (status, reason) == ("False", "PassesTooLong")
    assert says == (
        "a pass every 150 s + 1.5 × 110 s (mean of the last 3) = 315 s of 300 s: "
        "set replication.interval to 135s or less"
    )


def test_where_no_interval_would_do_it_says_which_rpo_would() -> None:
    assert judge(200, 200, 200)[2] == (
        "a pass every 200 s + 1.5 × 200 s (mean of the last 3) = 500 s of 300 s: "
        "no interval is short enough: make the passes quicker, or the RPO 500s or more"
    )


def test_passes_that_follow_each_other_come_no_more_often_than_they_end() -> None:
    assert judge(130, 130, 130, interval_s=15)[0] == "False"


@pytest.mark.parametrize("passes", [0, 1, 2])
def test_before_three_passes_nothing_is_known(passes: int) -> None:
    says = f"{passes} passes were measured, 3 tell enough"
    assert judge(*[1.0] * passes) == ("Unknown", "NotMeasured", says)


def test_until_then_what_was_told_before_counts() -> None:
    pace = Pace(rpo_s=300, interval_s=150, durations_s=((500.0, 500.0),))
    assert judge_pace(pace, TOLD) is TOLD
    measured = Pace(rpo_s=300, interval_s=150, durations_s=((500.0, 500.0, 500.0),))
    assert judge_pace(measured, TOLD).status == "False"


def test_the_slowest_route_counts_and_each_must_be_measured() -> None:
    quick, slow = (1.0, 1.0, 1.0), (200.0, 200.0, 200.0)
    both = Pace(rpo_s=300, interval_s=150, durations_s=(quick, slow))
    assert judge_pace(both, None).status == "False"
    new = Pace(rpo_s=300, interval_s=150, durations_s=(quick, ()))
    assert judge_pace(new, None).status == "Unknown"


@pytest.mark.parametrize(("rpo_s", "interval_s"), [(None, 150.0), (300, None), (None, None)])
def test_without_an_rpo_or_an_interval_nothing_is_known(
    rpo_s: int | None, interval_s: float | None
) -> None:
    pace = Pace(rpo_s=rpo_s, interval_s=interval_s, durations_s=((1.0, 1.0, 1.0),))
    assert judge_pace(pace, None).reason == Reason.NOT_MEASURED
    assert judge_pace(Pace(rpo_s=None, interval_s=None, durations_s=()), TOLD) is TOLD


@given(
    rpo_s=st.integers(30, 86_400),
    mean_s=st.floats(0, 3600),
    interval=st.floats(0, 1),
)
def test_what_it_says_would_help_does_help(rpo_s: int, mean_s: float, interval: float) -> None:
    interval_s = max(15.0, rpo_s * interval)
    status, _, says = judge(*[mean_s] * 3, rpo_s=rpo_s, interval_s=interval_s)
    if status == "True":
        return
    advice = says.rpartition("replication.interval to ")[2].removesuffix(" or less")
    if "replication.interval" in says:
        interval_s = duration_seconds(advice)
        assert interval_s >= 15
    else:
        rpo_s = duration_seconds(says.rpartition("the RPO ")[2].removesuffix(" or more"))
        interval_s = 15
    assert judge(*[mean_s] * 3, rpo_s=rpo_s, interval_s=interval_s)[0] == "True"
