"""ZFS as a value model: pools, datasets, snapshots, bookmarks, clones, holds, accounting.

Content is a chain of write ids: two states with the same digest hold the same data, so a test can
say "no replica holds another member's data". Semantics follow OpenZFS 2.3; where the contract
suite finds a difference to a real pool, this model is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from backstay_host.refusal import Refused
from backstay_host.zfs import names

STREAM_OVERHEAD_BYTES = 624
"""Begin and end record: no stream is empty, so that even a no-change stream can be cut."""


class ZfsError(Exception):
    """A refused command; `reason` is the word that the host program makes of ZFS' message."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def settable(properties: Mapping[str, str]) -> Mapping[str, str]:
    """The properties, if the host program would set all of them."""
    try:
        return names.properties(dict(properties))
    except Refused as refused:
        raise ZfsError(refused.reason, refused.message) from refused


@dataclass(frozen=True, slots=True)
class State:
    """Content of a head or snapshot. `changed` counts all bytes ever written to reach it."""

    digest: int = 0
    changed: int = 0
    referenced: int = 0

    def written(self, size: int, write_id: int, *, overwrite: bool) -> State:
        """The state after one more write."""
        return State(
            digest=hash((self.digest, write_id)),
            changed=self.changed + size,
            referenced=self.referenced + (0 if overwrite else size),
        )


@dataclass(slots=True)
class FakeSnapshot:
    """A snapshot; `unique` are bytes that only it keeps alive."""

    name: str
    guid: int
    createtxg: int
    state: State
    holds: set[str] = field(default_factory=set)
    unique: int = 0
    ivset: int | None = None
    """`ivsetguid`: with whose initialization vectors the blocks were encrypted."""


@dataclass(frozen=True, slots=True)
class FakeBookmark:
    """A bookmark: GUID, txg and content position of the snapshot that it was made from."""

    name: str
    guid: int
    createtxg: int
    state: State
    ivset: int | None = None


@dataclass(frozen=True, slots=True)
class Stream:
    """What `zfs send` writes: from `from_guid` (None: full) to a snapshot of `dataset`."""

    dataset: str
    snapshot: str
    guid: int
    from_guid: int | None
    state: State
    size: int
    volume: bool
    volsize: int | None
    offset: int = 0
    """Bytes that an earlier, interrupted receive already has."""
    raw: bool = False
    embedded: bool = False
    ivset: int | None = None
    from_ivset: int | None = None

    def token(self, received: int) -> str:
        """The resume token after `received` bytes."""
        base = self.from_guid or 0
        mode = ("L", "e" * self.embedded, "c", "w" * self.raw)
        return (
            f"1{''.join(mode)}-{self.guid:x}-{base:x}-{received:x}-{self.dataset}@{self.snapshot}"
        )


@dataclass(slots=True)
class Partial:
    """What an interrupted `receive -s` leaves behind."""

    stream: Stream
    received: int
    seed: bool
    readable: bool = True
    orphaned: bool = False
    """Its dataset lost the base to a clone that was promoted: it can only be aborted."""

    @property
    def token(self) -> str:
        """`receive_resume_token`."""
        return self.stream.token(self.received) if self.readable else "1-garbled"


@dataclass(slots=True)
class FakeDataset:
    """One file system or volume. `properties` are the local ones, native and user."""

    name: str
    volume: bool
    guid: int
    createtxg: int
    head: State = State()
    volsize: int | None = None
    properties: dict[str, str] = field(default_factory=dict)
    snapshots: list[FakeSnapshot] = field(default_factory=list)
    bookmarks: list[FakeBookmark] = field(default_factory=list)
    mounted: bool = False
    origin: str | None = None
    origin_state: State = State()
    """Content of the origin's snapshot, which costs this dataset nothing."""
    partial: Partial | None = None
    unsynced: list[tuple[int, int, bool]] = field(default_factory=list)
    """Writes (size, id, overwrite) that no transaction group has committed yet."""
    busy: bool = False
    """Opened by something that is not ours."""
    encrypted: bool = False
    encryption_root: FakeDataset | None = None
    """Whose key it has; None: its own."""
    key_loaded: bool = True

    @property
    def written(self) -> int:
        """Bytes since the newest snapshot, or since the one that it is a clone of."""
        if not self.snapshots and self.origin is not None:
            return self.head.changed - self.origin_state.changed
        if not self.snapshots:
            return self.head.referenced
        return self.head.changed - self.snapshots[-1].state.changed

    def snapshot(self, name: str) -> FakeSnapshot | None:
        """The snapshot of this short name."""
        return next((s for s in self.snapshots if s.name == name), None)

    def snapshot_by_guid(self, guid: int) -> FakeSnapshot | None:
        """The snapshot of this identity."""
        return next((s for s in self.snapshots if s.guid == guid), None)

    def bookmark(self, name: str) -> FakeBookmark | None:
        """The bookmark of this short name."""
        return next((b for b in self.bookmarks if b.name == name), None)


