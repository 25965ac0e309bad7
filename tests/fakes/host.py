"""The fake host as a `HostPort`: one leader's connection, its fence and its requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile

from backstay.adapters.host.reasons import failure
from backstay.domain.errors import Refused, Unreachable
from backstay.domain.steps import (
    AbortReceive,
    CreateParents,
    ItemFailure,
    MadeSnapshot,
    Prune,
    RestorePosture,
    TakeSnapshots,
)
from backstay.domain.zfs import (
    LINEAGE,
    ROLE,
    WRITER,
    BookmarkRef,
    Guid,
    HostFacts,
    HostListing,
    SnapshotRef,
)
from backstay.ports.host import RootState, SurveyRequest
from fakes import listing, streams
from fakes.faults import RequestFault
from fakes.roles import RoleRequests
from fakes.world import FakeHost
from fakes.zfs import FakeDataset, FakePool, ZfsError, settable


@dataclass(frozen=True, slots=True)
class Leader:
    """Who is connected: the term may change while the connection lives."""

    term: Callable[[], int]
    installation: str
    short_id: str
    process: str = "one"


class FakePort(RoleRequests):
    """A `HostPort` and `RolePort` on a fake host."""

    def __init__(self, host: FakeHost, leader: Leader, *, is_dry_run: bool = False) -> None:
        self.host = host
        self.leader = leader
        self.is_dry_run = is_dry_run
        self.commands: list[tuple[str, ...]] = []  # of a dry run; others are in FakeHost.commands
        self.key: bytes | None = None
        """The private key that it was opened with, where a test cares."""
        self.data_key: bytes | None = b"data"
        """What other hosts log in with to bring a stream."""

    @property
    def tools(self) -> frozenset[str]:
        """Programs for streams that the host has."""
        return self.host.tools

    @property
    def name(self) -> str:
        """`site/host`."""
        return self.host.name

    def dry_run(self) -> FakePort:
        """A twin that only says what it would run."""
        return FakePort(self.host, self.leader, is_dry_run=True)

    # --- reads ----------------------------------------------------------------------------------

    async def hello(self) -> HostFacts:
        """See `HostPort`."""
        fault = await self._enter("hello")
        facts = HostFacts(
            hostname=self.name.rsplit("/", 1)[-1],
            zfs_version=self.host.zfs_version,
            python_version=self.host.python_version,
            uid=self.host.uid,
            clock_skew_s=self.host.clock_skew_s,
            pools=listing.pools(self.host),
        )
        self._leave(fault)
        return facts

    async def survey(self, request: SurveyRequest) -> HostListing:
        """See `HostPort`."""
        fault = await self._enter("survey")
        found = listing.list_host(self.host, request, self.leader.short_id)
        self._leave(fault)
        return found

    # --- writes ---------------------------------------------------------------------------------

    async def claim(self, roots: Sequence[str]) -> tuple[RootState, ...]:
        """See `HostPort`."""
        fault = await self._enter("claim")
        self.check_term()
        if self.host.fence_busy:
            raise failure("FenceBusy", f"{self.name}: commands of an earlier leader still run")
        mine = self.leader.term()
        if not self.is_dry_run:
            self.host.want[self.leader.installation] = (mine, self.leader.process)
            for flight in self.host.flights:
                if flight.installation == self.leader.installation and flight.term < mine:
                    flight.kill()
        self._middle(fault)
        states = tuple(self._claim_root(root) for root in roots)
        self._leave(fault)
        return states

    def _claim_root(self, root: str) -> RootState:
        try:
            found = self.host.pool_of(root).get(root)
        except ZfsError:
            return RootState(root=root, outcome="Missing", writer="")
        held = found.properties.get(WRITER, "")
        wanted = f"{self.leader.term()}:{self.leader.installation}"
        if held and held != wanted:
            term, installation = _parse_writer(held)
            if installation != self.leader.installation:
                return RootState(root=root, outcome="Foreign", writer=held)
            if term > self.leader.term():
                return RootState(root=root, outcome="Superseded", writer=held)
        if held != wanted:
            self.record("zfs", "set", f"{WRITER}={wanted}", root)
            if not self.is_dry_run:
                found.properties[WRITER] = wanted
        return RootState(root=root, outcome="Held", writer=wanted)

    async def snapshot(self, step: TakeSnapshots) -> tuple[MadeSnapshot, ...]:
        """See `HostPort`."""
        fault = await self._enter("snapshot")
        self.check_term()
        try:
            made = self._snapshot(step, fault)
        except ZfsError as refused:
            raise failure(refused.reason, f"{self.name}: {refused.message}") from refused
        self._leave(fault)
        return made

    def _snapshot(
        self, step: TakeSnapshots, fault: RequestFault | None
    ) -> tuple[MadeSnapshot, ...]:
        names = [name for name, _ in step.datasets]
        if names:
            self._take(names, step.snapshot)
            for name, guid in step.datasets:
                found = self.host.pool_of(name).get(name)
                if found.guid != guid:
                    raise ZfsError(
                        "NewLineage", f"{name} has GUID {found.guid}, planned was {guid}"
                    )
        self._middle(fault)
        made: dict[str, list[str]] = {f"{name}@{step.snapshot}": [] for name in names}
        for wanted in step.bookmarks:
            full = f"{wanted.dataset}@{wanted.snapshot}"
            made.setdefault(full, []).append(self._make_bookmark(full, wanted.lineage))
        return tuple(self._made(full, tuple(marks)) for full, marks in made.items())

    def _take(self, names: list[str], short: str) -> None:
        pool = self.host.pool_of(names[0])
        for name in names:
            pool.get(name)
            self._busy(name)
            if name in self.host.no_room_for:
                full = f"cannot create snapshot '{name}@{short}': out of space"
                raise ZfsError("InsufficientSpace", full)
        self.record("zfs", "snapshot", *[f"{name}@{short}" for name in names])
        if not self.is_dry_run:
            pool.snapshot(names, short)

    def _make_bookmark(self, snapshot: str, lineage: str) -> str:
        dataset, short = snapshot.split("@")
        pool = self.host.pool_of(dataset)
        found = pool.get(dataset)
        point = found.snapshot(short)
        if point is None and not self.is_dry_run:
            raise ZfsError("SourceMissing", f"'{snapshot}' does not exist")
        guid, txg = (point.guid, point.createtxg) if point else (0, 0)
        mark = f"backstay_{lineage}_{guid:016x}_{txg}"
        if found.bookmark(mark) is None:
            self.record("zfs", "bookmark", snapshot, f"{dataset}#{mark}")
            if not self.is_dry_run:
                pool.bookmark(found, short, mark)
        return mark

    def _made(self, snapshot: str, bookmarks: tuple[str, ...]) -> MadeSnapshot:
        dataset, short = snapshot.split("@")
        point = self.host.pool_of(dataset).get(dataset).snapshot(short)
        guid, txg = (point.guid, point.createtxg) if point else (0, 0)
        return MadeSnapshot(
            dataset=dataset,
            name=short,
            guid=Guid(guid),
            createtxg=txg,
            bookmarks=bookmarks,
            ivset=point.ivset if point else None,
        )

    async def create_parents(self, step: CreateParents) -> None:
        """See `HostPort`."""
        fault = await self._enter("create")
        self.check_term()
        for name in step.datasets:
            if not name.startswith(step.root + "/"):
                raise failure("InternalError", f"{name} is not below {step.root}")
        self.check_writer(step.root)
        try:
            for name in step.datasets:
                pool = self.host.pool_of(name)
                if name not in pool.datasets:
                    self.record("zfs", "create", "-u", "-o", "canmount=noauto", name)
                    if not self.is_dry_run:
                        pool.create(name).properties["canmount"] = "noauto"
                self._middle(fault)
        except ZfsError as refused:
            raise failure(refused.reason, f"{self.name}: {refused.message}") from refused
        self._leave(fault)

    async def abort_receive(self, step: AbortReceive) -> None:
        """See `HostPort`."""
        fault = await self._enter("abort")
        self.check_term()
        try:
            pool, found = self._replica(step.dataset, step.lineage)
            if found.partial is None or found.partial.token != step.token:
                raise ZfsError("StaleReceiveState", f"{step.dataset} has another resume token")
            self._busy(step.dataset)
            self.record("zfs", "receive", "-A", step.dataset)
            if not self.is_dry_run:
                streams.abort(pool, found)
        except ZfsError as refused:
            raise failure(refused.reason, f"{self.name}: {refused.message}") from refused
        self._leave(fault)

    async def restore_posture(self, step: RestorePosture) -> None:
        """See `HostPort`."""
        fault = await self._enter("posture")
        self.check_term()
        try:
            _, found = self._replica(step.dataset, step.lineage)
            pairs = [f"{key}={value}" for key, value in settable(step.properties).items()]
            self.record("zfs", "set", *pairs, step.dataset)
            if not self.is_dry_run:
                found.properties.update(step.properties)
        except ZfsError as refused:
            raise failure(refused.reason, f"{self.name}: {refused.message}") from refused
        self._leave(fault)

    async def prune(self, step: Prune) -> tuple[ItemFailure, ...]:
        """See `HostPort`."""
        fault = await self._enter("prune")
        self.check_term()
        failures = []
        items: list[SnapshotRef | BookmarkRef] = [*step.snapshots, *step.bookmarks]
        for number, item in enumerate(items):
            if number:
                self._middle(fault)
            try:
                self.check_writer(item.dataset, optional=True)
                self.destroy(item)
            except (ZfsError, Refused) as refused:
                failures.append(
                    ItemFailure(name=item.full_name, reason=refused.reason, message=refused.message)
                )
        self._leave(fault)
        return tuple(failures)

    def destroy(self, item: SnapshotRef | BookmarkRef) -> None:
        """`zfs destroy` of one item of a prune."""
        pool = self.host.pool_of(item.dataset)
        found = pool.datasets.get(item.dataset)
        if found is None:
            return
        points: Iterable[object] = (
            found.snapshots if isinstance(item, SnapshotRef) else found.bookmarks
        )
        named = [p for p in points if getattr(p, "name", "") == item.name]
        if not named:
            return
        if getattr(named[0], "guid", 0) != item.guid:
            raise ZfsError("NameCollision", f"{item.full_name} has another GUID than {item.guid}")
        self._busy(item.dataset)
        self.record("zfs", "destroy", item.full_name)
        if self.is_dry_run:
            return
        if isinstance(item, SnapshotRef):
            snapshot = found.snapshot(item.name)
            assert snapshot is not None
            pool.destroy_snapshot(found, snapshot)
        else:
            bookmark = found.bookmark(item.name)
            assert bookmark is not None
            pool.destroy_bookmark(found, bookmark)

    # --- the fence ------------------------------------------------------------------------------

    def check_term(self) -> None:
        """`Refused` when the host knows a higher term of our installation, or ours from another
        process; not in a dry run.
        """
        want, process = self.host.want.get(self.leader.installation, (0, ""))
        is_anothers = want == self.leader.term() and process != self.leader.process
        if not self.is_dry_run and (want > self.leader.term() or is_anothers):
            raise Refused(
                "Superseded",
                f"{self.name} knows term {want} of {process}, ours is {self.leader.term()}",
                higher_term=want,
            )

    def check_writer(self, dataset: str, *, optional: bool = False) -> None:
        """`Refused` unless the receive root above a dataset has this leader as its writer.

        `optional`: no receive root above it is fine (a source). A dry run needs no term.
        """
        if self.is_dry_run:
            return
        pool = self.host.pools.get(dataset.split("/", 1)[0])
        parts = dataset.split("/")
        names = ["/".join(parts[:end]) for end in range(len(parts), 0, -1)]
        above = [pool.datasets[name] for name in names if pool and name in pool.datasets]
        marks = [_parse_writer(d.properties[WRITER]) for d in above if WRITER in d.properties]
        if marks:
            self._compare_writer(dataset, marks)
        elif not optional:
            raise failure("InternalError", f"{dataset} lies below no receive root that we claimed")

    def _compare_writer(self, dataset: str, marks: Sequence[tuple[int, str]]) -> None:
        """`marks`: the nearest first; that of an earlier term of the same one does not count."""
        installation = marks[0][1]
        term = max(term for term, _ in takewhile(lambda mark: mark[1] == installation, marks))
        if installation != self.leader.installation:
            raise Refused("ForeignWriter", f"{installation} writes to {dataset}")
        if term > self.leader.term():
            raise Refused("Superseded", f"{dataset} has writer term {term}", higher_term=term)
        if term < self.leader.term():
            raise failure("InternalError", f"{dataset} was not claimed for our term yet")

    def _replica(self, name: str, lineage: str) -> tuple[FakePool, FakeDataset]:
        self.check_writer(name)
        pool = self.host.pool_of(name)
        found = pool.get(name)
        if found.properties.get(LINEAGE) != lineage:
            raise ZfsError("TargetHasForeignData", f"{name} is not of lineage {lineage}")
        if found.properties.get(ROLE) == "primary":
            raise ZfsError("TargetIsPrimary", f"{name} has the role primary")
        return pool, found

    # --- the course of a request ----------------------------------------------------------------

    async def _enter(self, request: str) -> RequestFault | None:
        await asyncio.sleep(0)
        self.host.requests[request] += 1
        if self.host.latency_s:
            await self.host.world.wait(self.host.latency_s)
        self.check_reachable()
        fault = self.host.faults.draw(request)
        if fault is not None and fault.when == "before":
            raise fault.error
        return fault

    def check_reachable(self) -> None:
        """`Unreachable` while the host is; `Stalled` for a key that it does not admit."""
        if self.host.admits not in (None, self.key):
            raise failure("KeyRefused", f"{self.name}: the host refused the key")
        if not self.host.reachable:
            raise Unreachable("Unreachable", f"{self.name}: connection timed out")

    @staticmethod
    def _middle(fault: RequestFault | None) -> None:
        if fault is not None and fault.when == "middle":
            raise fault.error

    @staticmethod
    def _leave(fault: RequestFault | None) -> None:
        if fault is not None:
            raise fault.error

    def _busy(self, dataset: str) -> None:
        if self.host.busy_for[dataset] > 0:
            self.host.busy_for[dataset] -= 1
            raise ZfsError("SourceBusy", f"'{dataset}': dataset is busy")
        if any(flight.dataset == dataset and flight.receives for flight in self.host.flights):
            raise ZfsError("SourceBusy", f"'{dataset}': a stream is under way")

    def record(self, *argv: str) -> None:
        """Note an argument vector that changes something."""
        (self.commands if self.is_dry_run else self.host.commands).append(argv)


def _parse_writer(text: str) -> tuple[int, str]:
    term, _, installation = text.partition(":")
    return (int(term) if term.isdigit() else 0), installation
