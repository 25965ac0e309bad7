"""`kubectl backstay doctor`: what of an installation is sick, and what the reader does about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal, TypeAlias

from backstay.api.kinds import DATA_KEY, PRIVATE_KEY
from backstay.api.v1alpha1.protectionpolicy import ProtectionPolicy
from backstay.api.v1alpha1.replicationpair import ReplicationPair
from backstay.api.v1alpha1.site import Host, HostStatus, PoolStatus, Site
from backstay.api.words import Reason
from backstay.report.ages import bytes_text
from backstay.report.clocks import NEXT_STEP, skew_text
from backstay.report.inventory import Inventory
from backstay.report.judgement import Saying, ready_of
from backstay.report.leader import SKEW_S, Leader
from backstay.report.ssh_keys import host_key_fault, private_key_fault

Level: TypeAlias = Literal["ok", "warn", "bad", "unknown"]
LEVELS: tuple[Level, ...] = ("bad", "unknown", "warn", "ok")
SOON_DAYS = 14
LOW_SPACE = 0.10
"""ZFS slows down and receives fail when a pool is nearly full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at. `name` is a word for programs."""

    name: str
    level: Level
    about: str
    says: str
    next_step: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """Something that could not be read: nothing is known of it."""

    why: str


Secret: TypeAlias = Mapping[str, bytes] | Unread | None
"""The data of a Secret; None is one that does not exist."""
Schema: TypeAlias = Mapping[str, Any]
Crd: TypeAlias = Schema | Unread | None
"""A CustomResourceDefinition; None is one that is not installed."""


def check_leader(leader: Leader) -> Iterator[Check]:
    """Whether an operator leads, and whether this machine's clock agrees with its clock."""
    level: Level = "unknown" if leader.leads is None else "ok" if leader.leads else "bad"
    step = leader.next_step
    yield Check(
        name="OperatorLeads", level=level, about="operator", says=leader.says, next_step=step
    )
    if leader.ahead_s > SKEW_S:
        yield Check(
            name="ReaderClock",
            level="warn",
            about="this machine",
            says=f"its clock is {leader.ahead_s:.0f} s behind the operator's, so lags look shorter",
            next_step="set the clock by NTP here or where the operator runs",
        )


def check_crd(name: str, found: Crd, ours: Schema) -> Check:
    """Whether a CRD is installed and of the version that this plugin was made with.

    | installed                          | level   |
    |------------------------------------|---------|
    | not read                           | unknown |
    | missing, or without our version    | bad     |
    | lacks fields that we know          | bad     |
    | has fields that we do not know     | warn    |
    """
    step = "kubectl apply --server-side -f crds/"
    if isinstance(found, Unread):
        return _crd(name, "unknown", found.why, "read it as somebody who may")
    if found is None:
        return _crd(name, "bad", "is not installed", step)
    version = ours["spec"]["versions"][0]["name"]
    installed = [v for v in found["spec"]["versions"] if v["name"] == version and v.get("served")]
    if not installed:
        return _crd(name, "bad", f"does not serve {version}", step)
    theirs, known = set(_fields(installed[0])), set(_fields(ours["spec"]["versions"][0]))
    if lacking := sorted(known - theirs):
        said = f"is older than this plugin: it lacks {len(lacking)} fields, {lacking[0]} for one"
        return _crd(name, "bad", said, step)
    if more := sorted(theirs - known):
        said = f"is newer than this plugin: it has {len(more)} more fields, {more[0]} for one"
        return _crd(name, "warn", said, "install the plugin of the operator's version")
    return _crd(name, "ok", f"serves {version} with the {len(known)} fields of this plugin", "")


def _crd(name: str, level: Level, says: str, step: str) -> Check:
    about = f"CRD {name}"
    return Check(name="CrdInstalled", level=level, about=about, says=says, next_step=step)


def _fields(version: Schema) -> Iterator[str]:
    schema = version.get("schema", {}).get("openAPIV3Schema", {})
    # The server knows the metadata itself.
    parts = [("", schema)]
    while parts:
        path, part = parts.pop()
        for inner in ("items", "additionalProperties"):
            if isinstance(part.get(inner), Mapping):
                parts.append((path, part[inner]))
        for field, each in (part.get("properties") or {}).items():
            if path or field in {"spec", "status"}:
                yield f"{path}.{field}"
                parts.append((f"{path}.{field}", each))


