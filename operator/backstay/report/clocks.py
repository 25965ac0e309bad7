"""What is said of the hosts' clocks; nothing is decided by them (rule *No wall clock*)."""

from __future__ import annotations

from collections.abc import Mapping

from backstay.api.words import ConditionType, Reason
from backstay.report.leader import SKEW_S
from backstay.report.verdict import Truth, Verdict

CALM_S = SKEW_S / 2
"""A clock that was off counts as right again below this, so that none near the limit flaps."""
NEXT_STEP = "run an NTP service at the host: timedatectl set-ntp true"
OURS_FIRST = "all hosts agree with each other, so look at the clock of the operator's node first"


def known_skew_s(skew_s: float, uncertainty_s: float, told_s: int | None) -> int | None:
    """The skew in whole seconds, as far as one answer tells it; else as it was told before.

    | half the round trip                        | the skew is          |
    |--------------------------------------------|----------------------|
    | at most 1 s                                | what was measured    |
    | more, and the clock is off in any case     | the least it can be  |
    | more                                       | told before, if ever |
    """
    if uncertainty_s <= CALM_S:
        return round(skew_s)
    least_s = abs(skew_s) - uncertainty_s
    if least_s > SKEW_S:
        return round(least_s if skew_s > 0 else -least_s)
    return told_s


def skew_text(skew_s: int) -> str:
    """How a clock stands to the operator's."""
    if not skew_s:
        return "its clock is right"
    side = "ahead of" if skew_s > 0 else "behind"
    return f"its clock is {abs(skew_s)} s {side} the operator's"


def judge_clocks(skews_s: Mapping[str, int], hosts: int, was: Truth | None) -> Verdict:
    """`ClocksAgree`, from the skews by host of those that told theirs; `hosts`: of how many.

    `was`: the condition's status before, for the calm between right and off.
    """
    if not skews_s:
        said = "no host has told its clock yet"
        return _verdict("Unknown", Reason.NEVER_OBSERVED, said)
    limit_s = CALM_S if was == "False" else SKEW_S
    off = {host: s for host, s in skews_s.items() if abs(s) > limit_s}
    if not off:
        told = f"{len(skews_s)} of {hosts} hosts told their clocks"
        said = f"{told}, all within {SKEW_S:.0f} s of the operator's"
        return _verdict("True", Reason.CLOCKS_RIGHT, said)
    host, worst_s = max(off.items(), key=lambda one: abs(one[1]))
    more = f" (and {len(off) - 1} more of {hosts} hosts)" if len(off) > 1 else ""
    step = OURS_FIRST if _agree(skews_s) else NEXT_STEP
    return _verdict("False", Reason.CLOCK_OFF, f"{host}: {skew_text(worst_s)}{more}: {step}")


def _agree(skews_s: Mapping[str, int]) -> bool:
    """Whether several hosts have one time, which is not the operator's."""
    return len(skews_s) > 1 and max(skews_s.values()) - min(skews_s.values()) <= SKEW_S


def _verdict(status: Truth, reason: Reason, message: str) -> Verdict:
    return Verdict(type=ConditionType.CLOCKS_AGREE, status=status, reason=reason, message=message)
