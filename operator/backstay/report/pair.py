"""The status of a ReplicationPair: what is true, in words and numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from backstay.api.v1alpha1.replicationpair import (
    MemberCounts,
    RecoveryPoint,
    ReplicationPairStatus,
    WorstMember,
)
from backstay.api.values import duration_text
from backstay.api.words import ConditionType, Reason
from backstay.domain.pairs import Conflict, MemberState, Moved, PairState, Point
from backstay.domain.zfs import Guid
from backstay.report.achievable import Pace, judge_pace
from backstay.report.carried import Carried, carried_from
from backstay.report.divergence import (
    aside_message,
    diverged_members,
    left_over_message,
    retained_asides,
    strays_message,
)
from backstay.report.underway import StreamFacts, judge_streams, transfer_progress
from backstay.report.verdict import Truth, Verdict, settle
from backstay.report.yielding import judge_yields

WORST_SHOWN = 5
CLOCK_SLACK_S = 60.0
"""Leaders on two machines may differ by this; a point further in the future has no known age."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFacts:
    """Everything that a pair's status is made of.

    `refusal`: why the pair cannot be worked on at all. `states`: one for each of its routes that
    was passed since this operator leads; `routes` is how many there are. `durations_s`: of the last
    passes, for each route.
    """

    generation: int
    requested_at: str | None
    active_site: str | None
    rpo_s: int | None
    suspended: bool
    refusal: Conflict | None
    routes: int
    states: tuple[PairState, ...]
    interval_s: float | None = None
    durations_s: tuple[tuple[float, ...], ...] = ()
    streams: tuple[StreamFacts, ...] = ()
    """Those that carry its members now."""

    @property
    def unread(self) -> bool:
        """Whether the target of a route was not read yet since this operator leads."""
        is_missing = len(self.states) < self.routes or not self.states
        return is_missing or not all(state.ever_seen for state in self.states)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """The pair's recovery point over all its routes, and the moment that it is good for."""

    point: Point
    time: datetime
    moved: Moved | None


def recovery_of(facts: PairFacts, before: ReplicationPairStatus) -> Recovery | None:
    """The oldest of the routes' points; None while a route has none.

    Until every target was read, the point of the status before counts (`report.carried`).
    """
    if facts.unread:
        return _carried_recovery(carried_from(before, facts.generation, unread=True).point)
    found = []
    for state in facts.states:
        if state.point is None:
            return None
        time = max(state.as_of, state.point.at) if state.as_of else state.point.at
        found.append(Recovery(point=state.point, time=time, moved=state.moved))
    return min(found, key=lambda r: r.time)


def pair_status(
    before: ReplicationPairStatus, facts: PairFacts, now: datetime
) -> ReplicationPairStatus:
    """The whole status of a pair as of now."""
    recovery = recovery_of(facts, before)
    carried = carried_from(before, facts.generation, unread=facts.unread)
    members = [m for state in facts.states for m in state.members]
    verdicts = [
        _ready(facts, members, recovery, carried),
        _rpo_met(facts, recovery, now),
        _protected(facts, members, carried),
        _achievable(facts, before),
        *_failover_ready(facts, members, carried),
        *_abnormal(facts, members, recovery, carried),
    ]
    if (risk := judge_streams(facts.streams, facts.rpo_s)) is not None:
        verdicts.append(risk)
    if (
        yielding := judge_yields(facts.states) or carried.verdict(ConditionType.YIELDING)
    ) is not None:
        verdicts.append(yielding)
    return ReplicationPairStatus(
        observed_generation=facts.generation,
        conditions=settle(before.conditions, verdicts, generation=facts.generation, now=now),
        active_site=facts.active_site,
        rpo=None if facts.rpo_s is None else duration_text(facts.rpo_s),
        recovery_point=_recovery_point(recovery, before),
        transfer=transfer_progress(facts.streams, now),
        members=carried.members or (_counts(members) if members else None),
        worst=carried.worst or _worst(members),
        diverged=carried.diverged or diverged_members(_by_danger(members)),
        asides=carried.asides or retained_asides(facts.states),
        last_handled_request=facts.requested_at,
    )


def _carried_recovery(point: RecoveryPoint | None) -> Recovery | None:
    if point is None or point.guid is None:
        return None
    known = Point(snapshot=point.snapshot, guid=Guid(int(point.guid)), at=point.time)
    return Recovery(point=known, time=point.time, moved=None)


def _recovery_point(
    recovery: Recovery | None, before: ReplicationPairStatus
) -> RecoveryPoint | None:
    if recovery is None:
        return None
    known = before.recovery_point
    guid, moved = str(recovery.point.guid), recovery.moved
    told = known if known is not None and known.guid == guid else None
    return RecoveryPoint(
        time=recovery.time,
        snapshot=recovery.point.snapshot,
        guid=guid,
        transfer_seconds=round(moved.duration_s) if moved else told and told.transfer_seconds,
        bytes=moved.size_bytes if moved else told and told.bytes,
    )


