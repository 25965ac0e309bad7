"""What must hold in a world whatever happened to it; each check names what is wrong where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from backstay.domain.steps import Transfer
from backstay.domain.zfs import LINEAGE
from backstay.plan.naming import bookmark_tag, snapshot_time
from fakes.listing import as_dataset
from fakes.world import SHORT_ID, FakeHost, World
from fakes.zfs import FakeDataset, FakeSnapshot

Places = Mapping[str, str]
"""Source dataset → its replica."""


def nothing_destructive(world: World) -> None:
    """No command of the whole story destroys more than it names (rule *No implicit destruction*).

    Only one snapshot or bookmark at a time is destroyed, and only one of ours.
    """
    none_is_destructive(world.commands)


_NEVER = {
    "receive": {"F"},
    "recv": {"F"},
    "rollback": {"r", "R", "f"},
    "destroy": {"r", "R", "f"},
    "send": {"R", "I"},
}


def none_is_forced(commands: Iterable[Sequence[str]]) -> None:
    """No command takes along what it does not name, whoever approved of it."""
    for argv in commands:
        flags = {f for arg in argv[2:] if arg.startswith("-") and "=" not in arg for f in arg[1:]}
        assert not flags & _NEVER.get(argv[1], set()), argv


def none_is_destructive(commands: Iterable[tuple[str, ...]]) -> None:
    """No command destroys more than one snapshot or bookmark of ours, which it names."""
    none_is_forced(commands := list(commands))
    for argv in commands:
        assert argv[1] != "rollback", argv
        if argv[1] == "destroy":
            (name,) = argv[2:]
            assert "#backstay_" in name or snapshot_time(name.partition("@")[2]), argv


def bases_are_intact(
    a: FakeHost, b: FakeHost, places: Places, *, also_by_bookmark: bool = False
) -> None:
    """Each replica shares a snapshot with its source by GUID (rule *Pruning keeps the chain*).

    `also_by_bookmark`: somebody has destroyed snapshots of ours; then a bookmark must be left.
    """
    for source, target in places.items():
        here, there = found(a, source), found(b, target)
        if here is None or there is None or not there.snapshots:
            continue
        known = {s.guid for s in here.snapshots}
        known |= {m.guid for m in here.bookmarks} if also_by_bookmark else set()
        assert any(s.guid in known for s in there.snapshots), f"{source} and {target}: no base"


def little_is_left_over(a: FakeHost, b: FakeHost, places: Places) -> None:
    """At most one unsent snapshot of ours a member, one bookmark a GUID and lineage, no partial.

    What was taken for another target of the source, as its bookmark tells, is not this one's.
    """
    for source, target in places.items():
        here, there = found(a, source), found(b, target)
        if here is None:
            continue
        sent = max((s.createtxg for s in here.snapshots if _has(there, s)), default=0)
        own = None if there is None else there.properties.get(LINEAGE)
        ours = [s for s in here.snapshots if _is_ours(s) and not _is_of_others(here, s, own)]
        unsent = [s.name for s in ours if s.createtxg > sent]
        assert len(unsent) <= 1, f"{source} has unsent {unsent}"
        bookmarks_are_few(a, source, own)
        assert there is None or there.partial is None, f"{target} has a partial receive"


def _is_of_others(source: FakeDataset, snapshot: FakeSnapshot, own: str | None) -> bool:
    marks = [m.name for m in source.bookmarks if m.guid == snapshot.guid]
    return own is not None and bool(marks) and not any(f"_{own}_" in name for name in marks)


def bookmarks_are_few(a: FakeHost, source: str, of: str | None = None) -> None:
    """One bookmark a GUID and lineage, two GUIDs a lineage: the last confirmed and attempted.

    `of`: the lineage to look at; what others left when their member left its pair stays.
    """
    marks = as_dataset(a.pool_of(source), a.dataset(source), SHORT_ID).bookmarks
    tags = Counter((t.lineage, t.guid) for m in marks if (t := bookmark_tag(m)) is not None)
    assert not [t for t, count in tags.items() if count > 1], f"{source}: {tags}"
    lineages = Counter(lineage for lineage, _ in tags if of in (None, lineage))
    assert not [x for x, count in lineages.items() if count > 2], f"{source}: {tags}"


def has_bookmark(a: FakeHost, transfer: Transfer) -> bool:
    """Whether the stream's lineage has its bookmark (rule *Bookmark with snapshot*).

    A host sends nothing from another dataset that has got the name since.
    """
    source = found(a, transfer.source_dataset)
    prefix = f"backstay_{transfer.lineage}_"
    marks = [] if source is None else source.bookmarks
    is_it = source is not None and source.guid == transfer.source_guid
    return not is_it or any(m.guid == transfer.guid and m.name.startswith(prefix) for m in marks)


def points_of(host: FakeHost, datasets: Iterable[str]) -> set[tuple[str, int]]:
    """(dataset, GUID) of every snapshot."""
    return {(name, s.guid) for name in datasets if (d := found(host, name)) for s in d.snapshots}


def replicas_are_equal(a: FakeHost, b: FakeHost, places: Places) -> None:
    """Each replica holds what its source holds, and nobody else's data."""
    for source, target in places.items():
        assert a.content(source) == b.content(target), f"{target} is not {source}"
        assert b.dataset(target).properties[LINEAGE]


def found(host: FakeHost, name: str) -> FakeDataset | None:
    """The dataset, if it exists."""
    pool = host.pools.get(name.split("/", 1)[0])
    return None if pool is None else pool.datasets.get(name)


def _has(dataset: FakeDataset | None, snapshot: FakeSnapshot) -> bool:
    return dataset is not None and dataset.snapshot_by_guid(snapshot.guid) is not None


def _is_ours(snapshot: FakeSnapshot) -> bool:
    return snapshot_time(snapshot.name) is not None
