"""A world of fake ZFS hosts: `World`, and `FakeHost` with the words that tests are written in.

    world = World()
    a = world.host("fra/zfs-a", pools={"tank": 10 * GIB})
    b = world.host("ams/zfs-b", pools={"rpool": 10 * GIB})
    a.create("tank/vm/d0", volume=True)
    a.write("tank/vm/d0", 4096)
    world.advance(60)
    port = a.port()                     # a HostPort of term 1; see fakes.host
    await world.transfers.transfer(a.port(), b.port(), pipe, progress)

The words on `FakeHost` are a test's own hand at the host: they take no notice of the fence.
Everything is deterministic by the world's seed; time passes only by `advance`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING

from backstay.domain.zfs import Guid
from backstay.plan.naming import short_id
from fakes import families
from fakes.faults import RequestFaults, TransferFaults
from fakes.zfs import FakeDataset, FakePool, FakeSnapshot, ZfsError

if TYPE_CHECKING:
    from fakes.host import FakePort
    from fakes.transfer import FakeTransfers

KIB, MIB, GIB = 1024, 1024**2, 1024**3
TXG_S = 5.0
"""`zfs_txg_timeout`: how long a write may stay invisible without a sync."""
INSTALLATION = "backstay/backstay"
SHORT_ID = short_id(INSTALLATION)


class World:
    """Hosts, their common time, and the pipes between them."""

    def __init__(self, seed: int = 0, *, start: datetime | None = None) -> None:
        from fakes.transfer import FakeTransfers

        self.rng = Random(seed)
        self.now = start or datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
        self.monotonic_s = 0.0
        self.hosts: dict[str, FakeHost] = {}
        self.transfer_faults = TransferFaults()
        self.transfers: FakeTransfers = FakeTransfers(self)
        self._writes = 0

    def host(self, name: str, *, pools: Mapping[str, int] | Sequence[str] = ("tank",)) -> FakeHost:
        """Add a host (`site/host`) with pools by size (10 GiB each when only named)."""
        sizes = pools if isinstance(pools, Mapping) else dict.fromkeys(pools, 10 * GIB)
        self.hosts[name] = made = FakeHost(self, name)
        for pool, size in sizes.items():
            made.add_pool(pool, size)
        return made

    def advance(self, seconds: float) -> datetime:
        """Let time pass everywhere; every pool commits what was written a txg ago."""
        self.now += timedelta(seconds=seconds)
        self.monotonic_s += seconds
        for host in self.hosts.values():
            host.tick(seconds)
        return self.now

    async def wait(self, seconds: float) -> None:
        """A request takes so long; here the whole world waits for it."""
        self.advance(seconds)

    def new_guid(self) -> int:
        """A fresh 63-bit identity."""
        return self.rng.getrandbits(63) | 1

    def next_write(self) -> int:
        """A fresh content id: no two writes of a world are equal."""
        self._writes += 1
        return self._writes

    @property
    def commands(self) -> list[tuple[str, ...]]:
        """Every mutating argument vector that any host ran."""
        return [argv for host in self.hosts.values() for argv in host.commands]


class WorldClock:
    """The world's time; sleeping lets it pass."""

    def __init__(self, world: World) -> None:
        self._world = world

    def now(self) -> datetime:
        """The world's wall clock."""
        return self._world.now

    def monotonic_s(self) -> float:
        """Seconds since the world began."""
        return self._world.monotonic_s

    async def sleep(self, seconds: float) -> None:
        """The world is so much older."""
        await self._world.wait(seconds)
        await asyncio.sleep(0)


@dataclass(slots=True)
class Flight:
    """A stream process at a host: whose, on which dataset, and how it is killed."""

    dataset: str
    term: int
    installation: str
    receives: bool
    killed: bool = False
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    def kill(self) -> None:
        """Kill it; whoever waits on it notices at once."""
        self.killed = True
        self.wake.set()


