"""Demotion of a source that can be reached: read-only first, read back, and then its role.

    writable                       set readonly=on, which stops writers that have it open, too
    read-only, nothing written     compare and swap: secondary, with the epoch of what follows
    secondary                      nothing: it is done

Until the role is swapped all of it can be undone, so that there is never no primary by mistake.
"""

from __future__ import annotations

from collections.abc import Sequence

from backstay.api.values import pool_of
from backstay.api.words import Reason
from backstay.domain.pairs import Conflict
from backstay.domain.roles import (
    PRIMARY,
    SECONDARY,
    Demoted,
    DemotionTask,
    RoleChange,
    RoleState,
    RoleStep,
    SetReadonly,
    SwapRoles,
    role_state,
)
from backstay.domain.zfs import Dataset, HostListing
from backstay.plan.basis import written_after

_Found = list[tuple[Demoted, Dataset]]


def demotion_roots(task: DemotionTask) -> tuple[tuple[str, bool], ...]:
    """What to survey before each stage, flushed: what was written must show."""
    return tuple((m.dataset, False) for m in task.members)


def plan_demotion(task: DemotionTask, listing: HostListing) -> tuple[RoleStep, ...] | Conflict:
    """The steps of the stage that is due, or why there are none; no steps: all is done."""
    found = _found(task, listing)
    if isinstance(found, Conflict):
        return found
    if writable := [d for _, d in found if not d.readonly]:
        return (_readonly(writable, on=True),)
    for member, dataset in found:
        is_done = role_state(dataset) == RoleState(SECONDARY, task.epoch)
        if not is_done and (conflict := _written_conflict(task, member, dataset)) is not None:
            return conflict
    return _changes(task, [dataset for _, dataset in found])


def plan_demotion_undo(task: DemotionTask, listing: HostListing) -> tuple[RoleStep, ...] | Conflict:
    """What makes the sources writable again, as long as none of them has lost its role."""
    found = _found(task, listing)
    if isinstance(found, Conflict):
        return found
    to = RoleState(SECONDARY, task.epoch)
    demoted = [d.name for _, d in found if role_state(d) == to]
    if demoted:
        return Conflict(
            reason=Reason.ROLE_CHANGED,
            message=f"{demoted[0]} at {task.host} is a secondary with roleEpoch {task.epoch} "
            f"already: promote the target, or promote this one again",
        )
    closed = [d for _, d in found if d.readonly]
    return (_readonly(closed, on=False),) if closed else ()


def _found(task: DemotionTask, listing: HostListing) -> _Found | Conflict:
    """The members' datasets, each the planned one, of the expected epoch or demoted already."""
    found: _Found = []
    states = {RoleState(role, task.expected_epoch) for role in ("", PRIMARY, SECONDARY)}
    states = (states - {RoleState(SECONDARY, task.expected_epoch)}) | {
        RoleState(SECONDARY, task.epoch)
    }
    for member in task.members:
        dataset = listing.datasets.get(member.dataset)
        if dataset is None or dataset.guid != member.guid:
            what = "does not exist" if dataset is None else f"has GUID {dataset.guid}"
            return Conflict(
                reason=Reason.NEW_LINEAGE if dataset is not None else Reason.SOURCE_MISSING,
                message=f"{member.dataset} at {task.host} {what}, planned was GUID {member.guid}",
            )
        state = role_state(dataset)
        if state not in states:
            said = "a role that backstay does not write" if state is None else str(state)
            return Conflict(
                reason=Reason.ROLE_CHANGED,
                message=f"{dataset.name} at {task.host} has {said}; planned was the primary with "
                f"roleEpoch {task.expected_epoch or 'none'}: another run has moved the role",
            )
        found.append((member, dataset))
    return found


def _written_conflict(task: DemotionTask, member: Demoted, dataset: Dataset) -> Conflict | None:
    """Whether the source holds anything that its last point does not; unknown is not nothing."""
    if member.point is None:
        return None
    point = dataset.snapshot_by_guid(member.point)
    written = None if point is None else written_after(dataset, point)
    if written == 0:
        return None
    since = f"GUID {member.point}" if point is None else f"@{point.name}"
    amount = "an unknown amount" if written is None else f"{written} bytes"
    return Conflict(
        reason=Reason.SOURCE_MODIFIED,
        message=f"{dataset.name} at {task.host} was written to ({amount}) after its last point "
        f"{since}: send that first, or undo the demotion",
    )


def _changes(task: DemotionTask, datasets: Sequence[Dataset]) -> tuple[RoleStep, ...]:
    to = RoleState(SECONDARY, task.epoch)
    pools: dict[str, list[RoleChange]] = {}
    for dataset in datasets:
        state = role_state(dataset)
        if state is not None and state != to:
            change = RoleChange(dataset=dataset.name, guid=dataset.guid, found=state)
            pools.setdefault(pool_of(dataset.name), []).append(change)
    return tuple(SwapRoles(changes=tuple(changes), to=to) for changes in pools.values())


def _readonly(datasets: Sequence[Dataset], *, on: bool) -> SetReadonly:
    return SetReadonly(datasets=tuple((d.name, d.guid) for d in datasets), on=on)
