"""How dangerous a pair's state is to a reader of its status, who knows what time it is now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from backstay.api.v1alpha1.meta import Condition, Resource, Status
from backstay.api.v1alpha1.protectionpolicy import ProtectionPolicy
from backstay.api.v1alpha1.replicationpair import ReplicationPair
from backstay.api.v1alpha1.site import Site
from backstay.api.values import duration_seconds
from backstay.api.words import ConditionType, Reason
from backstay.report.ages import age_text
from backstay.report.conditions import STEADY_S
from backstay.report.leader import Leader
from backstay.report.verdict import Truth

WRITE_GRACE_S = 60.0
"""A pass and a write take time beyond what the rules of writing allow."""


class Danger(StrEnum):
    """How a pair stands, the worst first."""

    STALLED = "Stalled"
    BREACHED = "Breached"
    UNKNOWN = "Unknown"
    NOT_READY = "NotReady"
    SUSPENDED = "Suspended"
    FINE = "Fine"


DANGERS = tuple(Danger)


class Saying(NamedTuple):
    """A condition as a reader may take it: an absent or outdated one is Unknown."""

    status: Truth
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PairJudgement:
    """One pair as of now. `lag_s` grows with the reader's clock; None is unknown, never good."""

    namespace: str
    name: str
    danger: Danger
    active_site: str | None
    rpo_s: int | None
    point_time: datetime | None
    lag_s: float | None
    rpo_met: Truth
    ready: Truth
    reason: str
    why: str

    @property
    def key(self) -> str:
        """Namespace and name."""
        return f"{self.namespace}/{self.name}"


def judge_pair(pair: ReplicationPair, leader: Leader, now: datetime) -> PairJudgement:
    """How the pair stands.

    | what is true                                           | danger    |
    |--------------------------------------------------------|-----------|
    | Diverged, ForeignWriter or Stalled                     | Stalled   |
    | the RPO is not met                                     | Breached  |
    | RPOMet or Ready is unknown, or is of an earlier time   | Unknown   |
    | rests because spec.suspend is true                     | Suspended |
    | not Ready, or AtRisk                                   | NotReady  |
    | none of it                                             | Fine      |
    """
    point = pair.status.recovery_point
    lag_s = None if point is None else max(0.0, (now - point.time).total_seconds())
    rpo_s = _seconds(pair.status.rpo)
    met = _rpo_met(pair, lag_s, leader)
    ready = ready_of(pair) if leader.leads is not False else _abandoned(leader)
    danger, because = _danger(pair, met, ready)
    return PairJudgement(
        namespace=pair.metadata.namespace,
        name=pair.metadata.name,
        danger=danger,
        active_site=pair.status.active_site,
        rpo_s=rpo_s,
        point_time=None if point is None else point.time,
        lag_s=lag_s,
        rpo_met=met.status,
        ready=ready.status,
        reason=because.reason,
        why=because.message,
    )


def ready_of(found: ReplicationPair | Site | ProtectionPolicy) -> Saying:
    """The Ready condition of an object."""
    return _saying(found, found.status, ConditionType.READY)


def condition(status: Status, kind: ConditionType) -> Condition | None:
    """The condition of that type."""
    return next((c for c in status.conditions if c.type == kind), None)


def by_danger(judged: PairJudgement) -> tuple[int, float, str]:
    """Sorts the worst first; of one danger, an unknown lag and then the longest."""
    lag_s = float("inf") if judged.lag_s is None else judged.lag_s
    return DANGERS.index(judged.danger), -lag_s, judged.key


def _danger(pair: ReplicationPair, met: Saying, ready: Saying) -> tuple[Danger, Saying]:
    for kind in (ConditionType.DIVERGED, ConditionType.FOREIGN_WRITER, ConditionType.STALLED):
        found = condition(pair.status, kind)
        if found is not None and found.status == "True":
            return Danger.STALLED, Saying("True", found.reason, found.message)
    risk = condition(pair.status, ConditionType.AT_RISK)
    slow = None if risk is None else Saying(risk.status, risk.reason, risk.message)
    cause = ready if ready.status != "True" else slow or met
    if met.status == "False":
        return Danger.BREACHED, cause
    if met.status == "Unknown" or ready.status == "Unknown":
        return Danger.UNKNOWN, cause
    if pair.spec.suspend and ready.reason == Reason.SUSPENDED:
        return Danger.SUSPENDED, ready
    if ready.status == "False":
        return Danger.NOT_READY, ready
    if slow is not None:
        return Danger.NOT_READY, slow
    return Danger.FINE, ready


def _rpo_met(pair: ReplicationPair, lag_s: float | None, leader: Leader) -> Saying:
    """RPOMet, while the time in status can still bear it out.

    A point that was only confirmed anew is written once an RPO, so beside a leader that works the
    lag of a quiet pair may pass the RPO by another one. Without one it may as well be a breach.
    """
    said = _saying(pair, pair.status, ConditionType.RPO_MET)
    rpo_s = _seconds(pair.status.rpo)
    if said.status != "True":
        return said
    if lag_s is None or rpo_s is None:
        message = (
            "RPOMet is True, but status has no recovery point or no RPO: it is not of backstay"
        )
        return Saying("Unknown", Reason.NEVER_OBSERVED, message)
    if lag_s <= rpo_s:
        return said
    numbers = f"the point in status is {age_text(lag_s)} old, the RPO is {age_text(rpo_s)}"
    if lag_s > rpo_s + max(STEADY_S, rpo_s) + WRITE_GRACE_S:
        message = f"{numbers}, and nobody has written a newer one or the breach: {leader.says}"
        return Saying("Unknown", Reason.NEVER_OBSERVED, message)
    if not leader.leads:
        message = f"{numbers}, and it is not known that anybody still looks: {leader.says}"
        return Saying("Unknown", Reason.NEVER_OBSERVED, message)
    return said


def _abandoned(leader: Leader) -> Saying:
    return Saying("Unknown", Reason.NOT_LEADER, f"nobody keeps this status: {leader.says}")


def _saying(found: Resource, status: Status, kind: ConditionType) -> Saying:
    generation = found.metadata.generation
    if status.observed_generation < generation:
        message = "the operator has not looked at it yet"
        if status.observed_generation >= 0:
            message = f"status is about generation {status.observed_generation}, the spec is at "
            message += f"{generation}: the operator has not looked at the change yet"
        return Saying("Unknown", Reason.NEVER_OBSERVED, message)
    said = condition(status, kind)
    if said is None:
        return Saying("Unknown", Reason.NEVER_OBSERVED, f"status has no condition {kind}")
    return Saying(said.status, said.reason, said.message)


def _seconds(duration: str | None) -> int | None:
    try:
        return None if duration is None else duration_seconds(duration)
    except ValueError:
        return None
