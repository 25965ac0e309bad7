"""What a fake host says in a survey: the value model as values of the domain."""

from __future__ import annotations

import re
from collections.abc import Collection

from backstay.domain.zfs import (
    SETTINGS,
    Bookmark,
    Dataset,
    DatasetKind,
    Guid,
    HostListing,
    Pool,
    ResumeToken,
    Snapshot,
    WrittenSince,
)
from backstay.ports.host import SurveyRequest
from backstay_host.zfs.argv import USER_PROPERTIES
from fakes.streams import decode_token
from fakes.world import FakeHost
from fakes.zfs import FakeDataset, FakePool, Partial


def list_host(host: FakeHost, request: SurveyRequest, short_id: str) -> HostListing:
    """The datasets of these (root, recursive), with everything that the planner asks for."""
    settings = SETTINGS if request.settings else ()
    datasets: dict[str, Dataset] = {}
    absent = []
    for root, recursive in request.roots:
        pool = host.pools.get(root.split("/", 1)[0])
        if pool is None or not pool.imported or root not in pool.datasets:
            absent.append(root)
            continue
        if request.sync:
            pool.sync()
        for found in pool.below(root) if recursive else [pool.datasets[root]]:
            if found.name not in datasets:
                datasets[found.name] = as_dataset(pool, found, short_id, settings)
    return HostListing(
        datasets=dict(sorted(datasets.items())),
        pools=pools(host),
        absent=tuple(absent),
        proxmox_paths=host.proxmox_paths,
        busy=tuple(sorted({flight.dataset for flight in host.flights} & datasets.keys())),
    )


def pools(host: FakeHost) -> tuple[Pool, ...]:
    """The imported pools."""
    return tuple(
        Pool(
            name=pool.name,
            guid=Guid(pool.guid),
            health=pool.health,
            size_bytes=pool.size,
            free_bytes=pool.size - pool.used,
        )
        for pool in host.pools.values()
        if pool.imported
    )


def as_dataset(
    pool: FakePool, found: FakeDataset, short_id: str, settings: Collection[str] = ()
) -> Dataset:
    """One dataset as `zfs list` and `zfs get -s local` show it."""
    readable = found.partial is not None and found.partial.readable
    return Dataset(
        name=found.name,
        kind=DatasetKind.VOLUME if found.volume else DatasetKind.FILESYSTEM,
        guid=Guid(found.guid),
        createtxg=found.createtxg,
        written_bytes=found.written,
        written_since=_written_since(found, short_id),
        referenced_bytes=found.head.referenced,
        available_bytes=pool.available(found.name),
        token=_token(found.partial) if found.partial is not None and readable else None,
        unreadable_token=found.partial.token if found.partial and not readable else None,
        readonly=pool.effective(found.name, "readonly") == "on",
        mounted=found.mounted,
        encrypted=found.encrypted,
        encryption_root=(found.encryption_root or found).name if found.encrypted else None,
        key_available=found.key_loaded if found.encrypted else None,
        origin=found.origin,
        volsize_bytes=found.volsize,
        used_bytes=sum(pool.used_by(d) for d in pool.below(found.name)),
        properties={k: v for k, v in found.properties.items() if k in USER_PROPERTIES},
        settings={k: v for k, v in found.properties.items() if k in settings},
        snapshots=tuple(
            Snapshot(
                dataset=found.name,
                name=s.name,
                guid=Guid(s.guid),
                createtxg=s.createtxg,
                ivset=s.ivset,
            )
            for s in found.snapshots
        ),
        bookmarks=tuple(
            Bookmark(
                dataset=found.name,
                name=b.name,
                guid=Guid(b.guid),
                createtxg=b.createtxg,
                ivset=b.ivset,
            )
            for b in found.bookmarks
        ),
    )


def _written_since(found: FakeDataset, short_id: str) -> WrittenSince | None:
    ours = re.compile(rf"backstay_[^_]+_{re.escape(short_id)}[0-9a-f]{{4}}")
    for snapshot in reversed(found.snapshots):
        if ours.fullmatch(snapshot.name):
            size = found.head.changed - snapshot.state.changed
            return WrittenSince(snapshot=snapshot.name, size_bytes=size)
    return None


def _token(partial: Partial) -> ResumeToken:
    said = decode_token(partial.token)
    return ResumeToken(
        text=partial.token,
        to_name=f"{said.dataset}@{said.snapshot}",
        to_guid=Guid(said.guid),
        from_guid=None if said.from_guid is None else Guid(said.from_guid),
        received_bytes=said.received,
        raw="w" in said.mode,
    )
