"""`zfs send` and `zfs receive -s -u` on the value model, one slice of bytes at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from fakes import families
from fakes.zfs import (
    STREAM_OVERHEAD_BYTES,
    FakeBookmark,
    FakeDataset,
    FakePool,
    FakeSnapshot,
    Partial,
    Stream,
    ZfsError,
)


@dataclass(frozen=True, slots=True)
class DecodedToken:
    """What `zfs send -nvt` says of a token."""

    guid: int
    from_guid: int | None
    received: int
    dataset: str
    snapshot: str
    mode: str


def decode_token(text: str) -> DecodedToken:
    """The parts of a token, or ZFS' refusal of a damaged one."""
    try:
        version, guid, base, received, full = text.split("-", 4)
        dataset, snapshot = full.split("@")
    except ValueError:
        raise ZfsError("StaleReceiveState", "cannot resume send: resume token is corrupt") from None
    numbers = int(guid, 16), int(base, 16) or None, int(received, 16)
    return DecodedToken(*numbers, dataset, snapshot, mode=version[1:])


def send(
    pool: FakePool, dataset: str, snapshot: str, base: str | None, *, mode: str = "Lec"
) -> Stream:
    """`zfs send -MODE [-i base] dataset@snapshot`; the base is a snapshot or bookmark of it.

    Of a clone it may be its origin, too.
    """
    source = pool.get(dataset)
    to = _need_snapshot(source, snapshot)
    if base is None:
        return _stream(source, to, None, to.state.referenced, mode=mode)
    start = _start(pool, source, base)
    if start is None:
        raise ZfsError("NoCommonBase", f"cannot send: '{base}' does not exist")
    if start.createtxg >= to.createtxg:
        # Real ZFS sends from a newer bookmark without a word (openzfs#12657); the host program
        # has to refuse before, so reaching this is a fault of the plan.
        raise ZfsError("NoCommonBase", f"cannot send: '{base}' is not older than '{snapshot}'")
    return _stream(source, to, start, to.state.changed - start.state.changed, mode=mode)


def _start(pool: FakePool, source: FakeDataset, base: str) -> FakeSnapshot | FakeBookmark | None:
    if base == source.origin:
        return _origin(pool, source)
    if not base.startswith((f"{source.name}@", f"{source.name}#")):
        raise ZfsError("NoCommonBase", f"incremental source ({base}) is not earlier than it")
    name = base[len(source.name) + 1 :]
    return source.bookmark(name) if base[len(source.name)] == "#" else source.snapshot(name)


def _origin(pool: FakePool, clone: FakeDataset) -> FakeSnapshot | None:
    owner, _, name = (clone.origin or "").partition("@")
    return pool.datasets[owner].snapshot(name) if owner in pool.datasets else None


def resume(pool: FakePool, token: str) -> Stream:
    """`zfs send -t token`: fails for good once the snapshot of the token is gone."""
    decoded = decode_token(token)
    source = pool.get(decoded.dataset)
    to = source.snapshot(decoded.snapshot)
    if to is None or to.guid != decoded.guid:
        raise ZfsError(
            "StaleReceiveState",
            f"cannot resume send: '{decoded.dataset}@{decoded.snapshot}' is no longer the same "
            "snapshot used in the initial send",
        )
    base, size = None, to.state.referenced
    if decoded.from_guid is not None:
        base = _base(pool, source, decoded.from_guid)
        size = to.state.changed - base.state.changed
    whole = _stream(source, to, base, size, mode=decoded.mode)
    return replace(whole, offset=decoded.received)


def _base(pool: FakePool, source: FakeDataset, guid: int) -> FakeSnapshot | FakeBookmark:
    points: list[FakeSnapshot | FakeBookmark] = [*source.snapshots, *source.bookmarks]
    points += [origin] if (origin := _origin(pool, source)) is not None else []
    for point in points:
        if point.guid == guid:
            return point
    raise ZfsError(
        "StaleReceiveState", "cannot resume send: incremental source 0x… no longer exists"
    )


def _stream(
    source: FakeDataset,
    to: FakeSnapshot,
    base: FakeSnapshot | FakeBookmark | None,
    size: int,
    *,
    mode: str,
) -> Stream:
    if source.encrypted and "w" not in mode and not source.key_loaded:
        raise ZfsError("KeyNotAvailable", f"cannot send '{source.name}': key must be loaded")
    return Stream(
        dataset=source.name,
        snapshot=to.name,
        guid=to.guid,
        from_guid=None if base is None else base.guid,
        state=to.state,
        size=max(size, 0) + STREAM_OVERHEAD_BYTES,
        volume=source.volume,
        volsize=source.volsize,
        raw="w" in mode and source.encrypted,
        embedded="e" in mode and not source.encrypted,
        ivset=to.ivset,
        from_ivset=None if base is None else base.ivset,
    )


