"""What stands in the way of a promotion, looked at before each of its stages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from backstay.api.v1alpha1.fields import DATASET_LENGTH
from backstay.api.values import is_below, pool_of
from backstay.api.words import Reason
from backstay.domain.moves import aside_root
from backstay.domain.pairs import Conflict
from backstay.domain.roles import (
    PRIMARY,
    SECONDARY,
    PromotionTask,
    RoleState,
    RoleStep,
    role_state,
)
from backstay.domain.zfs import LINEAGE, Dataset, DatasetKind, Guid, HostListing
from backstay.plan.points import Held, group_point
from backstay.plan.promotion import Standing, next_steps, standings


def plan_promotion(task: PromotionTask, listing: HostListing) -> tuple[RoleStep, ...] | Conflict:
    """The steps of the stage that is due, or why there are none; no steps: all is done."""
    return promotion_conflict(task, listing) or next_steps(task, listing)


def promotion_roots(task: PromotionTask) -> tuple[tuple[str, bool], ...]:
    """What to survey before each stage: (dataset, recursive), each once."""
    wanted: dict[str, bool] = {}
    for standing in standings(task, HostListing(datasets={})):
        member = standing.member
        for name in (member.replica, standing.aside_name):
            wanted[name] = True
        for name in (member.replica, standing.aside_name, member.final):
            wanted.setdefault(name, False)
            wanted.setdefault(parent_of(name), False)
        wanted.setdefault(pool_of(member.final), False)
    trees = [name for name, recursive in wanted.items() if recursive]
    covered = {n for n in wanted if any(is_below(n, tree) for tree in trees)}
    return tuple((n, wanted[n]) for n in sorted(wanted) if n and n not in covered)


def parent_of(name: str) -> str:
    """The dataset above; empty for a pool."""
    return name.rpartition("/")[0]


def promotion_conflict(task: PromotionTask, listing: HostListing) -> Conflict | None:
    """The first reason not to go on; None when there is none.

    | what is there                                              | conflict                |
    |------------------------------------------------------------|-------------------------|
    | the replica is gone, or is another dataset                 | `ReplicaMissing`        |
    | role or roleEpoch of a member is another than planned      | `RoleChanged`           |
    | the replica lacks the chosen point                         | `PointMissing`          |
    | the key of an encrypted replica is not loaded, or that of  | `KeyNotAvailable`       |
    |   a promoted one any more                                  |                         |
    | the final name is borne by something that is not ours      | `FinalNameTaken`        |
    | a clone was written to, or opened, before it was promoted  | `TargetModified`        |
    | pools, parents, encryption roots do not fit, or others     | `PromotionPathBlocked`  |
    |   lie below a replica                                      |                         |
    | no room for the refreservation of thick volumes            | `InsufficientSpace`     |
    """
    seen = standings(task, listing)
    for standing in seen:
        found = _identity_conflict(task, standing)
        if found is None and not standing.is_promoted:
            found = _path_conflict(task, standing, listing) or _clone_conflict(task, standing)
        found = found or _role_conflict(task, standing)
        if found is not None:
            return found
    return (
        _neighbour_conflict(task, listing)
        or _space_conflict(task, listing)
        or _locked_conflict(task, seen)
    )


def _locked_conflict(task: PromotionTask, seen: Sequence[Standing]) -> Conflict | None:
    """A promote makes the clone the encryption root, and with that unloads the key (tried)."""
    closed = [s.final for s in seen if s.is_promoted and s.final is not None and s.final.readonly]
    locked = [final.name for final in closed if final.key_available is False]
    if not locked or len(closed) < len(seen):
        return None
    return Conflict(
        reason=Reason.KEY_NOT_AVAILABLE,
        message=f"{len(locked)} of {len(seen)} members are promoted at {task.host} and locked, for "
        f"ZFS unloads the key with that: `zfs load-key {locked[0]}`, then go on",
    )


def _identity_conflict(task: PromotionTask, standing: Standing) -> Conflict | None:
    member, kept = standing.member, standing.kept
    if standing.is_promoted:
        return None
    if kept is None:
        return Conflict(
            reason=Reason.REPLICA_MISSING,
            message=f"{member.replica} (GUID {member.guid}) is not at {task.host}, neither under "
            f"its name nor as {standing.aside_name}: look for it with `zfs list -o name,guid`",
        )
    if kept.snapshot_by_guid(member.point) is None:
        newest = kept.newest_snapshot
        held = "none" if newest is None else f"@{newest.name} (GUID {newest.guid})"
        return Conflict(
            reason=Reason.POINT_MISSING,
            message=f"{kept.name} at {task.host} has no snapshot with GUID {member.point} (newest "
            f"there: {held}): choose a point that all {len(task.members)} members have",
        )
    if kept.key_available is False:
        return Conflict(
            reason=Reason.KEY_NOT_AVAILABLE,
            message=f"{kept.name} at {task.host} is encrypted and its key is not loaded, so nobody "
            f"could read what would be promoted: `zfs load-key {kept.name}`",
        )
    if standing.replica is not None and LINEAGE not in standing.replica.properties:
        return Conflict(
            reason=Reason.REPLICA_MISSING,
            message=f"{kept.name} at {task.host} has no lineage: it is no replica of backstay's, "
            f"and whether it may be moved only its owner knows",
        )
    return None


def _role_conflict(task: PromotionTask, standing: Standing) -> Conflict | None:
    """Whether the member's datasets are of the expected epoch, or already what they are to be."""
    to = RoleState(PRIMARY, task.epoch)
    before = {RoleState(role, task.expected_epoch) for role in ("", SECONDARY)}
    half = RoleState(PRIMARY, task.expected_epoch)  # ZFS refused the second of two properties
    allowed = [(standing.final, {to} if standing.is_promoted else {*before, half, to})]
    if not standing.is_promoted:
        allowed.append((standing.kept, before))
    for dataset, states in allowed:
        found = None if dataset is None else role_state(dataset)
        if dataset is not None and found not in states:
            said = "a role that backstay does not write" if found is None else str(found)
            return Conflict(
                reason=Reason.ROLE_CHANGED,
                message=f"{dataset.name} at {task.host} has {said}; planned was a replica with "
                f"roleEpoch {task.expected_epoch or 'none'}: another run has moved the role",
            )
    return None


