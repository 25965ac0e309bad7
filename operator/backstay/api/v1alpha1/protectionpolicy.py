"""ProtectionPolicy: the promise, how much data and how much time a disaster may cost."""

from __future__ import annotations

from typing import ClassVar, Literal, NamedTuple, TypeAlias

from pydantic import Field, StrictInt

from backstay.api.kinds import AGE, Column, KindInfo, condition_column
from backstay.api.rules import Quote, Rule, cel_matches
from backstay.api.v1alpha1.fields import (
    BackupSchedule,
    BufferSize,
    Day,
    Duration,
    Label,
    Rate,
)
from backstay.api.v1alpha1.meta import Resource, SpecModel, Status
from backstay.api.values import (
    DURATION,
    SCHEDULE,
    SECONDS_A_DAY,
    duration_seconds,
    parse_schedule,
)

ProtectionClass: TypeAlias = Literal["Bronze", "Silver", "Gold", "Platinum"]


class Promise(NamedTuple):
    """The numbers that a class stands for."""

    rpo: str
    rto: str


CLASSES: dict[ProtectionClass, Promise] = {
    "Bronze": Promise("24h", "8h"),
    "Silver": Promise("1h", "2h"),
    "Gold": Promise("5m", "15m"),
    "Platinum": Promise("1s", "1m"),
}

# A pass of one changed dataset takes 5 to 10 s; half of the RPO must hold one that failed.
LEAST_REPLICATION_RPO = "30s"
LEAST_INTERVAL = "15s"


class Retention(SpecModel):
    """How many snapshots of ours stay on one side; the base of the next increment always does.

    Hours, days, weeks, months and years are those of the side's Site (`spec.timeZone`); only those
    that hold a snapshot count, and the newest of each stays.
    """

    last: StrictInt = Field(default=1, ge=1, le=1000, description="The newest ones.")
    hourly: StrictInt = Field(
        default=0, ge=0, le=1000, description="One an hour, for so many hours."
    )
    daily: StrictInt = Field(default=0, ge=0, le=1000, description="One a day, for so many days.")
    weekly: StrictInt = Field(
        default=0, ge=0, le=1000, description="One a week from Monday on, for so many weeks."
    )
    monthly: StrictInt = Field(
        default=0, ge=0, le=1000, description="One a month, for so many months."
    )
    yearly: StrictInt = Field(
        default=0, ge=0, le=1000, description="One a year, for so many years."
    )


class ReplicationRetention(SpecModel):
    """How many snapshots stay on either side."""

    source: Retention = Field(
        default=Retention(last=4), description="On the source; the last 4 when absent."
    )
    target: Retention = Field(
        default=Retention(last=4, hourly=24, daily=14),
        description="On the target; the last 4, 24 hourly and 14 daily ones when absent.",
    )


class Transfer(SpecModel):
    """How the bytes of a stream travel."""

    path: Literal["Relay", "Direct"] = Field(
        default="Relay",
        description="Relay: through the operator. Direct: from the host of the source to that of "
        "the target, at its replicationAddress, with the data key of the target's Site.",
    )
    rate_limit: Rate | None = Field(
        default=None,
        description="The most that the streams of a source host put on the line in a second, as in "
        "50MiB; those with the same limit share it.",
    )
    compression: Literal["Off", "Zstd"] = Field(
        default="Off",
        description="Zstd: streams are compressed on the line where both hosts have zstd; for slow "
        "lines and datasets that are not compressed themselves.",
    )
    buffer: BufferSize | None = Field(
        default=None,
        description="Memory that each stream may fill at either host where both have mbuffer, as "
        "in 128MiB; evens out bursts of disks and line.",
    )


class Replication(SpecModel):
    """Snapshots that are sent to a second site."""

    interval: Duration | None = Field(
        default=None, description="Time between two snapshots; half of the RPO when absent."
    )
    retention: ReplicationRetention = Field(
        default=ReplicationRetention(), description="How many snapshots stay on either side."
    )
    properties: Literal["None", "Safe"] = Field(
        default="None",
        description="None: a replica takes no property of its source. Safe: it follows what is set "
        "on the source itself of acltype, aclinherit, aclmode, compression, dnodesize, logbias, "
        "primarycache, recordsize, redundant_metadata, secondarycache, snapdir and xattr; never "
        "what says where it is mounted, who may use it, or how much space it takes.",
    )
    transfer: Transfer = Field(
        default=Transfer(), description="How the bytes of the streams travel."
    )


class ExternalBackup(SpecModel):
    """A backup that something else makes: declared, not verified."""

    statement: str = Field(
        min_length=1,
        max_length=512,
        description="What makes the backup, how often and how long it is kept, as in restic, "
        "nightly, 30 days.",
    )
    until: Day | None = Field(
        default=None, description="Last day on which the statement holds, as in 2027-01-31."
    )


