"""Protocol values ↔ values of the domain; nothing of the wire gets past this module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from backstay.adapters.host import reasons
from backstay.domain import moves, steps, zfs
from backstay.domain.errors import Stalled
from backstay.ports import host as port
from backstay_host import protocol as wire

T = TypeVar("T")


def result(kind: type[T], data: object, name: str) -> T:
    """The result of a request; a malformed one is a `ProtocolError` in our words."""
    try:
        return wire.from_json(kind, data)
    except wire.ProtocolError as wrong:
        raise Stalled(reasons.PROTOCOL_ERROR, f"{name}: {wrong}") from wrong


# --- operator -> host ---------------------------------------------------------------------------


def survey(request: port.SurveyRequest, short_id: str) -> wire.Survey:
    """The body of `survey`."""
    roots = [wire.SurveyRoot(name=name, recursive=recursive) for name, recursive in request.roots]
    settings = list(zfs.SETTINGS) if request.settings else []
    return wire.Survey(roots=roots, ours=short_id, sync=request.sync, settings=settings)


def take_snapshots(step: steps.TakeSnapshots) -> wire.TakeSnapshot:
    """The body of `snapshot`."""
    return wire.TakeSnapshot(
        targets=[wire.Target(dataset=name, guid=guid) for name, guid in step.datasets],
        snapshot=step.snapshot,
        bookmarks=[
            wire.NewBookmark(dataset=b.dataset, snapshot=b.snapshot, lineage=b.lineage)
            for b in step.bookmarks
        ],
    )


def create_parents(step: steps.CreateParents) -> wire.CreateParents:
    """The body of `create`."""
    return wire.CreateParents(root=step.root, datasets=list(step.datasets))


def abort_receive(step: steps.AbortReceive) -> wire.AbortReceive:
    """The body of `abort`."""
    return wire.AbortReceive(dataset=step.dataset, lineage=step.lineage, token=step.token)


def restore_posture(step: steps.RestorePosture) -> wire.Posture:
    """The body of `posture`."""
    return wire.Posture(
        dataset=step.dataset, lineage=step.lineage, properties=dict(step.properties)
    )


def prune(step: steps.Prune) -> wire.Prune:
    """The body of `prune`."""
    doomed = [wire.Doomed(name=item.full_name, guid=item.guid) for item in step.snapshots]
    doomed += [wire.Doomed(name=item.full_name, guid=item.guid) for item in step.bookmarks]
    return wire.Prune(items=doomed)


def rename(wanted: Sequence[moves.Move]) -> wire.Rename:
    """The body of `rename`."""
    return wire.Rename(
        moves=[
            wire.Move(
                dataset=m.dataset, guid=m.guid, to=m.to, volume=m.kind is zfs.DatasetKind.VOLUME
            )
            for m in wanted
        ]
    )


def clone(wanted: Sequence[moves.NewClone]) -> wire.Clone:
    """The body of `clone`."""
    return wire.Clone(
        clones=[
            wire.NewClone(
                snapshot=c.snapshot.full_name,
                guid=c.snapshot.guid,
                dataset=c.dataset,
                properties=dict(c.properties),
            )
            for c in wanted
        ]
    )


def promote(wanted: Sequence[moves.Promotion]) -> wire.Promote:
    """The body of `promote`."""
    return wire.Promote(
        items=[
            wire.Promotion(
                dataset=p.dataset,
                guid=p.guid,
                origin=p.origin.full_name,
                origin_guid=p.origin.guid,
            )
            for p in wanted
        ]
    )


def rollback(wanted: Sequence[moves.Rewind]) -> wire.Rollback:
    """The body of `rollback`."""
    return wire.Rollback(
        items=[
            wire.Rewind(
                dataset=r.dataset,
                guid=r.guid,
                snapshot=r.to.name,
                snapshot_guid=r.to.guid,
                lose=[wire.Doomed(name=item.full_name, guid=item.guid) for item in r.lose],
                written=r.written_bytes,
                properties=dict(r.properties),
            )
            for r in wanted
        ]
    )


def label(wanted: Sequence[moves.Mark]) -> wire.Label:
    """The body of `label`."""
    return wire.Label(
        items=[
            wire.Mark(
                dataset=m.dataset,
                guid=m.guid,
                properties=dict(m.properties),
                clear=list(m.clear),
            )
            for m in wanted
        ]
    )


def send_order(transfer: steps.Transfer) -> wire.SendOrder:
    """What the source's `stream` runs for one member."""
    how = transfer.how
    base = how.base if isinstance(how, steps.Increment | steps.Branch) else None
    return wire.SendOrder(
        dataset=transfer.source_dataset,
        dataset_guid=transfer.source_guid,
        snapshot=transfer.snapshot,
        guid=transfer.guid,
        base=None if base is None else base.full_name,
        base_guid=None if base is None else base.guid,
        token=how.token if isinstance(how, steps.Resume) else None,
        mode=transfer.mode,
        of_replica=transfer.of_replica,
    )


