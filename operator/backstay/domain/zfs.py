"""ZFS as values: what a host said about its pools, datasets, snapshots and bookmarks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

Guid = NewType("Guid", int)
"""Identity of a dataset, snapshot or bookmark across pools. Names are not identity."""

PROPERTY_PREFIX = "dev.backstay:"
LINEAGE = "dev.backstay:lineage"
"""On a replica: the lineage id that ties it to its source dataset."""
SOURCE_GUID = "dev.backstay:source"
"""On a replica: the GUID of the source dataset that it was seeded from, decimal."""
ROLE = "dev.backstay:role"
"""On any managed dataset: `primary`, `secondary` or absent. A primary is never received into."""
STREAM = "dev.backstay:stream"
"""On a replica: the mode of the stream that it was seeded by, pinned for life (`plan.modes`)."""
WRITER = "dev.backstay:writer"
"""On a receive root: `<term>:<installation id>` of the only allowed writer."""

SETTINGS = (
    "acltype", "aclinherit", "aclmode", "compression", "dnodesize", "logbias", "primarycache",
    "recordsize", "redundant_metadata", "secondarycache", "snapdir", "xattr",
)  # fmt: skip
"""Native properties that a replica may follow (zfsprops(7)): they say how future writes are kept
and read. None of them mounts, shares, runs, hides or reserves anything, or makes writes unsafe."""


class DatasetKind(StrEnum):
    """What a dataset is; decides its replica posture."""

    FILESYSTEM = "filesystem"
    VOLUME = "volume"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One snapshot. `createtxg` orders within one pool only."""

    dataset: str
    name: str
    """The part after `@`."""
    guid: Guid
    createtxg: int
    ivset: int | None = None
    """`ivsetguid` where the dataset is encrypted; None also where it was not asked for."""

    @property
    def full_name(self) -> str:
        """`dataset@name`."""
        return f"{self.dataset}@{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bookmark:
    """One bookmark: it keeps the GUID and the txg of the snapshot that it was made from."""

    dataset: str
    name: str
    """The part after `#`."""
    guid: Guid
    createtxg: int
    ivset: int | None = None
    """As of the snapshot that it was made of."""

    @property
    def full_name(self) -> str:
        """`dataset#name`."""
        return f"{self.dataset}#{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeToken:
    """A decoded `receive_resume_token`; untrusted until compared with the plan.

    Source: `zfs send -nvt`, zfs-send(8).
    """

    text: str
    to_name: str
    """`dataset@snapshot` at the sender."""
    to_guid: Guid
    from_guid: Guid | None
    """None for the token of a full stream."""
    received_bytes: int
    raw: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenSince:
    """Bytes written to a dataset since one of its own snapshots (`written@snapshot`)."""

    snapshot: str
    """The part after `@`: the newest snapshot that this installation made or received."""
    size_bytes: int | None
    """None where ZFS says `-`: unknown, never taken as 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """One file system or volume with its snapshots and bookmarks, each oldest first."""

    name: str
    kind: DatasetKind
    guid: Guid
    createtxg: int
    written_bytes: int | None = None
    """Since the newest snapshot, whoever made it."""
    written_since: WrittenSince | None = None
    referenced_bytes: int = 0
    available_bytes: int = 0
    token: ResumeToken | None = None
    unreadable_token: str | None = None
    """A `receive_resume_token` that ZFS itself could not decode."""
    readonly: bool = False
    mounted: bool = False
    encrypted: bool = False
    encryption_root: str | None = None
    """The dataset whose key it has, which may be itself; None where it is not encrypted."""
    key_available: bool | None = None
    """Whether the key of an encrypted dataset is loaded; None where there is none, or unknown."""
    origin: str | None = None
    volsize_bytes: int | None = None
    used_bytes: int = 0
    """What would be free without it and all below it."""
    properties: Mapping[str, str] = field(default_factory=dict)
    """User properties `dev.backstay:*` set on this very dataset; inherited ones are left out."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Which of `SETTINGS` are set on this very dataset; empty where nobody asked for them."""
    snapshots: tuple[Snapshot, ...] = ()
    bookmarks: tuple[Bookmark, ...] = ()

    @property
    def pool(self) -> str:
        """Name of the pool."""
        return self.name.split("/", 1)[0]

    @property
    def is_replica(self) -> bool:
        """Whether it gets its points from a source of its own; once promoted it does not."""
        return LINEAGE in self.properties and self.properties.get(ROLE) != "primary"

    @property
    def newest_snapshot(self) -> Snapshot | None:
        """The snapshot with the highest createtxg."""
        return self.snapshots[-1] if self.snapshots else None

    def snapshot_by_guid(self, guid: Guid) -> Snapshot | None:
        """The snapshot with this GUID, if the dataset has it."""
        return next((s for s in self.snapshots if s.guid == guid), None)

    def snapshot_by_name(self, name: str) -> Snapshot | None:
        """The snapshot with this short name, if the dataset has it."""
        return next((s for s in self.snapshots if s.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """One imported pool."""

    name: str
    guid: Guid
    health: str
    size_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """What a host says of itself. `clock_skew_s` > 0: its clock is ahead of ours.

    `clock_uncertainty_s`: half the round trip of the answer; the skew may be off by as much.
    """

    hostname: str
    zfs_version: str
    python_version: str
    uid: int
    clock_skew_s: float
    clock_uncertainty_s: float = 0.0
    pools: tuple[Pool, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostListing:
    """What one host said in one survey request; complete for the roots that were asked for."""

    datasets: Mapping[str, Dataset]
    pools: tuple[Pool, ...] = ()
    absent: tuple[str, ...] = ()
    """Roots that were asked for and do not exist (their pool is imported, or not)."""
    proxmox_paths: tuple[str, ...] = ()
    """Pool paths of Proxmox zfspool storages, from /etc/pve/storage.cfg."""
    busy: tuple[str, ...] = ()
    """Datasets that a child of ours still holds locked (a transfer under way)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotRef:
    """Exactly one snapshot, by name and identity: what may be destroyed."""

    dataset: str
    name: str
    guid: Guid

    @property
    def full_name(self) -> str:
        """`dataset@name`."""
        return f"{self.dataset}@{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BookmarkRef:
    """Exactly one bookmark, by name and identity: what may be destroyed."""

    dataset: str
    name: str
    guid: Guid

    @property
    def full_name(self) -> str:
        """`dataset#name`."""
        return f"{self.dataset}#{self.name}"