class FakeHost:
    """One host: pools, fence, faults, and a record of what was asked and run."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.pools: dict[str, FakePool] = {}
        self.faults = RequestFaults()
        self.reachable = True
        self.admits: bytes | None = None
        """The only private key that may log in; None: any."""
        self.clock_skew_s = 0.0
        self.latency_s = 0.0
        """Virtual time that each request takes."""
        self.zfs_version = "2.3.9"
        self.python_version = "3.11.2"
        self.proxmox_paths: tuple[str, ...] = ()
        self.want: dict[str, tuple[int, str]] = {}
        """Installation → term and process of the last claim."""
        """Highest term that was claimed here, by installation id."""
        self.flights: list[Flight] = []
        self.commands: list[tuple[str, ...]] = []
        """Argument vectors of everything that changed something here, by backstay."""
        self.requests: Counter[str] = Counter()
        self.fence_busy = False
        """Holders of an old term cannot be killed: claims end with FenceBusy."""
        self.uid = 0
        self.tools = frozenset({"ssh", "zstd", "mbuffer"})
        """Of the account that is logged in to."""
        self.busy_for: Counter[str] = Counter()
        """Dataset → how many more mutations of it are refused as busy."""
        self.no_room_for: set[str] = set()
        """Datasets that the pool has no room to snapshot: thick volumes, say."""
        self._since_txg_s = 0.0

    def port(
        self,
        *,
        term: int | Callable[[], int] = 1,
        installation: str = INSTALLATION,
        short_id: str = SHORT_ID,
        process: str = "one",
    ) -> FakePort:
        """A connection of one leader to this host."""
        from fakes.host import FakePort, Leader

        now_term = term if callable(term) else lambda: term
        leader = Leader(
            term=now_term, installation=installation, short_id=short_id, process=process
        )
        return FakePort(self, leader)

    def tick(self, seconds: float) -> None:
        """Time passed: commit transaction groups that are due."""
        self._since_txg_s += seconds
        if self._since_txg_s >= TXG_S:
            self._since_txg_s = 0.0
            for pool in self.pools.values():
                pool.next_txg()

    # --- words for tests: pools -----------------------------------------------------------------

    def add_pool(self, name: str, size: int) -> None:
        """`zpool create`."""
        pool = FakePool(name, self.world.new_guid(), size, self.world.new_guid)
        pool.create(name).mounted = True
        self.pools[name] = pool

    def export_pool(self, name: str) -> None:
        """`zpool export`: its datasets are absent, streams into it end."""
        self.pools[name].imported = False
        self.kill_streams(below=name)

    def import_pool(self, name: str) -> None:
        """`zpool import`."""
        self.pools[name].imported = True

    def pool_of(self, dataset: str) -> FakePool:
        """The imported pool of a dataset, or ZFS' refusal."""
        pool = self.pools.get(dataset.split("/", 1)[0])
        if pool is None or not pool.imported:
            raise ZfsError("SourceMissing", f"cannot open '{dataset}': dataset does not exist")
        return pool

    # --- words for tests: datasets --------------------------------------------------------------

    def create(
        self,
        name: str,
        *,
        volume: bool = False,
        volsize: int = 1 * GIB,
        encrypted: bool = False,
        properties: Mapping[str, str] | None = None,
    ) -> FakeDataset:
        """`zfs create -p` (`-V` for a volume, `-o encryption=on` with its own key)."""
        pool, parts = self.pool_of(name), name.split("/")
        for end in range(1, len(parts)):
            parent = "/".join(parts[:end])
            if parent not in pool.datasets:
                pool.create(parent).mounted = True
        dataset = pool.create(name, volume=volume)
        dataset.mounted = not volume
        dataset.volsize = volsize if volume else None
        dataset.encrypted = dataset.encrypted or encrypted
        dataset.properties.update(properties or {})
        return dataset

    def dataset(self, name: str) -> FakeDataset:
        """The dataset (KeyError when there is none)."""
        return self.pools[name.split("/", 1)[0]].datasets[name]

    def exists(self, name: str) -> bool:
        """Whether a dataset, snapshot (`@`) or bookmark (`#`) exists."""
        dataset, sign, short = _split(name)
        found = self.pools[dataset.split("/", 1)[0]].datasets.get(dataset)
        if found is None or not sign:
            return found is not None
        return (found.snapshot(short) if sign == "@" else found.bookmark(short)) is not None

    def guid(self, name: str) -> Guid:
        """GUID of a dataset, snapshot or bookmark."""
        dataset, sign, short = _split(name)
        found = self.dataset(dataset)
        if not sign:
            return Guid(found.guid)
        point = found.snapshot(short) if sign == "@" else found.bookmark(short)
        assert point is not None, f"{name} does not exist"
        return Guid(point.guid)

    def content(self, name: str) -> int:
        """Digest of a head or snapshot; equal digests hold the same data."""
        dataset, sign, short = _split(name)
        found = self.dataset(dataset)
        self.pool_of(dataset).sync()
        if not sign:
            return found.head.digest
        return _need(found, short).state.digest

    def write(self, name: str, size: int, *, overwrite: bool = False) -> None:
        """Write bytes; invisible in `written` until a sync, a snapshot or `TXG_S` seconds."""
        pool, dataset = self.pool_of(name), self.dataset(name)
        if pool.effective(name, "readonly") == "on":
            raise ZfsError("NoRights", f"{name} is read-only")
        if not overwrite or dataset.snapshots:
            pool.charge(name, size)
        dataset.unsynced.append((size, self.world.next_write(), overwrite))
        pool.dirty.add(name)

    def snapshot(self, *names: str) -> list[Guid]:
        """`zfs snapshot a@x b@x …`; all must carry the same short name."""
        shorts = {name.split("@")[1] for name in names}
        (short,) = shorts
        datasets = [name.split("@")[0] for name in names]
        return [Guid(s.guid) for s in self.pool_of(datasets[0]).snapshot(datasets, short)]

    def bookmark(self, snapshot: str, name: str) -> None:
        """`zfs bookmark ds@x ds#name`."""
        dataset, _, short = _split(snapshot)
        self.pool_of(dataset).bookmark(self.dataset(dataset), short, name)

    def destroy(self, name: str) -> None:
        """`zfs destroy` of a dataset (with all below it), snapshot or bookmark."""
        dataset, sign, short = _split(name)
        pool, found = self.pool_of(dataset), self.dataset(dataset)
        if sign == "@":
            pool.destroy_snapshot(found, _need(found, short))
        elif sign == "#":
            pool.destroy_bookmark(found, next(b for b in found.bookmarks if b.name == short))
        else:
            pool.destroy_dataset(dataset)

    def rollback(self, snapshot: str) -> None:
        """`zfs rollback -r`."""
        dataset, _, short = _split(snapshot)
        found = self.dataset(dataset)
        families.rollback(self.pool_of(dataset), found, _need(found, short), force=True)

    def rename(self, old: str, new: str) -> None:
        """`zfs rename`; a receive under way into it fails."""
        families.rename(self.pool_of(old), old, new)

    def clone(self, snapshot: str, name: str) -> None:
        """`zfs clone`."""
        dataset, _, short = _split(snapshot)
        found = self.dataset(dataset)
        families.clone(self.pool_of(dataset), found, _need(found, short), name)

    def promote(self, name: str) -> None:
        """`zfs promote`."""
        families.promote(self.pool_of(name), self.dataset(name))

    def set(self, name: str, key: str, value: str) -> None:
        """`zfs set key=value name`."""
        self.dataset(name).properties[key] = value

    def inherit(self, name: str, key: str) -> None:
        """`zfs inherit key name`: the local value is gone."""
        self.dataset(name).properties.pop(key, None)

    def load_key(self, name: str) -> None:
        """`zfs load-key`."""
        self.dataset(name).key_loaded = True

    def hold(self, snapshot: str, tag: str = "keep") -> None:
        """`zfs hold`."""
        dataset, _, short = _split(snapshot)
        _need(self.dataset(dataset), short).holds.add(tag)

    def release(self, snapshot: str, tag: str = "keep") -> None:
        """`zfs release`."""
        dataset, _, short = _split(snapshot)
        _need(self.dataset(dataset), short).holds.discard(tag)

    def garble_token(self, name: str) -> None:
        """Make the resume token of a partial receive undecodable."""
        partial = self.dataset(name).partial
        assert partial is not None, f"{name} has no resume token"
        partial.readable = False

    # --- words for tests: the host as a whole ---------------------------------------------------

    def kill_streams(self, below: str = "") -> None:
        """`kill -9` of the stream processes (on datasets below a name)."""
        for flight in self.flights:
            if not below or flight.dataset == below or flight.dataset.startswith(below + "/"):
                flight.kill()

    def reboot(self) -> None:
        """Power cycle: streams end, uncommitted writes are lost, files in /run are gone."""
        self.kill_streams()
        self.want.clear()
        for pool in self.pools.values():
            for dataset in pool.datasets.values():
                dataset.unsynced.clear()
            pool.dirty.clear()


def _split(name: str) -> tuple[str, str, str]:
    for sign in "@#":
        if sign in name:
            dataset, short = name.split(sign, 1)
            return dataset, sign, short
    return name, "", ""


def _need(dataset: FakeDataset, short: str) -> FakeSnapshot:
    found = dataset.snapshot(short)
    assert found is not None, f"{dataset.name}@{short} does not exist"
    return found
