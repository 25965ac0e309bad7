"""Streams under way: how far they are, and whether one of them puts the RPO at risk.

    a stream                                                      -> AtRisk
    has moved no byte for 20 s, or within the last minute had not -> TransferStalled
    has not moved its first byte within 45 s                      -> TransferStalled
    of a pass takes 3 × the p95 of the last passes                -> TransferSlow
      (not before a tenth of the RPO, no later than half of it)
    beside the passes takes half of the RPO                       -> TransferSlow
    is a first copy                                               -> only if it stands still

One that stands still is ended by the watches at both ends and goes on from what has arrived; one
that is slow is left alone, since to begin anew would make it slower.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from backstay.api.v1alpha1.replicationpair import TransferProgress
from backstay.api.words import ConditionType, Reason
from backstay.report.achievable import LEAST_PASSES
from backstay.report.ages import age_text, bytes_text
from backstay.report.verdict import Verdict

STILL_S = 20.0
"""A third of the time after which the watches end a stream: a busy pool pauses for 5 s, a txg."""
FIRST_BYTE_S = 45.0
"""Two logins, two starts of the program, and the look before the act."""
STEADY_S = 60.0
"""A stream that stood still counts as steady after so long, so that its pauses are one event."""
SHOWN_AFTER_S = 20.0
"""A shorter transfer is over before anybody has read of it, and costs no write."""
FRESH_S = 90.0
"""A status of streams is written once a minute, and such a write may wait for its place."""
_TIMES_USUAL = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamFacts:
    """A stream under way that carries members of a pair, as of now.

    Bytes to come are the plan's estimate. `expected_bytes` and `moved_bytes` are of the pair's
    members alone; `left_bytes` of all that are in it: points count when all of it has ended.
    """

    member: str
    """The one at work, perhaps of another pair."""
    expected_bytes: int
    moved_bytes: int
    left_bytes: int
    bytes_per_s: float | None
    elapsed_s: float
    still_s: float
    """Since a byte has moved, or since it began."""
    has_moved: bool
    stood_ago_s: float | None
    """Since when it moves again after it had stood still; None if it never has."""
    in_pass: bool
    is_seed: bool
    passes_s: tuple[float, ...]
    """How long the last passes of its route took."""

    @property
    def is_still(self) -> bool:
        """Whether it stands still, or had done so a moment ago."""
        if self.stood_ago_s is not None and self.stood_ago_s < STEADY_S:
            return True
        return self.still_s >= (STILL_S if self.has_moved else FIRST_BYTE_S)

    @property
    def seconds_left(self) -> float | None:
        """Until its end at the present rate; None while there is none."""
        return self.left_bytes / self.bytes_per_s if self.bytes_per_s else None


def judge_streams(streams: Sequence[StreamFacts], rpo_s: int | None) -> Verdict | None:
    """The condition `AtRisk`; None while no stream puts anything at risk."""
    still = [s for s in streams if s.is_still]
    if still:
        return _stalled(max(still, key=lambda s: s.still_s))
    slow = [
        (s.elapsed_s / limit_s, s)
        for s in streams
        if (limit_s := limit_of_s(s, rpo_s)) is not None and s.elapsed_s > limit_s
    ]
    return _slow(max(slow, key=lambda one: one[0])[1], rpo_s) if slow else None


def limit_of_s(stream: StreamFacts, rpo_s: int | None) -> float | None:
    """How long the stream may take before it is said; None: as long as it likes."""
    if rpo_s is None or stream.is_seed:
        return None
    usual_s = _usual_s(stream)
    if usual_s is None:
        return rpo_s / 2
    return min(max(_TIMES_USUAL * usual_s, rpo_s / 10), rpo_s / 2)


def transfer_progress(streams: Sequence[StreamFacts], now: datetime) -> TransferProgress | None:
    """What status says of the streams; None while all of them are short."""
    if not streams or max(s.elapsed_s for s in streams) < SHOWN_AFTER_S:
        return None
    rates = [s.bytes_per_s for s in streams if s.bytes_per_s is not None]
    lefts = [s.seconds_left for s in streams]
    known = [left for left in lefts if left is not None]
    moved = sum(s.moved_bytes for s in streams)
    return TransferProgress(
        time=now,
        start_time=now - timedelta(seconds=max(s.elapsed_s for s in streams)),
        streams=len(streams),
        bytes=moved,
        expected_bytes=max(sum(s.expected_bytes for s in streams), moved),
        bytes_per_second=round(sum(rates)) if rates else None,
        seconds_left=round(max(known)) if len(known) == len(lefts) else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """How far streams are by a reader's clock; between two writes it goes on at the last rate."""

    moved_bytes: int
    expected_bytes: int
    says: str


