"""Steps: the only things that the planner may ask for, and what came of them.

They live in the vocabulary because ports speak of them; only `plan` makes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from backstay.domain.zfs import BookmarkRef, Guid, SnapshotRef


@dataclass(frozen=True, slots=True, kw_only=True)
class BookmarkOf:
    """A bookmark to be made of `dataset@snapshot` for one lineage."""

    dataset: str
    snapshot: str
    lineage: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeSnapshots:
    """One atomic `zfs snapshot` in one pool, then its bookmarks (rule *Bookmark with snapshot*).

    `datasets` are (name, planned GUID). Empty: only the bookmarks are missing. `divisible`: they
    only share the command, and what one of them cannot have the others still can.
    """

    datasets: tuple[tuple[str, Guid], ...]
    snapshot: str
    bookmarks: tuple[BookmarkOf, ...]
    divisible: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateParents:
    """Make missing parents of replicas, parents first, strictly below `root`."""

    root: str
    datasets: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AbortReceive:
    """Drop a partial receive of this lineage whose token is useless (rule *Resume tokens*)."""

    dataset: str
    lineage: str
    token: str
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RestorePosture:
    """Set on a replica: its posture where that was changed and is harmless, settings it follows."""

    dataset: str
    lineage: str
    properties: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prune:
    """Destroy exactly these, by identity, last in a pass."""

    snapshots: tuple[SnapshotRef, ...]
    bookmarks: tuple[BookmarkRef, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """What an increment starts from: a snapshot (`ds@x`) or bookmark (`ds#x`) of the source."""

    full_name: str
    guid: Guid


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """A full stream into a dataset that does not exist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """A stream from a clone's origin: its replica becomes a clone of the same snapshot.

    `base` is the origin at the source, `origin` at the target; both have one GUID.
    """

    base: Base
    origin: SnapshotRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Increment:
    """A stream from a base that both sides have by GUID."""

    base: Base


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """The rest of an interrupted stream; `seed` when the interrupted one made the dataset."""

    token: str
    seed: bool


How: TypeAlias = Seed | Branch | Increment | Resume


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """One member's stream: what, how, and where it lands."""

    member: str
    source_dataset: str
    source_guid: Guid
    snapshot: str
    guid: Guid
    target_dataset: str
    lineage: str
    how: How
    properties: Mapping[str, str]
    """Set with `-o` while seeding; empty otherwise."""
    size_bytes: int
    """Estimate, for space and progress."""
    mode: str = "Lec"
    """Flags of zfs-send(8), as pinned by the seed (plan/modes.py)."""
    of_replica: bool = False
    """The source is itself a replica: it goes on receiving meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transport:
    """How the bytes of a stream travel.

    `direct`: from host to host, else through the operator. A rate or size of 0: none is set.
    """

    direct: bool = False
    rate_bytes_s: int = 0
    """All streams of a source host with this rate put no more on the line, after compression."""
    compressed: bool = False
    buffer_bytes: int = 0
    """Memory at either host."""


RELAY = Transport()
"""Through the operator, and as fast as it goes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipe:
    """Transfers that share one pair of processes, in order, stopping at the first failure.

    More than one only when all are increments (rule *A pipe cannot mix up members*).
    """

    transfers: tuple[Transfer, ...]
    failed_before: int = 0
    """How often in a row it stood still at this very point: each time it may for longer (rule
    *Deadlines*).
    """
    transport: Transport = RELAY


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeSnapshot:
    """A snapshot that exists now, with the short names of its bookmarks."""

    dataset: str
    name: str
    guid: Guid
    createtxg: int
    bookmarks: tuple[str, ...]
    ivset: int | None = None
    """`ivsetguid` where the dataset is encrypted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemFailure:
    """One item of a request that could not be done."""

    name: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PipeOutcome:
    """How far a pipe came. `failure` is the member that ended it and why, as far as known."""

    completed: int
    sent_bytes: int
    duration_s: float
    failure: ItemFailure | None
    left_out: tuple[str, ...] = ()
    """What of the pipe's transport a host is not able to, as sentences."""
