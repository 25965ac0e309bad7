"""The status of a ProtectionPolicy."""

from __future__ import annotations

from datetime import datetime

from backstay.api.v1alpha1.protectionpolicy import ProtectionPolicy, ProtectionPolicyStatus
from backstay.api.words import ConditionType, Reason
from backstay.domain.pairs import Conflict
from backstay.report.verdict import Verdict, settle


def policy_status(
    before: ProtectionPolicyStatus,
    policy: ProtectionPolicy,
    conflict: Conflict | None,
    *,
    pairs: int,
    now: datetime,
) -> ProtectionPolicyStatus:
    """The whole status of a policy: whether it can be kept as written today."""
    generation = policy.metadata.generation
    settled = settle(before.conditions, _verdicts(policy, conflict), generation=generation, now=now)
    return ProtectionPolicyStatus(
        observed_generation=generation,
        conditions=settled,
        pairs=pairs,
        rpo=policy.spec.effective_rpo,
        rto=policy.spec.effective_rto,
    )


def _verdicts(policy: ProtectionPolicy, conflict: Conflict | None) -> list[Verdict]:
    if conflict is not None:
        return [
            Verdict(
                type=ConditionType.READY,
                status="False",
                reason=conflict.reason,
                message=conflict.message,
            ),
            Verdict(
                type=ConditionType.STALLED,
                status="True",
                reason=conflict.reason,
                message=conflict.message,
            ),
        ]
    external = policy.spec.backup and policy.spec.backup.external
    said = (
        f"the external backup is declared, not verified: {external.statement}"
        if external
        else "the policy can be kept as written"
    )
    ready = Verdict(type=ConditionType.READY, status="True", reason=Reason.VALID, message=said)
    return [ready]
