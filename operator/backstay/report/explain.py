"""`kubectl backstay explain`: why a pair meets its promise or does not, as a chain of facts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeAlias

from backstay.api.v1alpha1.protectionpolicy import ProtectionPolicy
from backstay.api.v1alpha1.replicationpair import ReplicationPair
from backstay.api.v1alpha1.site import Host, HostStatus, Site
from backstay.api.words import ConditionType, Reason
from backstay.report.ages import age_text, bytes_text, stamp
from backstay.report.inventory import Unreadable
from backstay.report.judgement import (
    Danger,
    PairJudgement,
    condition,
    judge_pair,
    ready_of,
)
from backstay.report.leader import SKEW_S, Leader
from backstay.report.overview import pair_document
from backstay.report.underway import bar_of

State: TypeAlias = Literal["good", "bad", "unknown", "note"]
_STATES: Mapping[str, State] = {"True": "good", "False": "bad", "Unknown": "unknown"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One link of the chain: about which object, whether it is good, and what it says."""

    about: str
    state: State
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What a pair refers to, and who works on it; None is what does not exist."""

    policy: ProtectionPolicy | Unreadable | None
    sites: Mapping[str, Site | Unreadable | None]
    leader: Leader


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The judgement, the facts that lead to it, and what the reader can do, most telling first."""

    pair: PairJudgement
    facts: tuple[Fact, ...]
    next_steps: tuple[str, ...] = field(default=())

    @property
    def met(self) -> bool:
        """Whether the promise is kept, as far as can be known."""
        return self.pair.danger in {Danger.FINE, Danger.SUSPENDED}


def explain(pair: ReplicationPair, around: Around, now: datetime) -> Explanation:
    """The chain from the pair over its policy, sites, hosts and members to its point."""
    judged = judge_pair(pair, around.leader, now)
    facts = (
        _verdict(judged),
        _leader(around.leader),
        _policy(pair, around.policy),
        *_sites(pair, around.sites),
        *_members(pair),
        *_pace(pair),
        *_transfer(pair, now),
        *_point(pair, judged, around, now),
    )
    return Explanation(pair=judged, facts=facts, next_steps=_next_steps(pair, judged, around))


def _verdict(judged: PairJudgement) -> Fact:
    states: dict[Danger, State] = {
        Danger.FINE: "good",
        Danger.SUSPENDED: "note",
        Danger.UNKNOWN: "unknown",
    }
    said = f"{judged.danger}: RPOMet={judged.rpo_met}, Ready={judged.ready}; "
    return Fact(
        about=f"ReplicationPair {judged.name}",
        state=states.get(judged.danger, "bad"),
        says=f"{said}{judged.reason}: {judged.why}",
    )


def _leader(leader: Leader) -> Fact:
    return Fact(about="operator", state=_STATES[_truth(leader.leads)], says=leader.says)


def _truth(value: bool | None) -> str:
    return "Unknown" if value is None else str(value)


def _policy(pair: ReplicationPair, policy: ProtectionPolicy | Unreadable | None) -> Fact:
    about = f"ProtectionPolicy {pair.spec.policy_ref.name}"
    if policy is None:
        return Fact(about=about, state="bad", says="does not exist")
    if isinstance(policy, Unreadable):
        return Fact(about=about, state="unknown", says=policy.why)
    ready = ready_of(policy)
    said = f"RPO {policy.spec.effective_rpo}; {_interval(policy)}; {_backup(policy)}"
    if ready.status != "True":
        said += f"; Ready={ready.status}: {ready.message}"
    if pair.status.rpo is not None and pair.status.rpo != policy.spec.effective_rpo:
        said += f"; the pair was judged by {pair.status.rpo} last"
    return Fact(about=about, state=_STATES[ready.status], says=said)


def _interval(policy: ProtectionPolicy) -> str:
    if policy.spec.replication is None or policy.spec.interval_seconds is None:
        return "no replication: it cannot serve a pair"
    half = "" if policy.spec.replication.interval else ", half of the RPO"
    return f"a snapshot every {age_text(policy.spec.interval_seconds)}{half}"