def receive_order(transfer: steps.Transfer) -> wire.ReceiveOrder:
    """What the target's `stream` runs for one member."""
    how = transfer.how
    resumed = isinstance(how, steps.Resume)
    origin = how.origin if isinstance(how, steps.Branch) else None
    return wire.ReceiveOrder(
        dataset=transfer.target_dataset,
        lineage=transfer.lineage,
        seed=how.seed if isinstance(how, steps.Resume) else not isinstance(how, steps.Increment),
        resumed=resumed,
        properties=dict(transfer.properties),
        origin=None if origin is None else origin.full_name,
        origin_guid=None if origin is None else origin.guid,
    )


# --- host -> operator ---------------------------------------------------------------------------


def host_facts(said: wire.HostFacts, asked_at: float, took_s: float) -> zfs.HostFacts:
    """A host's facts, that were asked for at `asked_at` and came after `took_s`.

    Its clock was read at some moment in between, most likely in the middle.
    """
    return zfs.HostFacts(
        hostname=said.hostname,
        zfs_version=said.zfs_version,
        python_version=said.python_version,
        uid=said.uid,
        clock_skew_s=said.now - (asked_at + took_s / 2),
        clock_uncertainty_s=took_s / 2,
        pools=tuple(_pool(p) for p in said.pools),
    )


def root_states(said: wire.Claimed) -> tuple[port.RootState, ...]:
    """What `claim` found."""
    return tuple(
        port.RootState(root=r.root, outcome=r.outcome, writer=r.writer) for r in said.roots
    )


def host_listing(said: wire.Surveyed) -> zfs.HostListing:
    """A survey as a listing by name."""
    return zfs.HostListing(
        datasets={d.name: _dataset(d) for d in sorted(said.datasets, key=lambda d: d.name)},
        pools=tuple(_pool(p) for p in said.pools),
        absent=tuple(said.absent),
        proxmox_paths=tuple(said.proxmox_paths),
        busy=tuple(said.busy),
    )


def made_snapshots(said: wire.Snapshotted) -> tuple[steps.MadeSnapshot, ...]:
    """The snapshots that exist now."""
    return tuple(
        steps.MadeSnapshot(
            dataset=m.dataset,
            name=m.name,
            guid=zfs.Guid(m.guid),
            createtxg=m.createtxg,
            bookmarks=tuple(m.bookmarks),
            ivset=None if m.ivset < 0 else m.ivset,
        )
        for m in said.made
    )


def item_failures(said: wire.Done) -> tuple[steps.ItemFailure, ...]:
    """The items that could not be done."""
    return tuple(item_failure(item) for item in said.items if item.reason)


def item_failure(item: wire.ItemOutcome) -> steps.ItemFailure:
    """One of them, in the API's words."""
    return steps.ItemFailure(
        name=item.name, reason=reasons.api_word(item.reason), message=item.message
    )


def raise_first(said: wire.Done, name: str) -> None:
    """Raise by the first item that failed; return when there is none."""
    for item in said.items:
        if item.reason:
            raise reasons.host_failure(item.reason, f"{name}: {item.name}: {item.message}")


def _pool(said: wire.PoolFacts) -> zfs.Pool:
    return zfs.Pool(
        name=said.name,
        guid=zfs.Guid(said.guid),
        health=said.health,
        size_bytes=said.size_bytes,
        free_bytes=said.free_bytes,
    )


def _size(said: int) -> int | None:
    return None if said < 0 else said


def _dataset(said: wire.DatasetFacts) -> zfs.Dataset:
    since = None
    if said.since:
        since = zfs.WrittenSince(snapshot=said.since, size_bytes=_size(said.written_since))
    token = said.token
    return zfs.Dataset(
        name=said.name,
        kind=zfs.DatasetKind(said.kind),
        guid=zfs.Guid(said.guid),
        createtxg=said.createtxg,
        written_bytes=_size(said.written),
        written_since=since,
        referenced_bytes=max(said.referenced, 0),
        available_bytes=max(said.available, 0),
        token=_token(token) if token is not None and token.to_guid else None,
        unreadable_token=token.text if token is not None and not token.to_guid else None,
        readonly=said.readonly,
        mounted=said.mounted,
        encrypted=said.encrypted,
        encryption_root=said.encryption_root or None,
        key_available={"available": True, "unavailable": False}.get(said.key_status),
        origin=said.origin or None,
        volsize_bytes=_size(said.volsize),
        used_bytes=max(said.used, 0),
        properties=dict(said.properties),
        settings=dict(said.settings),
        snapshots=tuple(
            zfs.Snapshot(
                dataset=said.name,
                name=name,
                guid=zfs.Guid(guid),
                createtxg=txg,
                ivset=said.ivsets.get(f"@{name}"),
            )
            for name, guid, txg in sorted(said.snapshots, key=lambda s: (s[2], s[0]))
        ),
        bookmarks=tuple(
            zfs.Bookmark(
                dataset=said.name,
                name=name,
                guid=zfs.Guid(guid),
                createtxg=txg,
                ivset=said.ivsets.get(f"#{name}"),
            )
            for name, guid, txg in sorted(said.bookmarks, key=lambda b: (b[2], b[0]))
        ),
    )


def _token(said: wire.TokenFacts) -> zfs.ResumeToken:
    return zfs.ResumeToken(
        text=said.text,
        to_name=said.to_name,
        to_guid=zfs.Guid(said.to_guid),
        from_guid=zfs.Guid(said.from_guid) if said.from_guid else None,
        received_bytes=max(said.received_bytes, 0),
        raw=said.raw,
    )