def check_right(what: str, needed_for: Sequence[str], allowed: bool) -> Check:
    """Whether the user may do what commands of the plugin need; `what` is verb and resource."""
    commands, about = ", ".join(needed_for), f"you: {what}"
    if allowed:
        return Check(name="UserMay", level="ok", about=about, says=f"allowed, for {commands}")
    return Check(
        name="UserMay",
        level="warn",
        about=about,
        says=f"not allowed; needed for {commands}",
        next_step="ask for a role with it; the chart has viewer and editor",
    )


def check_policy(policy: ProtectionPolicy, today: date) -> Iterator[Check]:
    """Whether a policy is Ready, and what of it runs out within 14 days."""
    about = f"ProtectionPolicy {policy.metadata.namespace}/{policy.metadata.name}"
    yield _ready(about, ready_of(policy))
    exceptions, backup = policy.spec.exceptions, policy.spec.backup
    if exceptions is not None and (excused := exceptions.replication_without_backup) is not None:
        yield _until(about, "the exception replicationWithoutBackup", excused.until, today)
    if backup is not None and backup.external is not None and backup.external.until is not None:
        yield _until(about, "the statement of the external backup", backup.external.until, today)


def _until(about: str, what: str, last_day: date, today: date) -> Check:
    left = (last_day - today).days
    level: Level = "bad" if left < 0 else "warn" if left <= SOON_DAYS else "ok"
    says = f"{what} ran out on {last_day}, {-left} days ago"
    if left >= 0:
        says = f"{what} holds until {last_day}, {left} more days"
    step = "" if level == "ok" else "add or check the backup, then give it a new last day"
    return Check(name="RunsOut", level=level, about=about, says=says, next_step=step)


def _ready(about: str, ready: Saying) -> Check:
    levels: Mapping[str, Level] = {"True": "ok", "False": "bad", "Unknown": "unknown"}
    return Check(
        name="Ready",
        level=levels[ready.status],
        about=about,
        says=f"Ready={ready.status}, {ready.reason}: {ready.message}",
        next_step="" if ready.status == "True" else "do what the message says, then look again",
    )


def check_secret(site: Site, secret: Secret) -> Check:
    """Whether the Site's Secret has a key that ssh can read without asking."""
    namespace, name = site.metadata.namespace, site.spec.ssh.secret_ref.name
    about, store = f"Secret {namespace}/{name}", f"put the private key's file under {PRIVATE_KEY}"
    level: Level = "bad"
    if isinstance(secret, Unread):
        level, says, store = "unknown", secret.why, "look at it as somebody who may read Secrets"
    elif secret is None:
        says = f"does not exist, and Site {site.metadata.name} logs in with it"
        store = (
            f"kubectl -n {namespace} create secret generic {name} --from-file={PRIVATE_KEY}=FILE"
        )
    elif PRIVATE_KEY not in secret:
        says = f"has no key {PRIVATE_KEY} (it has {', '.join(sorted(secret)) or 'none'})"
    elif (fault := private_key_fault(secret[PRIVATE_KEY])) is not None:
        says = f"{PRIVATE_KEY}: {fault}"
    elif DATA_KEY in secret and (fault := private_key_fault(secret[DATA_KEY])) is not None:
        says, store = f"{DATA_KEY}: {fault}", f"put the data key's file under {DATA_KEY}"
    elif secret.get(DATA_KEY) == secret[PRIVATE_KEY]:
        says = f"{DATA_KEY} is the same key as {PRIVATE_KEY}: other hosts would be given it"
        store = f"make a key of its own for {DATA_KEY}, with ssh-keygen -t ed25519"
    else:
        level, says, store = "ok", f"{PRIVATE_KEY} looks like a private key without passphrase", ""
    return Check(name="SecretUsable", level=level, about=about, says=says, next_step=store)


def check_site(site: Site, pairs: Iterable[ReplicationPair]) -> Iterator[Check]:
    """What a Site's spec and status say of its hosts."""
    targets = set(_targets(site, pairs))
    about = f"Site {site.metadata.namespace}/{site.metadata.name}"
    ready = ready_of(site)
    if ready.reason == Reason.NEVER_OBSERVED:
        yield _ready(about, ready)
    seen = {host.name: host for host in site.status.hosts}
    for host in site.spec.hosts:
        where = f"{about} host {host.name}"
        yield from _host_keys(where, host)
        yield _roots(where, host, host.name in targets)
        if ready.reason != Reason.NEVER_OBSERVED:
            yield from _host(where, seen.get(host.name))


