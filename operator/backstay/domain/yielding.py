"""What somebody has approved of so that a source can be rolled back, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from backstay.domain.zfs import Guid


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedTarget:
    """A target of a source, as it was when somebody looked: what it goes on from afterwards.

    `base`: GUID of the newest point up to the snapshot that both sides have; None where there is
    none.
    """

    pair: str
    dataset: str
    lineage: str
    base: Guid | None


@dataclass(frozen=True, slots=True, kw_only=True)
class YieldedMember:
    """One source of which everything of ours that is newer than the snapshot `to` may go."""

    dataset: str
    guid: Guid
    to: Guid
    snapshots: frozenset[Guid]
    bookmarks: frozenset[str]
    """Names after the `#`; ours carry the GUID of their snapshot."""
    targets: tuple[CountedTarget, ...]
    """Those that were counted in: all that were sent this source then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Yielding:
    """What may go of exactly these sources, of which no point is taken before `until`."""

    until: datetime
    members: tuple[YieldedMember, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class YieldState:
    """What is true of one source that makes room for a rollback.

    `left`: how many points of ours are still to go. `void`: why the approval does not count; empty
    when it does, and no point is taken.
    """

    pair: str
    """Whose approval it is."""
    source: str
    to: str
    until: datetime
    left: int = 0
    foreign: str = ""
    """The first newer point of somebody else: it is in the way, and not ours to remove."""
    void: str = ""
    failure: str = ""
    """Why something of `left` did not go this time."""
