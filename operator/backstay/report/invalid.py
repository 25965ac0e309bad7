"""The status of an object that its own model refuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from backstay.api.v1alpha1.meta import Status
from backstay.api.words import ConditionType, Reason
from backstay.report.verdict import Verdict, readable, settle


def invalid_status(
    conditions: Sequence[Mapping[str, Any]], errors: Sequence[str], generation: int, now: datetime
) -> dict[str, Any]:
    """`Ready=False` and `Stalled` with a line for each fault, the path of the field first."""
    said = "; ".join(errors)
    reason = Reason.INVALID_SPEC
    verdicts = [
        Verdict(type=ConditionType.READY, status="False", reason=reason, message=said),
        Verdict(type=ConditionType.STALLED, status="True", reason=reason, message=said),
    ]
    settled = settle(readable(conditions), verdicts, generation=generation, now=now)
    return Status(observed_generation=generation, conditions=settled).document()
