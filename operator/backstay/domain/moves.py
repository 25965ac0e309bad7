"""Steps that change which dataset a name stands for: made by `plan`, carried out at one host.

Each names what it touches by name and GUID. Only `Rewind` loses anything, and says exactly what.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from backstay.domain.zfs import BookmarkRef, DatasetKind, Guid, SnapshotRef

ASIDE = "backstay-aside"
"""Name of the file system, one a pool, below which lie datasets that were set aside."""
ASIDE_OF = "dev.backstay:asideof"
"""On a dataset that is or was set aside: the name that it had."""
BRANCHED_AT = "dev.backstay:branchedat"
"""On one that a clone is to replace: GUID of the snapshot at which it branches off, decimal."""
RENAMED_FROM = "dev.backstay:renamedfrom"
"""On a replica that waits aside for its new name, which another one still bears: the old name."""
RESOLVED_BY = "dev.backstay:resolvedby"
"""Id of the approval by which a dataset was last resolved: it counts once."""


def aside_root(dataset: str) -> str:
    """Where datasets of this one's pool are set aside."""
    return f"{dataset.split('/', 1)[0]}/{ASIDE}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """The dataset and all below it get the name `to`; the pool's aside root is made if needed."""

    dataset: str
    guid: Guid
    to: str
    kind: DatasetKind


@dataclass(frozen=True, slots=True, kw_only=True)
class NewClone:
    """A clone of a snapshot, with these properties from its start."""

    snapshot: SnapshotRef
    dataset: str
    properties: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """The clone gets the history of its origin, which becomes its clone."""

    dataset: str
    guid: Guid
    origin: SnapshotRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewind:
    """The dataset goes back to `to`, and loses exactly these and what was written since.

    `written_bytes`: since its newest snapshot. `properties` are set right before that is lost.
    """

    dataset: str
    guid: Guid
    to: SnapshotRef
    lose: tuple[SnapshotRef | BookmarkRef, ...]
    written_bytes: int
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """These properties are set on the dataset, and these of ours are its own no more."""

    dataset: str
    guid: Guid
    properties: Mapping[str, str] = field(default_factory=dict)
    clear: tuple[str, ...] = ()