def _ready(
    facts: PairFacts,
    members: Sequence[MemberState],
    recovery: Recovery | None,
    carried: Carried,
) -> Verdict:
    if facts.refusal is not None:
        return _verdict("False", facts.refusal.reason, facts.refusal.message)
    if facts.suspended:
        return _verdict("False", Reason.SUSPENDED, "spec.suspend is true: nothing is sent")
    problem = next((s.problem for s in facts.states if s.problem is not None), None)
    if problem is not None:
        return _verdict("Unknown", problem.reason, problem.message)
    if len(facts.states) < facts.routes:
        if (known := carried.verdict(ConditionType.READY)) is not None:
            return known
        waiting = f"{facts.routes - len(facts.states)} of {facts.routes} routes await a first pass"
        return _verdict("Unknown", Reason.WAITING_FOR_FIRST_POINT, waiting)
    worst = _by_danger(members)
    if worst and (trouble := worst[0].conflict or worst[0].failure) is not None:
        more = sum(1 for m in members if m.conflict or m.failure) - 1
        also = f" (and {more} more of {len(members)} members)" if more else ""
        return _verdict("False", trouble.reason, f"{worst[0].name}: {trouble.message}{also}")
    done = sum(1 for m in members if m.point is not None)
    if done < len(members):
        said = f"{done} of {len(members)} members have a first point"
        return _verdict("False", Reason.SEEDING, said)
    if recovery is None:
        said = f"no set of the {len(members)} members is whole at the target yet"
        return _verdict("False", Reason.SEEDING, said)
    said = f"{len(members)} members, newest common point {recovery.point.snapshot}"
    return _verdict("True", Reason.UP_TO_DATE, said)


def _verdict(status: Truth, reason: str, message: str) -> Verdict:
    return Verdict(type=ConditionType.READY, status=status, reason=reason, message=message)


def _rpo_met(facts: PairFacts, recovery: Recovery | None, now: datetime) -> Verdict:
    """Judged by the clock from the last confirmed point, also while a side is unreachable."""
    kind = ConditionType.RPO_MET
    if facts.rpo_s is None:
        said = "no RPO is known: see Ready"
        return Verdict(type=kind, status="Unknown", reason=Reason.NEVER_OBSERVED, message=said)
    if recovery is not None:
        lag = (now - recovery.time).total_seconds()
        if lag < -CLOCK_SLACK_S:
            said = (
                f"the point {recovery.point.snapshot} is {round(-lag)} s ahead of the operator's "
                f"clock, so its age is not known: set the clocks of the operator's machines by NTP"
            )
            return Verdict(type=kind, status="Unknown", reason=Reason.CLOCK_SKEW, message=said)
        lag = max(lag, 0.0)
        numbers = f"lag {round(lag)} s of {facts.rpo_s} s (point {recovery.point.snapshot})"
        if lag <= facts.rpo_s:
            return Verdict(type=kind, status="True", reason=Reason.WITHIN_RPO, message=numbers)
        return Verdict(type=kind, status="False", reason=Reason.RPO_BREACHED, message=numbers)
    if len(facts.states) < facts.routes or not all(s.ever_seen for s in facts.states):
        said = "the target was not read yet, so nothing is known about its points"
        return Verdict(type=kind, status="Unknown", reason=Reason.NEVER_OBSERVED, message=said)
    said = f"there is no recovery point yet; the RPO is {facts.rpo_s} s"
    members = [m for state in facts.states for m in state.members]
    begins = any(m.seeding for m in members) and not any(m.conflict or m.failure for m in members)
    reason = Reason.SEEDING if begins else Reason.RPO_BREACHED
    return Verdict(type=kind, status="False", reason=reason, message=said)


def _protected(facts: PairFacts, members: Sequence[MemberState], carried: Carried) -> Verdict:
    kind = ConditionType.PROTECTED
    if facts.unread:
        if (known := carried.verdict(kind)) is not None:
            return known
        said = "the target was not read yet"
        return Verdict(type=kind, status="Unknown", reason=Reason.NEVER_OBSERVED, message=said)
    done = sum(1 for m in members if m.point is not None)
    said = f"{done} of {len(members)} members have a confirmed point at the target"
    if members and done == len(members):
        return Verdict(type=kind, status="True", reason=Reason.CONFIRMED, message=said)
    return Verdict(type=kind, status="False", reason=Reason.SEEDING, message=said)


def _failover_ready(
    facts: PairFacts, members: Sequence[MemberState], carried: Carried
) -> list[Verdict]:
    """Only what is known to stand in the way; that nothing else does is not known yet."""
    kind = ConditionType.FAILOVER_READY
    if facts.unread:
        known = carried.verdict(kind)
        return [] if known is None else [known]
    locked = [m for m in members if m.key_missing and m.point is not None]
    if not locked:
        return []
    said = (
        f"{len(locked)} of {len(members)} replicas are encrypted and their keys are not loaded at "
        f"the target: keep the keys where they outlive the source, and try one with "
        f"`zfs load-key -n {locked[0].target}`"
    )
    return [Verdict(type=kind, status="False", reason=Reason.KEY_NOT_AVAILABLE, message=said)]


