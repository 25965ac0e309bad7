"""What people do: to data, to snapshots on both sides, and to the objects."""

from __future__ import annotations

from collections import Counter

from backstay.api.kinds import REQUESTED_AT
from backstay.domain.zfs import LINEAGE, SOURCE_GUID
from backstay.plan.naming import snapshot_time
from fakes.world import FakeHost
from fakes.zfs import FakeDataset, FakeSnapshot
from sim.estate import FAN, GROUP, LONE, TREE, Estate

COMMON_NAMES = ("daily", "hourly")
"""Names that other tools use on both sides, for snapshots that have nothing in common."""


class People:
    """Admins and other tools of one story."""

    def __init__(self, estate: Estate) -> None:
        self._estate, self._dice = estate, estate.dice

    # --- data -------------------------------------------------------------------------------------

    async def write(self) -> None:
        """Somebody writes to a source."""
        self._estate.write()

    async def foreign_snapshot(self) -> None:
        """Another tool takes a snapshot, on either side."""
        found = self._all(lambda d: bool(d.snapshots))
        if found:
            host, dataset = self._dice.choice(found)
            short = f"manual{self._estate.number()}"
            if self._dice.random() < 0.4:
                short = self._dice.choice(COMMON_NAMES)
                if (dataset.name, short) in self._estate.foreign:
                    return
            host.snapshot(f"{dataset.name}@{short}")
            self._estate.foreign.add((dataset.name, short))
            if dataset.encrypted and host is not self._estate.a:
                self._estate.wronged.add(dataset.name)  # ZFS takes no raw stream behind it
            self._estate.changed(dataset.name)

    async def foreign_destroy(self) -> None:
        """Another tool takes one of its snapshots away."""
        free = sorted(self._estate.foreign - self._estate.held)
        if free:
            name, short = self._dice.choice(free)
            self._estate.foreign.discard((name, short))
            self._host_of(name).destroy(f"{name}@{short}")
            self._estate.changed(name)

    async def hold(self) -> None:
        """Somebody holds a snapshot, for instance of ours."""
        found = self._all(lambda d: bool(d.snapshots))
        if found:
            host, dataset = self._dice.choice(found)
            short = self._dice.choice(dataset.snapshots).name
            host.hold(f"{dataset.name}@{short}")
            self._estate.held.add((dataset.name, short))

    async def release(self) -> None:
        """A hold is released."""
        if self._estate.held:
            self._release(*self._dice.choice(sorted(self._estate.held)))

    def _release(self, name: str, short: str) -> None:
        self._estate.held.discard((name, short))
        self._host_of(name).release(f"{name}@{short}")

    async def lose_point(self) -> None:
        """Somebody destroys one of our snapshots at the source: its bookmark stays."""
        name = self._dice.choice(self._estate.sources())
        ours = [s for s in _ours(self._estate.a.dataset(name)) if not s.holds]
        if ours:
            self._estate.a.destroy(f"{name}@{self._dice.choice(ours).name}")
            self._estate.changed(name)

    async def new_child(self) -> None:
        """A file system is made in the tree, perhaps as a clone of one that is in it."""
        estate = self._estate
        parents = [n for n in estate.sources() if n.startswith("tank/vm/t")]
        if len(parents) >= 9:
            return
        name = f"{self._dice.choice(parents)}/n{estate.number()}"
        points = [f"{n}@{s.name}" for n in parents for s in estate.a.dataset(n).snapshots]
        if points and self._dice.random() < 0.5:
            estate.a.clone(self._dice.choice(points), name)
            estate.note(name)
        else:
            estate.create(name, volume=False)

    async def rename_child(self) -> None:
        """Datasets of the tree get other names, with all below them, or swap theirs."""
        inside = [n for n in self._estate.sources() if n.startswith("tank/vm/t/")]
        if not inside:
            return
        one = self._dice.choice(inside)
        others = [n for n in inside if not f"{n}/".startswith(f"{one}/")]
        if others and self._dice.random() < 0.4:
            other = self._dice.choice(others)
            if not one.startswith(f"{other}/"):
                spare = f"tank/vm/t/s{self._estate.number()}"
                self._rename((one, spare), (other, one), (spare, other))
            return
        parent = self._dice.choice(["tank/vm/t", *others])
        self._rename((one, f"{parent}/n{self._estate.number()}"))

    def _rename(self, *moves: tuple[str, str]) -> None:
        """Replicas that people did wrong to may be in the way of others now."""
        estate = self._estate
        for old, new in moves:
            inside = [d.name for d in estate.a.pools["tank"].below(old)]
            estate.a.rename(old, new)
            names = {name: new + name.removeprefix(old) for name in inside}
            estate.renamed(estate.a, names)
            for name in (*names, *names.values()):
                replica = f"backup/backstay/{name.removeprefix('tank/vm/')}"
                estate.changed(name, replica)
                estate.wronged.update((name, replica))

    async def remove_child(self) -> None:
        """The replica stays; the name is never used again."""
        names = self._estate.sources()
        leaves = [
            n
            for n in names
            if n.startswith("tank/vm/t/") and not any(o.startswith(f"{n}/") for o in names)
        ]
        if leaves:
            self._destroy(self._dice.choice(leaves))

    def _destroy(self, name: str) -> None:
        for dataset, short in [h for h in self._estate.held if h[0] == name]:
            self._release(dataset, short)
        self._host_of(name).destroy(name)
        if name.startswith("tank/"):
            self._estate.history.forget(name)
        self._estate.foreign = {f for f in self._estate.foreign if f[0] != name}
        self._estate.changed(name)

    # --- wrongs that only people can mend ---------------------------------------------------------

    async def wrong(self) -> None:
        """Somebody does what the operator must not mend by itself."""
        acts = (
            self._write_to_replica,
            self._write_to_replica,
            self._roll_back_replica,
            self._destroy_replica_point,
            self._lose_replica,
            self._roll_back_source,
            self._recreate_source,
        )
        self._dice.choice(acts)()

    def _replica(self) -> tuple[FakeHost, FakeDataset] | None:
        """Some replica at rest that has a point."""
        found = [
            (host, host.dataset(name))
            for host, name in self._estate.replicas()
            if _ours(host.dataset(name)) and self._rests(host, name)
        ]
        return self._dice.choice(found) if found else None

    @staticmethod
    def _rests(host: FakeHost, name: str) -> bool:
        return not any(f.dataset == name for f in host.flights)

    def _wronged(self, *names: str) -> None:
        self._estate.wronged.update(names)
        self._estate.changed(*names)

    def _write_to_replica(self) -> None:
        if (found := self._replica()) is not None:
            host, dataset = found
            host.set(dataset.name, "readonly", "off")
            host.write(dataset.name, self._dice.randrange(1, 500))
            host.pool_of(dataset.name).sync()
            if self._dice.random() < 0.8:
                host.set(dataset.name, "readonly", "on")
            self._wronged(dataset.name)

    def _roll_back_replica(self) -> None:
        """To one of our points, unless a newer snapshot is held or foreign."""
        if (found := self._replica()) is not None:
            host, dataset = found
            if dataset.partial is None and (point := self._way_back(dataset)) is not None:
                host.rollback(f"{dataset.name}@{point.name}")
                self._wronged(dataset.name)

    def _way_back(self, dataset: FakeDataset) -> FakeSnapshot | None:
        points = dataset.snapshots
        kept = [
            i
            for i, s in enumerate(points)
            if s.holds or (dataset.name, s.name) in self._estate.foreign
        ]
        ways = [
            s
            for i, s in enumerate(points[:-1])
            if not kept or i >= kept[-1]
            if snapshot_time(s.name)
        ]
        return self._dice.choice(ways) if ways else None

    def _destroy_replica_point(self) -> None:
        if (found := self._replica()) is not None:
            host, dataset = found
            free = [s for s in _ours(dataset) if not s.holds]
            if free:
                host.destroy(f"{dataset.name}@{self._dice.choice(free).name}")
                self._wronged(dataset.name)

    def _lose_replica(self) -> None:
        """A whole replica without children is destroyed: it is seeded anew by itself."""
        if (found := self._replica()) is not None:
            host, dataset = found
            pool = host.pools[dataset.name.split("/")[0]]
            if len(list(pool.below(dataset.name))) == 1:
                self._destroy(dataset.name)
                self._estate.wronged.add(dataset.name)

    def _roll_back_source(self) -> None:
        name = self._dice.choice(self._estate.sources())
        dataset = self._estate.a.dataset(name)
        if self._rests(self._estate.a, name) and (point := self._way_back(dataset)) is not None:
            self._estate.a.rollback(f"{name}@{point.name}")
            self._estate.note(name)
            self._wronged(name)

    def _recreate_source(self) -> None:
        """A volume is destroyed, and another one gets its name."""
        name = f"tank/vm/d{self._dice.randrange(5)}"
        if self._rests(self._estate.a, name):
            before = self._estate.history
            moments = before.moments(name)
            self._destroy(name)
            before.resume(name, moments)
            self._estate.create(name, volume=True)
            self._wronged(name)

    def mend(self) -> int:
        """Replicas that were wronged, or whose source was, are put aside where they differ.

        Renamed by hand, so that the source is seeded anew. Returns how many.
        """
        mended = 0
        for host, name in self._estate.replicas():
            if not host.exists(name):
                continue  # it went along with its parent
            source = self._estate.source_of(name)
            if {name, source} & self._estate.wronged and self.differs(host, name):
                self._set_aside(host, name)
                mended += 1
        return mended

    def tidy(self) -> int:
        """Replicas of the tree whose names no source has, and which share their history with
        another, are put aside, as `RenameBlocked` advises; returns how many.
        """
        inside = [d for _, d in self._all(lambda d: d.name.startswith("backup/backstay/t/"))]
        held = Counter(s.guid for d in inside for s in d.snapshots)
        lost = [
            d.name
            for d in inside
            if self._estate.source_of(d.name) not in self._estate.a.pools["tank"].datasets
            and any(held[s.guid] > 1 for s in d.snapshots)
        ]
        for name in lost[:1]:  # what is below it goes along
            self._set_aside(self._estate.b, name)
        return len(lost)

    async def mend_some(self) -> None:
        """An admin tidies up."""
        self.mend()

    def _set_aside(self, host: FakeHost, name: str) -> None:
        pool = name.split("/", maxsplit=1)[0]
        aside = f"{pool}/aside/r{self._estate.number()}"
        inside = [d.name for d in host.pools[pool].below(name)]
        self._estate.changed(*inside)
        self._estate.wronged.update(inside)
        host.kill_streams(below=name)
        host.rename(name, aside)
        for notes in (self._estate.foreign, self._estate.held):
            for dataset, short in [n for n in notes if n[0] in inside]:
                notes.discard((dataset, short))
                notes.add((aside + dataset.removeprefix(name), short))

    def differs(self, host: FakeHost, name: str) -> bool:
        """Whether a replica is not what its source can go on with, by GUIDs and content alone."""
        replica = host.dataset(name)
        source = self._estate.a.pools["tank"].datasets.get(self._estate.source_of(name))
        if source is None or LINEAGE not in replica.properties:
            return False
        if replica.properties.get("readonly") == "off":
            return True
        known = {s.guid for s in source.snapshots} | {m.guid for m in source.bookmarks}
        base = next((s for s in reversed(replica.snapshots) if s.guid in known), None)
        if base is None:
            is_old = replica.properties.get(SOURCE_GUID) != str(source.guid)
            return is_old or bool(replica.snapshots) or replica.partial is None
        newer = replica.snapshots[replica.snapshots.index(base) + 1 :]
        written = replica.head.digest != base.state.digest or bool(replica.unsynced)
        return written or any(replica.encrypted or snapshot_time(s.name) for s in newer)

    # --- objects ----------------------------------------------------------------------------------

    async def edit(self) -> None:
        """Members leave and join; all count anew from the first set that is whole for them.

        Who joins again, or from the lone pair, brings its history along.
        """
        members = self._dice.sample((0, 1, 2, 4), self._dice.randrange(1, 5))
        lone = [m for m in (3, 4) if m not in members]
        left = {f"backup/backstay/d{m}" for m in (0, 1, 2, 4) if m not in [*members, *lone]}
        self._estate.wronged.update(left)
        for pair, chosen in ((GROUP, members), (LONE, lone)):
            self._estate.forget_joining(pair)
            self._estate.apply(pair, chosen)

    async def suspend(self) -> None:
        """A pair rests, or goes on."""
        pair = self._dice.choice((GROUP, LONE, TREE, FAN))
        if pair in self._estate.specs:
            suspended = self._estate.specs[pair].get("suspend", False)
            self._estate.apply(pair, suspend=not suspended)

    async def retention(self) -> None:
        """The policy changes."""
        self._estate.set_policy()

    async def request(self) -> None:
        """Somebody asks for a look."""
        pair = self._dice.choice((GROUP, LONE, FAN))
        self._estate.server.annotate(
            "ReplicationPair", pair, REQUESTED_AT, f"r{self._estate.number()}"
        )

    async def remove_pair(self) -> None:
        """It is deleted and, when it is gone, applied again.

        Only one that shares no source: another pair's retention may take a base without bookmark.
        """
        bodies = [k.name for k in self._estate.server.bodies]
        if TREE in bodies and TREE in self._estate.specs:
            self._gone = self._estate.specs.pop(TREE)
            self._estate.server.delete("ReplicationPair", TREE)
            # A release after lost tries leaves bookmarks; without them there may be no base.
            self._estate.wronged.update(
                n for _, n in self._estate.replicas() if n.startswith("backup/backstay/t")
            )
            self._estate.by_spec.add(TREE)
        elif TREE not in bodies:
            self.bring_back()

    def bring_back(self) -> bool:
        """The tree's pair is applied again if it is gone; whether it is there."""
        if TREE in self._estate.specs:
            return True
        if any(k.name == TREE for k in self._estate.server.bodies):
            return False
        self._estate.specs[TREE] = self._gone
        self._estate.forget_joining(TREE)
        self._estate.apply(TREE)
        return True

    def calm(self) -> None:
        """Nobody holds anything, and nobody is suspended."""
        for name, short in sorted(self._estate.held):
            self._release(name, short)
        for host, name in self._estate.replicas():
            if host.dataset(name).properties.get("readonly") == "off":
                host.set(name, "readonly", "on")
        for pair in sorted(self._estate.specs):
            self._estate.apply(pair, suspend=False)

    # --- looking ----------------------------------------------------------------------------------

    def _all(self, wanted: object) -> list[tuple[FakeHost, FakeDataset]]:
        assert callable(wanted)
        return [
            (host, dataset)
            for host in self._estate.hosts.values()
            for pool in host.pools.values()
            for dataset in pool.datasets.values()
            if wanted(dataset)
        ]

    def _host_of(self, name: str) -> FakeHost:
        pool = name.split("/", 1)[0]
        return next(h for h in self._estate.hosts.values() if pool in h.pools)


def _ours(dataset: FakeDataset) -> list[FakeSnapshot]:
    return [s for s in dataset.snapshots if snapshot_time(s.name)]
