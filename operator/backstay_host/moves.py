"""The bodies of requests that change which dataset a name stands for, and who is whose clone.

They are generic: each names what it touches by name and GUID, and takes a list, of which one
failure isolates one item. None destroys anything but `rollback`, which names all that goes.
"""

from __future__ import annotations

from dataclasses import dataclass

ASIDE = "backstay-aside"
"""Name of the file system, one a pool, below which lie datasets that were set aside."""


def aside_root(dataset: str) -> str:
    """Where datasets of this one's pool are set aside."""
    return f"{dataset.split('/', 1)[0]}/{ASIDE}"


@dataclass(frozen=True, slots=True)
class Doomed:
    """One snapshot (`dataset@name`) or bookmark (`dataset#name`) by name and identity."""

    name: str
    guid: int


@dataclass(frozen=True, slots=True)
class Move:
    """The dataset with all below it gets the name `to`, in its pool."""

    dataset: str
    guid: int
    to: str
    volume: bool


@dataclass(frozen=True, slots=True)
class Rename:
    """`rename`: carry out these moves in order; the aside root is made where it is missing.

    A move that was made already is fine; a file system stays mounted where it is.
    """

    moves: list[Move]


@dataclass(frozen=True, slots=True)
class NewClone:
    """A clone of `dataset@name` that does not exist yet, with these properties from its start."""

    snapshot: str
    guid: int
    dataset: str
    properties: dict[str, str]


@dataclass(frozen=True, slots=True)
class Clone:
    """`clone`: make these clones; one that exists and has that origin is fine."""

    clones: list[NewClone]


@dataclass(frozen=True, slots=True)
class Promotion:
    """The clone (by GUID) of `origin` (`dataset@name`, by GUID) gets its history."""

    dataset: str
    guid: int
    origin: str
    origin_guid: int


@dataclass(frozen=True, slots=True)
class Promote:
    """`promote`: promote these; one that has the origin's snapshot already is fine."""

    items: list[Promotion]


@dataclass(frozen=True, slots=True)
class Rewind:
    """The dataset goes back to its own snapshot (short name, by GUID) and loses exactly this.

    `lose` are all snapshots and bookmarks that are newer, `written` the bytes since the newest
    snapshot of any kind. `properties` (ours only) are set right before that is lost: a list that
    named points is another one once they are gone, and one that named none must show its use.
    """

    dataset: str
    guid: int
    snapshot: str
    snapshot_guid: int
    lose: list[Doomed]
    written: int
    properties: dict[str, str]


@dataclass(frozen=True, slots=True)
class Rollback:
    """`rollback`: destroys what each item names, and nothing where the list is another now."""

    items: list[Rewind]


@dataclass(frozen=True, slots=True)
class Mark:
    """These properties of a dataset (by GUID) are set, and these of ours are its own no more."""

    dataset: str
    guid: int
    properties: dict[str, str]
    clear: list[str]


@dataclass(frozen=True, slots=True)
class Label:
    """`label`: set and clear properties by identity."""

    items: list[Mark]
