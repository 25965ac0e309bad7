"""What forbids work on a member before anything is decided for it."""

from __future__ import annotations

from collections.abc import Mapping

from backstay.api.v1alpha1.fields import DATASET_LENGTH
from backstay.api.values import is_below, pool_of
from backstay.api.words import Reason
from backstay.domain.pairs import Conflict, Member, RouteObservation, RouteTask, Side
from backstay.domain.zfs import WRITER, Dataset, DatasetKind, HostListing
from backstay.plan.basis import replica_conflict
from backstay.plan.chains import chain_conflict
from backstay.plan.divergence import with_divergence
from backstay.plan.naming import short_id
from backstay.plan.roles import role_conflict

_PVESR = "__replicate_"


def member_conflict(
    member: Member, task: RouteTask, observation: RouteObservation, source: HostListing
) -> Conflict | None:
    """The first reason why nothing may be done for the member; None when there is none.

    Looks at the place first, then at the source, then at the replica.
    """
    target_listing = observation.target
    assert isinstance(target_listing, HostListing)
    if (conflict := _place_conflict(member, task, observation)) is not None:
        return conflict
    dataset = source.datasets.get(member.source)
    if dataset is None:
        return Conflict(
            reason=Reason.SOURCE_MISSING,
            message=f"{task.source_host} has no dataset {member.source}: restore it, or remove "
            f"the member {member.name}; the replica {member.target} is kept",
        )
    conflict = source_conflict(dataset) or chain_conflict(dataset, task.short_id)
    if conflict is not None:
        return conflict
    replica = target_listing.datasets.get(member.target)
    if (conflict := role_conflict(dataset, replica)) is not None:
        return conflict
    is_under_way = member.target in task.in_flight or member.target in target_listing.busy
    if replica is None or (is_under_way and not replica.snapshots):
        return None
    if (conflict := _pvesr_conflict(replica)) is not None:
        return conflict
    if (conflict := replica_conflict(dataset, replica, task.short_id)) is not None:
        return with_divergence(conflict, dataset, replica, member.pair)
    return _use_conflict(replica)


def writers_of_others(task: RouteTask, target: Side) -> dict[str, str]:
    """Receive root → the other installation that writes there, as far as a listing says.

    Who only looks claims no root, and is told of its installation by hand.
    """
    if not isinstance(target, HostListing):
        return {}
    found = {}
    for root in task.receive_roots:
        writer = target.datasets[root].properties.get(WRITER, "") if root in target.datasets else ""
        installation = writer.partition(":")[2]
        if installation and short_id(installation) != task.short_id:
            found[root] = installation
    return found


def _use_conflict(replica: Dataset) -> Conflict | None:
    """Whether a guest may run from the replica; only of a file system does ZFS say (`mounted`)."""
    if replica.kind is not DatasetKind.VOLUME or replica.readonly or not replica.snapshots:
        return None
    return Conflict(
        reason=Reason.TARGET_WRITABLE,
        message=f"{replica.name} is a volume with readonly=off, which a guest may have open: "
        f"nothing is set and nothing is sent; if nobody uses it, "
        f"`zfs set readonly=on volmode=none {replica.name}`; if it is in use, leave it so until "
        f"it can be renamed (zfs rename) to have the source seeded anew",
    )


def _place_conflict(
    member: Member, task: RouteTask, observation: RouteObservation
) -> Conflict | None:
    root = receive_root(member.target, task.receive_roots)
    if root is None:
        return Conflict(
            reason=Reason.OUTSIDE_RECEIVE_ROOTS,
            message=f"{member.target} is below none of the receive roots of {task.target_host} "
            f"({', '.join(task.receive_roots) or 'none is set'}): move it, or add a root",
        )
    if (conflict := _length_conflict(member.target)) is not None:
        return conflict
    assert isinstance(observation.target, HostListing)
    conflict = _root_conflict(root, task, observation.target, observation.foreign_writers)
    return conflict or _storage_conflict(member.target, root, task, observation.target)


def _root_conflict(
    root: str, task: RouteTask, target: HostListing, foreign_writers: Mapping[str, str]
) -> Conflict | None:
    """Why a receive root cannot be used."""
    if root in foreign_writers:
        return Conflict(
            reason=Reason.FOREIGN_WRITER,
            message=f"{root} on {task.target_host} is written by {foreign_writers[root]}: another "
            f"installation owns it; give this one a receive root of its own",
        )
    is_imported = any(pool.name == pool_of(root) for pool in target.pools)
    if root not in target.datasets or not is_imported:
        return Conflict(
            reason=Reason.RECEIVE_ROOT_MISSING,
            message=f"{task.target_host} has no dataset {root}: create it with "
            f"`zfs create -o canmount=off {root}`",
        )
    return None


def _storage_conflict(
    replica: str, root: str, task: RouteTask, target: HostListing
) -> Conflict | None:
    """Whether Proxmox could take the replica, or the root above it, for a disk of a guest."""
    for place, advice in ((root, "a receive root beside it"), (replica, "a target beside it")):
        for storage in target.proxmox_paths:
            if place == storage or is_below(place, storage):
                return Conflict(
                    reason=Reason.RECEIVE_ROOT_IN_PROXMOX_STORAGE,
                    message=f"{place} on {task.target_host} lies in the Proxmox storage {storage}, "
                    f"where a guest's removal could destroy replicas: choose {advice}",
                )
    return None


def receive_root(target: str, roots: tuple[str, ...]) -> str | None:
    """The receive root that a target dataset lies strictly below."""
    return next((root for root in roots if is_below(target, root)), None)


def source_conflict(source: Dataset) -> Conflict | None:
    """Why a source dataset is left alone, whatever its target is like."""
    if (conflict := _length_conflict(source.name)) is not None:
        return conflict
    return _pvesr_conflict(source)


def _pvesr_conflict(dataset: Dataset) -> Conflict | None:
    """Whether Proxmox' storage replication sends from the dataset, or receives into it."""
    pvesr = next((s for s in dataset.snapshots if s.name.startswith(_PVESR)), None)
    if pvesr is None:
        return None
    return Conflict(
        reason=Reason.FOREIGN_REPLICATION,
        message=f"{pvesr.full_name} is of Proxmox storage replication, which destroys "
        f"snapshots it does not know: remove that job, then its snapshots",
    )


def _length_conflict(name: str) -> Conflict | None:
    """What the API refuses of an entry, for a child of a tree: one command names many datasets."""
    if len(name) <= DATASET_LENGTH:
        return None
    return Conflict(
        reason=Reason.NAME_TOO_LONG,
        message=f"{name} has {len(name)} characters, and {DATASET_LENGTH} leave room for our "
        f"snapshots and bookmarks: shorten the names above it or its own; it is not replicated",
    )
