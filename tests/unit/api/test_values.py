"""The small languages of the API."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.api.values import (
    Schedule,
    duration_seconds,
    duration_text,
    is_below,
    parse_schedule,
    pool_of,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1s", 1), ("30s", 30), ("5m", 300), ("24h", 86_400), ("999999h", 3_599_996_400)],
)
def test_a_duration_is_its_seconds(text: str, seconds: int) -> None:
    assert duration_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "0s", "5", "m", "5d", "1h30m", " 5m", "5m\n", "-5m", "٥m"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write a number and s, m or h, as in 5m"):
        duration_seconds(text)


@given(st.integers(min_value=1, max_value=999_999))
def test_a_duration_survives_its_text(seconds: int) -> None:
    assert duration_seconds(duration_text(seconds)) == seconds


@pytest.mark.parametrize(
    ("seconds", "text"), [(300, "5m"), (3600, "1h"), (90, "90s"), (5400, "90m"), (1, "1s")]
)
def test_the_text_of_a_duration_is_short(seconds: int, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("text", "schedule"),
    [
        ("1x-14d-4w", Schedule(1, 14, 4)),
        ("24x-7d-4w-6m", Schedule(24, 7, 4, 6)),
        ("1x-7d", Schedule(1, 7)),
        ("2x-7d-10y", Schedule(2, 7, yearly=10)),
    ],
)
def test_a_schedule_is_runs_and_points_kept(text: str, schedule: Schedule) -> None:
    assert parse_schedule(text) == schedule


@pytest.mark.parametrize(
    "text", ["", "1x", "x-7d", "0x-7d", "1x-0d", "1x-4w", "1x-7d-6m-4w", "1x-7d-"]
)
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write Nx-Dd"):
        parse_schedule(text)


def test_a_dataset_lies_in_its_pool() -> None:
    assert pool_of("tank/vm/disk-0") == "tank"
    assert pool_of("tank") == "tank"


def test_below_is_strict_and_ends_at_a_slash() -> None:
    assert is_below("tank/vm/disk", "tank/vm")
    assert not is_below("tank/vm", "tank/vm")
    assert not is_below("tank/vm2", "tank/vm")
