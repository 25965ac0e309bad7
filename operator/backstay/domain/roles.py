"""Roles: who is the primary, and the steps that move that from one dataset to another.

Promotion and demotion are asked for as tasks; `plan` makes the steps, `act` carries them out at
one host. Each names what it touches by name and GUID.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from backstay.domain.moves import Mark, Move, NewClone, Promotion
from backstay.domain.steps import AbortReceive
from backstay.domain.zfs import ROLE, Dataset, Guid, SnapshotRef

ROLE_EPOCH = "dev.backstay:roleepoch"
"""How often the role has moved, decimal; absent: never. Names of properties have no capitals."""
PROMOTED_FROM = "dev.backstay:promotedfrom"
"""On a replica that is being promoted: the name that it had, until `asideof` says it for good."""
PRIMARY = "primary"
SECONDARY = "secondary"


@dataclass(frozen=True, slots=True)
class RoleState:
    """What a dataset says of itself: its role (or '') and its roleEpoch (0: none was set)."""

    role: str
    epoch: int

    def __str__(self) -> str:
        return f"role {self.role or 'none'}, roleEpoch {self.epoch or 'none'}"


def role_state(dataset: Dataset) -> RoleState | None:
    """Role and roleEpoch as set on this very dataset; None when they are none that we write."""
    role = dataset.properties.get(ROLE, "")
    epoch = dataset.properties.get(ROLE_EPOCH, "0")
    is_number = epoch.isascii() and epoch.isdecimal() and len(epoch) <= 18
    is_canonical = is_number and (epoch == "0" or not epoch.startswith("0"))
    if role not in ("", PRIMARY, SECONDARY) or not is_canonical:
        return None
    return RoleState(role, int(epoch))


# --- tasks --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Promoted:
    """One member of a promotion: its replica, the point that is chosen, and its final name."""

    name: str
    replica: str
    guid: Guid
    """Of the replica itself."""
    point: Guid
    """Of the chosen snapshot, which the replica must have."""
    final: str
    """In the replica's pool; may be the replica's own name."""
    thick: bool = False
    """A volume that gets a refreservation for all of its size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionTask:
    """Make these points the primary at one host, all or none.

    `key` is of this attempt alone: it makes the names under which the replicas are set aside, so
    that another attempt is told from this one. It acts only on datasets of `expected_epoch`.
    """

    host: str
    key: str
    members: tuple[Promoted, ...]
    expected_epoch: int

    @property
    def epoch(self) -> int:
        """The roleEpoch of the new primary."""
        return self.expected_epoch + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Demoted:
    """One member of a demotion; `point` is its last snapshot, after which nothing may be written.

    None where that is not asked: then what was written since stays behind.
    """

    name: str
    dataset: str
    guid: Guid
    point: Guid | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DemotionTask:
    """Make these datasets, which are primary or of no role, read-only secondaries."""

    host: str
    members: tuple[Demoted, ...]
    expected_epoch: int

    @property
    def epoch(self) -> int:
        """The roleEpoch that they get: that of the primary that follows."""
        return self.expected_epoch + 1


# --- steps --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class HaltReceives:
    """End what still works on these replicas, and wait for it."""

    datasets: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleChange:
    """One member of a swap: who it is, and what it must say of itself until then."""

    dataset: str
    guid: Guid
    found: RoleState


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapRoles:
    """Compare and swap of role and roleEpoch of all members, which lie in one pool."""

    changes: tuple[RoleChange, ...]
    to: RoleState


@dataclass(frozen=True, slots=True, kw_only=True)
class SetReadonly:
    """These datasets (name, GUID) are read-only (`on`) or writable again, read back."""

    datasets: tuple[tuple[str, Guid], ...]
    on: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenPromoted:
    """These promoted datasets (name, GUID, thick) can be used; they have the roleEpoch."""

    targets: tuple[tuple[str, Guid, bool], ...]
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CloneRef:
    """A clone by name, identity and origin: what an undo may destroy."""

    dataset: str
    guid: Guid
    origin: SnapshotRef


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscardClones:
    """Destroy these clones, to which nobody ever wrote; children first."""

    clones: tuple[CloneRef, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """Mark the replicas with the names that they had, then move them."""

    marks: tuple[Mark, ...]
    moves: tuple[Move, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeClones:
    """Make these clones, parents first."""

    clones: tuple[NewClone, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PromoteClones:
    """Give these clones the history of their origins."""

    promotions: tuple[Promotion, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BringBack:
    """Move replicas that were set aside back to their names."""

    moves: tuple[Move, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Relabel:
    """Set and clear properties of these datasets."""

    marks: tuple[Mark, ...]


RoleStep: TypeAlias = (
    HaltReceives
    | AbortReceive
    | SetAside
    | MakeClones
    | SwapRoles
    | PromoteClones
    | OpenPromoted
    | SetReadonly
    | DiscardClones
    | BringBack
    | Relabel
)
"""What a promotion, a demotion or the undo of one is made of."""
