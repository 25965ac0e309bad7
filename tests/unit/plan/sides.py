"""A tiny language for the two sides of a route.

    world(source={"disk": "a b# +"}, target={"disk": "a"})

Each text is one dataset, oldest first:

    a      a snapshot of ours, set `a`: same letter = same set, and the same GUID on both sides
    X      a foreign snapshot
    a'     a snapshot of ours with the name of `a` and another GUID
    a~     a snapshot that another installation of backstay made at the time of `a`
    a#     the snapshot with its bookmark of the pair's lineage; #a: only the bookmark
    a*     the snapshot with a bookmark of another target's lineage; *a: only that one
    +      4096 bytes were written here; ?: ZFS says `-` for what was written
    >b     an interrupted receive of b from the newest snapshot before it, or a full one
    >!     a receive token that ZFS itself cannot read

Members are `tank/<name>` → `vault/recv/<name>`; a name with a slash is a child of a tree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from backstay.domain.pairs import Entry, Keep, Member, PairTask, RouteObservation, RouteTask
from backstay.domain.zfs import (
    LINEAGE,
    SOURCE_GUID,
    Bookmark,
    Dataset,
    DatasetKind,
    Guid,
    HostListing,
    Pool,
    ResumeToken,
    Snapshot,
    WrittenSince,
)
from backstay.plan.naming import bookmark_name, lineage_id, short_id, snapshot_name, snapshot_time
from backstay.plan.replication import Seen, see_route

SHORT = short_id("dr/backstay")
OTHER_SHORT = short_id("elsewhere/backstay")
OTHER_LINEAGE = "0123456789abcdef"
T0 = datetime(2026, 3, 1, tzinfo=UTC)
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ROOT = "vault/recv"
PAIR = "dr/pair"
VAULT_GUID = Guid(77)
PLENTY = 1 << 40


def set_time(letter: str) -> datetime:
    """When set `letter` was taken: `a` at T0, each further one a minute later."""
    return T0 + timedelta(minutes=ord(letter) - ord("a"))


def set_name(letter: str) -> str:
    """The snapshot name of set `letter`; a foreign one is named by its capital."""
    if letter[0].isupper():
        return letter
    return snapshot_name(set_time(letter[0]), OTHER_SHORT if "~" in letter else SHORT, "0000")


def guid_of(member: str, letter: str) -> Guid:
    """The GUID of a member's snapshot."""
    other = {"'": 500_000, "~": 300_000}.get(letter[1:], 0)
    seed = sum(ord(c) * 131**i for i, c in enumerate(member)) % 9_973
    return Guid(1_000_000 + seed * 1_000 + ord(letter[0]) + other)


def dataset_guid(member: str) -> Guid:
    """The GUID of a member's source dataset."""
    return Guid(guid_of(member, "a") * 7)


def source_of(member: str) -> str:
    """The source dataset of a member."""
    return f"tank/{member}"


def target_of(member: str) -> str:
    """The target dataset of a member."""
    return f"{ROOT}/{member}"


def lineage_for(member: str) -> str:
    """The lineage of a member of the pair."""
    return lineage_id(dataset_guid(member), VAULT_GUID, target_of(member))