def _clone_conflict(task: PromotionTask, standing: Standing) -> Conflict | None:
    final, clone = standing.final, standing.clone
    if final is None:
        return None
    if clone is None:
        return Conflict(
            reason=Reason.FINAL_NAME_TAKEN,
            message=f"{final.name} at {task.host} exists (GUID {final.guid}, origin "
            f"{final.origin or 'none'}) and is no clone of this promotion: rename it, or choose "
            f"another name",
        )
    if clone.written_bytes != 0 or not clone.readonly:
        return Conflict(
            reason=Reason.TARGET_MODIFIED,
            message=f"{clone.name} at {task.host} was made writable or written to "
            f"({clone.written_bytes} bytes) before it was promoted: undo the promotion",
        )
    return None


def _path_conflict(
    task: PromotionTask, standing: Standing, listing: HostListing
) -> Conflict | None:
    """Whether replica, aside and final name fit: ZFS renames and promotes within bounds only."""
    kept, member = standing.kept, standing.member
    assert kept is not None
    parents = [parent_of(member.replica), aside_root(member.replica), parent_of(member.final)]
    why = ""
    above = listing.datasets.get(parents[2])
    makes_parent = any(m.final == parents[2] for m in task.members)
    if pool_of(member.final) != pool_of(member.replica):
        why = f"{member.final} lies in another pool than {member.replica}"
    elif max(len(member.final), len(standing.aside_name)) > DATASET_LENGTH:
        why = f"{member.final} or {standing.aside_name} is longer than {DATASET_LENGTH} characters"
    elif not parents[2] or any(is_below(member.final, root) for root in _asides(task)):
        why = f"{member.final} is no place for a promoted dataset"
    elif above is None and not makes_parent:
        why = f"{parents[2]} does not exist: create it with `zfs create {parents[2]}`"
    elif above is not None and above.kind is not DatasetKind.FILESYSTEM:
        why = f"{parents[2]} is a volume"
    elif not makes_parent and (roots := _other_roots(kept, parents, listing)):
        why = (
            f"{kept.name} has the encryption root {kept.encryption_root}, but "
            f"{', '.join(f'{name} has {root}' for name, root in roots.items())}: receive it where "
            f"all have one, or raw"
        )
    if not why:
        return None
    return Conflict(reason=Reason.PROMOTION_PATH_BLOCKED, message=f"{task.host}: {why}")


