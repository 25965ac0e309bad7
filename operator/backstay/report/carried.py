"""What a pair's status still says while this leader has not read the target itself.

A new leader knows nothing yet, and a target may be away for hours. Without this, each change of
leadership would take back what the one before it had confirmed, and the lag would have no number
just when it grows. It is shown, never decided on: the clock judges its time like any other, and
the first pass that reads the target replaces it.
"""

from __future__ import annotations

from dataclasses import dataclass

from backstay.api.v1alpha1.meta import Condition
from backstay.api.v1alpha1.replicationpair import (
    DivergedMember,
    MemberCounts,
    RecoveryPoint,
    RetainedAside,
    WorstMember,
)
from backstay.api.v1alpha1.replicationpair import ReplicationPairStatus as PairStatus
from backstay.api.words import ConditionType
from backstay.report.verdict import Verdict

_SEEN_AT_HOSTS = (ConditionType.DIVERGED, ConditionType.FOREIGN_WRITER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """The parts of an earlier status about the very same spec; empty when there is none."""

    conditions: tuple[Condition, ...] = ()
    point: RecoveryPoint | None = None
    members: MemberCounts | None = None
    worst: tuple[WorstMember, ...] = ()
    diverged: tuple[DivergedMember, ...] = ()
    asides: tuple[RetainedAside, ...] = ()

    def verdict(self, kind: ConditionType) -> Verdict | None:
        """The condition of that type as it was."""
        found = next((c for c in self.conditions if c.type == kind), None)
        if found is None:
            return None
        return Verdict(type=kind, status=found.status, reason=found.reason, message=found.message)

    def lasting(self) -> list[Verdict]:
        """What was wrong at the hosts and is not known to be over."""
        found = [v for kind in _SEEN_AT_HOSTS if (v := self.verdict(kind)) is not None]
        stalled = self.verdict(ConditionType.STALLED)
        return [*found, stalled] if found and stalled is not None else found


def carried_from(before: PairStatus, generation: int, *, unread: bool) -> Carried:
    """What counts of the status before: nothing once the target was read, or of another spec."""
    if not unread or before.observed_generation != generation:
        return Carried()
    return Carried(
        conditions=before.conditions,
        point=before.recovery_point,
        members=before.members,
        worst=before.worst,
        diverged=before.diverged,
        asides=before.asides,
    )
