"""What is asked for on one route, and what became of each member."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from backstay.domain.divergence import Approval, Divergence
from backstay.domain.steps import RELAY, Transport
from backstay.domain.yielding import Yielding, YieldState
from backstay.domain.zfs import Guid, HostListing


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """How many points to keep: the newest `last`, and the newest of so many hours, days …

    Hours, days, weeks, months and years are those of `time_zone`, an IANA name.
    """

    last: int = 1
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    time_zone: str = "UTC"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of `spec.datasets`, resolved to the route's two hosts."""

    name: str
    source: str
    target: str
    recursive: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PairTask:
    """One pair's share of a route."""

    key: str
    """`namespace/name` of the ReplicationPair."""
    entries: tuple[Entry, ...]
    grouped: bool
    keep_source: Keep
    keep_target: Keep
    interval_s: float = 0.0
    """How often it aims at a new point."""
    transport: Transport = RELAY
    follows_settings: bool = False
    """Whether a replica follows `domain.zfs.SETTINGS` of its source."""
    quarantined: frozenset[str] = frozenset()
    """Names of members that failed last time: each gets a pipe of its own."""
    resting: frozenset[str] = frozenset()
    """Replicas whose newest points are not an interval old, while the pass is not the pair's turn
    for new ones: it looks after their siblings."""
    approval: Approval | None = None
    """What somebody wants done about replicas that diverged."""
    approval_fault: str = ""
    """Why an approval that is there cannot be read."""
    yielding: Yielding | None = None
    """What somebody has its sources make room for."""
    yielding_fault: str = ""
    """Why that cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chained:
    """What the sources of a route are to other pairs (plan/chains.py).

    `fed`: sources that other pairs send to, so that they are replicas on purpose. `upstream`: such
    a dataset → GUID of its newest point, and as of when that is good.
    """

    fed: frozenset[str] = frozenset()
    upstream: Mapping[str, tuple[Guid, datetime]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteTask:
    """Everything that one pass serves: all due pairs of one source host and one target host."""

    source_host: str
    target_host: str
    receive_roots: tuple[str, ...]
    short_id: str
    """Short id of the installation, part of every snapshot name."""
    pairs: tuple[PairTask, ...]
    neighbours: tuple[PairTask, ...] = ()
    """What else is asked of the source host: not served now, but what it wants is not pruned."""
    chained: Chained = Chained()
    in_flight: Mapping[str, int] = field(default_factory=dict)
    """Target datasets that this pass leaves alone, because a transfer of ours is under way or has
    just failed → about how many bytes are still to come.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One dataset to keep: an entry or a child of a recursive one, parents first."""

    pair: str
    name: str
    """Name of the entry, plus the path below it for children of a tree."""
    source: str
    target: str
    group: str
    """Members of one group have one recovery point; a lone member is a group of its own."""
    rests: bool = False
    """Whether it needs no newer point in this pass (`PairTask.resting`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A confirmed recovery point: its GUID was read at the target. `at`: consistency time."""

    snapshot: str
    guid: Guid
    at: datetime


def typed(pair: str) -> str:
    """A pair's key (`namespace/name`) as it is typed behind a command of kubectl."""
    namespace, _, name = pair.partition("/")
    return f"{name} -n {namespace}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """Why nothing may be done for a member: a value with its evidence, not an exception."""

    reason: str
    """A word of `api.words.Reason`."""
    message: str
    diverged: bool = False
    """The target holds what the source does not: a human decides."""
    divergence: Divergence | None = None
    """What there is to decide, where something can be done about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """A side about which nothing was learnt this time; never read as absent."""

    reason: str
    message: str


Side: TypeAlias = HostListing | Unseen


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteObservation:
    """Both sides of a route at one moment.

    `synced_at`: our clock before the source was asked to sync and list, so that what is
    unchanged in the listing is good as of then.
    """

    source: Side
    target: Side
    synced_at: datetime
    foreign_writers: Mapping[str, str] = field(default_factory=dict)
    """Receive root → the writer of another installation that was found on it."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What a transfer of a pair's members carried, and how long it took."""

    size_bytes: int
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberState:
    """What is true of one member after a pass.

    `as_of` is set when nothing has changed at the source since `point`: the point is good as of
    that time.
    """

    name: str
    source: str
    target: str
    point: Point | None = None
    as_of: datetime | None = None
    seeding: bool = False
    conflict: Conflict | None = None
    """What forbids work: stays until somebody acts."""
    failure: Conflict | None = None
    """What went wrong this time: tried again by itself."""
    key_missing: bool = False
    """The replica is encrypted and its key is not loaded at the target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AsideState:
    """What was set aside of a member and is still there. `of` is the name that it had."""

    dataset: str
    of: str
    used_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PairState:
    """What is true of one pair's share of a route after a pass.

    `target_seen`: the target was read in this pass. `point` is the pair's recovery point by the
    rules of `plan.points`; its time is the later of the point's own and its `as_of`.
    """

    key: str
    members: tuple[MemberState, ...]
    point: Point | None
    as_of: datetime | None
    source_seen: bool
    target_seen: bool
    ever_seen: bool = True
    """Whether the target was read since this operator has led."""
    problem: Unseen | None = None
    moved: Moved | None = None
    """The pair's last transfer, if one has ended since the pass before."""
    asides: tuple[AsideState, ...] = ()
    yields: tuple[YieldState, ...] = ()
    """Its sources that make room for a rollback, whichever pair was asked to."""
    yield_fault: str = ""
    left_over: tuple[AsideState, ...] = ()
    """Replicas in a tree whose sources (`of`) are gone."""
    strays: tuple[str, ...] = ()
    """Bookmarks of ours on its sources for which no pair has a replica."""


@dataclass(frozen=True, slots=True, order=True)
class HostKey:
    """A host of a Site."""

    namespace: str
    site: str
    host: str

    def __str__(self) -> str:
        return f"{self.site}/{self.host}"


@dataclass(frozen=True, slots=True, order=True)
class Route:
    """From one host to another, both named in one namespace: the unit of work."""

    source: HostKey
    target: HostKey

    @property
    def namespace(self) -> str:
        """The namespace of its pairs and Sites."""
        return self.source.namespace

    def __str__(self) -> str:
        return f"{self.source} → {self.target}"
