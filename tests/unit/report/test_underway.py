"""What is said of streams under way, and from when on one of them is a danger."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from backstay.api.v1alpha1.replicationpair import TransferProgress
from backstay.report.underway import (
    StreamFacts,
    bar_of,
    judge_streams,
    limit_of_s,
    transfer_progress,
)

NOW = datetime(2030, 1, 1, tzinfo=UTC)
MIB = 1024 * 1024
STREAM = StreamFacts(
    member="d0",
    expected_bytes=100 * MIB,
    moved_bytes=40 * MIB,
    left_bytes=60 * MIB,
    bytes_per_s=2.0 * MIB,
    elapsed_s=25.0,
    still_s=1.0,
    has_moved=True,
    stood_ago_s=None,
    in_pass=True,
    is_seed=False,
    passes_s=(2.0,) * 15,
)


def reason(stream: StreamFacts, rpo_s: int | None = 300) -> str | None:
    found = judge_streams([STREAM, stream], rpo_s)
    return None if found is None else found.reason


@pytest.mark.rule("RPO truth")
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, None),
        ({"still_s": 19.0}, None),
        ({"still_s": 20.0}, "TransferStalled"),
        ({"still_s": 44.0, "has_moved": False}, None),
        ({"still_s": 45.0, "has_moved": False}, "TransferStalled"),
        # moves again, but has stood still a moment ago: one event, not one for each pause
        ({"stood_ago_s": 59.0}, "TransferStalled"),
        ({"stood_ago_s": 60.0}, None),
        ({"still_s": 20.0, "is_seed": True, "in_pass": False}, "TransferStalled"),
        ({"elapsed_s": 30.0}, None),
        ({"elapsed_s": 31.0}, "TransferSlow"),
        ({"elapsed_s": 5e5, "is_seed": True, "in_pass": False}, None),
        ({"elapsed_s": 31.0, "in_pass": False}, None),
        ({"elapsed_s": 151.0, "in_pass": False}, "TransferSlow"),
    ],
)
def test_a_stream_that_stands_still_or_takes_too_long_puts_the_rpo_at_risk(
    change: dict[str, float], expected: str | None
) -> None:
    assert reason(replace(STREAM, **change)) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("passes_s", "rpo_s", "limit_s"),
    [
        ((2.0,) * 15, 300, 30.0),  # a tenth of the RPO: much longer than usual, and no matter yet
        ((20.0,) * 15, 300, 60.0),  # 3 × p95
        ((20.0,) * 14 + (90.0,), 300, 123.0),  # of 15: the outlier counts for 3 tenths
        ((70.0,) * 15, 300, 150.0),  # half of the RPO, where passes are that long anyway
        ((2.0,) * 2, 300, 150.0),  # two passes tell nothing
        ((2.0,) * 15, None, None),
    ],
)
def test_the_limit_is_three_times_the_p95_of_the_last_passes_within_the_rpo(
    passes_s: tuple[float, ...], rpo_s: int | None, limit_s: float | None
) -> None:
    found = limit_of_s(replace(STREAM, passes_s=passes_s), rpo_s)
    assert found == (None if limit_s is None else pytest.approx(limit_s))


def test_the_message_has_the_numbers_and_the_next_step() -> None:
    slow = judge_streams([replace(STREAM, elapsed_s=31.0)], 300)
    assert slow is not None
    assert slow.message == (
        "d0: under way for 31s, 19 of 20 passes took 2.0 s at most (the last 15), the RPO is "
        "300 s; 40.0 MiB of about 100.0 MiB have moved, 2.0 MiB/s, about 30s left: see what was "
        "written to the source, and the network"
    )
    still = judge_streams([replace(STREAM, still_s=25.0)], 300)
    assert still is not None
    assert still.message == (
        "d0: no byte has moved for 25s, 40.0 MiB of about 100.0 MiB have moved; if that lasts, "
        "both ends are stopped and it goes on from what has arrived: see the network and the load "
        "of both hosts"
    )


def test_streams_are_told_as_one_and_end_with_the_last_of_them() -> None:
    seed = replace(STREAM, expected_bytes=10, moved_bytes=30, left_bytes=60 * MIB, elapsed_s=5.0)
    told = transfer_progress([STREAM, replace(seed, bytes_per_s=1.0 * MIB)], NOW)
    assert told == TransferProgress(
        time=NOW,
        start_time=NOW - timedelta(seconds=25),
        streams=2,
        bytes=40 * MIB + 30,
        expected_bytes=100 * MIB + 10,
        bytes_per_second=3 * MIB,
        seconds_left=60,
    )


def test_what_is_over_soon_is_not_told_and_no_end_is_made_up() -> None:
    assert transfer_progress([], NOW) is None
    assert transfer_progress([replace(STREAM, elapsed_s=19.0)], NOW) is None
    standing = transfer_progress([STREAM, replace(STREAM, bytes_per_s=0.0)], NOW)
    assert standing is not None
    assert standing.seconds_left is None


@pytest.mark.parametrize(
    ("age_s", "moved", "says"),
    [
        (0, 40 * MIB, "40.0 MiB of about 100.0 MiB, 2.0 MiB/s, 30s left"),
        (10, 60 * MIB, "60.0 MiB of about 100.0 MiB, 2.0 MiB/s, 20s left"),
        (60, 100 * MIB - 1, "100.0 MiB of about 100.0 MiB, 2.0 MiB/s, 0s left"),
        (91, 40 * MIB, "40.0 MiB of about 100.0 MiB, 2.0 MiB/s, 30s left, as of 91s ago"),
        (-5, 40 * MIB, "40.0 MiB of about 100.0 MiB, 2.0 MiB/s, 30s left"),
    ],
)
def test_between_two_writes_a_bar_goes_on_at_the_last_rate_and_never_arrives(
    age_s: float, moved: int, says: str
) -> None:
    told = transfer_progress([STREAM], NOW)
    assert told is not None
    bar = bar_of(told, NOW + timedelta(seconds=age_s))
    assert (bar.moved_bytes, bar.expected_bytes, bar.says) == (moved, 100 * MIB, says)
