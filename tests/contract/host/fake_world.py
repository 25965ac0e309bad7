"""The contract's world in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from backstay.domain.zfs import Guid
from contract.host.worlds import SHORT_ID, Hands
from fakes import streams
from fakes.host import FakePort
from fakes.transfer import FakeTransfers
from fakes.world import GIB, FakeHost, World

INSTALLATION = "contract/backstay"


class FakeHands:
    """Hands at a fake host."""

    def __init__(self, host: FakeHost, root: str) -> None:
        self.host = host
        self.root = root
        host.create(root)

    async def create(self, name: str, *, volume: bool = False, encrypted: bool = False) -> None:
        """See `Hands`."""
        self.host.create(name, volume=volume, encrypted=encrypted)

    async def load_key(self, name: str) -> None:
        """See `Hands`."""
        self.host.load_key(name)

    async def ivset(self, point: str) -> int:
        """See `Hands`."""
        dataset, mark, short = point.partition("@" if "@" in point else "#")
        found = self.host.dataset(dataset)
        made = found.snapshot(short) if mark == "@" else found.bookmark(short)
        assert made is not None
        assert made.ivset is not None
        return made.ivset

    async def write(self, name: str, size: int) -> None:
        """See `Hands`."""
        self.host.write(name, size)

    async def snapshot(self, *names: str) -> None:
        """See `Hands`."""
        self.host.snapshot(*names)

    async def destroy(self, name: str) -> None:
        """See `Hands`."""
        self.host.destroy(name)

    async def rename(self, name: str, to: str) -> None:
        """See `Hands`."""
        self.host.rename(name, to)

    async def clone(self, snapshot: str, name: str) -> None:
        """See `Hands`."""
        self.host.clone(snapshot, name)

    async def set(self, name: str, key: str, value: str) -> None:
        """See `Hands`."""
        self.host.set(name, key, value)

    async def hold(self, snapshot: str) -> None:
        """See `Hands`."""
        self.host.hold(snapshot)

    async def release(self, snapshot: str) -> None:
        """See `Hands`."""
        self.host.release(snapshot)

    async def exists(self, name: str) -> bool:
        """See `Hands`."""
        return self.host.exists(name)

    async def guid(self, name: str) -> Guid:
        """See `Hands`."""
        return self.host.guid(name)

    async def local(self, name: str, key: str) -> str | None:
        """See `Hands`."""
        return self.host.dataset(name).properties.get(key)


class FakeContractWorld:
    """Two fake hosts."""

    def __init__(self) -> None:
        self.world = World()
        pools = {"tank": 2 * GIB, "backup": 2 * GIB}
        self.source = FakeHands(self.world.host("lab/zfs-a", pools=pools), "tank/c")
        self.target = FakeHands(self.world.host("lab/zfs-b", pools=pools), "backup/c")
        self.own = "contract/own"
        self.transfers: FakeTransfers = self.world.transfers

    def port(
        self,
        hands: Hands,
        *,
        term: int = 1,
        installation: str | None = None,
        process: str = "one",
    ) -> FakePort:
        """See `ContractWorld`."""
        assert isinstance(hands, FakeHands)
        return hands.host.port(
            term=term,
            installation=installation or INSTALLATION,
            short_id=SHORT_ID,
            process=process,
        )

    def dry(self, hands: Hands) -> FakePort:
        """See `ContractWorld`."""
        return self.port(hands).dry_run()

    def unreachable(self) -> FakePort:
        """See `ContractWorld`."""
        host = self.world.host("lab/zfs-x")
        host.reachable = False
        return host.port()

    async def copy_by_hand(self, snapshot: str, base: str, name: str, *, mode: str) -> None:
        """See `ContractWorld`."""
        pools = self.source.host.pool_of(snapshot), self.target.host.pool_of(name)
        streams.by_hand(pools[0], snapshot, base, pools[1], name, mode=mode)

    def cut_next(self, after_bytes: int) -> None:
        """See `ContractWorld`."""
        self.world.transfer_faults.cut(after_bytes=after_bytes)

    @asynccontextmanager
    async def hang_next(self, after_bytes: int) -> AsyncIterator[asyncio.Event]:
        """See `ContractWorld`."""
        reached, go_on = self.world.transfer_faults.pause(after_bytes=after_bytes)
        try:
            yield reached
        finally:
            go_on.set()
