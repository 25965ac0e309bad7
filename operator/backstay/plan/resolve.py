"""From objects to routes: what a ReplicationPair asks of which hosts, or why it cannot be asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from backstay.api.kinds import RESOLVE, YIELD
from backstay.api.v1alpha1.approval import parse_approval
from backstay.api.v1alpha1.protectionpolicy import ProtectionPolicy, Retention, Transfer
from backstay.api.v1alpha1.replicationpair import ReplicationPair
from backstay.api.v1alpha1.site import Site
from backstay.api.v1alpha1.yielding import YieldedMemberSpec, parse_yield
from backstay.api.values import size_bytes
from backstay.api.words import Reason
from backstay.domain.divergence import Approval, Approved, Resolution
from backstay.domain.pairs import Conflict, Entry, HostKey, Keep, PairTask, Route
from backstay.domain.steps import Transport
from backstay.domain.yielding import CountedTarget, YieldedMember, Yielding
from backstay.domain.zfs import Guid


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedPair:
    """A pair whose references all exist: its share of each route, and its numbers."""

    key: str
    active_site: str
    rpo_s: int
    interval_s: float
    shares: Mapping[Route, PairTask]
    suspended: bool


def policy_conflict(policy: ProtectionPolicy, today: date) -> Conflict | None:
    """Why a policy cannot be kept as written today: an exception or a statement has run out."""
    name, spec = policy.metadata.name, policy.spec
    exception = spec.exceptions and spec.exceptions.replication_without_backup
    versioned = spec.backup is not None
    if exception and not versioned and exception.until < today:
        return Conflict(
            reason=Reason.EXCEPTION_EXPIRED,
            message=f"ProtectionPolicy {name}: the exception for replication without a backup "
            f"ended on {exception.until}: add spec.backup, or renew it with a new end date",
        )
    external = spec.backup and spec.backup.external
    if external and external.until is not None and external.until < today:
        return Conflict(
            reason=Reason.STATEMENT_EXPIRED,
            message=f"ProtectionPolicy {name}: the statement about the external backup ended on "
            f"{external.until}: check that backup, then renew the date",
        )
    return None


def resolve_pair(
    pair: ReplicationPair,
    policy: ProtectionPolicy | None,
    sites: Mapping[str, Site],
    *,
    active_site: str | None = None,
) -> ResolvedPair | Conflict:
    """The pair's share of each route, or the first reference that does not hold.

    `active_site` is where the data was found to live; None before it was looked at, when
    `spec.preferredSite` counts. A policy whose exception has run out still counts: it is the
    policy that is stalled, and a replica that falls behind would make nothing better.
    """
    spec = pair.spec
    source = active_site or spec.preferred_site
    interval_s = None if policy is None else policy.spec.interval_seconds
    if policy is None or interval_s is None:
        return _unusable_policy(pair, policy)
    for name in (source, *(s for s in spec.sites if s != source)):
        if name not in sites:
            return Conflict(
                reason=Reason.SITE_MISSING,
                message=f"no Site {name} in {pair.metadata.namespace}, or none that is valid: "
                "apply it, or mend what its Ready says",
            )
    shares = _shares(pair, policy, sites, source)
    if isinstance(shares, Conflict):
        return shares
    return ResolvedPair(
        key=f"{pair.metadata.namespace}/{pair.metadata.name}",
        active_site=source,
        rpo_s=policy.spec.rpo_seconds,
        interval_s=interval_s,
        shares=shares,
        suspended=spec.suspend,
    )


def _unusable_policy(pair: ReplicationPair, policy: ProtectionPolicy | None) -> Conflict:
    name = pair.spec.policy_ref.name
    if policy is None:
        return Conflict(
            reason=Reason.POLICY_MISSING,
            message=f"no ProtectionPolicy {name} in {pair.metadata.namespace}: apply it, or "
            f"correct spec.policyRef.name",
        )
    return Conflict(
        reason=Reason.POLICY_REFUSED,
        message=f"ProtectionPolicy {name} has no spec.replication: it stands for backups only; "
        f"use one with replication, such as class Gold",
    )


def pair_entries(pair: ReplicationPair, source_site: str) -> dict[Route, tuple[Entry, ...]]:
    """What a pair asks of which hosts when its data lies at `source_site`, whatever exists."""
    entries: dict[Route, list[Entry]] = {}
    namespace, sites = pair.metadata.namespace, pair.spec.sites
    target_site = next(s for s in sites if s != source_site)
    for member in pair.spec.datasets:
        here, there = member.at[source_site], member.at[target_site]
        route = Route(
            source=HostKey(namespace, source_site, here.host),
            target=HostKey(namespace, target_site, there.host),
        )
        entry = Entry(
            name=member.name,
            source=here.dataset,
            target=there.dataset,
            recursive=member.recursive,
        )
        entries.setdefault(route, []).append(entry)
    return {route: tuple(found) for route, found in entries.items()}


def _shares(
    pair: ReplicationPair, policy: ProtectionPolicy, sites: Mapping[str, Site], source: str
) -> dict[Route, PairTask] | Conflict:
    assert policy.spec.replication is not None
    assert policy.spec.interval_seconds is not None
    retention = policy.spec.replication.retention
    if (missing := _missing_host(pair, sites)) is not None:
        return missing
    entries = pair_entries(pair, source)
    approval, fault = _approval(pair)
    yielding, yield_fault = _yielding(pair)
    if pair.spec.consistency_group and len(entries) > 1:
        return Conflict(
            reason=Reason.GROUP_SPLIT,
            message=f"the consistency group spans {len(entries)} routes "
            f"({'; '.join(map(str, sorted(entries)))}): one snapshot cannot; make a pair of each",
        )
    return {
        route: PairTask(
            key=f"{pair.metadata.namespace}/{pair.metadata.name}",
            entries=found,
            grouped=pair.spec.consistency_group,
            keep_source=_keep(retention.source, sites[route.source.site]),
            keep_target=_keep(retention.target, sites[route.target.site]),
            interval_s=policy.spec.interval_seconds,
            approval=approval,
            approval_fault=fault,
            yielding=yielding,
            yielding_fault=yield_fault,
            transport=_transport(policy.spec.replication.transfer),
            follows_settings=policy.spec.replication.properties == "Safe",
        )
        for route, found in entries.items()
    }


def _missing_host(pair: ReplicationPair, sites: Mapping[str, Site]) -> Conflict | None:
    for member in pair.spec.datasets:
        for site in (sites[name] for name in pair.spec.sites):
            place = member.at[site.metadata.name]
            if site.spec.host(place.host) is None:
                return Conflict(
                    reason=Reason.HOST_MISSING,
                    message=f"member {member.name}: Site {site.metadata.name} has no host "
                    f"{place.host} (it has {', '.join(h.name for h in site.spec.hosts)})",
                )
    return None


def _approval(pair: ReplicationPair) -> tuple[Approval | None, str]:
    """What somebody approved for the pair, or why it cannot be read."""
    text = pair.metadata.annotations.get(RESOLVE)
    if text is None:
        return None, ""
    said = parse_approval(text)
    if isinstance(said, str):
        return None, said
    return Approval(
        id=said.id,
        how=Resolution(said.how),
        members=tuple(
            Approved(
                dataset=member.dataset,
                guid=Guid(int(member.guid)),
                base=None if member.base is None else Guid(int(member.base)),
                lose=tuple(Guid(int(guid)) for guid in member.lose),
                written_bytes=member.written_bytes,
            )
            for member in said.members
        ),
    ), ""


def _yielding(pair: ReplicationPair) -> tuple[Yielding | None, str]:
    """What the pair's sources are to make room for, or why it cannot be read."""
    text = pair.metadata.annotations.get(YIELD)
    if text is None:
        return None, ""
    said = parse_yield(text)
    if isinstance(said, str):
        return None, said
    return Yielding(until=said.until, members=tuple(map(_yielded, said.members))), ""


def _yielded(member: YieldedMemberSpec) -> YieldedMember:
    return YieldedMember(
        dataset=member.dataset,
        guid=Guid(int(member.guid)),
        to=Guid(int(member.to)),
        snapshots=frozenset(Guid(int(guid)) for guid in member.snapshots),
        bookmarks=frozenset(member.bookmarks),
        targets=tuple(
            CountedTarget(
                pair=t.pair,
                dataset=t.dataset,
                lineage=t.lineage,
                base=None if t.base is None else Guid(int(t.base)),
            )
            for t in member.targets
        ),
    )


def _transport(transfer: Transfer) -> Transport:
    return Transport(
        direct=transfer.path == "Direct",
        rate_bytes_s=size_bytes(transfer.rate_limit) if transfer.rate_limit else 0,
        compressed=transfer.compression == "Zstd",
        buffer_bytes=size_bytes(transfer.buffer) if transfer.buffer else 0,
    )


def _keep(retention: Retention, site: Site) -> Keep:
    return Keep(**retention.model_dump(), time_zone=site.spec.time_zone)