def _targets(site: Site, pairs: Iterable[ReplicationPair]) -> Iterator[str]:
    """The hosts of the Site that are to receive."""
    place = (site.metadata.namespace, site.metadata.name)
    for pair in pairs:
        active = pair.status.active_site or pair.spec.preferred_site
        if pair.metadata.namespace != place[0] or place[1] not in pair.spec.sites:
            continue
        if active != place[1]:
            yield from (member.at[place[1]].host for member in pair.spec.datasets)


def _host_keys(about: str, host: Host) -> Iterator[Check]:
    step = "compare ssh-keyscan with the host's console, then write the key anew"
    faults = [
        f"hostKeys[{number}]: {fault}"
        for number, key in enumerate(host.host_keys)
        if (fault := host_key_fault(key)) is not None
    ]
    if not faults:
        says = f"{len(host.host_keys)} host keys are well formed"
        yield Check(name="HostKeys", level="ok", about=about, says=says)
    for says in faults:
        yield Check(name="HostKeys", level="bad", about=about, says=says, next_step=step)


def _roots(about: str, host: Host, is_target: bool) -> Check:
    roots = ", ".join(host.receive_roots)
    level: Level = "ok"
    says, step = f"receives below {roots}", ""
    if not roots and is_target:
        level, says = "bad", "is the target of a pair and has no receiveRoots"
        step = "zfs create -o canmount=off POOL/backstay there, and name it in receiveRoots"
    elif not roots:
        says = "has no receiveRoots: it is only ever a source"
    return Check(name="ReceiveRoots", level=level, about=about, says=says, next_step=step)


def _host(about: str, seen: HostStatus | None) -> Iterator[Check]:
    if seen is None:
        says = "was not looked at since it is in the Site"
        yield Check(name="HostReachable", level="unknown", about=about, says=says)
        return
    if seen.reason != Reason.REACHABLE:
        yield Check(
            name="HostReachable",
            level="bad",
            about=about,
            says=f"{seen.reason}: {seen.message}",
            next_step="docs/reasons.md has what the reason means",
        )
        return
    says = f"answered, ZFS {seen.zfs_version}, Python {seen.python_version}"
    yield Check(name="HostReachable", level="ok", about=about, says=says)
    if seen.delegated:
        yield Check(name="DelegatedAccount", level="ok", about=about, says=seen.message)
    if seen.clock_skew_seconds is not None:
        yield _skew(about, seen.clock_skew_seconds)
    for pool in seen.pools:
        yield _pool(f"{about} pool {pool.name}", pool)


def _skew(about: str, skew_s: int) -> Check:
    bad = abs(skew_s) > SKEW_S
    return Check(
        name="ClockSkew",
        level="warn" if bad else "ok",
        about=about,
        says=skew_text(skew_s),
        next_step=NEXT_STEP if bad else "",
    )


def _pool(about: str, pool: PoolStatus) -> Check:
    free = pool.free_bytes / pool.size_bytes if pool.size_bytes else 0.0
    level: Level = "warn" if free < LOW_SPACE else "ok"
    step = "free or add space" if level == "warn" else ""
    if pool.health != "ONLINE":
        level, step = "bad", f"at the host: zpool status {pool.name}"
    says = f"{pool.health}, {bytes_text(pool.free_bytes)} of {bytes_text(pool.size_bytes)} free"
    return Check(name="Pool", level=level, about=about, says=f"{says} ({free:.0%})", next_step=step)


def unreadable_checks(objects: Inventory) -> Iterator[Check]:
    """Objects that this plugin does not understand."""
    for found in objects.unreadable:
        yield Check(
            name="Readable",
            level="unknown",
            about=f"{found.kind} {found.namespace}/{found.name}",
            says=found.why,
            next_step="install the plugin of the operator's version",
        )


def checkup_document(checks: Sequence[Check]) -> dict[str, Any]:
    """The checks for programs; their fields stay."""
    return {
        "healthy": not any(check.level == "bad" for check in checks),
        "counts": {level: sum(1 for c in checks if c.level == level) for level in LEVELS},
        "checks": [
            {
                "name": check.name,
                "level": check.level,
                "object": check.about,
                "message": check.says,
                "nextStep": check.next_step,
            }
            for check in checks
        ],
    }