@dataclass(slots=True)
class _Reader:
    """Reads one dataset's text from left to right."""

    name: str
    member: str
    at_source: bool
    snapshots: list[Snapshot] = field(default_factory=list)
    bookmarks: list[Bookmark] = field(default_factory=list)
    since_newest: int | None = 0
    since_ours: int | None = 0
    ours: str | None = None
    token: ResumeToken | None = None
    unreadable: str | None = None
    txg: int = 0

    def read(self, word: str) -> None:
        match word:
            case "+":
                self.since_newest = (self.since_newest or 0) + 4096
                self.since_ours = None if self.since_ours is None else self.since_ours + 4096
            case "?":
                self.since_newest = self.since_ours = None
            case ">!":
                self.unreadable = "1-gibberish"
            case _ if word.startswith(">"):
                self._partial(word[1:])
            case _:
                self._point(word)

    def _point(self, word: str) -> None:
        letter = word.strip("#*")
        # The same set has the same txg in every member of the source's pool.
        is_ours = letter[0].islower() and "~" not in letter
        own = 100 * (ord(letter[0]) - ord("a") + 1) if is_ours else self.txg + 1
        self.txg = own if self.at_source else self.txg + 10
        guid = guid_of(self.member, letter)
        if not word.startswith(("#", "*")):
            name = set_name(letter.strip("'"))
            self.snapshots.append(
                Snapshot(dataset=self.name, name=name, guid=guid, createtxg=self.txg)
            )
            self.since_newest = 0
            if is_ours:
                self.since_ours, self.ours = 0, name
        if "#" in word or "*" in word:
            lineage = lineage_for(self.member) if "#" in word else OTHER_LINEAGE
            mark = bookmark_name(lineage, guid, self.txg)
            self.bookmarks.append(
                Bookmark(dataset=self.name, name=mark, guid=guid, createtxg=self.txg)
            )

    def _partial(self, letter: str) -> None:
        self.token = ResumeToken(
            text=f"1-{letter}",
            to_name=f"{source_of(self.member)}@{set_name(letter)}",
            to_guid=guid_of(self.member, letter),
            from_guid=self.snapshots[-1].guid if self.snapshots else None,
            received_bytes=1000,
        )


def dataset(text: str, *, name: str, member: str, at_source: bool) -> Dataset:
    """The dataset that a text describes."""
    reader = _Reader(name=name, member=member, at_source=at_source)
    for word in text.split():
        reader.read(word)
    ours = reader.ours
    return Dataset(
        name=name,
        kind=DatasetKind.FILESYSTEM,
        guid=dataset_guid(member) if at_source else Guid(dataset_guid(member) + 1),
        createtxg=1,
        written_bytes=reader.since_newest,
        written_since=(ours and WrittenSince(snapshot=ours, size_bytes=reader.since_ours)) or None,
        referenced_bytes=1_000_000,
        available_bytes=PLENTY,
        token=reader.token,
        unreadable_token=reader.unreadable,
        readonly=not at_source,
        properties={} if at_source else _replica_properties(member),
        snapshots=tuple(reader.snapshots),
        bookmarks=tuple(reader.bookmarks),
    )


def source(text: str, member: str = "disk") -> Dataset:
    """The source dataset of a member."""
    return dataset(text, name=source_of(member), member=member, at_source=True)


def replica(text: str, member: str = "disk") -> Dataset:
    """The replica of a member, seeded by us."""
    return dataset(text, name=target_of(member), member=member, at_source=False)


def point(text: str, letter: str, member: str = "disk") -> Snapshot:
    """One snapshot of the source that a text describes."""
    found = source(text, member).snapshot_by_guid(guid_of(member, letter))
    assert found is not None
    return found


