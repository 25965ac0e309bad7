"""What the contract suite needs of a world: two hosts with hands of the test's own, and a pipe."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import Protocol

from backstay.domain.steps import (
    RELAY,
    Base,
    BookmarkOf,
    Branch,
    How,
    Increment,
    MadeSnapshot,
    Pipe,
    PipeOutcome,
    Resume,
    Seed,
    TakeSnapshots,
    Transfer,
    Transport,
)
from backstay.domain.zfs import LINEAGE, SOURCE_GUID, STREAM, Dataset, Guid, SnapshotRef
from backstay.ports.host import HostPort, SurveyRequest, TransferPort
from backstay.ports.roles import RolePort

SHORT_ID = "0badcafe"
MIB = 1024**2


class Hands(Protocol):
    """A test's own hands at one host, below a dataset that nobody else uses."""

    root: str

    async def create(self, name: str, *, volume: bool = False, encrypted: bool = False) -> None:
        """A dataset exists (a volume of 64 MiB), `encrypted` with a key of its own."""
        ...

    async def load_key(self, name: str) -> None:
        """The key of an encrypted dataset is loaded."""
        ...

    async def ivset(self, point: str) -> int:
        """`ivsetguid` of a snapshot or bookmark of an encrypted dataset."""
        ...

    async def write(self, name: str, size: int) -> None:
        """So many new bytes lie in the dataset and, once synced, show in `written`."""
        ...

    async def snapshot(self, *names: str) -> None:
        """`zfs snapshot`."""
        ...

    async def destroy(self, name: str) -> None:
        """`zfs destroy` of a dataset with all below it, a snapshot or a bookmark."""
        ...

    async def rename(self, name: str, to: str) -> None:
        """`zfs rename`."""
        ...

    async def clone(self, snapshot: str, name: str) -> None:
        """`zfs clone`."""
        ...

    async def set(self, name: str, key: str, value: str) -> None:
        """`zfs set`."""
        ...

    async def hold(self, snapshot: str) -> None:
        """`zfs hold`."""
        ...

    async def release(self, snapshot: str) -> None:
        """`zfs release`."""
        ...

    async def exists(self, name: str) -> bool:
        """Whether a dataset, snapshot or bookmark exists."""
        ...

    async def guid(self, name: str) -> Guid:
        """Its GUID."""
        ...

    async def local(self, name: str, key: str) -> str | None:
        """A property's value where it was set on this very dataset."""
        ...


class ContractWorld(Protocol):
    """Two hosts, and what can happen to a pipe between them."""

    @property
    def source(self) -> Hands:
        """Hands at the source."""
        ...

    @property
    def target(self) -> Hands:
        """Hands at the target."""
        ...

    @property
    def transfers(self) -> TransferPort:
        """Pipes between the two."""
        ...

    @property
    def own(self) -> str:
        """An installation id that only this test uses; hosts remember terms."""
        ...

    def port(
        self,
        hands: Hands,
        *,
        term: int = 1,
        installation: str | None = None,
        process: str = "one",
    ) -> RolePort:
        """A leader's port to one of the hosts; without an installation: the usual one."""
        ...

    def dry(self, hands: Hands) -> DryPort:
        """The dry twin of the usual leader's port."""
        ...

    def unreachable(self) -> HostPort:
        """A port to a host that does not answer."""
        ...

    async def copy_by_hand(self, snapshot: str, base: str, name: str, *, mode: str) -> None:
        """`zfs send -MODE -i base snapshot | zfs receive name`, from the source to the target."""
        ...

    def cut_next(self, after_bytes: int) -> None:
        """The next pipe breaks after so many bytes."""
        ...

    def hang_next(self, after_bytes: int) -> AbstractAsyncContextManager[asyncio.Event]:
        """The next pipe stands still after so many bytes; the event says that it does."""
        ...


