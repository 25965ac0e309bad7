"""ReplicationPair: keeps a second site's ZFS datasets within the RPO of the first."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import Field, StrictBool

from backstay.api.kinds import AGE, Column, KindInfo, condition_column
from backstay.api.rules import Keyed, Rule, Text
from backstay.api.v1alpha1.fields import (
    DNS_NAME,
    Dataset,
    HostName,
    Label,
    Message,
    ObjectName,
    SiteName,
    Time,
)
from backstay.api.v1alpha1.meta import Resource, SpecModel, Status, StatusModel

MemberName: TypeAlias = Annotated[
    str,
    Text(
        DNS_NAME,
        63,
        "write a name of lower-case letters, digits, '-' and '.', as in disk-0",
    ),
]


class PolicyRef(SpecModel):
    """A ProtectionPolicy in the namespace of the pair."""

    name: ObjectName = Field(description="Name of the ProtectionPolicy.")


class Place(SpecModel):
    """Where a member lies at one site."""

    host: HostName = Field(description="Name of the host in the Site.")
    dataset: Dataset = Field(
        description="The dataset; at the target it lies below one of the host's receiveRoots."
    )


class Member(SpecModel):
    """A dataset and its replica."""

    rules: ClassVar[tuple[Rule[Member], ...]] = (
        # Entries of a map list are matched by their key, so this sees the entry of that name.
        Rule(
            cel="self.at == oldSelf.at",
            message="a member's places are immutable: remove the member and add one of another "
            "name for the new places",
        ),
    )

    name: MemberName = Field(description="Name of the member within the pair.")
    at: dict[str, Place] = Field(
        min_length=2,
        max_length=2,
        description="Its place at each of the two sites, by the site's name; immutable.",
    )
    recursive: StrictBool = Field(
        default=False, description="Whether all datasets below it are replicated with it."
    )


def _at_both_sites(spec: ReplicationPairSpec) -> bool:
    return all(site in member.at for member in spec.datasets for site in spec.sites)


def _target_below_pool(spec: ReplicationPairSpec) -> bool:
    return all(
        "/" in member.at[site].dataset
        for member in spec.datasets
        for site in spec.sites
        if site != spec.preferred_site and site in member.at
    )


RULES: tuple[Rule[ReplicationPairSpec], ...] = (
    Rule(
        cel="self.sites[0] != self.sites[1]",
        message="a replica at the same site is lost with it: name two different Sites in "
        "spec.sites",
        holds=lambda spec: spec.sites[0] != spec.sites[1],
    ),
    Rule(
        cel="self.sites == oldSelf.sites",
        message="spec.sites is immutable: create a new ReplicationPair for other sites",
    ),
    Rule(
        cel="self.preferredSite in self.sites",
        message="spec.preferredSite is where the data lies at first: name one of spec.sites",
        holds=lambda spec: spec.preferred_site in spec.sites,
    ),
    Rule(
        cel="self.datasets.all(member, self.sites.all(site, site in member.at))",
        message="every member has one place at each site: let the keys of its `at` be the two "
        "names in spec.sites",
        holds=_at_both_sites,
    ),
    Rule(
        cel="self.datasets.all(member, self.sites.all(site, site == self.preferredSite || "
        "!(site in member.at) || member.at[site].dataset.contains('/')))",
        message="a pool's own dataset is never a replica: name a dataset below a receive root at "
        "the site that is not preferred, as in rpool/backstay/disk-0",
        holds=_target_below_pool,
    ),
)


class ReplicationPairSpec(SpecModel):
    """What a pair keeps in step."""

    rules: ClassVar[tuple[Rule[ReplicationPairSpec], ...]] = RULES

    policy_ref: PolicyRef = Field(
        description="The ProtectionPolicy with the RPO; it must have a replication part."
    )
    sites: tuple[SiteName, ...] = Field(
        min_length=2,
        max_length=2,
        description="Names of the two Sites; immutable.",
    )
    preferred_site: SiteName = Field(
        description="Chooses the first source, once, at the seed; nothing ever moves because of it."
    )
    datasets: Annotated[tuple[Member, ...], Keyed("name")] = Field(
        min_length=1, max_length=1000, description="The datasets that are kept in step."
    )
    consistency_group: StrictBool = Field(
        default=False,
        description="Whether all members share each snapshot; they must lie in one pool then.",
    )
    suspend: StrictBool = Field(
        default=False, description="Whether work rests; all data stays and the lag grows."
    )

    @property
    def other_site(self) -> str:
        """The site that is not preferred: the first target."""
        first, second = self.sites
        return second if first == self.preferred_site else first


class RecoveryPoint(StatusModel):
    """What can be recovered at the target."""

    time: Time = Field(
        description="The moment whose data can be recovered: that of the snapshot or, while "
        "nothing has changed since, the later one at which this was confirmed."
    )
    snapshot: Label = Field(description="Name of the snapshot, without the dataset.")
    guid: Label | None = Field(
        default=None,
        description="GUID of the snapshot as read back at the target; of the oldest member's when "
        "members have different ones.",
    )
    transfer_seconds: int | None = Field(
        default=None, ge=0, description="How long the pair's last transfer took."
    )
    bytes: int | None = Field(
        default=None, ge=0, description="How much the pair's last transfer moved."
    )


class TransferProgress(StatusModel):
    """How far the streams are that carry the pair's members now; absent while they are short."""

    time: Time = Field(
        description="When this was so. While streams run, status is written once a minute at most."
    )
    start_time: Time = Field(description="When the first of them began.")
    streams: int = Field(ge=1, description="How many streams carry members of the pair.")
    bytes: int = Field(ge=0, description="How much of the pair's members has moved.")
    expected_bytes: int = Field(
        ge=0, description="How much will have, about, when they have ended."
    )
    bytes_per_second: int | None = Field(
        default=None, ge=0, description="Over the last half minute, by the streams as a whole."
    )
    seconds_left: int | None = Field(
        default=None,
        ge=0,
        description="Until they have ended, at this rate; absent while one of them stands still.",
    )


