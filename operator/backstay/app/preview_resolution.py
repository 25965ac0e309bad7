"""The target's listing as it will be after a round, for a preview that changes nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from hashlib import sha256

from backstay.api.values import is_below
from backstay.domain.moves import Mark, Move, NewClone, Promotion, Rewind
from backstay.domain.zfs import PROPERTY_PREFIX, Dataset, Guid, HostListing, Snapshot
from backstay.plan.resolution import Round

Datasets = dict[str, Dataset]


def as_if_resolved(listing: HostListing, planned: Round) -> HostListing:
    """The listing in which every command of the round has succeeded.

    Clones get GUIDs that only this preview knows.
    """
    datasets = dict(listing.datasets)
    for abort in planned.aborts:
        found = datasets[abort.dataset]
        datasets[abort.dataset] = replace(found, token=None, unreadable_token=None)
    for mark in planned.marks:
        datasets[mark.dataset] = _marked(datasets[mark.dataset], mark)
    for move in planned.moves:
        datasets = _moved(datasets, move)
    for clone in planned.clones:
        datasets[clone.dataset] = _cloned(datasets[clone.snapshot.dataset], clone)
    for promotion in planned.promotions:
        datasets |= _promoted(datasets, promotion)
    for rewind in planned.rewinds:
        datasets[rewind.dataset] = _rewound(datasets[rewind.dataset], rewind)
    return replace(listing, datasets=dict(sorted(datasets.items())))


def _marked(found: Dataset, mark: Mark) -> Dataset:
    ours = {k: v for k, v in mark.properties.items() if k.startswith(PROPERTY_PREFIX)}
    kept = {k: v for k, v in found.properties.items() if k not in mark.clear}
    readonly = found.readonly or mark.properties.get("readonly") == "on"
    return replace(found, properties={**kept, **ours}, readonly=readonly)


def _moved(datasets: Datasets, move: Move) -> Datasets:
    def renamed(name: str) -> str:
        is_moved = name == move.dataset or is_below(name, move.dataset)
        return move.to + name.removeprefix(move.dataset) if is_moved else name

    def origin_of(found: Dataset) -> str | None:
        if found.origin is None:
            return None
        dataset, at, short = found.origin.partition("@")
        return f"{renamed(dataset)}{at}{short}"

    return {
        renamed(name): _renamed(replace(found, origin=origin_of(found)), renamed(name))
        for name, found in datasets.items()
    }


def _renamed(found: Dataset, name: str) -> Dataset:
    return replace(
        found,
        name=name,
        snapshots=_of(name, found.snapshots),
        bookmarks=tuple(replace(b, dataset=name) for b in found.bookmarks),
    )


def _of(name: str, snapshots: Iterable[Snapshot]) -> tuple[Snapshot, ...]:
    return tuple(replace(s, dataset=name) for s in snapshots)


def _cloned(origin: Dataset, clone: NewClone) -> Dataset:
    digest = sha256(f"{clone.dataset}:{clone.snapshot.full_name}".encode()).digest()
    return Dataset(
        name=clone.dataset,
        kind=origin.kind,
        guid=Guid(int.from_bytes(digest[:8], "big") >> 1),
        createtxg=0,
        written_bytes=0,
        available_bytes=origin.available_bytes,
        readonly=True,
        origin=clone.snapshot.full_name,
        volsize_bytes=origin.volsize_bytes,
        properties={k: v for k, v in clone.properties.items() if k.startswith(PROPERTY_PREFIX)},
    )


def _promoted(datasets: Datasets, promotion: Promotion) -> Datasets:
    clone, old = datasets[promotion.dataset], datasets[promotion.origin.dataset]
    branch = old.snapshot_by_guid(promotion.origin.guid)
    at = 0 if branch is None else branch.createtxg
    moved = [s for s in old.snapshots if s.createtxg <= at]
    return {
        clone.name: replace(clone, origin=old.origin, snapshots=_of(clone.name, moved)),
        old.name: replace(
            old,
            origin=f"{clone.name}@{promotion.origin.name}",
            snapshots=tuple(s for s in old.snapshots if s.createtxg > at),
        ),
    }


def _rewound(found: Dataset, rewind: Rewind) -> Dataset:
    lost = {ref.full_name for ref in rewind.lose}
    ours = {k: v for k, v in rewind.properties.items() if k.startswith(PROPERTY_PREFIX)}
    return replace(
        found,
        snapshots=tuple(s for s in found.snapshots if s.full_name not in lost),
        bookmarks=tuple(b for b in found.bookmarks if b.full_name not in lost),
        written_bytes=0,
        written_since=None,
        properties={**found.properties, **ours},
    )
