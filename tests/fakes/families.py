"""`zfs rename`, `clone`, `promote` and `rollback` on the value model."""

from __future__ import annotations

from dataclasses import replace

from fakes.zfs import FakeDataset, FakePool, FakeSnapshot, ZfsError


def rollback(pool: FakePool, dataset: FakeDataset, snapshot: FakeSnapshot, *, force: bool) -> None:
    """`zfs rollback`; with `force`, `-r`: newer snapshots and bookmarks are gone.

    That one is a test's own hand; without it, anything newer makes ZFS refuse.
    """
    pool.sync()
    newer = [s for s in dataset.snapshots if s.createtxg > snapshot.createtxg]
    if not force and (newer or any(b.createtxg > snapshot.createtxg for b in dataset.bookmarks)):
        full = f"{dataset.name}@{snapshot.name}"
        raise ZfsError(
            "TransferFailed",
            f"cannot rollback to '{full}': more recent snapshots or bookmarks exist",
        )
    for gone in newer:
        pool.destroy_snapshot(dataset, gone)
    dataset.bookmarks = [b for b in dataset.bookmarks if b.createtxg <= snapshot.createtxg]
    pool.used -= max(dataset.head.referenced - snapshot.state.referenced, 0)
    dataset.head = snapshot.state
    pool.next_txg()


def rename(pool: FakePool, old: str, new: str) -> None:
    """`zfs rename`: the whole subtree moves with all that it has; origins follow."""
    moving = pool.get(old)
    if new in pool.datasets:
        raise ZfsError("NameCollision", f"cannot rename to '{new}': dataset already exists")
    if new.split("/", 1)[0] != pool.name:
        raise ZfsError("TransferFailed", f"cannot rename to '{new}': not in the same pool")
    if new.startswith(f"{old}/"):
        raise ZfsError("TransferFailed", f"'{new}' cannot be a descendant of '{old}'")
    pool.need_parent(new)
    root = moving.encryption_root
    if root is not None and not new.startswith(f"{root.name}/"):
        raise ZfsError(
            "TransferFailed", "cannot move encrypted child outside of its encryption root"
        )
    pool.sync()
    for dataset in list(pool.below(old)):
        moved = new + dataset.name[len(old) :]
        for other in pool.datasets.values():
            if other.origin is not None and other.origin.startswith(dataset.name + "@"):
                other.origin = moved + other.origin[len(dataset.name) :]
        del pool.datasets[dataset.name]
        dataset.name = moved
        pool.datasets[moved] = dataset
    pool.next_txg()


def clone(pool: FakePool, dataset: FakeDataset, snapshot: FakeSnapshot, name: str) -> FakeDataset:
    """`zfs clone ds@x name`: nothing of the origin's properties comes along, but its key."""
    made = pool.create(name, volume=dataset.volume)
    made.head, made.volsize = replace(snapshot.state), dataset.volsize
    made.origin, made.origin_state = f"{dataset.name}@{snapshot.name}", snapshot.state
    if dataset.encrypted:
        made.encrypted, made.encryption_root = True, dataset.encryption_root or dataset
        made.key_loaded = dataset.key_loaded
    return made


def promote(pool: FakePool, clone: FakeDataset) -> None:
    """`zfs promote`: the origin's snapshots up to the branch point move to the clone.

    Bookmarks stay. If the origin's dataset has the key, the clone has it from now on.
    """
    if clone.origin is None:
        raise ZfsError("SourceBusy", f"cannot promote '{clone.name}': not a cloned filesystem")
    old_name, point_name = clone.origin.split("@")
    old = pool.get(old_name)
    point = old.snapshot(point_name)
    assert point is not None
    moving = [s for s in old.snapshots if s.createtxg <= point.createtxg]
    if {s.name for s in moving} & {s.name for s in clone.snapshots}:
        raise ZfsError("NameCollision", f"cannot promote '{clone.name}': a name conflicts")
    if old.partial is not None:
        old.partial.orphaned = True
    old.snapshots = [s for s in old.snapshots if s.createtxg > point.createtxg]
    clone.snapshots = moving + clone.snapshots
    moved = {f"{old.name}@{s.name}": f"{clone.name}@{s.name}" for s in moving}
    for other in pool.datasets.values():
        if other.origin in moved and other is not clone:
            other.origin = moved[other.origin]
    clone.origin, old.origin = old.origin, f"{clone.name}@{point_name}"
    clone.origin_state, old.origin_state = old.origin_state, point.state
    if clone.encryption_root is old:
        clone.encryption_root, clone.key_loaded = None, False
        for other in pool.datasets.values():
            if other is old or other.encryption_root is old:
                other.encryption_root = clone
    pool.next_txg()
