"""`halt`, `roles`, `readonly`, `open`, `discard` and the takeover of the fake host."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from backstay.adapters.host.reasons import failure
from backstay.domain.errors import Refused
from backstay.domain.roles import (
    PRIMARY,
    ROLE_EPOCH,
    SECONDARY,
    CloneRef,
    DiscardClones,
    HaltReceives,
    OpenPromoted,
    SetReadonly,
    SwapRoles,
)
from backstay.domain.steps import ItemFailure
from backstay.domain.zfs import LINEAGE, ROLE, WRITER
from backstay.ports.host import RootState
from fakes.faults import RequestFault
from fakes.lineage import LineageRequests
from fakes.zfs import FakeDataset, FakePool, ZfsError

_LOOKS = 100


class RoleRequests(LineageRequests):
    """The part of a `RolePort` that moves roles."""

    if TYPE_CHECKING:

        @property
        def name(self) -> str: ...
        async def claim(self, roots: Sequence[str]) -> tuple[RootState, ...]: ...

    async def halt(self, step: HaltReceives) -> None:
        """See `RolePort`."""
        fault = await self._enter("halt")
        self.check_term()
        for name in step.datasets:
            self.check_writer(name)
        wanted = set(step.datasets)
        for flight in self.host.flights:
            if flight.dataset in wanted and not self.is_dry_run:
                flight.kill()
        for _ in range(_LOOKS):
            if not any(flight.dataset in wanted for flight in self.host.flights):
                break
            await asyncio.sleep(0)
        else:
            raise failure("SourceBusy", f"{self.name}: a receive does not end")
        self._leave(fault)

    async def swap_roles(self, step: SwapRoles) -> None:
        """See `RolePort`."""
        await self._as_one("roles", lambda fault: self._swap(step, fault))

    def _swap(self, step: SwapRoles, fault: RequestFault | None) -> None:
        words = [step.to.role, str(step.to.epoch)]
        members = []
        for change in step.changes:
            if change.dataset not in self._pool(change.dataset).datasets:
                raise ZfsError("RoleChanged", f"{change.dataset} does not exist")
            found = self._named(change.dataset, change.guid, "RoleChanged")
            epoch = str(change.found.epoch or "")
            own = (found.properties.get(ROLE, ""), found.properties.get(ROLE_EPOCH, ""))
            if own != (change.found.role, epoch):
                raise ZfsError("RoleChanged", f"{found.name} has role and epoch {own}")
            if step.to.role == PRIMARY and LINEAGE in found.properties:
                raise ZfsError("SourceIsReplica", f"{found.name} is a replica")
            self.check_writer(found.name, optional=True)
            self._busy(found.name)
            words += [found.name, str(found.guid), change.found.role, epoch]
            members.append(found)
        pool = step.changes[0].dataset.split("/")[0]
        self.record("zfs", "program", "-j", pool, "-", *words)
        for number, found in enumerate(members):
            if number:
                self._middle(fault)
            self._set(found, {ROLE: step.to.role, ROLE_EPOCH: str(step.to.epoch)})

    async def set_readonly(self, step: SetReadonly) -> None:
        """See `RolePort`."""
        await self._as_one("readonly", lambda fault: self._set_readonly(step, fault))

    def _set_readonly(self, step: SetReadonly, fault: RequestFault | None) -> None:
        found = [self._named(name, guid, "NewLineage") for name, guid in step.datasets]
        for dataset in found if not step.on else ():
            if LINEAGE in dataset.properties or dataset.properties.get(ROLE) == SECONDARY:
                raise ZfsError("TargetIsPrimary", f"{dataset.name} is no primary")
        value = "on" if step.on else "off"
        self.record("zfs", "set", f"readonly={value}", *(d.name for d in found))
        for number, dataset in enumerate(found):
            if number:
                self._middle(fault)
            self._set(dataset, {"readonly": value})

    async def open_promoted(self, step: OpenPromoted) -> None:
        """See `RolePort`."""
        await self._as_one("open", lambda fault: self._open(step, fault))

    def _open(self, step: OpenPromoted, fault: RequestFault | None) -> None:
        found = [self._named(name, guid, "NewLineage") for name, guid, _ in step.targets]
        for dataset in found:
            if LINEAGE in dataset.properties:
                raise ZfsError("SourceIsReplica", f"{dataset.name} is a replica")
            own = (dataset.properties.get(ROLE), dataset.properties.get(ROLE_EPOCH))
            if own != (PRIMARY, str(step.epoch)):
                raise ZfsError("TargetIsPrimary", f"{dataset.name} has role and epoch {own}")
            self.check_writer(dataset.name, optional=True)
            self._busy(dataset.name)
        for number, (dataset, (_, _, thick)) in enumerate(zip(found, step.targets, strict=True)):
            if number:
                self._middle(fault)
            self._open_one(dataset, thick=thick)
        self.record("zfs", "set", "readonly=off", *(d.name for d in found))
        for dataset in found:
            self._set(dataset, {"readonly": "off"})

    def _open_one(self, dataset: FakeDataset, *, thick: bool) -> None:
        pool = self._pool(dataset.name)
        if thick:
            if (dataset.volsize or 0) > pool.available(dataset.name):
                raise ZfsError("InsufficientSpace", f"cannot set property for '{dataset.name}'")
            self.record("zfs", "set", "refreservation=auto", dataset.name)
            self._set(dataset, {"refreservation": str(dataset.volsize)})
        key, value = ("volmode", "default") if dataset.volume else ("canmount", "on")
        self.record("zfs", "set", f"{key}={value}", dataset.name)
        self._set(dataset, {key: value})
        where = pool.effective(dataset.name, "mountpoint")
        if not dataset.volume and not dataset.mounted and where not in ("none", "legacy"):
            self.record("zfs", "mount", dataset.name)
            dataset.mounted = dataset.mounted or not self.is_dry_run

    async def discard_clones(self, step: DiscardClones) -> tuple[ItemFailure, ...]:
        """See `RolePort`."""
        fault = await self._enter("discard")
        self.check_term()
        failures = []
        for number, clone in enumerate(sorted(step.clones, key=lambda c: c.dataset, reverse=True)):
            if number:
                self._middle(fault)
            try:
                self._discard(clone)
            except (ZfsError, Refused) as refused:
                failures.append(
                    ItemFailure(name=clone.dataset, reason=refused.reason, message=refused.message)
                )
        self._leave(fault)
        return tuple(failures)

    def _discard(self, clone: CloneRef) -> None:
        pool = self._pool(clone.dataset)
        found = pool.datasets.get(clone.dataset)
        if found is None:
            return
        origin = self._pool(clone.origin.dataset).datasets.get(clone.origin.dataset)
        point = None if origin is None else origin.snapshot_by_guid(clone.origin.guid)
        is_planned = found.guid == clone.guid and found.origin == clone.origin.full_name
        if not is_planned or point is None or point.name != clone.origin.name:
            raise ZfsError("NameCollision", f"{found.name} is not the clone that was planned")
        pool.sync()
        if found.head.digest != point.state.digest:
            raise ZfsError("TargetModified", f"{found.name} holds data of its own")
        self.check_writer(found.name, optional=True)
        self._busy(found.name)
        if found.snapshots or any(d is not found for d in pool.below(found.name)):
            raise ZfsError("SourceBusy", f"cannot destroy '{found.name}': it has children")
        self.record("zfs", "destroy", found.name)
        if not self.is_dry_run:
            pool.destroy_dataset(found.name)

    async def take_over(self, writers: Mapping[str, str]) -> tuple[RootState, ...]:
        """See `RolePort`."""
        for root, seen in writers.items():
            found = self._pool(root).datasets.get(root)
            if found is not None and found.properties.get(WRITER) == seen and not self.is_dry_run:
                # As if nobody had it: `claim` then sets the writer, in the same moment.
                del found.properties[WRITER]
        return await self.claim(tuple(writers))

    # --- what they have in common ---------------------------------------------------------------

    async def _as_one(self, request: str, act: Callable[[RequestFault | None], None]) -> None:
        fault = await self._enter(request)
        self.check_term()
        try:
            act(fault)
        except ZfsError as refused:
            raise failure(refused.reason, f"{self.name}: {refused.message}") from refused
        self._leave(fault)

    def _pool(self, name: str) -> FakePool:
        return self.host.pool_of(name)

    def _named(self, name: str, guid: int, reason: str) -> FakeDataset:
        found = self._pool(name).get(name)
        if found.guid != guid:
            raise ZfsError(reason, f"{name} has GUID {found.guid}, planned was {guid}")
        return found

    def _set(self, dataset: FakeDataset, properties: Mapping[str, str]) -> None:
        if not self.is_dry_run:
            dataset.properties.update(properties)
