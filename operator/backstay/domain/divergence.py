"""What a diverged replica holds that its source does not, and what somebody has approved of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from backstay.domain.zfs import BookmarkRef, Guid, SnapshotRef


class Resolution(StrEnum):
    """What can be done about it. Nothing is lost but by `Rollback`."""

    SET_ASIDE = "SetAside"
    """A clone at the common base takes the replica's place; what was there is kept aside."""
    ROLLBACK = "Rollback"
    """The replica loses what is newer than the common base."""
    RESEED = "Reseed"
    """The replica is kept aside as a whole, and a new one is seeded in its place."""
    ADOPT = "Adopt"
    """A dataset that shares a point with the source becomes its replica."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """A source and what lies in its replica's place, by identity.

    `base` is the newest snapshot of the target that the source knows. `ahead` are the source's
    snapshots that are newer, `lose` the target's: all of them where there is no base.
    `written_bytes`: at the target since its newest snapshot; None when unknown.
    """

    source: str
    source_guid: Guid
    target: str
    target_guid: Guid
    base: SnapshotRef | None
    ahead: tuple[SnapshotRef, ...]
    lose: tuple[SnapshotRef | BookmarkRef, ...]
    written_bytes: int | None
    offers: tuple[Resolution, ...]
    """What can be done, the recommended one first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved:
    """One dataset of an approval, as it was when somebody looked at it."""

    dataset: str
    guid: Guid
    base: Guid | None
    lose: tuple[Guid, ...]
    written_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """What somebody wants done, once, to exactly these datasets. `id` is of this approval alone."""

    id: str
    how: Resolution
    members: tuple[Approved, ...]
