"""Whether a status is worth a write: it is compared in meaning, not in bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from backstay.report.drift import without_drift

Status: TypeAlias = Mapping[str, Any]

STEADY_S = 60.0
"""In a steady state an object is written at most once in so many seconds."""
BRISK_S = 5.0
"""What only people change is shown soon, and still once when they apply a hundred files."""


@dataclass(frozen=True, slots=True)
class WriteNow:
    """Write it. `reason` labels the write in the metric."""

    reason: str


@dataclass(frozen=True, slots=True)
class WriteAfter:
    """Write it in so many seconds, unless something newer has come by then."""

    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class NoWrite:
    """Nothing that anybody would act on is new."""


Worth: TypeAlias = WriteNow | WriteAfter | NoWrite


def worth_writing(old: Status, new: Status, *, age_s: float, rpo_s: float | None) -> Worth:
    """Whether `new` is worth a write over `old`, whose last write is `age_s` ago.

    | what is new                                               | written                         |
    |-----------------------------------------------------------|---------------------------------|
    | a condition, its status or reason; what spec or request   | now                             |
    | it is about; whether there is a point; which side is what |                                 |
    | how many pairs a policy has                               | at most once in five seconds    |
    | a point with data                                         | at most once a minute           |
    | counts, members, facts                                    | at most once a minute           |
    | only the time of the same point, or only messages         | at most once an RPO             |
    | times of transitions; free space and skew by a little     | not                             |
    """
    if _turning_points(old) != _turning_points(new):
        return WriteNow("transition")
    if old.get("pairs") != new.get("pairs"):
        return _not_before(BRISK_S - age_s, "detail")
    if _point(old) != _point(new):
        return _not_before(STEADY_S - age_s, "recovery-point")
    if _details(old, new) != _details(new, new):
        return _not_before(STEADY_S - age_s, "detail")
    if _words_and_times(old) != _words_and_times(new):
        return _not_before(max(STEADY_S, rpo_s or 0.0) - age_s, "as-of")
    return NoWrite()


def _not_before(seconds: float, reason: str) -> Worth:
    return WriteAfter(seconds, reason) if seconds > 0 else WriteNow(reason)


def _turning_points(status: Status) -> object:
    conditions = {c["type"]: (c["status"], c["reason"]) for c in conditions_of(status)}
    words = {name: value for name, value in status.items() if isinstance(value, str)}
    return conditions, words, status.get("observedGeneration"), "recoveryPoint" in status


def _point(status: Status) -> object:
    point = status.get("recoveryPoint") or {}
    return point.get("snapshot"), point.get("guid")


def _details(status: Status, newer: Status) -> object:
    """Everything but words, times and conditions; with small drifts replaced by newer numbers."""
    rest = {name: value for name, value in status.items() if name != "conditions"}
    return without_drift(_silent(rest), _silent(newer))


def _words_and_times(status: Status) -> object:
    messages = [(c["type"], c.get("message")) for c in conditions_of(status)]
    return sorted(messages), _only(status)


def _silent(value: Any) -> Any:
    """The value without messages and without times."""
    if isinstance(value, Mapping):
        return {k: _silent(v) for k, v in value.items() if not _is_word_or_time(k)}
    if isinstance(value, list | tuple):
        return [_silent(item) for item in value]
    return value


def _only(value: Any) -> Any:
    """The messages and times of the value, conditions apart."""
    if isinstance(value, Mapping):
        return {
            k: v if _is_word_or_time(k) else _only(v) for k, v in value.items() if k != "conditions"
        }
    if isinstance(value, list | tuple):
        return [_only(item) for item in value]
    return None


def _is_word_or_time(name: str) -> bool:
    return name in {"message", "time"} or name.endswith("Time")


def conditions_of(status: Status) -> tuple[Mapping[str, Any], ...]:
    """The conditions of a status as they are on the wire; malformed ones are left out."""
    conditions = status.get("conditions")
    if not isinstance(conditions, list | tuple):
        return ()
    return tuple(
        c for c in conditions if isinstance(c, Mapping) and {"type", "status", "reason"} <= c.keys()
    )