def _replica_properties(member: str) -> Mapping[str, str]:
    return {LINEAGE: lineage_for(member), SOURCE_GUID: str(dataset_guid(member))}


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A task with what both sides show; `with_…` gives a world that differs in one thing."""

    task: RouteTask
    observation: RouteObservation

    @property
    def source(self) -> HostListing:
        assert isinstance(self.observation.source, HostListing)
        return self.observation.source

    @property
    def target(self) -> HostListing:
        assert isinstance(self.observation.target, HostListing)
        return self.observation.target

    @property
    def seen(self) -> Seen:
        """The route as the planner sees it."""
        seen = see_route(self.task, self.observation)
        assert seen is not None
        return seen

    def conflict(self, member: str = "disk") -> str | None:
        """The reason why a member is left alone."""
        found = self.seen.conflicts.get(target_of(member))
        return None if found is None else str(found.reason)

    def with_task(self, **changes: object) -> World:
        return replace(self, task=replace(self.task, **changes))  # type: ignore[arg-type]

    def with_pairs(self, *pairs: PairTask) -> World:
        return self.with_task(pairs=pairs)

    def with_target(self, **changes: object) -> World:
        target = replace(self.target, **changes)  # type: ignore[arg-type]
        return replace(self, observation=replace(self.observation, target=target))

    def with_source(self, **changes: object) -> World:
        source_side = replace(self.source, **changes)  # type: ignore[arg-type]
        return replace(self, observation=replace(self.observation, source=source_side))

    def with_replica(self, member: str, **changes: object) -> World:
        """The same world with some fields of one replica changed."""
        name = target_of(member)
        changed = replace(self.target.datasets[name], **changes)  # type: ignore[arg-type]
        return self.with_target(datasets={**self.target.datasets, name: changed})

    def with_source_dataset(self, member: str, **changes: object) -> World:
        """The same world with some fields of one source dataset changed."""
        name = source_of(member)
        changed = replace(self.source.datasets[name], **changes)  # type: ignore[arg-type]
        return self.with_source(datasets={**self.source.datasets, name: changed})

    def with_busy(self, *members: str) -> World:
        return self.with_target(busy=tuple(target_of(m) for m in members))

    def with_in_flight(self, *members: str, to_come: int = 0) -> World:
        return self.with_task(in_flight={target_of(m): to_come for m in members})


def pair(
    *members: str,
    key: str = PAIR,
    grouped: bool = False,
    keep: Keep | None = None,
    **fields: object,
) -> PairTask:
    """A pair of lone entries."""
    entries = tuple(Entry(name=m, source=source_of(m), target=target_of(m)) for m in members)
    task = PairTask(
        key=key,
        entries=entries,
        grouped=grouped,
        keep_source=keep or Keep(),
        keep_target=keep or Keep(),
    )
    return replace(task, **fields)  # type: ignore[arg-type]


def tree(name: str, *, key: str = PAIR, grouped: bool = False) -> PairTask:
    """A pair of one recursive entry."""
    entry = Entry(name=name, source=source_of(name), target=target_of(name), recursive=True)
    return replace(pair(key=key, grouped=grouped), entries=(entry,))


def world(
    *,
    source: Mapping[str, str],
    target: Mapping[str, str] | None = None,
    grouped: bool = False,
    keep: Keep | None = None,
    pairs: tuple[PairTask, ...] = (),
) -> World:
    """A route with one pair of all members of both sides, unless other pairs are given."""
    target = target or {}
    names = list(dict.fromkeys([*source, *target]))
    root = Dataset(
        name=ROOT,
        kind=DatasetKind.FILESYSTEM,
        guid=Guid(78),
        createtxg=1,
        available_bytes=PLENTY,
        readonly=False,
    )
    sources = {
        source_of(m): dataset(t, name=source_of(m), member=m, at_source=True)
        for m, t in source.items()
    }
    targets = {
        target_of(m): dataset(t, name=target_of(m), member=m, at_source=False)
        for m, t in target.items()
    }
    pool = Pool(
        name="vault", guid=VAULT_GUID, health="ONLINE", size_bytes=PLENTY, free_bytes=PLENTY
    )
    return World(
        task=RouteTask(
            source_host="a/one",
            target_host="b/two",
            receive_roots=(ROOT,),
            short_id=SHORT,
            pairs=pairs or (pair(*names, grouped=grouped, keep=keep),),
        ),
        observation=RouteObservation(
            source=HostListing(datasets=sources),
            target=HostListing(datasets={ROOT: root, **targets}, pools=(pool,)),
            synced_at=NOW,
        ),
    )


def letters(names: object) -> str:
    """Snapshot names (or values with a `snapshot` or `name`) as set letters, in their order."""
    found = []
    for item in names:  # type: ignore[attr-defined]
        name = getattr(item, "snapshot", None) or getattr(item, "name", None) or str(item)
        at = snapshot_time(name)
        found.append(name if at is None else chr(ord("a") + int((at - T0).total_seconds() // 60)))
    return " ".join(found)


def member(name: str = "disk", *, grouped: bool = False) -> Member:
    """A member of the pair."""
    return Member(
        pair=PAIR,
        name=name,
        source=source_of(name),
        target=target_of(name),
        group=PAIR if grouped else f"{PAIR}:{name}",
    )
