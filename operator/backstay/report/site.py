"""The status of a Site: what its hosts said of themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from backstay.api.v1alpha1.site import HostStatus, PoolStatus, SiteStatus
from backstay.api.values import pool_of
from backstay.api.words import ConditionType, Reason
from backstay.domain.pairs import Conflict, HostKey
from backstay.domain.zfs import HostFacts, Pool
from backstay.report.clocks import judge_clocks, known_skew_s
from backstay.report.verdict import Verdict, settle

_DELEGATED = (
    "the account has uid {uid}, not 0: it may do what `zfs allow` grants it, which `kubectl "
    "backstay grant` prints, and looks and acts in two steps where root does in one"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostView:
    """One host as last asked: its facts, or the problem that kept us from learning them."""

    name: str
    problem: Conflict | None = None
    zfs_version: str | None = None
    python_version: str | None = None
    uid: int = 0
    clock_skew_s: float = 0.0
    clock_uncertainty_s: float = 0.0
    pools: tuple[Pool, ...] = ()
    receive_roots: tuple[str, ...] = ()
    twins: Mapping[str, HostKey] = field(default_factory=dict)
    """Pool of it → a host at another address that shows it, too."""


def host_view(key: HostKey, facts: HostFacts, receive_roots: tuple[str, ...]) -> HostView:
    """The host as it told of itself."""
    return HostView(
        name=key.host,
        zfs_version=facts.zfs_version,
        python_version=facts.python_version,
        uid=facts.uid,
        clock_skew_s=facts.clock_skew_s,
        clock_uncertainty_s=facts.clock_uncertainty_s,
        pools=facts.pools,
        receive_roots=receive_roots,
    )


def site_status(
    before: SiteStatus,
    hosts: Sequence[HostView],
    *,
    generation: int,
    requested_at: str | None,
    now: datetime,
) -> SiteStatus:
    """The whole status of a Site as of now; what a silent host said last stays, for its spec."""
    is_same = before.observed_generation == generation
    told = {host.name: host for host in before.hosts if is_same}
    shown = tuple(_host(host, told.get(host.name)) for host in hosts)
    clocks = _clocks(before, shown)
    verdicts = [_reachable(hosts), _pools(hosts), clocks, _ready(hosts), *_twins(hosts)]
    good = sum(1 for h in hosts if h.problem is None)
    return SiteStatus(
        observed_generation=generation,
        conditions=settle(before.conditions, verdicts, generation=generation, now=now),
        reachable=f"{good}/{len(hosts)}",
        hosts=shown,
        last_handled_request=requested_at,
    )


def first_site_status(hosts: Sequence[str], *, generation: int, now: datetime) -> SiteStatus:
    """The status of a Site while the first answer of its hosts is awaited."""
    said = f"the first answer of {len(hosts)} hosts is awaited"
    verdicts = [
        Verdict(type=kind, status="Unknown", reason=Reason.NEVER_OBSERVED, message=said)
        for kind in (ConditionType.HOSTS_REACHABLE, ConditionType.READY)
    ]
    return SiteStatus(
        observed_generation=generation,
        conditions=settle((), verdicts, generation=generation, now=now),
        reachable=f"0/{len(hosts)}",
        hosts=tuple(HostStatus(name=name, reason=Reason.NEVER_OBSERVED) for name in hosts),
    )


def _clocks(before: SiteStatus, hosts: Sequence[HostStatus]) -> Verdict:
    was = {c.type: c.status for c in before.conditions}.get(ConditionType.CLOCKS_AGREE)
    skews_s = {
        host.name: host.clock_skew_seconds
        for host in hosts
        if host.clock_skew_seconds is not None and host.reason == Reason.REACHABLE
    }
    return judge_clocks(skews_s, len(hosts), was)


def _host(view: HostView, told: HostStatus | None) -> HostStatus:
    if view.problem is not None:
        return HostStatus(
            name=view.name,
            reason=view.problem.reason,
            message=view.problem.message,
            delegated=told and told.delegated,
            zfs_version=told and told.zfs_version,
            python_version=told and told.python_version,
            clock_skew_seconds=told and told.clock_skew_seconds,
            pools=told.pools if told else (),
        )
    told_skew_s = None if told is None else told.clock_skew_seconds
    return HostStatus(
        name=view.name,
        reason=Reason.REACHABLE,
        message=_DELEGATED.format(uid=view.uid) if view.uid else "",
        delegated=bool(view.uid) or None,
        zfs_version=view.zfs_version,
        python_version=view.python_version,
        clock_skew_seconds=known_skew_s(view.clock_skew_s, view.clock_uncertainty_s, told_skew_s),
        pools=tuple(
            PoolStatus(
                name=p.name,
                health=p.health,
                size_bytes=p.size_bytes,
                free_bytes=_coarse(p.free_bytes, p.size_bytes),
            )
            for p in view.pools
        ),
    )


def _coarse(free_bytes: int, size_bytes: int) -> int:
    """Free space in steps of a hundredth of the pool, so that status does not change all day."""
    step = max(size_bytes // 100, 1)
    return free_bytes // step * step


def _reachable(hosts: Sequence[HostView]) -> Verdict:
    kind = ConditionType.HOSTS_REACHABLE
    bad = [h for h in hosts if h.problem is not None]
    if not bad:
        said = f"{len(hosts)} of {len(hosts)} hosts answered"
        return Verdict(type=kind, status="True", reason=Reason.REACHABLE, message=said)
    problem = bad[0].problem
    assert problem is not None
    named = bad[0].name in problem.message
    said = problem.message if named else f"{bad[0].name}: {problem.message}"
    return Verdict(type=kind, status="False", reason=problem.reason, message=said)


def _pools(hosts: Sequence[HostView]) -> Verdict:
    kind = ConditionType.POOLS_HEALTHY
    ill = [(h.name, p) for h in hosts for p in h.pools if p.health != "ONLINE"]
    if ill:
        host, pool = ill[0]
        said = f"{host}: pool {pool.name} is {pool.health}: see zpool status {pool.name}"
        return Verdict(type=kind, status="False", reason=Reason.POOL_DEGRADED, message=said)
    lost = [(h.name, pool) for h in hosts if not h.problem for pool in _missing_pools(h)]
    if lost:
        host, name = lost[0]
        said = (
            f"{host}: pool {name}, which has a receive root, is not imported: zpool import {name}"
        )
        return Verdict(type=kind, status="False", reason=Reason.POOL_NOT_IMPORTED, message=said)
    seen = sum(len(h.pools) for h in hosts)
    silent = [h.name for h in hosts if h.problem is not None]
    if silent or not seen:
        said = f"nothing is known of the pools of {', '.join(silent) or 'any host'}"
        return Verdict(type=kind, status="Unknown", reason=Reason.UNREACHABLE, message=said)
    said = f"{seen} pools are ONLINE"
    return Verdict(type=kind, status="True", reason=Reason.POOLS_ONLINE, message=said)


def _twins(hosts: Sequence[HostView]) -> list[Verdict]:
    """Whether one machine may have two addresses, for what is shared there goes by the address."""
    found = [(h.name, pool, other) for h in hosts for pool, other in h.twins.items()]
    if not found:
        return []
    host, pool, other = found[0]
    said = (
        f"{host} and {other} (namespace {other.namespace}) have another address or port and show "
        f"the same pool {pool}: if it is one machine, give it the same address and port in both "
        f"places, or pairs of one dataset prune each other's points; of a copied disk, give one "
        f"pool another GUID: zpool reguid {pool}"
    )
    kind, reason = ConditionType.POOL_SEEN_TWICE, Reason.SAME_POOL_GUID
    return [Verdict(type=kind, status="True", reason=reason, message=said)]


def _missing_pools(host: HostView) -> list[str]:
    wanted = {pool_of(root) for root in host.receive_roots}
    return sorted(wanted - {pool.name for pool in host.pools})


def _ready(hosts: Sequence[HostView]) -> Verdict:
    reachable = _reachable(hosts)
    return Verdict(
        type=ConditionType.READY,
        status=reachable.status,
        reason=reachable.reason,
        message=reachable.message,
    )