class Backup(SpecModel):
    """Versioned copies that outlive a deletion on the source."""

    rules: ClassVar[tuple[Rule[Backup], ...]] = (
        Rule(
            cel="has(self.schedule) != has(self.external)",
            message="a backup is either scheduled or external: set exactly one of "
            "backup.schedule and backup.external",
            holds=lambda backup: (backup.schedule is None) != (backup.external is None),
        ),
    )

    schedule: BackupSchedule | None = Field(
        default=None,
        description="Runs a day and how many daily, weekly, monthly and yearly points are kept: "
        "Nx-Dd[-Ww][-Mm][-Yy].",
    )
    external: ExternalBackup | None = Field(
        default=None, description="A backup that something else makes: declared, not verified."
    )


class PolicyException(SpecModel):
    """A rule that is set aside, why, and for how long."""

    reason: str = Field(min_length=1, max_length=512, description="Why it is set aside.")
    until: Day = Field(description="Last day of the exception, as in 2027-01-31.")


class Exceptions(SpecModel):
    """Rules that are set aside."""

    replication_without_backup: PolicyException | None = Field(
        default=None, description="Replication alone, although it copies a deletion in seconds."
    )


# The RPO that counts: the policy's own, else that of its class.
_CLASS_RPO = ", ".join(f"'{name}': '{promise.rpo}'" for name, promise in CLASSES.items())
_RPO = f"(has(self.rpo) ? self.rpo : {{{_CLASS_RPO}}}[self.class])"
# A malformed duration or schedule has a sentence of its own; these rules then keep silent.
_RPO_UNREADABLE = f"!{cel_matches(_RPO, DURATION)}"
_RUNS = "self.backup.schedule.split('x')[0]"


def _has_versioned_backup(spec: ProtectionPolicySpec) -> bool:
    exceptions = spec.exceptions
    excused = exceptions is not None and exceptions.replication_without_backup is not None
    return spec.replication is None or spec.backup is not None or excused


def _rpo_within_reach_of_replication(spec: ProtectionPolicySpec) -> bool:
    return spec.replication is None or spec.rpo_seconds >= duration_seconds(LEAST_REPLICATION_RPO)


def _runs_a_day(spec: ProtectionPolicySpec) -> int | None:
    if spec.replication is not None or spec.backup is None or spec.backup.schedule is None:
        return None
    return parse_schedule(spec.backup.schedule).runs_a_day


def _rpo_within_reach_of_schedule(spec: ProtectionPolicySpec) -> bool:
    runs = _runs_a_day(spec)
    return runs is None or spec.rpo_seconds * runs >= SECONDS_A_DAY


def _interval(spec: ProtectionPolicySpec) -> str | None:
    return spec.replication.interval if spec.replication else None


def _interval_within_rpo(spec: ProtectionPolicySpec) -> bool:
    interval = _interval(spec)
    return interval is None or duration_seconds(interval) <= spec.rpo_seconds


def _interval_possible(spec: ProtectionPolicySpec) -> bool:
    interval = _interval(spec)
    return interval is None or duration_seconds(interval) >= duration_seconds(LEAST_INTERVAL)


_QUOTE_RPO: Quote[ProtectionPolicySpec] = Quote(_RPO, lambda spec: spec.effective_rpo)
_QUOTE_INTERVAL: Quote[ProtectionPolicySpec] = Quote(
    "self.replication.interval", lambda spec: _interval(spec) or ""
)
_NO_INTERVAL = (
    "!has(self.replication) || !has(self.replication.interval) || "
    f"!{cel_matches('self.replication.interval', DURATION)}"
)