class DryPort(RolePort, Protocol):
    """A `HostPort` that only says what it would run."""

    commands: list[tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Member:
    """One dataset to replicate."""

    name: str
    source: str
    target: str
    guid: Guid
    lineage: str


@dataclass(slots=True)
class Story:
    """A world with members, told by few words."""

    world: ContractWorld
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def source(self) -> RolePort:
        """The usual leader's port to the source."""
        return self.world.port(self.world.source)

    @property
    def target(self) -> RolePort:
        """The usual leader's port to the target."""
        return self.world.port(self.world.target)

    async def claim(self) -> None:
        """The usual leader is the writer at the target."""
        (state,) = await self.target.claim([self.world.target.root])
        assert state.outcome == "Held"

    async def member(
        self, name: str, *, volume: bool = True, encrypted: bool = False, size: int = MIB
    ) -> Member:
        """A source dataset with some data."""
        dataset = f"{self.world.source.root}/{name}"
        await self.world.source.create(dataset, volume=volume, encrypted=encrypted)
        await self.world.source.write(dataset, size)
        return await self.known(name)

    async def known(self, name: str) -> Member:
        """A source dataset that exists."""
        dataset = f"{self.world.source.root}/{name}"
        return Member(
            name=name,
            source=dataset,
            target=f"{self.world.target.root}/{name}",
            guid=await self.world.source.guid(dataset),
            lineage=hashlib.sha256(dataset.encode()).hexdigest()[:16],
        )

    async def point(self, *members: Member) -> tuple[MadeSnapshot, ...]:
        """A snapshot of all members with their bookmarks."""
        return await self.source.snapshot(self.points(*members))

    def points(self, *members: Member) -> TakeSnapshots:
        """The step that makes a new point of all members."""
        number = next(self.numbers)
        name = f"backstay_20261122T0315{number:02d}.000Z_{SHORT_ID}{number:04x}"
        return TakeSnapshots(
            datasets=tuple((m.source, m.guid) for m in members),
            snapshot=name,
            bookmarks=tuple(
                BookmarkOf(dataset=m.source, snapshot=name, lineage=m.lineage) for m in members
            ),
        )

    async def seeded(
        self, *names: str, volume: bool = True, encrypted: bool = False
    ) -> list[tuple[Member, MadeSnapshot]]:
        """Members that have a first point at the target, raw where they are encrypted."""
        await self.claim()
        members = [await self.member(n, volume=volume, encrypted=encrypted) for n in names]
        made = await self.point(*members)
        pairs = list(zip(members, made, strict=True))
        for member, point in pairs:
            first = (raw_seed if encrypted else seed)(member, point, volume=volume)
            assert (await self.send(first)).failure is None
        return pairs

    async def send(self, *transfers: Transfer, transport: Transport = RELAY) -> PipeOutcome:
        """One pipe."""
        pipe = Pipe(transfers=transfers, transport=transport)
        return await self.world.transfers.transfer(
            self.source, self.target, pipe, lambda index, moved: None
        )

    async def look(self, port: HostPort, *names: str, sync: bool = False) -> list[Dataset | None]:
        """These datasets as a survey shows them."""
        request = SurveyRequest(roots=tuple((name, False) for name in names), sync=sync)
        listing = await port.survey(request)
        return [listing.datasets.get(name) for name in names]

    async def replica(self, member: Member) -> Dataset:
        """The member's replica, which must exist."""
        (found,) = await self.look(self.target, member.target)
        assert found is not None
        return found

    async def replica_guids(self, members: Sequence[Member]) -> list[list[Guid]]:
        """GUIDs of the snapshots of each replica."""
        return [[s.guid for s in (await self.replica(m)).snapshots] for m in members]


def seed(member: Member, point: MadeSnapshot, *, volume: bool = True) -> Transfer:
    """The member's first stream."""
    return _transfer(member, point, Seed(), _posture(member, volume=volume))


def raw_seed(member: Member, point: MadeSnapshot, *, volume: bool = True) -> Transfer:
    """The member's first stream, as it lies on disk."""
    step = seed(member, point, volume=volume)
    return replace(step, mode="Lecw", properties={**step.properties, STREAM: "Lecw"})


def branch(
    clone: Member, point: MadeSnapshot, origin: tuple[Member, MadeSnapshot], *, volume: bool = True
) -> Transfer:
    """The first stream of a clone; `origin`: the member and the snapshot that it is a clone of."""
    of, at = origin
    how = Branch(
        base=Base(full_name=f"{of.source}@{at.name}", guid=at.guid),
        origin=SnapshotRef(dataset=of.target, name=at.name, guid=at.guid),
    )
    return _transfer(clone, point, how, _posture(clone, volume=volume))


def _posture(member: Member, *, volume: bool) -> dict[str, str]:
    posture = (
        {"readonly": "on", "volmode": "none"}
        if volume
        else {"readonly": "on", "atime": "off", "canmount": "noauto"}
    )
    return {LINEAGE: member.lineage, **posture}


def increment(
    member: Member, point: MadeSnapshot, base: MadeSnapshot, *, bookmark: bool = False
) -> Transfer:
    """A stream from an earlier point, or from its bookmark."""
    full = f"{member.source}@{base.name}"
    if bookmark:
        full = f"{member.source}#{base.bookmarks[0]}"
    return _transfer(member, point, Increment(base=Base(full_name=full, guid=base.guid)), {})


def resume(member: Member, point: MadeSnapshot, token: str, *, of_seed: bool) -> Transfer:
    """The rest of an interrupted stream."""
    return _transfer(member, point, Resume(token=token, seed=of_seed), {})


def _transfer(
    member: Member, point: MadeSnapshot, how: How, properties: dict[str, str]
) -> Transfer:
    if properties:
        properties = {**properties, SOURCE_GUID: str(member.guid)}
    return Transfer(
        member=member.name,
        source_dataset=member.source,
        source_guid=member.guid,
        snapshot=point.name,
        guid=point.guid,
        target_dataset=member.target,
        lineage=member.lineage,
        how=how,
        properties=properties,
        size_bytes=MIB,
    )


def reason(outcome: PipeOutcome) -> str | None:
    """Why a pipe ended early."""
    return None if outcome.failure is None else outcome.failure.reason
