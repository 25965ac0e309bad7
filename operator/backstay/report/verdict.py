"""Verdicts become conditions; a condition's time moves only when its status does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import ValidationError

from backstay.api.v1alpha1.meta import Condition
from backstay.api.words import ConditionType

Truth = Literal["True", "False", "Unknown"]

_ONLY_WHILE_TRUE = frozenset(
    {
        ConditionType.AT_RISK,
        ConditionType.RECONCILING,
        ConditionType.STALLED,
        ConditionType.SUSPENDED,
        ConditionType.DIVERGED,
        ConditionType.ASIDE_RETAINED,
        ConditionType.REPLICA_RETAINED,
        ConditionType.BOOKMARKS_RETAINED,
        ConditionType.POOL_SEEN_TWICE,
        ConditionType.FOREIGN_WRITER,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One statement about an object, before it is a condition."""

    type: ConditionType
    status: Truth
    reason: str
    message: str


def settle(
    before: Sequence[Condition], verdicts: Sequence[Verdict], *, generation: int, now: datetime
) -> tuple[Condition, ...]:
    """The conditions for these verdicts, sorted by type; abnormal ones only while they are true."""
    known = {c.type: c for c in before}
    return tuple(
        Condition(
            type=v.type,
            status=v.status,
            reason=v.reason,
            message=v.message,
            last_transition_time=_since(known.get(v.type), v.status, now),
            observed_generation=generation,
        )
        for v in sorted(verdicts, key=lambda v: v.type)
        if v.status == "True" or v.type not in _ONLY_WHILE_TRUE
    )


def readable(conditions: Sequence[Mapping[str, Any]]) -> list[Condition]:
    """The conditions of the wire that this version can read."""
    known = []
    for condition in conditions:
        try:
            known.append(Condition.model_validate(dict(condition)))
        except ValidationError:
            continue
    return known


def _since(before: Condition | None, status: Truth, now: datetime) -> datetime:
    if before is not None and before.status == status:
        return before.last_transition_time
    return now
