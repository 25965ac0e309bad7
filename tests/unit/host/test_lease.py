"""The heartbeat's arithmetic: no answer, however late or odd, extends a dead Lease."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay_host.lease import FIRST_BEAT_S, Lease


def test_the_deadline_counts_from_the_question_not_from_the_answer() -> None:
    lease = Lease(100.0)
    assert lease.remaining_s(100.0) == FIRST_BEAT_S
    lease.ask("a", 101.0)
    lease.answer("a", 20.0)
    assert lease.remaining_s(115.0) == 6.0


@pytest.mark.parametrize(
    ("nonce", "remaining_s"),
    [("unknown", 900.0), ("b", math.inf), ("b", math.nan), ("a", 900.0)],
    ids=["never asked", "endless", "no number", "answered before"],
)
def test_odd_answers_change_nothing(nonce: str, remaining_s: float) -> None:
    lease = Lease(0.0)
    lease.ask("a", 1.0)
    lease.answer("a", 5.0)
    lease.ask("b", 2.0)
    lease.answer(nonce, remaining_s)
    assert lease.remaining_s(0.0) == 6.0


def test_an_answer_overtaken_by_a_later_one_changes_nothing() -> None:
    lease = Lease(0.0)
    lease.ask("a", 1.0)
    lease.ask("b", 4.0)
    lease.answer("b", 0.0)
    lease.answer("a", 900.0)
    assert lease.remaining_s(4.0) == 0.0


@given(st.lists(st.tuples(st.floats(0, 50), st.floats(0, 50), st.floats(0, 30)), max_size=20))
def test_the_deadline_never_outlives_the_lease(beats: list[tuple[float, float, float]]) -> None:
    """Beats: seconds until asked, until answered by a leader whose Lease then has so much left."""
    lease, now, latest = Lease(0.0), 0.0, FIRST_BEAT_S
    for number, (wait_s, way_s, left_s) in enumerate(beats):
        now += wait_s
        lease.ask(str(number), now)
        latest = max(latest, now + way_s + left_s)
        lease.answer(str(number), left_s)
        now += way_s
        assert now + lease.remaining_s(now) <= latest + 1e-6
