"""The values of the protocol for roles and promotion (rule *Promotion clones the point*)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Halt:
    """`halt`: nothing of ours works on these replicas any more, and their locks are free.

    Whoever holds a lock is killed, whatever its term; the outcome of what it did is unknown.
    """

    datasets: list[str]


@dataclass(frozen=True, slots=True)
class RoleChange:
    """One member of a `roles`: who it is and what it must say of itself now.

    `role` is empty and `epoch` 0 where nothing is set on the dataset itself.
    """

    dataset: str
    guid: int
    role: str
    epoch: int


@dataclass(frozen=True, slots=True)
class SwapRoles:
    """`roles`: compare and swap of role and roleEpoch of all members, which lie in one pool.

    Everything is read and compared before the first change: `RoleChanged` means that nothing was
    changed. As root in one transaction group, else by commands under the same locks.
    """

    members: list[RoleChange]
    role: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Named:
    """A dataset by name and identity."""

    dataset: str
    guid: int


@dataclass(frozen=True, slots=True)
class SetReadonly:
    """`readonly`: these datasets are read-only (`on`), or writable again, and it was read back.

    `off` is refused (`RoleMismatch`) for a replica and for a secondary.
    """

    targets: list[Named]
    on: bool


@dataclass(frozen=True, slots=True)
class Opening:
    """One promoted dataset; `thick`: a volume that gets its refreservation back."""

    dataset: str
    guid: int
    thick: bool


@dataclass(frozen=True, slots=True)
class OpenPromoted:
    """`open`: these promoted datasets can be used; `readonly=off` comes last.

    Refused unless each has the role primary with this epoch and is no replica.
    """

    targets: list[Opening]
    epoch: int


@dataclass(frozen=True, slots=True)
class DoomedClone:
    """A clone by name and identity, with the snapshot (`dataset@name`) that it was made of."""

    dataset: str
    guid: int
    origin: str
    origin_guid: int


@dataclass(frozen=True, slots=True)
class DiscardClones:
    """`discard`: destroy these clones of ours that nobody ever wrote to; never recursive or forced.

    A clone that holds anything of its own is refused (`CloneModified`).
    """

    clones: list[DoomedClone]