def _asides(task: PromotionTask) -> list[str]:
    return [aside_root(m.replica) for m in task.members]


def _other_roots(kept: Dataset, parents: list[str], listing: HostListing) -> Mapping[str, str]:
    """The parents whose encryption root is not that of a dataset which inherits its own.

    What is not encrypted, and what is its own root (a raw replica), goes anywhere.
    Source: dsl_dir_rename_crypt_check, dsl_dataset_promote_crypt_check (dsl_crypt.c).
    """
    if kept.encryption_root in (None, kept.name):
        return {}
    found = {}
    for name in parents:
        above = _nearest(name, listing)
        root = None if above is None else above.encryption_root
        if root != kept.encryption_root:
            found[name] = root or "none"
    return found


def _nearest(name: str, listing: HostListing) -> Dataset | None:
    """The dataset, or the nearest one above it that is there: an aside root may be made later."""
    while name and name not in listing.datasets:
        name = parent_of(name)
    return listing.datasets.get(name)


def _neighbour_conflict(task: PromotionTask, listing: HostListing) -> Conflict | None:
    """Whether anything that is not promoted would be moved along with a replica."""
    members = {m.replica for m in task.members}
    for standing in standings(task, listing):
        others = [
            name
            for name in listing.datasets
            if standing.replica is not None
            and is_below(name, standing.member.replica)
            and name not in members
        ]
        if others:
            return Conflict(
                reason=Reason.PROMOTION_PATH_BLOCKED,
                message=f"{others[0]} lies below {standing.member.replica} at {task.host} and is "
                f"not promoted: move it, or promote it, too",
            )
    return None


def _space_conflict(task: PromotionTask, listing: HostListing) -> Conflict | None:
    """Whether thick volumes can get their space: a promoted one shares all of it with its point."""
    needed: dict[str, int] = {}
    for standing in standings(task, listing):
        kept = standing.kept
        if standing.member.thick and kept is not None and not standing.is_promoted:
            parent = parent_of(standing.member.final)
            size = kept.volsize_bytes or 0
            # 1/32 for its own tables: 1.6 % at blocks of 8 KiB (zvol_volsize_to_reservation).
            needed[parent] = needed.get(parent, 0) + size + size // 32
    for parent, size in needed.items():
        above = listing.datasets.get(parent)
        if above is not None and above.available_bytes < size:
            return Conflict(
                reason=Reason.INSUFFICIENT_SPACE,
                message=f"{parent} at {task.host} has {above.available_bytes} bytes, its thick "
                f"volumes need {size}: make room, or promote them without a refreservation",
            )
    return None


# --- the point ----------------------------------------------------------------------------------


def chosen_points(
    replicas: Mapping[str, Dataset], short_id: str, snapshot: str | None = None
) -> Mapping[str, Guid] | Conflict:
    """GUID of each replica's snapshot of one set: the newest that is whole, or the one named.

    Half a group that was received is no set: the one before it is (rule *Atomic groups*).
    """
    if snapshot is None:
        held = [Held(source=None, source_seen=False, target=r) for r in replicas.values()]
        point = group_point(held, short_id)
        if point is None:
            return Conflict(
                reason=Reason.POINT_MISSING,
                message=f"no set is whole at all of {', '.join(sorted(replicas))}: nothing can be "
                f"promoted as a group",
            )
        snapshot = point.snapshot
    lacking = sorted(_lacking(replicas, snapshot))
    if lacking:
        return Conflict(
            reason=Reason.POINT_MISSING,
            message=f"{', '.join(lacking)} has no @{snapshot}: choose an older set, or leave out "
            f"who lacks it",
        )
    return {
        name: found.guid
        for name, replica in replicas.items()
        if (found := replica.snapshot_by_name(snapshot)) is not None
    }


def _lacking(replicas: Mapping[str, Dataset], snapshot: str) -> Iterator[str]:
    for name, replica in replicas.items():
        if replica.snapshot_by_name(snapshot) is None:
            yield name
