"""The status of an object whose work broke on a fault of ours."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from backstay.api.v1alpha1.replicationpair import ReplicationPairStatus
from backstay.api.values import duration_seconds
from backstay.api.words import ConditionType, Reason
from backstay.report.conditions import conditions_of
from backstay.report.verdict import Verdict, readable, settle


def fault_status(
    status: Mapping[str, Any], said: str, generation: int, now: datetime
) -> dict[str, Any]:
    """`Ready=Unknown` over the status as last observed: nothing else was judged anew.

    Only the clock goes on: an RPO that has run out since is said to have, from that status alone.
    """
    reason = Reason.INTERNAL_ERROR
    ready = Verdict(type=ConditionType.READY, status="Unknown", reason=reason, message=said)
    verdicts = [ready, *_breach(status, now)]
    known = readable(conditions_of(status))
    turned = {verdict.type for verdict in verdicts}
    kept = [condition for condition in known if condition.type not in turned]
    settled = settle(known, verdicts, generation=generation, now=now)
    conditions = sorted((*kept, *settled), key=lambda condition: condition.type)
    return {
        **status,
        "observedGeneration": generation,
        "conditions": [condition.document() for condition in conditions],
    }


def judged_rpo_s(status: Mapping[str, Any]) -> int | None:
    """The RPO that the status was judged by; None when it names none."""
    try:
        return duration_seconds(str(status["rpo"]))
    except (KeyError, ValueError):
        return None


def _breach(status: Mapping[str, Any], now: datetime) -> list[Verdict]:
    rpo_s = judged_rpo_s(status)
    try:
        point = ReplicationPairStatus.model_validate(dict(status)).recovery_point
    except ValueError:
        return []
    if rpo_s is None or point is None or (now - point.time).total_seconds() <= rpo_s:
        return []
    lag_s = round((now - point.time).total_seconds())
    said = f"lag {lag_s} s of {rpo_s} s (point {point.snapshot}), as far as is known"
    kind, reason = ConditionType.RPO_MET, Reason.RPO_BREACHED
    return [Verdict(type=kind, status="False", reason=reason, message=said)]