RULES: tuple[Rule[ProtectionPolicySpec], ...] = (
    Rule(
        cel="self.class != 'Platinum'",
        message="class Platinum promises an RPO of 1s, which needs Ceph RBD mirroring and is "
        "impossible with ZFS replication or backups: choose Gold and set spec.rpo, "
        f"{LEAST_REPLICATION_RPO} at least",
        holds=lambda spec: spec.class_ != "Platinum",
    ),
    Rule(
        cel="has(self.replication) || has(self.backup)",
        message="a policy without spec.replication and spec.backup protects nothing: add one of "
        "them",
        holds=lambda spec: spec.replication is not None or spec.backup is not None,
    ),
    Rule(
        cel="!has(self.replication) || has(self.backup) || (has(self.exceptions) && "
        "has(self.exceptions.replicationWithoutBackup))",
        message="replication copies a deletion within seconds and is not a backup: add "
        "spec.backup.schedule or spec.backup.external, or say in "
        "spec.exceptions.replicationWithoutBackup the reason and until when to go without",
        holds=_has_versioned_backup,
    ),
    Rule(
        cel=f"!has(self.replication) || {_RPO_UNREADABLE} || "
        f"duration({_RPO}) >= duration('{LEAST_REPLICATION_RPO}')",
        message=f"rpo {{rpo}} is below {LEAST_REPLICATION_RPO}, the least that ZFS replication "
        "keeps: raise spec.rpo",
        holds=_rpo_within_reach_of_replication,
        quotes={"rpo": _QUOTE_RPO},
    ),
    Rule(
        cel="has(self.replication) || !has(self.backup) || !has(self.backup.schedule) || "
        f"!{cel_matches('self.backup.schedule', SCHEDULE)} || {_RPO_UNREADABLE} || "
        f"duration({_RPO}).getSeconds() * int({_RUNS}) >= {SECONDS_A_DAY}",
        message="rpo {rpo} is shorter than 24h / {runs}, the time between two runs of the schedule "
        "{schedule}: raise spec.rpo, or the runs a day, or add spec.replication",
        holds=_rpo_within_reach_of_schedule,
        quotes={
            "rpo": _QUOTE_RPO,
            "runs": Quote(_RUNS, lambda spec: str(_runs_a_day(spec))),
            "schedule": Quote(
                "self.backup.schedule",
                lambda spec: (spec.backup.schedule if spec.backup else None) or "",
            ),
        },
    ),
    Rule(
        cel=f"{_NO_INTERVAL} || {_RPO_UNREADABLE} || "
        f"duration(self.replication.interval) <= duration({_RPO})",
        message="replication.interval {interval} is longer than rpo {rpo}: shorten the interval, "
        "or leave it out for half of the RPO",
        holds=_interval_within_rpo,
        quotes={"interval": _QUOTE_INTERVAL, "rpo": _QUOTE_RPO},
    ),
    Rule(
        cel=f"{_NO_INTERVAL} || "
        f"duration(self.replication.interval) >= duration('{LEAST_INTERVAL}')",
        message=f"replication.interval {{interval}} is below {LEAST_INTERVAL}: lengthen it, or "
        "leave it out for half of the RPO",
        holds=_interval_possible,
        quotes={"interval": _QUOTE_INTERVAL},
    ),
)


class ProtectionPolicySpec(SpecModel):
    """What a policy promises and by which means."""

    rules: ClassVar[tuple[Rule[ProtectionPolicySpec], ...]] = RULES

    class_: ProtectionClass = Field(
        alias="class",
        description="The promise by name: Bronze 24h/8h, Silver 1h/2h, Gold 5m/15m (RPO/RTO). "
        "Platinum is refused: neither ZFS nor backups can keep it.",
    )
    rpo: Duration | None = Field(
        default=None,
        description="Recovery point objective: the most data, in time, that a disaster may cost. "
        "That of the class when absent.",
    )
    rto: Duration | None = Field(
        default=None,
        description="Recovery time objective: the longest time until service is back. That of "
        "the class when absent.",
    )
    replication: Replication | None = Field(
        default=None, description="Snapshots that are sent to a second site."
    )
    backup: Backup | None = Field(
        default=None, description="Versioned copies that outlive a deletion on the source."
    )
    exceptions: Exceptions | None = Field(default=None, description="Rules that are set aside.")

    @property
    def effective_rpo(self) -> str:
        """The RPO that counts: the policy's own, else that of its class."""
        return self.rpo or CLASSES[self.class_].rpo

    @property
    def effective_rto(self) -> str:
        """The RTO that counts: the policy's own, else that of its class."""
        return self.rto or CLASSES[self.class_].rto

    @property
    def rpo_seconds(self) -> int:
        """The RPO that counts, in seconds."""
        return duration_seconds(self.effective_rpo)

    @property
    def interval_seconds(self) -> int | None:
        """Seconds between two snapshots: half of the RPO unless set; None without replication."""
        if self.replication is None:
            return None
        interval = self.replication.interval
        return duration_seconds(interval) if interval else self.rpo_seconds // 2


class ProtectionPolicyStatus(Status):
    """What is true of a policy."""

    pairs: int | None = Field(default=None, ge=0, description="ReplicationPairs that refer to it.")
    rpo: Label | None = Field(default=None, description="The RPO that counts.")
    rto: Label | None = Field(default=None, description="The RTO that counts.")


class ProtectionPolicy(Resource):
    """The promise: how much data and how much time a disaster may cost."""

    info: ClassVar[KindInfo] = KindInfo(
        kind="ProtectionPolicy",
        singular="protectionpolicy",
        plural="protectionpolicies",
        short_name="ppol",
        columns=(
            Column("CLASS", ".spec.class", "The promise by name."),
            Column("RPO", ".status.rpo", "The RPO that counts."),
            Column("RTO", ".status.rto", "The RTO that counts."),
            Column("PAIRS", ".status.pairs", "ReplicationPairs that refer to it.", "integer"),
            condition_column("READY", "Ready", "Whether the promise can be kept as written."),
            AGE,
        ),
    )

    kind: Literal["ProtectionPolicy"] = "ProtectionPolicy"
    spec: ProtectionPolicySpec = Field(description="The promise and the means.")
    status: ProtectionPolicyStatus = Field(
        default=ProtectionPolicyStatus(), description="What is true of the policy."
    )
