"""What the status of a pair says of sources that make room for a rollback."""

from __future__ import annotations

from collections.abc import Sequence

from backstay.api.words import ConditionType, Reason
from backstay.domain.pairs import PairState, typed
from backstay.domain.yielding import YieldState
from backstay.report.ages import stamp
from backstay.report.verdict import Verdict


def judge_yields(states: Sequence[PairState]) -> Verdict | None:
    """The condition `Yielding`; None when nobody has asked for room, or the time is over."""
    found = [one for state in states for one in state.yields]
    fault = next((s.yield_fault for s in states if s.yield_fault), "")
    if fault:
        said = f"what was approved cannot be read: {fault}"
        return _verdict("False", Reason.APPROVAL_VOID, said)
    if not found:
        return None
    if (void := next((one for one in found if one.void), None)) is not None:
        again = f"run `kubectl backstay yield {typed(void.pair)}` again for what is there now"
        said = f"the approval of {void.pair} is void: {void.void}; nothing more goes: {again}"
        return _verdict("False", Reason.APPROVAL_VOID, said)
    if (stuck := next((one for one in found if one.left), None)) is not None:
        why = stuck.failure or "still to go"
        said = f"{stuck.left} points of {stuck.source} newer than @{stuck.to}: {why}"
        return _verdict("False", Reason.ROOM_MISSING, f"{said}; tried again by itself")
    if (foreign := next((one for one in found if one.foreign), None)) is not None:
        said = f"{foreign.foreign} is newer than @{foreign.to} and not ours: remove it yourself"
        return _verdict("False", Reason.ROOM_MISSING, said)
    return _verdict("True", Reason.MAKES_ROOM, _room(found))


def _room(found: Sequence[YieldState]) -> str:
    last = max(found, key=lambda one: one.until)
    return (
        f"{len(found)} sources take no new point until {stamp(last.until)}, so that {last.source} "
        f"can be rolled back to @{last.to} (asked for at {last.pair}); then it goes on by itself"
    )


def _verdict(status: str, reason: Reason, message: str) -> Verdict:
    is_true = status == "True"
    return Verdict(
        type=ConditionType.YIELDING,
        status="True" if is_true else "False",
        reason=reason,
        message=message,
    )