@dataclass(slots=True)
class FakePool:
    """A pool: its datasets by name, its txg counter and its space."""

    name: str
    guid: int
    size: int
    new_guid: Callable[[], int]
    txg: int = 4
    used: int = 0
    health: str = "ONLINE"
    imported: bool = True
    datasets: dict[str, FakeDataset] = field(default_factory=dict)
    dirty: set[str] = field(default_factory=set)

    def next_txg(self) -> int:
        """Commit everything written so far and open the next transaction group."""
        self.sync()
        self.txg += 1
        return self.txg

    def sync(self) -> None:
        """`zpool sync`: writes become visible in `written`."""
        for name in sorted(self.dirty):
            dataset = self.datasets.get(name)
            if dataset is None:
                continue
            for size, write_id, overwrite in dataset.unsynced:
                dataset.head = dataset.head.written(size, write_id, overwrite=overwrite)
                if overwrite and dataset.snapshots:
                    dataset.snapshots[-1].unique += size
            dataset.unsynced.clear()
        self.dirty.clear()

    # --- looking --------------------------------------------------------------------------------

    def get(self, name: str) -> FakeDataset:
        """The dataset, or ZFS' refusal."""
        try:
            return self.datasets[name]
        except KeyError:
            raise ZfsError(
                "SourceMissing", f"cannot open '{name}': dataset does not exist"
            ) from None

    def below(self, name: str) -> Iterator[FakeDataset]:
        """The dataset and everything below it, parents first."""
        if name in self.datasets:
            yield self.datasets[name]
        prefix = name + "/"
        for child in sorted(self.datasets):
            if child.startswith(prefix):
                yield self.datasets[child]

    def available(self, name: str) -> int:
        """Free bytes for a dataset: the pool's, or less by quotas of it and its parents."""
        free = self.size - self.used
        parts = name.split("/")
        for end in range(1, len(parts) + 1):
            above = self.datasets.get("/".join(parts[:end]))
            if above is not None and "quota" in above.properties:
                inside = sum(self.used_by(d) for d in self.below(above.name))
                free = min(free, int(above.properties["quota"]) - inside)
        return max(free, 0)

    def effective(self, name: str, key: str) -> str | None:
        """A property's value, set here or inherited."""
        parts = name.split("/")
        for end in range(len(parts), 0, -1):
            above = self.datasets.get("/".join(parts[:end]))
            if above is not None and key in above.properties:
                return above.properties[key]
        return None

    def clones_of(self, snapshot: str) -> list[str]:
        """Names of the datasets whose origin is this snapshot."""
        return [d.name for d in self.datasets.values() if d.origin == snapshot]

    def charge(self, name: str, size: int) -> None:
        """Take space for a dataset, or ENOSPC with nothing taken."""
        if size > self.available(name):
            raise ZfsError("InsufficientSpace", f"cannot write to '{name}': out of space")
        self.used += size

    @staticmethod
    def used_by(dataset: FakeDataset) -> int:
        """`used` without what is below: the bytes that only this dataset keeps alive."""
        held = sum(s.unique for s in dataset.snapshots)
        own = dataset.head.referenced
        if dataset.origin is not None:
            own = dataset.head.changed - dataset.origin_state.changed
        return own + held + (dataset.partial.received if dataset.partial else 0)

    # --- changing -------------------------------------------------------------------------------

    def create(self, name: str, *, volume: bool = False) -> FakeDataset:
        """`zfs create` (with `-V` for a volume); the parent must be a file system."""
        if name in self.datasets:
            raise ZfsError(
                "TargetHasForeignData", f"cannot create '{name}': dataset already exists"
            )
        self.need_parent(name)
        dataset = FakeDataset(
            name=name, volume=volume, guid=self.new_guid(), createtxg=self.next_txg()
        )
        above = self.datasets.get(name.rpartition("/")[0])
        if above is not None and above.encrypted:
            dataset.encrypted, dataset.key_loaded = True, above.key_loaded
        self.datasets[name] = dataset
        return dataset

    def need_parent(self, name: str) -> None:
        """What `create`, `clone` and `rename` ask of the place of a new name."""
        if "/" not in name:
            return
        parent = self.datasets.get(name.rsplit("/", 1)[0])
        if parent is None:
            raise ZfsError("ParentMissing", f"cannot create '{name}': parent does not exist")
        if parent.volume:
            raise ZfsError("ParentMissing", f"cannot create '{name}': parent is not a filesystem")

    def new_ivset(self, dataset: FakeDataset) -> int | None:
        """Of a snapshot that is made here: each of an encrypted dataset has one of its own."""
        return self.new_guid() if dataset.encrypted else None

    def snapshot(self, names: list[str], snapshot: str) -> list[FakeSnapshot]:
        """`zfs snapshot a@x b@x …`: all or nothing, one txg."""
        datasets = [self.get(name) for name in names]
        for dataset in datasets:
            if dataset.snapshot(snapshot) is not None:
                raise ZfsError(
                    "NameCollision",
                    f"cannot create snapshot '{dataset.name}@{snapshot}': dataset already exists",
                )
        txg = self.next_txg()
        made = []
        for dataset in datasets:
            made.append(FakeSnapshot(snapshot, self.new_guid(), txg, dataset.head))
            made[-1].ivset = self.new_ivset(dataset)
            dataset.snapshots.append(made[-1])
        return made

    def bookmark(self, dataset: FakeDataset, snapshot: str, name: str) -> FakeBookmark:
        """`zfs bookmark ds@snapshot ds#name`; the same name for the same GUID is fine."""
        source = dataset.snapshot(snapshot)
        if source is None:
            raise ZfsError("SourceMissing", f"'{dataset.name}@{snapshot}' does not exist")
        known = dataset.bookmark(name)
        if known is not None and known.guid != source.guid:
            raise ZfsError("NameCollision", f"bookmark '{dataset.name}#{name}' exists")
        if known is not None:
            return known
        made = FakeBookmark(name, source.guid, source.createtxg, source.state, source.ivset)
        dataset.bookmarks.append(made)
        dataset.bookmarks.sort(key=lambda b: (b.createtxg, b.name))
        self.next_txg()
        return made

    def check_destroyable(self, dataset: FakeDataset, snapshot: FakeSnapshot) -> None:
        """ZFS' refusal to destroy a snapshot that is held or has clones."""
        full = f"{dataset.name}@{snapshot.name}"
        if snapshot.holds:
            raise ZfsError("SourceBusy", f"cannot destroy '{full}': dataset is busy")
        if self.clones_of(full):
            raise ZfsError("SourceBusy", f"cannot destroy '{full}': snapshot has dependent clones")

    def destroy_snapshot(self, dataset: FakeDataset, snapshot: FakeSnapshot) -> None:
        """`zfs destroy ds@x`: refused while it is held or has clones."""
        self.check_destroyable(dataset, snapshot)
        dataset.snapshots.remove(snapshot)
        self.used -= snapshot.unique
        self.next_txg()

    def destroy_bookmark(self, dataset: FakeDataset, bookmark: FakeBookmark) -> None:
        """`zfs destroy ds#x`."""
        dataset.bookmarks.remove(bookmark)
        self.next_txg()

    def destroy_dataset(self, name: str) -> None:
        """`zfs destroy -r`: a test's own hand; backstay never does this."""
        for dataset in list(self.below(name))[::-1]:
            for snapshot in dataset.snapshots:
                if self.clones_of(f"{dataset.name}@{snapshot.name}"):
                    raise ZfsError("SourceBusy", f"cannot destroy '{name}': dependent clones")
            self.used -= self.used_by(dataset)
            del self.datasets[dataset.name]
        self.next_txg()