def _achievable(facts: PairFacts, before: ReplicationPairStatus) -> Verdict:
    """What was measured; until then what the leader before has measured of the same RPO."""
    rpo_s = facts.rpo_s
    pace = Pace(rpo_s=rpo_s, interval_s=facts.interval_s, durations_s=facts.durations_s)
    carried = carried_from(before, facts.generation, unread=True)
    told = carried.verdict(ConditionType.ACHIEVABLE)
    is_same = rpo_s is not None and before.rpo == duration_text(rpo_s)
    return judge_pace(pace, told if told and told.status != "Unknown" and is_same else None)


def _abnormal(
    facts: PairFacts,
    members: Sequence[MemberState],
    recovery: Recovery | None,
    carried: Carried,
) -> list[Verdict]:
    """What is present only while true; `Stalled` and `Reconciling` are never both."""
    found: list[tuple[ConditionType, str, str]] = []
    lasting = carried.lasting()
    conflicts = [m for m in members if m.conflict is not None]
    if facts.suspended:
        said = "spec.suspend is true: all data stays and the lag grows"
        found.append((ConditionType.SUSPENDED, str(Reason.SUSPENDED), said))
    for kind, chosen in (
        (ConditionType.DIVERGED, [m for m in conflicts if m.conflict and m.conflict.diverged]),
        (
            ConditionType.FOREIGN_WRITER,
            [m for m in conflicts if m.conflict and m.conflict.reason == Reason.FOREIGN_WRITER],
        ),
    ):
        if chosen and (first := chosen[0].conflict) is not None:
            found.append((kind, first.reason, f"{chosen[0].name}: {first.message}"))
    found += _retained(facts.states, carried)
    stuck = facts.refusal or next((m.conflict for m in conflicts), None)
    if stuck is not None:
        found.append((ConditionType.STALLED, stuck.reason, stuck.message))
    elif facts.routes and not (facts.suspended or lasting) and _is_seeding(members, recovery):
        said = "first full copies are under way or about to start"
        found.append((ConditionType.RECONCILING, str(Reason.SEEDING), said))
    judged = [Verdict(type=k, status="True", reason=r, message=m) for k, r, m in found]
    return [*judged, *(v for v in lasting if v.type not in {k for k, _, _ in found})]


def _retained(
    states: Sequence[PairState], carried: Carried
) -> Iterator[tuple[ConditionType, str, str]]:
    """What is kept at a host and nothing goes on from."""
    for kind, reason, said in (
        (ConditionType.ASIDE_RETAINED, Reason.ASIDE_KEPT, aside_message(states)),
        (ConditionType.REPLICA_RETAINED, Reason.REPLICA_KEPT, left_over_message(states)),
        (ConditionType.BOOKMARKS_RETAINED, Reason.BOOKMARKS_KEPT, strays_message(states)),
    ):
        if said is not None:
            yield kind, str(reason), said
        elif (known := carried.verdict(kind)) is not None:
            yield known.type, known.reason, known.message


def _is_seeding(members: Sequence[MemberState], recovery: Recovery | None) -> bool:
    return recovery is None or any(m.seeding for m in members)


def _counts(members: Sequence[MemberState]) -> MemberCounts:
    return MemberCounts(
        total=len(members),
        confirmed=sum(1 for m in members if m.point is not None),
        seeding=sum(1 for m in members if m.seeding),
        failed=sum(1 for m in members if m.failure is not None and m.conflict is None),
        conflicted=sum(1 for m in members if m.conflict is not None),
    )


def _by_danger(members: Sequence[MemberState]) -> list[MemberState]:
    """Worst first: conflicts, failures, without a point, then the oldest point."""
    return sorted(
        members,
        key=lambda m: (
            m.conflict is None,
            m.failure is None,
            m.point is not None,
            (m.as_of or m.point.at).timestamp() if m.point else 0.0,
            m.name,
        ),
    )


def _worst(members: Sequence[MemberState]) -> tuple[WorstMember, ...]:
    """Members that need attention; none when all have a point and nothing is wrong."""
    shown = []
    for member in _by_danger(members)[:WORST_SHOWN]:
        trouble = member.conflict or member.failure
        if trouble is None and member.point is not None:
            continue
        shown.append(
            WorstMember(
                member=member.name,
                reason=trouble.reason if trouble else Reason.SEEDING,
                message=trouble.message if trouble else "its first full copy has not arrived yet",
                recovery_point_time=(member.as_of or member.point.at) if member.point else None,
            )
        )
    return tuple(shown)