def _need_snapshot(source: FakeDataset, name: str) -> FakeSnapshot:
    found = source.snapshot(name)
    if found is None:
        raise ZfsError("SourceMissing", f"cannot open '{source.name}@{name}': does not exist")
    return found


class Reception:
    """One `zfs receive -s -u` under way: begun, fed, then finished or interrupted."""

    def __init__(
        self,
        pool: FakePool,
        name: str,
        properties: Mapping[str, str],
        origin: tuple[str, str, int] | None = None,
    ) -> None:
        """`origin`: dataset, snapshot and GUID of what a new dataset is to be a clone of."""
        self.pool = pool
        self.name = name
        self.properties = properties
        self.origin = origin
        self.stream: Stream | None = None
        self.received = 0
        self._dataset: FakeDataset | None = None

    def begin(self, stream: Stream) -> None:
        """Check what ZFS checks when it has read the begin record."""
        self.pool.sync()
        self.stream, self.received = stream, stream.offset
        existing = self.pool.datasets.get(self.name)
        if stream.offset:
            self._begin_resumed(existing, stream)
        elif stream.from_guid is None:
            self._begin_seed(existing, stream)
        elif self.origin is not None:
            self._begin_branch(existing, stream, self.origin)
        else:
            self._begin_increment(existing, stream)

    def _begin_seed(self, existing: FakeDataset | None, stream: Stream) -> None:
        if existing is not None:
            self._refuse_partial(existing)
            raise ZfsError(
                "TargetHasForeignData",
                f"cannot receive new filesystem stream: destination '{self.name}' exists",
            )
        above = self.pool.datasets.get(self.name.rpartition("/")[0])
        if not stream.raw and above is not None and above.encrypted:
            _refuse_embedded(stream)
        if not stream.raw and above is not None and above.encrypted and not above.key_loaded:
            raise ZfsError("KeyNotAvailable", "cannot receive: inherited key must be loaded")
        dataset = self.pool.create(self.name, volume=stream.volume)
        if stream.raw:
            dataset.encrypted, dataset.key_loaded = True, False  # an encryption root of its own
        dataset.volsize = stream.volsize
        dataset.properties.update(self.properties)
        self._dataset = dataset
        # Until the first byte is stored nothing of a seed outlives its process.
        dataset.partial = Partial(stream, 0, seed=True)

    def _begin_branch(
        self, existing: FakeDataset | None, stream: Stream, origin: tuple[str, str, int]
    ) -> None:
        if existing is not None:
            raise ZfsError("TargetHasForeignData", f"cannot receive: '{self.name}' exists")
        owner, name, guid = origin
        found = self.pool.datasets.get(owner)
        point = None if found is None else found.snapshot(name)
        if found is None or point is None or point.guid != guid:
            raise ZfsError("NameCollision", f"{owner}@{name} is not there with GUID {guid}")
        if point.guid != stream.from_guid:
            raise ZfsError(
                "NoCommonBase", f"cannot receive: {owner}@{name} is not the incremental source"
            )
        dataset = families.clone(self.pool, found, point, self.name)
        dataset.properties.update(self.properties)
        self._dataset = dataset
        dataset.partial = Partial(stream, 0, seed=True)

    def _begin_increment(self, existing: FakeDataset | None, stream: Stream) -> None:
        if existing is None:
            raise ZfsError(
                "NoCommonBase",
                f"cannot receive incremental stream: destination '{self.name}' does not exist",
            )
        self._refuse_partial(existing)
        assert stream.from_guid is not None
        base = existing.snapshot_by_guid(stream.from_guid)
        if base is None:
            raise ZfsError(
                "NoCommonBase",
                f"cannot receive incremental stream: most recent snapshot of {self.name} does not "
                "match incremental source",
            )
        if stream.raw and not existing.encrypted:
            raise ZfsError(
                "TransferFailed",
                "cannot receive incremental stream: kernel modules must be upgraded to receive "
                "this stream.",
            )
        # A raw stream wants the newest one, whatever was written (dmu_recv.c).
        is_followed = stream.raw and existing.snapshots[-1] is not base
        if is_followed or existing.head.digest != base.state.digest:
            raise ZfsError(
                "TargetModified",
                f"cannot receive incremental stream: destination {self.name} has been modified "
                "since most recent snapshot",
            )
        if existing.snapshot(stream.snapshot) is not None:
            raise ZfsError(
                "NameCollision",
                f"cannot receive: '{self.name}@{stream.snapshot}' already exists",
            )
        if existing.encrypted:
            _refuse_embedded(stream)
        if stream.raw and base.ivset != stream.from_ivset:
            raise ZfsError(
                "RawLineageBroken", "cannot receive incremental stream: IV set guid mismatch."
            )
        if existing.encrypted and not stream.raw and not existing.key_loaded:
            raise ZfsError("KeyNotAvailable", "cannot receive: inherited key must be loaded")
        existing.properties.update(self.properties)
        self._dataset = existing

    def _begin_resumed(self, existing: FakeDataset | None, stream: Stream) -> None:
        partial = existing.partial if existing is not None else None
        if existing is None or partial is None or partial.stream.guid != stream.guid:
            raise ZfsError(
                "StaleReceiveState",
                f"cannot receive resume stream: destination {self.name} has no such partial state",
            )
        if partial.orphaned or partial.received != stream.offset:
            raise ZfsError("StaleReceiveState", "cannot receive resume stream: token is outdated")
        self._dataset = existing

    def _refuse_partial(self, existing: FakeDataset) -> None:
        if existing.partial is not None:
            raise ZfsError(
                "StaleReceiveState",
                f"cannot receive: destination {self.name} contains partially-complete state from "
                '"zfs receive -s"',
            )
        if existing.busy:
            raise ZfsError("SourceBusy", f"cannot receive: '{self.name}': dataset is busy")

    @property
    def remaining(self) -> int:
        """Bytes of the stream that were not fed yet."""
        assert self.stream is not None
        return self.stream.size - self.received

    def feed(self, size: int) -> None:
        """Take some bytes; ENOSPC interrupts with what fitted."""
        assert self.stream is not None
        assert self._dataset is not None
        if self.pool.datasets.get(self.name) is not self._dataset:
            raise ZfsError(
                "TransferFailed", f"cannot receive: '{self.name}' was renamed or removed"
            )
        fits = min(size, self.remaining, self.pool.available(self.name))
        self.pool.used += fits
        self.received += fits
        if fits < min(size, self.remaining + fits):
            raise ZfsError("InsufficientSpace", f"cannot receive '{self.name}': out of space")

    def interrupt(self) -> None:
        """The pipe broke: what arrived is kept under a token; nothing arrived, nothing stays."""
        dataset, stream = self._dataset, self.stream
        if dataset is None or stream is None:
            return
        seed = dataset.partial is not None and dataset.partial.seed
        if self.received == 0:
            dataset.partial = None
            if seed and self.pool.datasets.get(dataset.name) is dataset:
                del self.pool.datasets[dataset.name]
            return
        dataset.partial = Partial(stream, self.received, seed=seed)
        self.pool.next_txg()

    def finish(self) -> FakeSnapshot:
        """The end record came: the snapshot exists with the sender's GUID."""
        dataset, stream = self._dataset, self.stream
        assert dataset is not None
        assert stream is not None
        is_new = dataset.partial is not None and dataset.partial.seed
        is_increment = stream.from_guid is not None and not is_new
        if is_increment and self._moved_meanwhile(dataset, stream.from_guid or 0):
            self.interrupt()
            raise ZfsError("TargetModified", f"cannot receive: {dataset.name} was modified")
        dataset.partial = None
        txg = self.pool.next_txg()
        made = FakeSnapshot(stream.snapshot, stream.guid, txg, stream.state)
        made.ivset = stream.ivset if stream.raw else self.pool.new_ivset(dataset)
        dataset.snapshots.append(made)
        dataset.head, dataset.volsize = stream.state, stream.volsize
        # A stream has more bytes than its data; only the data stays.
        self.pool.used -= STREAM_OVERHEAD_BYTES
        return made

    @staticmethod
    def _moved_meanwhile(dataset: FakeDataset, base_guid: int) -> bool:
        base = dataset.snapshot_by_guid(base_guid)
        return base is None or base.state.digest != dataset.head.digest


def _refuse_embedded(stream: Stream) -> None:
    """As if the source's pool held embedded blocks; most do."""
    if stream.embedded:
        raise ZfsError(
            "TransferFailed",
            "cannot receive: incompatible embedded data stream feature with encrypted receive.",
        )


def by_hand(
    source: FakePool, snapshot: str, base: str | None, pool: FakePool, name: str, *, mode: str
) -> None:
    """`zfs send -MODE [-i base] ds@x | zfs receive name`: a test's own hand."""
    dataset, short = snapshot.split("@")
    reception = Reception(pool, name, {})
    reception.begin(send(source, dataset, short, base, mode=mode))
    reception.feed(reception.remaining)
    reception.finish()


def abort(pool: FakePool, dataset: FakeDataset) -> None:
    """`zfs receive -A`: a partial seed goes as a whole, a partial increment leaves the replica."""
    partial = dataset.partial
    if partial is None:
        raise ZfsError(
            "StaleReceiveState", f"'{dataset.name}' does not have any resumable receive state"
        )
    pool.used -= partial.received
    dataset.partial = None
    if partial.seed:
        del pool.datasets[dataset.name]
    pool.next_txg()
