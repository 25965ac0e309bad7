"""Promotion clones the point, never the head: what comes next, read from the target.

    replicas at their names   halt what receives, drop partial receives, set aside
    replicas aside            clone each chosen point to its final name, read-only and out of sight
    all clones read back      compare and swap of the role, for all members of a pool at once
    role ours                 promote, then make usable
    all usable                the replicas aside lose their lineage

Every look gives one stage's steps; what was done already is seen, not remembered, so that any
process can go on from any crash. No member enters a stage before all have left the one before.
Until the first clone is promoted all of it can be undone (`plan_undo`). What lies beyond the
point stays aside until somebody approves of its removal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from backstay.api.values import is_below, pool_of
from backstay.api.words import Reason
from backstay.domain.moves import ASIDE_OF, Mark, Move, NewClone, Promotion, aside_root
from backstay.domain.pairs import Conflict
from backstay.domain.roles import (
    PRIMARY,
    PROMOTED_FROM,
    ROLE_EPOCH,
    SECONDARY,
    BringBack,
    CloneRef,
    DiscardClones,
    HaltReceives,
    MakeClones,
    OpenPromoted,
    PromoteClones,
    Promoted,
    PromotionTask,
    Relabel,
    RoleChange,
    RoleState,
    RoleStep,
    SetAside,
    SwapRoles,
    role_state,
)
from backstay.domain.steps import AbortReceive
from backstay.domain.zfs import (
    LINEAGE,
    ROLE,
    SOURCE_GUID,
    STREAM,
    Dataset,
    DatasetKind,
    HostListing,
    Snapshot,
    SnapshotRef,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How far one member is: its replica is at its name or aside, its clone is there or not."""

    member: Promoted
    aside_name: str
    replica: Dataset | None
    aside: Dataset | None
    final: Dataset | None

    @property
    def kept(self) -> Dataset | None:
        """The replica, wherever it is."""
        return self.replica or self.aside

    @property
    def is_promoted(self) -> bool:
        """Whether the point has moved from the replica to the final dataset: no way back."""
        point = self.member.point
        has_moved = self.kept is None or self.kept.snapshot_by_guid(point) is None
        return has_moved and self.final is not None and bool(self.final.snapshot_by_guid(point))

    @property
    def clone(self) -> Dataset | None:
        """The final dataset as long as it is a clone of the point, by us and in this attempt."""
        point = None if self.aside is None else self.aside.snapshot_by_guid(self.member.point)
        if self.final is None or point is None or self.final.origin != point.full_name:
            return None
        return self.final


def aside_name(task: PromotionTask, member: Promoted) -> str:
    """Where this attempt keeps the member's replica; below that of a member that is its parent."""
    above = [m.replica for m in task.members if is_below(member.replica, m.replica)]
    top = min(above, key=len, default=member.replica)
    digest = sha256(f"{task.key}:{top}".encode()).hexdigest()[:16]
    return f"{aside_root(top)}/{digest}{member.replica.removeprefix(top)}"


def standings(task: PromotionTask, listing: HostListing) -> tuple[Standing, ...]:
    """How far each member is, parents first."""
    found = []
    for member in sorted(task.members, key=lambda m: m.replica):
        name = aside_name(task, member)
        replica, aside = listing.datasets.get(member.replica), listing.datasets.get(name)
        final = listing.datasets.get(member.final)
        is_final = final is not None and final.guid != member.guid
        found.append(
            Standing(
                member=member,
                aside_name=name,
                replica=replica if replica is not None and replica.guid == member.guid else None,
                aside=aside if aside is not None and aside.guid == member.guid else None,
                final=final if is_final else None,
            )
        )
    return tuple(found)


def next_steps(task: PromotionTask, listing: HostListing) -> tuple[RoleStep, ...]:
    """The steps of the stage that is due; none when all is done. The path must be clear.

    `plan.promotion_path.promotion_conflict` says whether it is.
    """
    seen = standings(task, listing)
    if here := [s for s in seen if s.replica is not None]:
        return _clear_names(task, listing, here)
    if any(s.final is None for s in seen):
        clones = [_clone_of(s) for s in seen if s.final is None]
        return (MakeClones(clones=tuple(sorted(clones, key=lambda c: c.dataset))),)
    if changes := _changes(task, seen):
        return changes
    if branches := [s for s in seen if s.clone is not None]:
        return (PromoteClones(promotions=tuple(_promotion(s) for s in branches)),)
    closed = [s for s in seen if s.final is not None and s.final.readonly]
    if closed:
        targets = tuple((s.final.name, s.final.guid, s.member.thick) for s in closed if s.final)
        return (OpenPromoted(targets=targets, epoch=task.epoch),)
    used = [s for s in seen if s.aside and PROMOTED_FROM in s.aside.properties]
    marks = tuple(_retired(task, s) for s in used)
    return (Relabel(marks=marks),) if marks else ()


def _clear_names(
    task: PromotionTask, listing: HostListing, here: Sequence[Standing]
) -> tuple[RoleStep, ...]:
    """Nothing works on the replicas any more, and then they are set aside."""
    names = tuple(s.member.replica for s in here)
    if any(name in listing.busy for name in names):
        return (HaltReceives(datasets=names),)
    replicas = [s.replica for s in here if s.replica is not None]
    partial = [r for r in replicas if r.token is not None or r.unreadable_token is not None]
    if partial:
        return tuple(_abort(r) for r in partial)
    marks = tuple(
        Mark(dataset=r.name, guid=r.guid, properties={PROMOTED_FROM: r.name}) for r in replicas
    )
    moves = tuple(
        Move(dataset=r.name, guid=r.guid, to=s.aside_name, kind=r.kind)
        for s, r in zip(here, replicas, strict=True)
        if not any(is_below(r.name, name) for name in names)
    )
    return (SetAside(marks=marks, moves=moves),)


