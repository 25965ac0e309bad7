"""What must be true after every step of a story: of the pools, and of the commands that ran.

The pools are compared with what they were at the step before: what changed, and was not changed by
hand, was changed by the operator.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from backstay.domain.zfs import LINEAGE, SOURCE_GUID
from backstay.plan.naming import snapshot_time
from fakes import truths
from fakes.world import FakeHost
from fakes.zfs import FakeDataset
from sim.estate import GROUP, Estate

POINTS = 14
"""Of ours at a source: 4 last and 2 hourly by the widest policy, and the bases and unsent points of
two targets."""
GROUP_POINTS = 16
"""Of a member of the group, which also keeps the sets that a member at rest has."""


@dataclass(slots=True)
class _Known:
    """One dataset as it was. `names`: GUID → name of each snapshot."""

    guid: int
    print: tuple[object, ...]
    names: dict[int, str]
    newest: int
    """The createtxg of the newest point of ours; 0 for none."""
    marks: set[int]
    clean: bool
    """Whether it holds what its newest snapshot holds."""


@dataclass(slots=True)
class _Link:
    """What a source and its replica had in common."""

    ends: tuple[int, int]
    """GUIDs of both."""
    in_step: bool
    """The source has the newest point of the replica, and this replica's bookmark of it.

    Another's would not do: it says nothing of whether the operator has seen this replica.
    """
    shared: bool
    proven: bool
    frozen: tuple[object, ...] | None
    """The end of `replica` that differs from its source, so that only people may mend it."""
    replica: tuple[object, ...]
    """What the replica holds, see `_held`."""


@dataclass(slots=True)
class PoolChecks:
    """Looks at the pools; remembers what must not be lost."""

    estate: Estate
    dirty: set[str] = field(default_factory=set)
    """Replicas that changed since somebody last cleared this."""
    _known: dict[str, _Known] = field(default_factory=dict)
    _links: dict[tuple[str, str], _Link] = field(default_factory=dict)
    _shaken: set[tuple[str, str]] = field(default_factory=set)
    """Links of which people took points away on either side: what is left in common then, nobody
    knows of, and another route's pruning may take it until both are in step again.
    """
    _contents: dict[int, tuple[int, int]] = field(default_factory=dict)
    """GUID → GUID of the source and digest, of every snapshot that was ever at a source."""
    _txgs: dict[str, int] = field(default_factory=dict)
    """Name of each set of the group → its txg."""
    _commands: dict[str, int] = field(default_factory=dict)
    _seen_txgs: dict[str, list[int]] = field(default_factory=dict)
    seeded_s: dict[str, float] = field(default_factory=dict)
    """Replica → when it was first seen with a point of ours."""

    def after_a_step(self) -> None:
        """Nothing was lost, mixed up or overwritten by the operator."""
        assert not self.estate.violations, self.estate.violations
        assert not (doubled := self.estate.doubled()), f"two streams at a time into {doubled}"
        self._no_command_is_destructive()
        by_hand, self.estate.by_hand = self.estate.by_hand, set()
        changed = [host for host in self.estate.hosts.values() if by_hand or self._moved_on(host)]
        for host in changed:
            self._follow_renames(host, by_hand)
        for host in changed:
            self._look(host, by_hand)

    def _moved_on(self, host: FakeHost) -> bool:
        """Whatever takes, renames or destroys anything is in a txg of its own."""
        txgs = [pool.txg for pool in host.pools.values()]
        before = self._seen_txgs.get(host.name)
        self._seen_txgs[host.name] = txgs
        return before != txgs

    def _no_command_is_destructive(self) -> None:
        for host in self.estate.hosts.values():
            seen = self._commands.get(host.name, 0)
            if len(host.commands) > seen:
                truths.none_is_destructive(host.commands[seen:])
                self._commands[host.name] = len(host.commands)

    # --- datasets ---------------------------------------------------------------------------------

    def _look(self, host: FakeHost, by_hand: set[str]) -> None:
        changed = False
        for pool in host.pools.values():
            for dataset in pool.datasets.values():
                known = self._known.get(dataset.name)
                if known is None or known.print != _print(dataset):
                    changed = True
                    self._changed(host, dataset, known, by_hand)
        if changed or by_hand:
            self._forget_gone(by_hand)
            self._look_at_links(by_hand)

    def _follow_renames(self, host: FakeHost, by_hand: set[str]) -> None:
        """The operator gives replicas of the tree other names: what is known goes along."""
        there = {d.guid: d.name for pool in host.pools.values() for d in pool.datasets.values()}
        names = {
            name: there[known.guid]
            for name, known in self._known.items()
            if there.get(known.guid, name) != name
        }
        moved = {new: self._known[old] for old, new in names.items()}
        for new, known in moved.items():
            written = known.clean and not by_hand and not _is_clean(host.dataset(new))
            assert not written, f"{new} was renamed and written to"
        seeded = {new: self.seeded_s[old] for old, new in names.items() if old in self.seeded_s}
        for old, new in names.items():
            if not {old, new} & by_hand:
                ours = ("backup/backstay/t/", "backup/backstay-aside/")
                assert old.startswith(ours), f"{old} was renamed to {new}"
                assert new.startswith(ours), f"{old} was renamed to {new}"
            del self._known[old]
            self.seeded_s.pop(old, None)
        self._known |= moved
        self.seeded_s |= seeded
        self.dirty.update(names, names.values())
        unseen = {old: new for old, new in names.items() if not {old, new} & by_hand}
        self.estate.renamed(host, unseen)

    def _forget_gone(self, by_hand: set[str]) -> None:
        for name in [n for n in self._known if not self._exists(n)]:
            known = self._known.pop(name)
            self.seeded_s.pop(name, None)
            self.dirty.add(name)
            assert name in by_hand or not known.names, f"{name} is gone, with {known.names}"

    def _changed(
        self, host: FakeHost, dataset: FakeDataset, known: _Known | None, by_hand: set[str]
    ) -> None:
        name, now = dataset.name, {s.guid: s.name for s in dataset.snapshots}
        ours = [s for s in dataset.snapshots if snapshot_time(s.name) is not None]
        if known is not None and known.guid == dataset.guid and name not in by_hand:
            self._nothing_is_lost(dataset, known, now)
            if host is not self.estate.a:
                newest = max((s.createtxg for s in ours), default=0)
                assert newest >= known.newest, f"{name} has lost its newest point"
        if host is self.estate.a:
            self._note_source(dataset)
            free = [s for s in ours if not s.holds]
            most = GROUP_POINTS if name in self.estate.places(GROUP) else POINTS
            assert len(free) <= most or name in by_hand, f"{name} has {len(free)} points"
        elif known is None or now.keys() - known.names.keys():
            self._holds_its_own(dataset, set() if known is None else set(known.names))
        if ours:
            self.seeded_s.setdefault(name, self.estate.world.monotonic_s)
        else:
            self.seeded_s.pop(name, None)  # who lost all points joins anew (docs/adr/0006)
        self.dirty.add(name)
        self._known[name] = _Known(
            guid=dataset.guid,
            print=_print(dataset),
            names=now,
            newest=ours[-1].createtxg if ours else 0,
            marks={m.guid for m in dataset.bookmarks},
            clean=_is_clean(dataset),
        )

    def _nothing_is_lost(self, dataset: FakeDataset, known: _Known, now: dict[int, str]) -> None:
        """Of what others took or hold."""
        for guid in known.names.keys() - now.keys():
            gone = (dataset.name, known.names[guid])
            assert gone not in self.estate.foreign, f"{gone} of others is gone"
            assert gone not in self.estate.held, f"{gone} was held and is gone"

    def _note_source(self, dataset: FakeDataset) -> None:
        grouped = self.estate.places(GROUP)
        for snapshot in dataset.snapshots:
            if snapshot.guid in self._contents:
                continue
            self._contents[snapshot.guid] = (dataset.guid, snapshot.state.digest)
            if snapshot_time(snapshot.name) is not None and dataset.name in grouped:
                txg = self._txgs.setdefault(snapshot.name, snapshot.createtxg)
                assert txg == snapshot.createtxg, f"{snapshot.name} was taken at two moments"

    def _holds_its_own(self, replica: FakeDataset, before: set[int]) -> None:
        """Each point is one of its own source, with exactly its content (rule *A pipe …*).

        Those that came now are of a dataset that once had the name that the replica's asks for.
        """
        sources = set()
        for snapshot in replica.snapshots:
            if snapshot_time(snapshot.name) is None:
                continue
            source, digest = self._contents[snapshot.guid]
            sources.add(source)
            assert len(sources) == 1, f"{replica.name} has points of several sources: {sources}"
            if "aside/" not in replica.name and snapshot.guid not in before:
                wanted = self.estate.bearers[self.estate.source_of(replica.name)]
                assert source in wanted, f"{replica.name}@{snapshot.name} is of GUID {source}"
            assert digest == snapshot.state.digest, f"{replica.name}@{snapshot.name} is garbled"

    # --- sources with their replicas --------------------------------------------------------------

    def _look_at_links(self, by_hand: set[str]) -> None:
        wanted = {
            (source, target): self.estate.target_host(pair)
            for pair in self.estate.specs
            for source, target in self.estate.places(pair).items()
        }
        for key in self._links.keys() - wanted.keys():
            del self._links[key]
        for key, host in wanted.items():
            before, now = self._links.get(key), self._link(*key, host)
            if before is not None and now is not None and before.ends != now.ends:
                before = None  # a renamed replica follows its source
            if by_hand & set(key):
                self._shaken.add(key)
            elif now is not None and now.in_step:
                self._shaken.discard(key)
            if before is not None and now is not None and not by_hand & set(key):
                said = f"{key[0]} and {key[1]}"
                if key not in self._shaken:
                    assert now.proven or not before.proven, f"{said}: no base any more"
                    assert now.shared or not before.shared, f"{said}: no common snapshot any more"
                if before.frozen is not None:
                    same = now.replica[-len(before.frozen) :] == before.frozen
                    assert same, f"{key[1]} differs and was changed"
            if now is None:
                self._links.pop(key, None)
            else:
                self._links[key] = now

    def _link(self, source: str, target: str, host: FakeHost) -> _Link | None:
        here, there = truths.found(self.estate.a, source), truths.found(host, target)
        if here is None or there is None:
            return None
        points = {s.guid for s in here.snapshots}
        marks = points | {m.guid for m in here.bookmarks}
        held = {s.guid for s in there.snapshots}
        newest = there.snapshots[-1].guid if there.snapshots else None
        prefix = f"backstay_{there.properties.get(LINEAGE)}_"
        own = {m.guid for m in here.bookmarks if m.name.startswith(prefix)}
        return _Link(
            ends=(here.guid, there.guid),
            in_step=newest in points & own,
            shared=bool(held & points),
            proven=bool(held & marks),
            frozen=_frozen(there, self._marks_for(there, here)) if there.snapshots else None,
            replica=_held(there),
        )

    def _marks_for(self, replica: FakeDataset, namesake: FakeDataset) -> set[int]:
        """The points of the source that it is a replica of, else of that which has its name.

        When two sources swap their names, a stream that was begun before comes to its end in a
        replica whose name is already another one's.
        """
        wanted = replica.properties.get(SOURCE_GUID)
        own = namesake
        for pool in self.estate.a.pools.values():
            own = next((d for d in pool.datasets.values() if str(d.guid) == wanted), own)
        return {s.guid for s in own.snapshots} | {m.guid for m in own.bookmarks}

    def _exists(self, name: str) -> bool:
        return any(
            name in pool.datasets
            for host in self.estate.hosts.values()
            for pool in host.pools.values()
        )


def _print(dataset: FakeDataset) -> tuple[object, ...]:
    """Equal as long as nobody took or destroyed anything, nor wrote to a replica."""
    snapshots = dataset.snapshots
    newest = snapshots[-1].guid if snapshots else 0
    is_source = dataset.name.startswith("tank/")
    content = 0 if is_source else dataset.head.digest
    return dataset.guid, len(snapshots), newest, len(dataset.bookmarks), content


def _is_clean(dataset: FakeDataset) -> bool:
    newest = dataset.snapshots[-1:]
    return all(dataset.head.digest == s.state.digest for s in newest) and not dataset.unsynced


def _frozen(replica: FakeDataset, known: set[int]) -> tuple[object, ...] | None:
    """What a replica holds that differs from its source, by GUIDs and content alone.

    A pass that has not seen it yet may still prune what is older than the base.
    """
    guids = [s.guid for s in replica.snapshots]
    common = [i for i, guid in enumerate(guids) if guid in known]
    if not common:
        return _held(replica)[-2:]
    base = replica.snapshots[common[-1]]
    newer = replica.snapshots[common[-1] + 1 :]
    if replica.head.digest == base.state.digest and not any(snapshot_time(s.name) for s in newer):
        return None
    return _held(replica)[common[-1] :]


def _held(replica: FakeDataset) -> tuple[object, ...]:
    """All points of a replica by GUID, then the content of its head."""
    return *(s.guid for s in replica.snapshots), replica.head.digest
