"""Whether a pair's passes are quick enough for its RPO, with the sum in words.

    measured                                             -> Achievable
    fewer than 3 passes of one of its routes             -> Unknown, or as it was told before
    interval + 1.5 × mean of the last passes ≤ RPO       -> True
    more                                                 -> False, and what would help

The slowest route counts. Passes that take longer than the interval follow each other without a
pause, and their own duration counts for it. A pass that takes half as long again as usual then
still ends in time. First copies run beside the passes and are not in the mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor

from backstay.api.v1alpha1.protectionpolicy import LEAST_INTERVAL
from backstay.api.values import duration_seconds, duration_text
from backstay.api.words import ConditionType, Reason
from backstay.report.verdict import Truth, Verdict

LEAST_PASSES = 3
"""One pass after a restart or a first copy tells nothing about the next."""
ROOM = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What is asked of a pair and what its routes have shown.

    `durations_s`: of the last passes that saw both sides, for each route. None is unknown.
    """

    rpo_s: int | None
    interval_s: float | None
    durations_s: Sequence[Sequence[float]]


def judge_pace(pace: Pace, told: Verdict | None) -> Verdict:
    """The condition `Achievable`. `told`: what was said before of the same RPO, if anything."""
    passes = min((len(one) for one in pace.durations_s), default=0)
    if pace.rpo_s is None or pace.interval_s is None or passes < LEAST_PASSES:
        return told or _not_measured(pace, passes)
    slowest = max(pace.durations_s, key=_mean_s)
    # Whole seconds: the sum in the message is the one that is judged, and it rests in a calm.
    mean_s = ceil(_mean_s(slowest))
    every_s = max(pace.interval_s, mean_s)
    needed_s = every_s + ROOM * mean_s
    sum_said = (
        f"a pass every {_text(every_s)} s + {ROOM} × {mean_s} s (mean of the last "
        f"{len(slowest)}) = {_text(needed_s)} s of {pace.rpo_s} s"
    )
    if needed_s <= pace.rpo_s:
        return _verdict("True", Reason.PASSES_FIT, sum_said)
    help_said = _what_helps(pace.rpo_s, mean_s)
    return _verdict("False", Reason.PASSES_TOO_LONG, f"{sum_said}: {help_said}")


def _what_helps(rpo_s: int, mean_s: int) -> str:
    """A shorter interval if one is short enough, else an RPO that such passes can keep."""
    least_s = duration_seconds(LEAST_INTERVAL)
    longest_s = floor(rpo_s - ROOM * mean_s)
    if longest_s >= max(least_s, mean_s):
        return f"set replication.interval to {duration_text(longest_s)} or less"
    rpo = duration_text(ceil(max(least_s, mean_s) + ROOM * mean_s))
    return f"no interval is short enough: make the passes quicker, or the RPO {rpo} or more"


def _not_measured(pace: Pace, passes: int) -> Verdict:
    if pace.rpo_s is None or pace.interval_s is None:
        said = "no RPO or no interval is known: see Ready"
    else:
        said = f"{passes} passes were measured, {LEAST_PASSES} tell enough"
    return _verdict("Unknown", Reason.NOT_MEASURED, said)


def _mean_s(durations_s: Sequence[float]) -> float:
    return sum(durations_s) / len(durations_s)


def _text(seconds: float) -> str:
    return f"{seconds:.1f}".removesuffix(".0")


def _verdict(status: Truth, reason: Reason, message: str) -> Verdict:
    return Verdict(type=ConditionType.ACHIEVABLE, status=status, reason=reason, message=message)
