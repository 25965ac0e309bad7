"""Two pools in memory that take the planner's steps, and refuse what ZFS or a rule refuses.

Every primitive action burns a fuse; when it is burnt, the operator is dead: its background lanes
are cut, and what was done stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from backstay.domain.pairs import PairTask, RouteObservation, RouteTask
from backstay.domain.steps import (
    AbortReceive,
    Increment,
    Prune,
    Resume,
    Seed,
    TakeSnapshots,
    Transfer,
)
from backstay.domain.zfs import (
    LINEAGE,
    Bookmark,
    Guid,
    HostListing,
    Pool,
    Snapshot,
)
from backstay.plan.local import Alone, plan_local_pruning, plan_local_snapshots
from backstay.plan.naming import bookmark_name, bookmark_tag, is_ours
from backstay.plan.pruning import plan_pruning
from backstay.plan.replication import Seen, plan_preparation, plan_snapshots, see_route
from backstay.plan.transfers import Lane, plan_transfers
from property.disks import Disk, Partial
from unit.plan.sides import PLENTY, ROOT, SHORT, T0, VAULT_GUID

Fate: TypeAlias = Literal["arrives", "is cut", "does not start", "takes long"]


class Dead(Exception):
    """The operator was killed."""


@dataclass(slots=True)
class TwoSides:
    """Both pools, the task, and what was ever done."""

    pairs: tuple[PairTask, ...]
    tank: dict[str, Disk] = field(default_factory=dict)
    vault: dict[str, Disk] = field(default_factory=dict)
    fuse: int | None = None
    fates: Iterator[Fate] = field(default_factory=lambda: iter(()))
    flying: list[list[Transfer]] = field(default_factory=list)
    cursed: frozenset[str] = frozenset()
    """Members whose streams are cut each time."""
    quarantined: frozenset[tuple[str, str]] = frozenset()
    now: datetime = T0
    txg: int = 100
    guids: int = 1000
    passes: int = 0
    steps: int = 0
    sets: dict[str, dict[str, int]] = field(default_factory=dict)
    """Snapshot name → source dataset → content: what one command froze together."""
    destroyed: set[tuple[str, str]] = field(default_factory=set)
    """Source dataset and snapshot that people destroyed."""
    taken_at: dict[str, int] = field(default_factory=dict)
    was_alone: bool = False
    """Since both sides were last at rest: then more than one point may be unsent."""

    def __post_init__(self) -> None:
        self.vault[ROOT] = Disk(name=ROOT, guid=Guid(78), created=1)
        for pair in self.pairs:
            self.make_sources(pair)

    def make_sources(self, pair: PairTask) -> None:
        """The sources of a pair's entries exist."""
        for entry in pair.entries:
            if entry.source not in self.tank:
                self.tank[entry.source] = Disk(
                    name=entry.source, guid=self.guid(), created=self.step_txg()
                )

    # --- what people do -------------------------------------------------------------------------

    def write(self, dataset: str) -> None:
        self.tank[dataset].content = self.step_txg()

    def foreign_snapshot(self, disk: Disk) -> None:
        self._freeze(disk, f"manual-{self.step_txg()}")

    def roll_back_target(self, disk: Disk) -> None:
        """The replica goes back to the snapshot before its newest."""
        disk.snapshots.pop()
        disk.content = disk.contents[disk.snapshots[-1].guid]
        disk.partial = None

    # --- one pass -------------------------------------------------------------------------------

    def see(self) -> Seen:
        """What the planner sees now."""
        pairs = tuple(
            replace(
                pair,
                quarantined=frozenset(name for key, name in self.quarantined if key == pair.key),
            )
            for pair in self.pairs
        )
        flying = {t.target_dataset: t.size_bytes for lane in self.flying for t in lane}
        task = RouteTask(
            source_host="a/one",
            target_host="b/two",
            receive_roots=(ROOT,),
            short_id=SHORT,
            pairs=pairs,
            in_flight=flying,
        )
        pool = Pool(
            name="vault", guid=VAULT_GUID, health="ONLINE", size_bytes=PLENTY, free_bytes=PLENTY
        )
        observation = RouteObservation(
            source=HostListing(datasets={n: d.listed() for n, d in self.tank.items()}),
            target=HostListing(
                datasets={n: d.listed() for n, d in self.vault.items()}, pools=(pool,)
            ),
            synced_at=self.now,
        )
        seen = see_route(task, observation)
        assert seen is not None
        return seen

    def run_pass(self) -> int:
        """One pass; returns how many steps it took. `Dead` when the fuse burnt."""
        self.passes += 1
        before = self.steps
        try:
            self._stages()
        except Dead:
            self.flying, flying = [], self.flying
            for lane in flying:
                self._leave_partial(lane[0])
            raise
        return self.steps - before

    def run_alone(self) -> None:
        """One pass that cannot see the target, of a leader that never saw it."""
        self.passes += 1
        self.was_alone = True
        for step in plan_local_snapshots(self._alone(), self.now, self._entropy()):
            self._take(step)
        prune = plan_local_pruning(self._alone())
        for ref in prune.snapshots:
            disk = self.tank[ref.dataset]
            assert ref.guid != disk.snapshots[-1].guid, "the newest stays"
            assert not any(disk.point(ref.guid) for disk in self.vault.values()), "it was sent"
        self._prune(prune, self.tank)

    def _alone(self) -> Alone:
        seen = self.see()
        due = frozenset(pair.key for pair in self.pairs)
        return Alone(task=seen.task, source=seen.source, due=due)

    def _entropy(self) -> str:
        return f"{self.passes % 0x8000 * 2:04x}"

    def land(self) -> None:
        """What is in flight arrives, lane by lane."""
        lanes, self.flying = self.flying, []
        for lane in lanes:
            for transfer in lane:
                self._arrive(transfer)

    def _stages(self) -> None:
        preparation = plan_preparation(self.see())
        assert preparation.postures == ()
        for abort in preparation.aborts:
            self._abort(abort)
        for parents in preparation.parents:
            for name in parents.datasets:
                self._burn()
                self._need_parent(name)
                self.vault[name] = Disk(name=name, guid=self.guid(), created=self.step_txg())
        for step in plan_snapshots(self.see(), self.now, self._entropy()):
            self._take(step)
        plan = plan_transfers(self.see())
        assert plan.conflicts.keys() <= {m.target for m in self.see().members}
        for pipe in plan.increments:
            self._send_pipe(list(pipe.transfers), is_lane=False)
        for lane in plan.lanes:
            self._send_lane(lane)
        pruning = plan_pruning(self.see())
        self._prune(pruning.target, self.vault)
        self._prune(pruning.source, self.tank)

    def _burn(self) -> None:
        if self.fuse is not None:
            if self.fuse == 0:
                raise Dead
            self.fuse -= 1
        self.steps += 1

    def _abort(self, step: AbortReceive) -> None:
        self._burn()
        disk = self.vault[step.dataset]
        assert disk.properties[LINEAGE] == step.lineage
        assert disk.partial is not None
        assert step.token == f"1-{disk.partial.to.guid}"
        disk.partial = None
        if not disk.snapshots:
            assert not any(n.startswith(f"{disk.name}/") for n in self.vault), "has children"
            del self.vault[disk.name]

    def _take(self, step: TakeSnapshots) -> None:
        if step.datasets:
            self._burn()
            txg = self.step_txg()
            self.sets[step.snapshot] = {name: self.tank[name].content for name, _ in step.datasets}
            assert step.snapshot not in self.taken_at, "a name is used once"
            self.taken_at[step.snapshot] = txg
            for name, guid in step.datasets:
                assert self.tank[name].guid == guid
                self._freeze(self.tank[name], step.snapshot, txg)
        for wanted in step.bookmarks:
            self._burn()
            disk = self.tank[wanted.dataset]
            [point] = [s for s in disk.snapshots if s.name == wanted.snapshot]
            name = bookmark_name(wanted.lineage, point.guid, point.createtxg)
            assert name not in [b.name for b in disk.bookmarks], "a bookmark is made once"
            disk.bookmarks.append(
                Bookmark(dataset=disk.name, name=name, guid=point.guid, createtxg=point.createtxg)
            )
            disk.bookmarks.sort(key=lambda b: b.createtxg)

    def _send_lane(self, lane: Lane) -> None:
        transfers = [t for pipe in lane.pipes for t in pipe.transfers]
        assert all(len(pipe.transfers) == 1 for pipe in lane.pipes)
        self._send_pipe(transfers, is_lane=True)

    def _send_pipe(self, transfers: list[Transfer], *, is_lane: bool) -> None:
        """In order, until the first failure."""
        assert is_lane or all(isinstance(t.how, Increment) for t in transfers)
        for number, transfer in enumerate(transfers):
            self._burn()
            fate = "is cut" if transfer.member in self.cursed else next(self.fates, "arrives")
            if fate == "takes long" and is_lane:
                self._start(transfer)
                self.flying.append(transfers[number:])
                return
            if fate in ("is cut", "does not start"):
                if fate == "is cut":
                    self._leave_partial(transfer)
                self._quarantine(transfer)
                return
            self._arrive(transfer)

    def _quarantine(self, transfer: Transfer) -> None:
        pair = next(m.pair for m in self.see().members if m.target == transfer.target_dataset)
        self.quarantined |= {(pair, transfer.member)}

    def _check(self, transfer: Transfer) -> Snapshot:
        """What ZFS and the host program check before the first byte."""
        source = self.tank[transfer.source_dataset]
        assert source.guid == transfer.source_guid
        point = source.point(transfer.guid)
        assert point is not None
        assert point.name == transfer.snapshot
        tags = [bookmark_tag(b) for b in source.bookmarks]
        assert (transfer.lineage, point.guid) in [(t.lineage, t.guid) for t in tags if t], (
            "no byte leaves without a bookmark"
        )
        target = self.vault.get(transfer.target_dataset)
        match transfer.how:
            case Seed():
                assert target is None, "a seed onto something"
                self._need_parent(transfer.target_dataset)
            case Increment(base=base):
                assert target is not None
                assert target.partial is None, "there is a partial receive"
                known: list[Snapshot | Bookmark] = [*source.snapshots, *source.bookmarks]
                bases = {(p.full_name, p.guid): p for p in known}
                assert bases[base.full_name, base.guid].createtxg < point.createtxg
                assert target.point(base.guid) is not None, "no such base"
                assert target.content == target.contents[base.guid], "was written to"
            case Resume(token=token):
                assert target is not None
                assert target.partial is not None
                assert token == f"1-{target.partial.to.guid}"
                assert target.partial.to.guid == point.guid
        return point

    def _need_parent(self, name: str) -> None:
        parent = self.vault[name.rpartition("/")[0]]
        is_partial = LINEAGE in parent.properties and not parent.snapshots
        assert not is_partial, "a child below a partial receive"

    def _start(self, transfer: Transfer) -> tuple[Snapshot, Disk]:
        point = self._check(transfer)
        target = self.vault.get(transfer.target_dataset)
        if target is None:
            target = Disk(
                name=transfer.target_dataset,
                guid=self.guid(),
                created=self.step_txg(),
                properties=dict(transfer.properties),
            )
            self.vault[target.name] = target
        return point, target

    def _leave_partial(self, transfer: Transfer) -> None:
        known = self.vault.get(transfer.target_dataset)
        if isinstance(transfer.how, Resume):
            return
        if known is not None and isinstance(transfer.how, Seed):
            target, [point] = known, self._points(transfer)  # it was in flight
        else:
            point, target = self._start(transfer)
        target.partial = Partial(
            to=point,
            to_dataset=transfer.source_dataset,
            from_guid=transfer.how.base.guid if isinstance(transfer.how, Increment) else None,
            content=self.tank[transfer.source_dataset].contents[point.guid],
        )

    def _points(self, transfer: Transfer) -> list[Snapshot]:
        disk = self.tank[transfer.source_dataset]
        return [s for s in disk.snapshots if s.guid == transfer.guid]

    def _arrive(self, transfer: Transfer) -> None:
        known = self.vault.get(transfer.target_dataset)
        if known is not None and isinstance(transfer.how, Seed):
            assert not known.snapshots, "a seed onto something"
            [point], target = self._points(transfer), known
        else:
            point, target = self._start(transfer)
        arrived = replace(point, dataset=target.name, createtxg=self.step_txg())
        target.snapshots.append(arrived)
        target.content = self.tank[transfer.source_dataset].contents[point.guid]
        target.contents[point.guid] = target.content
        target.partial = None
        self.quarantined = frozenset(q for q in self.quarantined if q[1] != transfer.member)

    def _prune(self, step: Prune, side: dict[str, Disk]) -> None:
        for ref in step.snapshots:
            self._burn()
            disk = side[ref.dataset]
            [found] = [s for s in disk.snapshots if (s.name, s.guid) == (ref.name, ref.guid)]
            assert is_ours(found, SHORT), "foreign snapshots stay"
            disk.snapshots.remove(found)
        for mark in step.bookmarks:
            self._burn()
            disk = side[mark.dataset]
            [old] = [b for b in disk.bookmarks if (b.name, b.guid) == (mark.name, mark.guid)]
            disk.bookmarks.remove(old)

    def _freeze(self, disk: Disk, name: str, txg: int | None = None) -> None:
        snapshot = Snapshot(
            dataset=disk.name, name=name, guid=self.guid(), createtxg=txg or self.step_txg()
        )
        disk.snapshots.append(snapshot)
        disk.contents[snapshot.guid] = disk.content

    def guid(self) -> Guid:
        self.guids += 1
        return Guid(self.guids)

    def step_txg(self) -> int:
        self.txg += 1
        return self.txg

    def tick(self, minutes: int) -> None:
        """The wall clock moves, also backwards."""
        self.now += timedelta(minutes=minutes)
