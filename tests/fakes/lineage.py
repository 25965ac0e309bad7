"""`rename`, `clone`, `promote`, `rollback` and `label` at a fake host, as the program does them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from backstay.adapters.host.reasons import failure
from backstay.domain.errors import Refused
from backstay.domain.moves import Mark, Move, NewClone, Promotion, Rewind, aside_root
from backstay.domain.steps import ItemFailure
from backstay.domain.zfs import DatasetKind, SnapshotRef
from fakes import families
from fakes.faults import RequestFault
from fakes.world import FakeHost
from fakes.zfs import FakeBookmark, FakeDataset, FakeSnapshot, ZfsError

ItemT = TypeVar("ItemT", Move, NewClone, Promotion, Rewind, Mark)


class LineageRequests:
    """The part of a `HostPort` that changes what names stand for."""

    host: FakeHost
    is_dry_run: bool

    if TYPE_CHECKING:

        async def _enter(self, request: str) -> RequestFault | None: ...
        @staticmethod
        def _middle(fault: RequestFault | None) -> None: ...
        @staticmethod
        def _leave(fault: RequestFault | None) -> None: ...
        def _busy(self, dataset: str) -> None: ...
        def check_term(self) -> None: ...
        def check_writer(self, dataset: str, *, optional: bool = False) -> None: ...
        def record(self, *argv: str) -> None: ...

    async def rename(self, moves: Sequence[Move]) -> tuple[ItemFailure, ...]:
        """See `HostPort`."""
        return await self._each("rename", moves, self._rename)

    async def clone(self, clones: Sequence[NewClone]) -> tuple[ItemFailure, ...]:
        """See `HostPort`."""
        return await self._each("clone", clones, self._clone)

    async def promote(self, promotions: Sequence[Promotion]) -> tuple[ItemFailure, ...]:
        """See `HostPort`."""
        return await self._each("promote", promotions, self._promote)

    async def rollback(self, rewinds: Sequence[Rewind]) -> tuple[ItemFailure, ...]:
        """See `HostPort`."""
        return await self._each("rollback", rewinds, self._rollback)

    async def label(self, marks: Sequence[Mark]) -> tuple[ItemFailure, ...]:
        """See `HostPort`."""
        return await self._each("label", marks, self._label)

    async def _each(
        self, request: str, items: Sequence[ItemT], act: Callable[[ItemT], None]
    ) -> tuple[ItemFailure, ...]:
        fault = await self._enter(request)
        self.check_term()
        failures = []
        for number, item in enumerate(items):
            if number:
                self._middle(fault)
            try:
                act(item)
            except (ZfsError, Refused) as refused:
                failures.append(
                    ItemFailure(name=item.dataset, reason=refused.reason, message=refused.message)
                )
        self._leave(fault)
        return tuple(failures)

    def _rename(self, move: Move) -> None:
        pool = self.host.pool_of(move.dataset)
        if "/" not in move.dataset or move.to.split("/")[0] != pool.name:
            raise failure("InternalError", f"{move.dataset} cannot become {move.to}")
        there = pool.datasets.get(move.to)
        is_there = there is not None and there.guid == move.guid
        if move.dataset not in pool.datasets and is_there and not self.is_dry_run:
            return
        if not self.is_dry_run:
            self._planned(move.dataset, move.guid)
            self._writers(move.dataset, move.to)
            self._busy(move.dataset)
        root = aside_root(move.to)
        if root not in pool.datasets and move.to.rsplit("/", 1)[0] == root:
            properties = {"canmount": "off", "mountpoint": "none"}
            self.record("zfs", "create", *_options(properties), root)
            if not self.is_dry_run:
                pool.create(root).properties.update(properties)
        unmounted = ["-u"] if move.kind is DatasetKind.FILESYSTEM else []
        self.record("zfs", "rename", *unmounted, move.dataset, move.to)
        if not self.is_dry_run:
            families.rename(pool, move.dataset, move.to)

    def _clone(self, wanted: NewClone) -> None:
        pool = self.host.pool_of(wanted.dataset)
        self._writers(wanted.snapshot.dataset, wanted.dataset)
        vector = ("zfs", "clone", *_options(wanted.properties))
        vector = (*vector, wanted.snapshot.full_name, wanted.dataset)
        if self.is_dry_run:
            self.record(*vector)
            return
        point = self._point(wanted.snapshot)
        there = pool.datasets.get(wanted.dataset)
        if there is not None and there.origin == wanted.snapshot.full_name:
            return
        if there is not None:
            raise ZfsError("NameCollision", f"{wanted.dataset} exists with GUID {there.guid}")
        made = families.clone(pool, pool.get(wanted.snapshot.dataset), point, wanted.dataset)
        made.properties.update(wanted.properties)
        self.record(*vector)

    def _promote(self, item: Promotion) -> None:
        pool = self.host.pool_of(item.dataset)
        if self.is_dry_run:
            self.record("zfs", "promote", item.dataset)
            return
        found = self._planned(item.dataset, item.guid)
        if found.origin != item.origin.full_name:
            self._point(replace(item.origin, dataset=item.dataset))
            return
        self._point(item.origin)
        self._writers(item.dataset, item.origin.dataset)
        for name in (item.dataset, item.origin.dataset):
            self._busy(name)
        self.record("zfs", "promote", item.dataset)
        families.promote(pool, found)

    def _rollback(self, item: Rewind) -> None:
        pool = self.host.pool_of(item.dataset)
        found = self._planned(item.dataset, item.guid)
        self._writers(item.dataset)
        self._busy(item.dataset)
        base = self._point(item.to)
        newer = {
            *((f"{found.name}@{s.name}", s.guid) for s in found.snapshots if _is_newer(s, base)),
            *((f"{found.name}#{b.name}", b.guid) for b in found.bookmarks if _is_newer(b, base)),
        }
        if newer != {(d.full_name, d.guid) for d in item.lose}:
            raise ZfsError("ApprovalVoid", f"{found.name} holds other points than was approved")
        if found.written != item.written_bytes:
            raise ZfsError("ApprovalVoid", f"{found.name} holds {found.written} bytes since")
        for snapshot in found.snapshots:  # one command destroys all of them, or none
            if not self.is_dry_run and _is_newer(snapshot, base):
                pool.check_destroyable(found, snapshot)
        for doomed in item.lose:
            self.record("zfs", "destroy", doomed.full_name)
        if item.properties:
            pairs = [f"{key}={value}" for key, value in item.properties.items()]
            self.record("zfs", "set", *pairs, item.dataset)
        self.record("zfs", "rollback", item.to.full_name)
        if self.is_dry_run:
            return
        found.properties.update(item.properties)
        for doomed in reversed(item.lose):
            if isinstance(doomed, SnapshotRef):
                named = found.snapshot(doomed.name)
                assert named is not None
                pool.destroy_snapshot(found, named)
            else:
                bookmark = found.bookmark(doomed.name)
                assert bookmark is not None
                pool.destroy_bookmark(found, bookmark)
        families.rollback(pool, found, base, force=False)

    def _label(self, mark: Mark) -> None:
        found = None if self.is_dry_run else self._planned(mark.dataset, mark.guid)
        self._writers(mark.dataset)
        if mark.properties:
            pairs = [f"{key}={value}" for key, value in mark.properties.items()]
            self.record("zfs", "set", *pairs, mark.dataset)
        for key in mark.clear:
            self.record("zfs", "inherit", key, mark.dataset)
        if found is not None:
            found.properties.update(mark.properties)
            for key in mark.clear:
                found.properties.pop(key, None)

    def _planned(self, name: str, guid: int) -> FakeDataset:
        found = self.host.pool_of(name).get(name)
        if found.guid != guid:
            raise ZfsError("NameCollision", f"{name} has GUID {found.guid}, planned was {guid}")
        return found

    def _point(self, ref: SnapshotRef) -> FakeSnapshot:
        found = self.host.pool_of(ref.dataset).get(ref.dataset).snapshot(ref.name)
        if found is None:
            raise ZfsError("SourceMissing", f"{ref.full_name} does not exist")
        if found.guid != ref.guid:
            raise ZfsError("NameCollision", f"{ref.full_name} has GUID {found.guid}")
        return found

    def _writers(self, *datasets: str) -> None:
        for dataset in datasets:
            self.check_writer(dataset, optional=True)


def _options(properties: Mapping[str, str]) -> list[str]:
    return [word for key, value in properties.items() for word in ("-o", f"{key}={value}")]


def _is_newer(point: FakeSnapshot | FakeBookmark, base: FakeSnapshot) -> bool:
    return point.createtxg > base.createtxg
