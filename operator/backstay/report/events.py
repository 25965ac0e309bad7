"""Which Kubernetes Events a change of status is worth: turns of conditions, nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from backstay.api.words import ConditionType, Reason
from backstay.report.conditions import conditions_of

# Each pass sets and ends the first, which would be a heartbeat; a Site's Ready says the second.
_SILENT = frozenset({ConditionType.RECONCILING, ConditionType.HOSTS_REACHABLE})
# True is the bad news of these, False of all others.
_BAD_WHEN_TRUE = frozenset(
    {
        ConditionType.AT_RISK,
        ConditionType.STALLED,
        ConditionType.DIVERGED,
        ConditionType.FOREIGN_WRITER,
        ConditionType.POOL_SEEN_TWICE,
    }
)
_NEUTRAL = frozenset({ConditionType.SUSPENDED, ConditionType.YIELDING})
_AWAITED = {
    ConditionType.READY: ("Unknown", Reason.NEVER_OBSERVED),
    ConditionType.ACHIEVABLE: ("Unknown", Reason.NOT_MEASURED),
    ConditionType.CLOCKS_AGREE: ("Unknown", Reason.NEVER_OBSERVED),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """An Event to be: what turned, to what, and why."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


Status: TypeAlias = Mapping[str, Any]


def turns(old: Status, new: Status) -> tuple[Turn, ...]:
    """One Event for each condition whose status or reason has changed.

    | before         | after                    | Event                         |
    |----------------|--------------------------|-------------------------------|
    | absent         | good                     | none: a beginning is no turn  |
    | awaited        | good                     | none, for Ready, Achievable   |
    |                |                          | and ClocksAgree: so is this   |
    | anything       | bad, or bad for new      | Warning with its reason       |
    | anything       | good, with a new status  | Normal with its reason        |
    | good           | good, only a new reason  | none                          |
    | bad            | absent                   | Normal, `<type>Ended`         |
    | not good       | not yet, as in Seeding   | Normal for Ready, else none   |
    """
    before = {c["type"]: c for c in conditions_of(old)}
    after = {c["type"]: c for c in conditions_of(new)}
    found = [_turn(before.get(kind), condition) for kind, condition in after.items()]
    found += [_ended(condition) for kind, condition in before.items() if kind not in after]
    return tuple(turn for turn in found if turn is not None)


def _turn(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> Turn | None:
    kind, now = after["type"], (after["status"], after["reason"])
    was = None if before is None else (before["status"], before["reason"])
    if kind in _SILENT or now == was:
        return None
    if was is not None and was == _AWAITED.get(kind) and after["status"] == "True":
        return None
    message = f"{kind}={after['status']}: {after.get('message', '')}".rstrip(": ")
    if _is_bad(after):
        return Turn(type="Warning", reason=after["reason"], message=message)
    if kind != ConditionType.READY and _is_not_yet(after) and (was is None or was[0] != "True"):
        return None
    if kind in _NEUTRAL or (before is not None and before["status"] != after["status"]):
        return Turn(type="Normal", reason=after["reason"], message=message)
    return None


def _ended(before: Mapping[str, Any]) -> Turn | None:
    kind = before["type"]
    if kind in _SILENT or not (_is_bad(before) or kind in _NEUTRAL):
        return None
    return Turn(
        type="Normal", reason=f"{kind}Ended", message=f"{kind} is over: it was {before['reason']}"
    )


def _is_bad(condition: Mapping[str, Any]) -> bool:
    kind, status = condition["type"], condition["status"]
    if kind in _NEUTRAL:
        return bool(status == "False")
    if kind in _BAD_WHEN_TRUE:
        return bool(status == "True")
    return bool(status != "True") and not _is_not_yet(condition)


def _is_not_yet(condition: Mapping[str, Any]) -> bool:
    kind, status = condition["type"], condition["status"]
    if kind == ConditionType.POOLS_HEALTHY and status == "Unknown":
        return True  # Ready says why nothing is known of them
    return bool(status != "True") and kind not in _NEUTRAL and condition["reason"] in _NOT_YET


# Nothing went wrong yet where nothing was tried.
_NOT_YET = frozenset(
    {
        Reason.WAITING_FOR_FIRST_POINT,
        Reason.NEVER_OBSERVED,
        Reason.NOT_MEASURED,
        Reason.SEEDING,
        Reason.SUSPENDED,
        Reason.DELETING,
    }
)