class MemberCounts(StatusModel):
    """How the members are; datasets found below recursive members count, too."""

    total: int = Field(ge=0, description="All members.")
    confirmed: int = Field(default=0, ge=0, description="With a recovery point at the target.")
    seeding: int = Field(default=0, ge=0, description="Without one, whose first copy is under way.")
    failed: int = Field(
        default=0, ge=0, description="Whose last attempt failed and is tried again by itself."
    )
    conflicted: int = Field(default=0, ge=0, description="That wait for a decision of yours.")


class WorstMember(StatusModel):
    """A member that needs attention."""

    member: Label = Field(description="Name of the member, or the dataset found below it.")
    reason: Label = Field(description="Why, as a word of the API.")
    message: Message = Field(description="The same for people, with the next step.")
    recovery_point_time: Time | None = Field(
        default=None, description="Its newest confirmed recovery point; absent without any."
    )


class NamedPoint(StatusModel):
    """A snapshot or bookmark by name and identity."""

    name: Label = Field(description="Its name, from the `@` or `#` on.")
    guid: Label = Field(description="Its GUID, in decimal.")


class DivergedMember(StatusModel):
    """A member whose place at the target holds what its source does not know."""

    member: Label = Field(description="Name of the member, or the dataset found below it.")
    reason: Label = Field(description="What happened, as a word of the API.")
    source: Label = Field(description="The source dataset.")
    source_guid: Label = Field(description="GUID of the source dataset.")
    dataset: Label = Field(description="The dataset at the target.")
    guid: Label = Field(description="GUID of the dataset at the target.")
    base: NamedPoint | None = Field(
        default=None, description="The newest snapshot at the target that the source knows."
    )
    ahead: tuple[NamedPoint, ...] = Field(
        default=(), max_length=8, description="The source's newest snapshots since the base."
    )
    lose: tuple[NamedPoint, ...] = Field(
        default=(),
        max_length=96,
        description="The points at the target since the base, oldest first.",
    )
    lose_count: int = Field(
        default=0, ge=0, description="How many there are: no more than 96 are listed."
    )
    written_bytes: int | None = Field(
        default=None,
        ge=0,
        description="Bytes written at the target since its newest snapshot; absent if unknown.",
    )
    offers: tuple[Label, ...] = Field(
        default=(),
        max_length=8,
        description="What can be done, the recommended one first; `kubectl backstay resolve` asks "
        "for it.",
    )


class RetainedAside(StatusModel):
    """What was set aside of a member and is still there."""

    dataset: Label = Field(description="Its name now.")
    of: Label = Field(description="The name that it had.")
    used_bytes: int = Field(ge=0, description="What would be free without it.")


class ReplicationPairStatus(Status):
    """What is true of a pair; all of it can be rebuilt from the hosts."""

    active_site: Label | None = Field(
        default=None, description="The site whose data is the source."
    )
    rpo: Label | None = Field(default=None, description="The RPO that the pair is judged by.")
    recovery_point: RecoveryPoint | None = Field(
        default=None,
        description="The newest point that all members of a consistency group hold, else the "
        "oldest over all members; absent if any member has none. A dataset that a tree has just "
        "got leaves it at the point from before it came until it has one.",
    )
    transfer: TransferProgress | None = Field(
        default=None, description="The streams that carry the pair's members now."
    )
    members: MemberCounts | None = Field(default=None, description="How the members are.")
    worst: tuple[WorstMember, ...] = Field(
        default=(), max_length=5, description="The members that need attention most, worst first."
    )
    diverged: tuple[DivergedMember, ...] = Field(
        default=(), max_length=5, description="Members that wait for a decision, and about what."
    )
    asides: tuple[RetainedAside, ...] = Field(
        default=(), max_length=5, description="What was set aside and takes space, largest first."
    )
    last_handled_request: Label | None = Field(
        default=None,
        description="The last value of the annotation backstay.dev/requested-at that was acted on.",
    )


class ReplicationPair(Resource):
    """Keeps a second site's ZFS datasets within the RPO of the first."""

    info: ClassVar[KindInfo] = KindInfo(
        kind="ReplicationPair",
        singular="replicationpair",
        plural="replicationpairs",
        short_name="rpair",
        columns=(
            Column("ACTIVE", ".status.activeSite", "The site whose data is the source."),
            Column("RPO", ".status.rpo", "The RPO that the pair is judged by."),
            Column(
                "RECOVERY-POINT",
                ".status.recoveryPoint.time",
                "Age of what can be recovered.",
                "date",
            ),
            condition_column("RPO-MET", "RPOMet", "Whether the recovery point is within the RPO."),
            condition_column("READY", "Ready", "Whether replication works."),
            AGE,
            # The only list that a column may take by position: it is kept worst first.
            Column(
                "WORST",
                ".status.worst[0].member",
                "The member that needs attention most.",
                priority=1,
            ),
            Column(
                "MESSAGE",
                '.status.conditions[?(@.type=="Ready")].message',
                "Why it is ready or not.",
                priority=1,
            ),
        ),
    )

    kind: Literal["ReplicationPair"] = "ReplicationPair"
    spec: ReplicationPairSpec = Field(description="What is kept in step.")
    status: ReplicationPairStatus = Field(
        default=ReplicationPairStatus(), description="What is true of the pair."
    )