def _backup(policy: ProtectionPolicy) -> str:
    spec = policy.spec
    if spec.backup is not None and spec.backup.external is not None:
        until = spec.backup.external.until
        limit = f" (until {until})" if until else ""
        return f"backup declared, not verified: {spec.backup.external.statement}{limit}"
    if spec.backup is not None:
        return f"backup {spec.backup.schedule}"
    excused = spec.exceptions and spec.exceptions.replication_without_backup
    if excused:
        return f"no backup, by exception until {excused.until}: {excused.reason}"
    return "no backup"


def _sites(pair: ReplicationPair, sites: Mapping[str, Site | Unreadable | None]) -> Iterator[Fact]:
    """The hosts that members lie on; the source's site first."""
    active = pair.status.active_site or pair.spec.preferred_site
    for name in sorted(pair.spec.sites, key=lambda site: site != active):
        role = "source" if name == active else "target"
        site = sites.get(name)
        about = f"Site {name} ({role})"
        if site is None:
            yield Fact(about=about, state="bad", says="does not exist")
            continue
        if isinstance(site, Unreadable):
            yield Fact(about=about, state="unknown", says=site.why)
            continue
        for host in sorted({member.at[name].host for member in pair.spec.datasets}):
            yield _host(site, host, role)


def _host(site: Site, name: str, role: str) -> Fact:
    about = f"Site {site.metadata.name} ({role}) host {name}"
    spec = site.spec.host(name)
    if spec is None:
        known = ", ".join(host.name for host in site.spec.hosts)
        return Fact(about=about, state="bad", says=f"is not in the Site (it has {known})")
    seen = next((host for host in site.status.hosts if host.name == name), None)
    ready = ready_of(site)
    if seen is None or ready.reason == Reason.NEVER_OBSERVED:
        return Fact(about=about, state="unknown", says="was not looked at yet")
    if seen.reason != Reason.REACHABLE:
        return Fact(about=about, state="bad", says=f"{seen.reason}: {seen.message}")
    return _reachable_host(about, spec, seen, role)


def _reachable_host(about: str, spec: Host, seen: HostStatus, role: str) -> Fact:
    said = f"reachable at {spec.address}, ZFS {seen.zfs_version or 'unknown'}"
    ill = [f"{pool.name} is {pool.health}" for pool in seen.pools if pool.health != "ONLINE"]
    skew_s = abs(seen.clock_skew_seconds or 0)
    if skew_s > SKEW_S:
        ill.append(f"its clock differs by {skew_s} s from the operator's")
    if role == "target" and not spec.receive_roots:
        ill.append("it has no receive root, so nothing may arrive")
    return Fact(about=about, state="bad" if ill else "good", says="; ".join([said, *ill]))


def _members(pair: ReplicationPair) -> Iterator[Fact]:
    counts = pair.status.members
    if counts is None:
        yield Fact(about="members", state="unknown", says="none were looked at yet")
        return
    parts = ((counts.seeding, "seeding"), (counts.failed, "failed"))
    said = [f"{counts.confirmed} of {counts.total} have a confirmed point"]
    said += [f"{count} {word}" for count, word in parts if count]
    said += [f"{counts.conflicted} wait for a decision of yours"] if counts.conflicted else []
    good = counts.confirmed == counts.total and not counts.failed and not counts.conflicted
    yield Fact(about="members", state="good" if good else "bad", says=", ".join(said))
    for worst in pair.status.worst:
        point = worst.recovery_point_time
        said_point = f" (its newest point: {stamp(point)})" if point else " (it has no point)"
        yield Fact(
            about=f"member {worst.member}",
            state="bad",
            says=f"{worst.reason}: {worst.message}{said_point}",
        )


def _pace(pair: ReplicationPair) -> Iterator[Fact]:
    found = condition(pair.status, ConditionType.ACHIEVABLE)
    if found is not None:
        yield Fact(about="achievable", state=_STATES[found.status], says=found.message)