def bar_of(progress: TransferProgress, now: datetime) -> Bar:
    """What a reader sees of the progress in a status.

    What the last rate adds is an estimate and never completes it; an old status adds nothing.
    """
    age_s = max(0.0, (now - progress.time).total_seconds())
    fresh_s = age_s if age_s <= FRESH_S else 0.0
    moved = progress.bytes + (progress.bytes_per_second or 0) * fresh_s
    moved = min(moved, max(progress.expected_bytes - 1, progress.bytes))
    parts = [f"{bytes_text(moved)} of about {bytes_text(progress.expected_bytes)}"]
    if progress.bytes_per_second is not None:
        parts.append(f"{bytes_text(progress.bytes_per_second)}/s")
    if progress.seconds_left is not None:
        parts.append(f"{age_text(progress.seconds_left - fresh_s)} left")
    if age_s > FRESH_S:
        parts.append(f"as of {age_text(age_s)} ago")
    return Bar(
        moved_bytes=int(moved), expected_bytes=progress.expected_bytes, says=", ".join(parts)
    )


def _usual_s(stream: StreamFacts) -> float | None:
    """The p95 of the passes, of which the stream is a part; None when it is not, or too few."""
    if not stream.in_pass or len(stream.passes_s) < LEAST_PASSES:
        return None
    return statistics.quantiles(stream.passes_s, n=20, method="inclusive")[-1]


def _stalled(stream: StreamFacts) -> Verdict:
    since = age_text(stream.still_s)
    how = f"no byte has moved for {since}" if stream.has_moved else f"no byte came within {since}"
    if stream.still_s < STILL_S:
        how = f"moves again since {age_text(stream.stood_ago_s or 0.0)}, after it had stood still"
    said = (
        f"{stream.member}: {how}, {_amount(stream)}; if that lasts, both ends are stopped and it "
        f"goes on from what has arrived: see the network and the load of both hosts"
    )
    return _at_risk(Reason.TRANSFER_STALLED, said)


def _slow(stream: StreamFacts, rpo_s: int | None) -> Verdict:
    usual_s = _usual_s(stream)
    usual = f"the RPO is {rpo_s} s"
    if usual_s is not None:
        count = len(stream.passes_s)
        usual = f"19 of 20 passes took {usual_s:.1f} s at most (the last {count}), {usual}"
    left = "" if stream.seconds_left is None else f", about {age_text(stream.seconds_left)} left"
    rate = "" if stream.bytes_per_s is None else f", {bytes_text(stream.bytes_per_s)}/s"
    said = (
        f"{stream.member}: under way for {age_text(stream.elapsed_s)}, {usual}; "
        f"{_amount(stream)}{rate}{left}: see what was written to the source, and the network"
    )
    return _at_risk(Reason.TRANSFER_SLOW, said)


def _amount(stream: StreamFacts) -> str:
    expected = max(stream.expected_bytes, stream.moved_bytes)
    return f"{bytes_text(stream.moved_bytes)} of about {bytes_text(expected)} have moved"


def _at_risk(reason: Reason, message: str) -> Verdict:
    return Verdict(type=ConditionType.AT_RISK, status="True", reason=reason, message=message)