def _abort(replica: Dataset) -> AbortReceive:
    text = replica.token.text if replica.token is not None else replica.unreadable_token or ""
    return AbortReceive(
        dataset=replica.name,
        lineage=replica.properties[LINEAGE],
        token=text,
        because="it is being promoted: a promote would make the token useless",
    )


def point_of(standing: Standing) -> Snapshot:
    """The chosen snapshot, on the replica where it is now; the path was found to be clear."""
    point = None if standing.kept is None else standing.kept.snapshot_by_guid(standing.member.point)
    assert point is not None, standing.member.name
    return point


def _ref(standing: Standing) -> SnapshotRef:
    point = point_of(standing)
    return SnapshotRef(dataset=point.dataset, name=point.name, guid=point.guid)


def _clone_of(standing: Standing) -> NewClone:
    kept = standing.kept
    assert kept is not None
    hidden = {"volmode": "none"} if kept.kind is DatasetKind.VOLUME else {"canmount": "noauto"}
    role = {key: kept.properties[key] for key in (ROLE, ROLE_EPOCH) if key in kept.properties}
    return NewClone(
        snapshot=_ref(standing),
        dataset=standing.member.final,
        properties={"readonly": "on", **hidden, **role},
    )


def _changes(task: PromotionTask, seen: Sequence[Standing]) -> tuple[RoleStep, ...]:
    """One compare and swap a pool, of those that are not yet what they are to be."""
    to = RoleState(PRIMARY, task.epoch)
    pools: dict[str, list[RoleChange]] = {}
    for final in (s.final for s in seen if s.final is not None):
        found = role_state(final)
        if found is not None and found != to:
            change = RoleChange(dataset=final.name, guid=final.guid, found=found)
            pools.setdefault(pool_of(final.name), []).append(change)
    return tuple(SwapRoles(changes=tuple(changes), to=to) for changes in pools.values())


def _promotion(standing: Standing) -> Promotion:
    assert standing.final is not None
    return Promotion(dataset=standing.final.name, guid=standing.final.guid, origin=_ref(standing))


def _retired(task: PromotionTask, standing: Standing) -> Mark:
    """The replica belongs to nobody any more, and says whose it was and since when."""
    assert standing.aside is not None
    own = standing.aside.properties
    return Mark(
        dataset=standing.aside.name,
        guid=standing.aside.guid,
        properties={
            ASIDE_OF: standing.member.replica,
            ROLE: SECONDARY,
            ROLE_EPOCH: str(task.epoch),
        },
        clear=tuple(key for key in (LINEAGE, SOURCE_GUID, STREAM, PROMOTED_FROM) if key in own),
    )


# --- undo ---------------------------------------------------------------------------------------


def plan_undo(task: PromotionTask, listing: HostListing) -> tuple[RoleStep, ...] | Conflict:
    """What undoes this attempt, stage by stage; none when the replicas are what they were.

    | what is there                     | undo                                          |
    |-----------------------------------|-----------------------------------------------|
    | a member that is promoted         | `AlreadyPromoted`: only forward from here     |
    | a clone that somebody wrote to    | `TargetModified`: somebody looks at it first  |
    | clones of ours                    | destroy them                                  |
    | replicas aside                    | move them back                                |
    | replicas with our mark            | clear it                                      |
    """
    seen = standings(task, listing)
    if promoted := [s.member.name for s in seen if s.is_promoted]:
        return Conflict(
            reason=Reason.ALREADY_PROMOTED,
            message=f"{len(promoted)} of {len(seen)} members are promoted at {task.host} "
            f"({', '.join(promoted[:3])}): go on with the promotion, it cannot be undone any more",
        )
    if clones := [s for s in seen if s.clone is not None]:
        return _discard(task, clones)
    if aside := [s for s in seen if s.aside is not None]:
        return _bring_back(task, listing, aside)
    marked = [s.replica for s in seen if s.replica and PROMOTED_FROM in s.replica.properties]
    marks = tuple(Mark(dataset=r.name, guid=r.guid, clear=(PROMOTED_FROM,)) for r in marked)
    return (Relabel(marks=marks),) if marks else ()


def _discard(task: PromotionTask, clones: Sequence[Standing]) -> tuple[RoleStep, ...] | Conflict:
    doomed = []
    for standing in clones:
        clone = standing.clone
        assert clone is not None
        if clone.written_bytes != 0:
            return Conflict(
                reason=Reason.TARGET_MODIFIED,
                message=f"{clone.name} at {task.host} is a clone of ours that was written to "
                f"({clone.written_bytes} bytes): look at it, then destroy it by hand",
            )
        doomed.append(CloneRef(dataset=clone.name, guid=clone.guid, origin=_ref(standing)))
    return (DiscardClones(clones=tuple(doomed)),)


def _bring_back(
    task: PromotionTask, listing: HostListing, aside: Sequence[Standing]
) -> tuple[RoleStep, ...] | Conflict:
    names = [s.member.replica for s in aside]
    tops = [s for s in aside if not any(is_below(s.member.replica, name) for name in names)]
    taken = [s.member.replica for s in tops if s.member.replica in listing.datasets]
    if taken:
        return Conflict(
            reason=Reason.FINAL_NAME_TAKEN,
            message=f"{taken[0]} at {task.host} is borne by another dataset now: rename that one, "
            f"so that the replica can be moved back to its name",
        )
    moves = [
        Move(dataset=s.aside.name, guid=s.aside.guid, to=s.member.replica, kind=s.aside.kind)
        for s in tops
        if s.aside is not None
    ]
    return (BringBack(moves=tuple(moves)),)