def _transfer(pair: ReplicationPair, now: datetime) -> Iterator[Fact]:
    """The streams under way, and what is wrong with them."""
    if (transfer := pair.status.transfer) is not None:
        said = f"since {stamp(transfer.start_time)}: {bar_of(transfer, now).says}"
        yield Fact(about="transfer under way", state="note", says=said)
    if (risk := condition(pair.status, ConditionType.AT_RISK)) is not None:
        yield Fact(about="at risk", state="bad", says=f"{risk.reason}: {risk.message}")
    if (room := condition(pair.status, ConditionType.YIELDING)) is not None:
        state: State = "note" if room.status == "True" else "bad"
        yield Fact(about="room for a rollback", state=state, says=f"{room.reason}: {room.message}")


def _point(
    pair: ReplicationPair, judged: PairJudgement, around: Around, now: datetime
) -> Iterator[Fact]:
    point = pair.status.recovery_point
    if point is None or judged.lag_s is None:
        says = "there is none in status: the lag is unknown"
        yield Fact(about="recovery point", state="unknown", says=says)
        return
    moved = ""
    if point.bytes is not None and point.transfer_seconds is not None:
        moved = f"; {bytes_text(point.bytes)} arrived in {point.transfer_seconds} s"
    said = f"{point.snapshot}, good as of {stamp(point.time)}{moved}"
    yield Fact(about="recovery point", state="note", says=said)
    ahead = around.leader.ahead_s
    lag = f"{stamp(now)} − {stamp(point.time)} = {int(judged.lag_s)} s"
    if ahead > SKEW_S:
        lag += f" (this machine's clock is {ahead:.0f} s behind the operator's)"
    yield Fact(about="lag", state=_STATES[judged.rpo_met], says=lag + _against(judged, around))


def _against(judged: PairJudgement, around: Around) -> str:
    """The lag beside the RPO, and what it is made of as far as status tells."""
    assert judged.lag_s is not None
    if judged.rpo_s is None:
        return "; no RPO is known"
    left_s = judged.rpo_s - int(judged.lag_s)
    parts = f"; RPO {judged.rpo_s} s: " + (
        f"{left_s} s are left" if left_s >= 0 else f"exceeded by {-left_s} s"
    )
    if left_s < 0 and judged.rpo_met == "True":
        return (
            f"{parts}, as far as the status says; of a pair whose source does not change, a new "
            "time is written only once an RPO"
        )
    policy = around.policy
    interval_s = policy.spec.interval_seconds if isinstance(policy, ProtectionPolicy) else None
    if interval_s is None:
        return parts
    late_s = int(judged.lag_s) - interval_s
    if late_s <= 0:
        return f"{parts}; by the interval the next is due in {-late_s} s"
    return f"{parts}; {interval_s} s of the lag are the interval, {late_s} s are beyond it"


def _next_steps(pair: ReplicationPair, judged: PairJudgement, around: Around) -> tuple[str, ...]:
    """What helps: the cause that is furthest from the pair comes first."""
    slow = [fact.says for fact in _pace(pair) if fact.state == "bad"]
    if judged.danger == Danger.FINE:
        return tuple(slow) or ("nothing is to be done",)
    name, namespace = judged.name, judged.namespace
    steps = []
    if around.leader.leads is not True and around.leader.next_step:
        steps.append(f"operator: {around.leader.next_step}")
    steps += [
        f"{fact.about}: {fact.says}"
        for fact in (_policy(pair, around.policy), *_sites(pair, around.sites))
        if fact.state == "bad"
    ]
    steps += slow
    steps += [f"member {worst.member}: {worst.message}" for worst in pair.status.worst[:1]]
    if pair.spec.suspend:
        steps.append(f"wake it: set spec.suspend of ReplicationPair {namespace}/{name} to false")
    if not steps:
        steps.append(judged.why)
    if judged.danger != Danger.SUSPENDED:
        steps.append(f"then: kubectl backstay sync {name} -n {namespace} --wait")
    return tuple(steps)


def explanation_document(shown: Explanation, now: datetime) -> dict[str, Any]:
    """The same for programs; its fields stay."""
    return {
        "asOf": stamp(now),
        "met": shown.met,
        "pair": pair_document(shown.pair),
        "facts": [
            {"about": fact.about, "state": fact.state, "message": fact.says} for fact in shown.facts
        ],
        "nextSteps": list(shown.next_steps),
    }
