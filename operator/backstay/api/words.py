"""Every condition type and every reason of the API, once, each with what it means.

They are part of the API: a word may be added, but an existing one keeps its meaning.
`docs/reasons.md` is generated from this module.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class Word(StrEnum):
    """A CamelCase word of the API that knows its meaning."""

    meaning: str

    def __new__(cls, value: str, meaning: str = "") -> Self:
        """Return the word with its meaning beside its value."""
        word = str.__new__(cls, value)
        word._value_ = value
        word.meaning = meaning
        return word


class ConditionType(Word):
    """What a condition is about."""

    READY = "Ready", "Valid, reachable, and the loop works; Unknown while a host is unreachable."
    HOSTS_REACHABLE = "HostsReachable", "Site: every host answered the last request."
    CLOCKS_AGREE = (
        "ClocksAgree",
        "Site: the clock of every host that answered is within 2 s of the operator's. Nothing is "
        "decided by the clocks of hosts.",
    )
    POOLS_HEALTHY = (
        "PoolsHealthy",
        "Site: every pool of its hosts is ONLINE, and those of the receive roots are imported.",
    )
    RPO_MET = (
        "RPOMet",
        "Pair: the recovery point is within the RPO, judged by the clock even while a host is "
        "unreachable; Unknown only without a policy, or while the target was never read.",
    )
    PROTECTED = "Protected", "Pair: every member has at least one confirmed point at the target."
    ACHIEVABLE = (
        "Achievable",
        "Pair: interval + 1.5 × the mean duration of the last 15 passes is within the RPO; Unknown "
        "before 3 passes were measured.",
    )
    AT_RISK = (
        "AtRisk",
        "Only while true: a stream stands still, or takes far longer than the passes before it, so "
        "that the RPO may soon be breached.",
    )
    FAILOVER_READY = (
        "FailoverReady",
        "Pair: False while something is known that a failover would fail for; not shown otherwise, "
        "since nothing proves yet that it would succeed.",
    )
    RECONCILING = "Reconciling", "Only while true: work towards the spec is under way."
    STALLED = "Stalled", "Only while true: nothing moves until a human or a new spec helps."
    SUSPENDED = "Suspended", "Only while true: spec.suspend rests the work; the lag grows."
    DIVERGED = (
        "Diverged",
        "Only while true: the target holds data that the source does not; nothing is overwritten.",
    )
    ASIDE_RETAINED = (
        "AsideRetained",
        "Only while true: what was set aside of a diverged replica is kept and takes space.",
    )
    YIELDING = (
        "Yielding",
        "Only while asked for: sources make room for a rollback and take no new point; False says "
        "why they do not.",
    )
    REPLICA_RETAINED = (
        "ReplicaRetained",
        "Only while true: a dataset of a tree is gone at the source; its replica is kept.",
    )
    BOOKMARKS_RETAINED = (
        "BookmarksRetained",
        "Only while true: a bookmark of ours at the source keeps a point for no replica of a pair.",
    )
    POOL_SEEN_TWICE = (
        "PoolSeenTwice",
        "Only while true: two hosts with different addresses show one pool.",
    )
    FOREIGN_WRITER = (
        "ForeignWriter",
        "Only while true: another installation writes below a receive root; we stay away.",
    )


class Reason(Word):
    """Why a condition is as it is."""

    # All is well, or will be without help.
    REACHABLE = "Reachable", "Every host answered, and has what backstay needs."
    CLOCKS_RIGHT = "ClocksRight", "The clocks of the hosts are within 2 s of the operator's."
    POOLS_ONLINE = "PoolsOnline", "Every pool is ONLINE."
    VALID = "Valid", "The policy can be kept as written."
    UP_TO_DATE = "UpToDate", "Every member has a confirmed point, and nothing waits."
    CONFIRMED = "Confirmed", "The GUID of the point was read back at the target."
    WITHIN_RPO = "WithinRPO", "The recovery point is younger than the RPO."
    PASSES_FIT = "PassesFit", "Passes are quick enough to keep the RPO."
    NOT_MEASURED = "NotMeasured", "Too few passes were measured, or what they serve is not known."
    SEEDING = (
        "Seeding",
        "A first full copy is under way; there is no recovery point before it ends.",
    )
    WAITING_FOR_FIRST_POINT = "WaitingForFirstPoint", "Accepted; the first pass has not ended."
    SUSPENDED = "Suspended", "spec.suspend is true: no work is done and all data stays."
    DELETING = "Deleting", "The object is being deleted: our bookmarks go, all data stays."
    NOT_LEADER = "NotLeader", "Another replica of the operator holds the Lease."

    # The promise is not kept.
    RPO_BREACHED = "RPOBreached", "The recovery point is older than the RPO."
    PASSES_TOO_LONG = (
        "PassesTooLong",
        "Passes take too long for the RPO at this interval; the message has the sum.",
    )
    NEVER_OBSERVED = (
        "NeverObserved",
        "Nothing is known to judge by: the target was never read, the hosts of the Site were not "
        "asked yet, or no policy names an RPO.",
    )

    CLOCK_SKEW = "ClockSkew", "The recovery point lies in the future: its age is not known."

    # Hosts: nothing was learnt about the data; heals by itself once the cause is gone.
    UNREACHABLE = "Unreachable", "No connection to the host; what it holds is unknown."
    TIMEOUT = "Timeout", "The host took a connection but did not answer within the deadline."
    SECRET_MISSING = "SecretMissing", "The Secret, or its key ssh-privatekey, does not exist."
    KEY_REFUSED = "KeyRefused", "The host refused the private key of the Secret."
    HOST_KEY_CHANGED = (
        "HostKeyChanged",
        "The host showed none of the keys in spec.hosts[].hostKeys; find out why before you "
        "change them.",
    )
    NO_PYTHON = "NoPython", "The host has no Python 3.11 or newer."
    NO_ZFS = "NoZfs", "The host has no zfs command, or its kernel module is not loaded."
    NO_RIGHTS = "NoRights", "The account on the host may not do what is needed."
    NOT_ALLOWED = (
        "NotAllowed",
        "The forced command of our key at the host does not admit this dataset or command.",
    )
    FED_PROGRAM_REFUSED = (
        "FedProgramRefused",
        "The chart's hosts.requireInstalled is set, and the host's program is Fed.",
    )
    PROTOCOL_ERROR = (
        "ProtocolError",
        "The answer of the host was not of the host program, or of one of another version.",
    )
    CLOCK_OFF = (
        "ClockOff",
        "The clock of a host, or the operator's, is wrong; the message has the seconds.",
    )
    POOL_DEGRADED = "PoolDegraded", "A pool is not ONLINE."
    SAME_POOL_GUID = (
        "SamePoolGuid",
        "A pool of another address has the same GUID: it is one machine, or a copied disk.",
    )
    POOL_NOT_IMPORTED = (
        "PoolNotImported",
        "A pool that is needed is not imported: what it holds is unknown, not gone.",
    )
    FENCE_BUSY = "FenceBusy", "Commands of an earlier leader still run at the host."
    SUPERSEDED = "Superseded", "The host knows a higher term of this installation: another leads."
    FOREIGN_WRITER = "ForeignWriter", "Another installation writes below the receive root."

    # References and specs: a human or a new spec helps.
    INVALID_SPEC = "InvalidSpec", "The spec breaks a rule that the API server could not see."
    SITE_MISSING = "SiteMissing", "A Site in spec.sites does not exist."
    HOST_MISSING = "HostMissing", "A host that a member names is not in the Site."
    POLICY_MISSING = "PolicyMissing", "The ProtectionPolicy in spec.policyRef does not exist."
    POLICY_REFUSED = (
        "PolicyRefused",
        "The policy cannot serve a pair: it has no replication part (backup only).",
    )
    EXCEPTION_EXPIRED = (
        "ExceptionExpired",
        "The last day of exceptions.replicationWithoutBackup is over: add a backup or renew it.",
    )
    STATEMENT_EXPIRED = (
        "StatementExpired",
        "The last day of backup.external is over: check that backup and renew the statement.",
    )
    DATASET_CLAIMED = (
        "DatasetClaimed",
        "Two members, of this pair or of another one, name the same target dataset.",
    )
    GROUP_TOO_LARGE = (
        "GroupTooLarge",
        "The consistency group does not fit into one snapshot command.",
    )
    GROUP_SPLIT = "GroupSplit", "Members of the consistency group lie in different pools."

    # What lies at the hosts: nothing is written until a human decides.
    SOURCE_IS_REPLICA = (
        "SourceIsReplica",
        "The source dataset is a replica of another installation, or is in a group with sources "
        "that are none.",
    )
    NAME_TOO_LONG = (
        "NameTooLong",
        "A dataset of a tree has a name that leaves no room for our snapshots and bookmarks.",
    )
    SOURCE_MISSING = "SourceMissing", "The source dataset does not exist."
    RECEIVE_ROOT_MISSING = "ReceiveRootMissing", "The receive root does not exist: create it."
    RECEIVE_ROOT_IN_PROXMOX_STORAGE = (
        "ReceiveRootInProxmoxStorage",
        "The receive root, or a target below it, lies in a storage of /etc/pve/storage.cfg, where "
        "Proxmox could destroy replicas.",
    )
    OUTSIDE_RECEIVE_ROOTS = (
        "OutsideReceiveRoots",
        "The target dataset lies below none of the host's receive roots.",
    )
    PARENT_MISSING = "ParentMissing", "A parent of the target dataset is missing or not seeded yet."
    ORIGIN_MISSING = (
        "OriginMissing",
        "The source is a clone, and the replica of its origin is being seeded up to there first.",
    )
    TARGET_HAS_FOREIGN_DATA = (
        "TargetHasForeignData",
        "The target dataset exists and was not made by this pair.",
    )
    TARGET_IS_PRIMARY = (
        "TargetIsPrimary",
        "The target has the role primary: it is in use, and nothing is received into it.",
    )
    SOURCE_IS_SECONDARY = (
        "SourceIsSecondary",
        "The source was demoted: it is read-only, and another dataset is the primary.",
    )
    ROLE_EPOCH_DIFFERS = (
        "RoleEpochDiffers",
        "Source and target have not seen the same moves of the role: one of them was left behind.",
    )
    TARGET_MODIFIED = "TargetModified", "The replica was written to since the last point."
    TARGET_WRITABLE = (
        "TargetWritable",
        "The replica is a volume that was made writable: something may have it open.",
    )
    TARGET_AHEAD = (
        "TargetAhead",
        "The replica has points that the source no longer has: the source was rolled back.",
    )
    NEW_LINEAGE = (
        "NewLineage",
        "The source is another dataset than the one that was seeded, under the same name.",
    )
    STREAM_MODE_PINNED = (
        "StreamModePinned",
        "The replica was seeded plain and the source is encrypted, or the other way round.",
    )
    RAW_LINEAGE_BROKEN = (
        "RawLineageBroken",
        "The newest snapshot of the replica of an encrypted source is not the source's, by GUID "
        "and by `ivsetguid`: raw streams cannot go on from it.",
    )
    NO_COMMON_BASE = "NoCommonBase", "Source and replica share no snapshot or bookmark any more."
    SETTING_ASIDE = (
        "SettingAside",
        "A diverged replica is being set aside; nothing is sent to its place before that is done.",
    )
    RENAMING = (
        "Renaming",
        "A dataset of a tree was renamed at the source and its replica is renamed, too; nothing is "
        "sent to the old or the new name before that is done.",
    )
    RENAME_BLOCKED = (
        "RenameBlocked",
        "A dataset of a tree was renamed at the source, and its replica cannot follow by itself; "
        "the message says what is in the way. Nothing was changed.",
    )
    ASIDE_KEPT = "AsideKept", "Somebody decides when what was set aside is destroyed."
    MAKES_ROOM = (
        "MakesRoom",
        "Our points that are newer than a snapshot go, so that it can be rolled back to; until the "
        "time in the message no new one is taken.",
    )
    ROOM_MISSING = (
        "RoomMissing",
        "A source cannot be rolled back yet: the message names what is newer and still there.",
    )
    REPLICA_KEPT = "ReplicaKept", "Somebody decides when a replica without a source is destroyed."
    BOOKMARKS_KEPT = (
        "BookmarksKept",
        "Somebody decides when a bookmark without a pair is destroyed.",
    )
    APPROVAL_VOID = (
        "ApprovalVoid",
        "What would be lost is not what was approved any more: nothing was changed.",
    )
    NAME_COLLISION = (
        "NameCollision",
        "A snapshot of the same name has another GUID at the other side.",
    )
    REPLICA_MISSING = "ReplicaMissing", "What is to be promoted is not there, or is no replica."
    POINT_MISSING = "PointMissing", "A replica lacks the chosen point, or no set is whole."
    FINAL_NAME_TAKEN = (
        "FinalNameTaken",
        "Another dataset bears the name that is needed.",
    )
    PROMOTION_PATH_BLOCKED = (
        "PromotionPathBlocked",
        "ZFS would refuse the promotion: pools, parents or encryption roots do not fit.",
    )
    ROLE_CHANGED = (
        "RoleChanged",
        "Role or roleEpoch of a dataset is another than planned: another run has moved the role.",
    )
    ALREADY_PROMOTED = "AlreadyPromoted", "The promotion is past the point where it can be undone."
    SOURCE_MODIFIED = (
        "SourceModified",
        "The source was written to after its last point: what was written is not at the target.",
    )
    FOREIGN_REPLICATION = (
        "ForeignReplication",
        "Another tool (pvesr, for one) replicates the dataset and would destroy our points.",
    )

    # A failover would not succeed as it is.
    KEY_NOT_AVAILABLE = (
        "KeyNotAvailable",
        "The key of an encrypted replica is not loaded at the target: it follows its source all "
        "the same, but nothing can be read or started from it, and no plain stream lands below it.",
    )

    # One pass failed; the next one tries again.
    STALE_RECEIVE_STATE = (
        "StaleReceiveState",
        "An interrupted receive can no longer be resumed and is discarded.",
    )
    SOURCE_BUSY = "SourceBusy", "The source dataset is in use by a command that excludes ours."
    INSUFFICIENT_SPACE = (
        "InsufficientSpace",
        "A pool has too little space for what is due: that of the target for a stream, that of the "
        "source for a snapshot.",
    )
    TRANSFER_STALLED = (
        "TransferStalled",
        "No byte of the stream moves. If that lasts, both ends are stopped, and it goes on from "
        "what has arrived.",
    )
    TRANSFER_SLOW = (
        "TransferSlow",
        "The stream moves, but takes 3 times as long as the passes before it, or half the RPO.",
    )
    TRANSFER_FAILED = "TransferFailed", "Sending or receiving failed; the message has the cause."
    INTERNAL_ERROR = "InternalError", "A fault of backstay itself: please report the message."


NOT_YET = frozenset(
    {
        Reason.ALREADY_PROMOTED,
        Reason.FINAL_NAME_TAKEN,
        Reason.POINT_MISSING,
        Reason.PROMOTION_PATH_BLOCKED,
        Reason.REPLICA_MISSING,
        Reason.SOURCE_MODIFIED,
    }
)
"""What only a change of roles says, which nothing in the API asks for yet."""
