"""The plan of one pass over one route, stage by stage, each from the latest listing.

    plan_preparation   useless tokens dropped, missing parents made, postures restored
    plan_snapshots     one atomic snapshot a set, with the bookmarks that must precede a send
    plan_transfers     which stream each member gets; increments share a pipe, seeds never do
    plan_pruning       what the policy no longer wants and nothing needs   (plan/pruning.py)

Every stage is a function of (task, observation, now): a pass that crashed is just another pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from backstay.api.values import pool_of
from backstay.api.words import Reason
from backstay.domain.pairs import Conflict, Member, RouteObservation, RouteTask
from backstay.domain.steps import (
    AbortReceive,
    BookmarkOf,
    CreateParents,
    RestorePosture,
    TakeSnapshots,
)
from backstay.domain.zfs import LINEAGE, Dataset, Guid, HostListing, Snapshot
from backstay.plan.asides import asides_in, waiting_conflict
from backstay.plan.basis import DropToken, common_base, find_basis, is_marked
from backstay.plan.branches import Branches, find_branches, origin_of
from backstay.plan.chains import mixed_group_conflict
from backstay.plan.checks import member_conflict, receive_root
from backstay.plan.commands import Command, group_conflict, snapshot_commands, unused_names
from backstay.plan.divergence import judged
from backstay.plan.members import expand_members
from backstay.plan.naming import is_ours, lineage_id
from backstay.plan.posture import followed_settings, replica_posture
from backstay.plan.renames import Renames, Trees, find_renames
from backstay.plan.roles import left_behind, moved_replicas
from backstay.plan.sets import GroupDecision, decide_group
from backstay.plan.yielding import base_left, making_room


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A route whose two sides answered: the members and what forbids work on some of them."""

    task: RouteTask
    source: HostListing
    target: HostListing
    members: tuple[Member, ...]
    conflicts: Mapping[str, Conflict]
    """Target dataset → why the member is left alone."""
    renames: Renames
    """What is to be renamed at the target first."""
    branches: Branches
    """What clones ask of the seeds of their origins."""

    def free(self, member: Member) -> bool:
        """Whether work on the member may be planned."""
        return (
            member.target not in self.conflicts
            and member.target not in self.task.in_flight
            and member.target not in self.target.busy
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """What must be true at the target before anything is sent."""

    aborts: tuple[AbortReceive, ...]
    parents: tuple[CreateParents, ...]
    postures: tuple[RestorePosture, ...]


def see_route(task: RouteTask, observation: RouteObservation) -> Seen | None:
    """The route's members with their conflicts; None when a side was not seen."""
    source, target = observation.source, observation.target
    if not (isinstance(source, HostListing) and isinstance(target, HostListing)):
        return None
    members = tuple(m for pair in task.pairs for m in expand_members(pair, source))
    conflicts = dict(_member_conflicts(members, task, observation, source))
    for pair in (p for p in task.pairs if p.grouped):
        group = [m for m in members if m.pair == pair.key]
        problem = group_conflict(pair.key, group) or mixed_group_conflict(pair.key, group, source)
        if problem is not None:
            conflicts |= {m.target: problem for m in group}
    conflicts |= _claimed_twice(members)
    trees = Trees(
        task=task,
        source=source,
        target=target,
        members=members,
        conflicts=conflicts,
        judge=lambda m, found: member_conflict(m, task, _with(found, observation, target), source),
    )
    renames = find_renames(trees)
    conflicts |= renames.conflicts
    return Seen(
        task=task,
        source=source,
        target=target,
        members=members,
        conflicts=conflicts,
        renames=renames,
        branches=_branches(members, conflicts, source, target),
    )


def _branches(
    members: tuple[Member, ...],
    conflicts: Mapping[str, Conflict],
    source: HostListing,
    target: HostListing,
) -> Branches:
    sound = [m for m in members if m.target not in conflicts]
    replicas = (target.datasets.get(m.target) for m in sound)
    unseeded = [m for m, r in zip(sound, replicas, strict=True) if r is None or not r.snapshots]
    return find_branches(unseeded, source, target)


def _with(found: Dataset, observation: RouteObservation, target: HostListing) -> RouteObservation:
    """The observation with this dataset at the target, too."""
    return replace(
        observation, target=replace(target, datasets={**target.datasets, found.name: found})
    )


def _member_conflicts(
    members: tuple[Member, ...],
    task: RouteTask,
    observation: RouteObservation,
    source: HostListing,
) -> Iterator[tuple[str, Conflict]]:
    """What forbids work on members; what there is to decide about says what became of approvals."""
    assert isinstance(observation.target, HostListing)
    replicas = observation.target.datasets
    asides, pairs = asides_in(replicas), {pair.key: pair for pair in task.pairs}
    moved = moved_replicas(replicas)
    for member in members:
        conflict = member_conflict(member, task, observation, source)
        if conflict is None and member.target in moved:
            conflict = left_behind(source.datasets[member.source], moved[member.target])
        if conflict is None or conflict.divergence is not None:
            conflict = waiting_conflict(member.target, asides) or conflict
        if conflict is not None and conflict.divergence is not None:
            conflict = judged(conflict, pairs[member.pair], replicas[member.target])
        if conflict is not None:
            yield member.target, conflict


def plan_preparation(seen: Seen) -> Preparation:
    """Drop tokens that lead nowhere, make parents, restore postures; only on replicas of ours."""
    free = [m for m in seen.members if seen.free(m)]
    return Preparation(
        aborts=tuple(a for m in free if (a := _useless_token(m, seen)) is not None),
        parents=tuple(_missing_parents(free, seen)),
        postures=tuple(p for m in free if (p := _lacking(m, seen)) is not None),
    )


def decide_groups(seen: Seen) -> Iterator[tuple[tuple[Member, ...], GroupDecision]]:
    """The free members of each group with the group's decision; groups at rest are left out."""
    groups: dict[str, list[Member]] = {}
    for member in seen.members:
        groups.setdefault(member.group, []).append(member)
    for members in groups.values():
        able = {m.name: m for m in members if seen.free(m)}
        if able:
            decision = decide_group(members, able, seen.source, seen.target, seen.task.short_id)
            yield tuple(able.values()), decision


def plan_snapshots(seen: Seen, now: datetime, entropy: str) -> tuple[TakeSnapshots, ...]:
    """The snapshots to take now, one command and name a set, and bookmarks still missing.

    Lone members of a pool share a command, as far as its size allows. `entropy`: 4 hex digits.
    Of a source that makes room for a rollback none is taken, nor of its group.
    """
    grouped = {p.key for p in seen.task.pairs if p.grouped}
    held = making_room(seen.task, seen.source, now)
    sets = [
        taken
        for _, decision in decide_groups(seen)
        for taken in decision.take
        if held.keys().isdisjoint(m.source for m in taken)
    ]
    groups = [taken for taken in sets if taken[0].pair in grouped]
    lone = [m for taken in sets if taken[0].pair not in grouped for m in taken]
    names = unused_names(seen.source, seen.task.short_id, now, entropy)
    commands = [_take(command, next(names), seen) for command in snapshot_commands(groups, lone)]
    return (*_missing_bookmarks(seen, held), *commands)


def lineage_of(member: Member, seen: Seen) -> str:
    """The lineage of a member: what its replica says, else what a new replica will be given."""
    replica = seen.target.datasets.get(member.target)
    if replica is not None and LINEAGE in replica.properties:
        return replica.properties[LINEAGE]
    pool = pool_of(member.target)
    # Nothing is done below a pool that is not imported, so this 0 gets into no name.
    pool_guid = next((p.guid for p in seen.target.pools if p.name == pool), Guid(0))
    return lineage_id(seen.source.datasets[member.source].guid, pool_guid, member.target)


def _take(command: Command, name: str, seen: Seen) -> TakeSnapshots:
    datasets = {m.source: seen.source.datasets[m.source].guid for m in command.members}
    return TakeSnapshots(
        datasets=tuple(datasets.items()),
        snapshot=name,
        bookmarks=tuple(
            BookmarkOf(dataset=m.source, snapshot=name, lineage=lineage_of(m, seen))
            for m in command.members
        ),
        divisible=command.divisible,
    )


def _missing_bookmarks(seen: Seen, held: Mapping[str, Snapshot]) -> list[TakeSnapshots]:
    """The bookmarks of snapshots that a target needs; one step a name.

    Of one about to be sent, after a crash between; of the base, where the replica fell back to it
    (somebody destroyed its newer points, rolled the source back, or is about to): the bookmark
    that it had may be gone, and another target's pruning goes by bookmarks.
    """
    wanted: dict[str, list[BookmarkOf]] = {}
    for member, snapshot in dict.fromkeys((*_to_be_sent(seen), *_bases(seen, held))):
        lineage = lineage_of(member, seen)
        if not is_marked(seen.source.datasets[member.source], snapshot, lineage):
            wanted.setdefault(snapshot.name, []).append(
                BookmarkOf(dataset=member.source, snapshot=snapshot.name, lineage=lineage)
            )
    return [
        TakeSnapshots(datasets=(), snapshot=name, bookmarks=tuple(bookmarks), divisible=True)
        for name, bookmarks in wanted.items()
    ]


def _to_be_sent(seen: Seen) -> Iterator[tuple[Member, Snapshot]]:
    for members, decision in decide_groups(seen):
        for member in members:
            for snapshot in (
                decision.send.get(member.name),
                seen.branches.stops.get(member.target),
            ):
                if snapshot is not None:
                    yield member, snapshot


def _bases(seen: Seen, held: Mapping[str, Snapshot]) -> Iterator[tuple[Member, Snapshot]]:
    """The source's snapshots, where it still has them, from which increments go on one day.

    A replica that diverged goes on from its base, too, once that is resolved. On a source that
    makes room for a rollback to a snapshot of `held`, a bookmark of anything newer is in the way.
    """
    for member in seen.members:
        conflict = seen.conflicts.get(member.target)
        is_diverged = conflict is not None and conflict.diverged
        replica = seen.target.datasets.get(member.target)
        if replica is None or not (seen.free(member) or is_diverged):
            continue
        source, to = seen.source.datasets[member.source], held.get(member.source)
        left = base_left(source, replica, to) if to else common_base(source, replica)
        base = None if left is None else source.snapshot_by_guid(left.guid)
        if base is not None and is_ours(base, seen.task.short_id):
            yield member, base


def _claimed_twice(members: tuple[Member, ...]) -> dict[str, Conflict]:
    """Two sources cannot share a replica; children of trees can meet where their entries do not."""
    claims: dict[str, list[Member]] = {}
    for member in members:
        claims.setdefault(member.target, []).append(member)
    conflicts = {}
    for target, found in claims.items():
        if len(found) > 1:
            claimants = " and of ".join(f"{m.pair} {m.name}" for m in found)
            conflicts[target] = Conflict(
                reason=Reason.DATASET_CLAIMED,
                message=f"{target} is the target of {claimants}: give one of them another target",
            )
    return conflicts


def _useless_token(member: Member, seen: Seen) -> AbortReceive | None:
    replica = seen.target.datasets.get(member.target)
    source = seen.source.datasets[member.source]
    if replica is None or (replica.token is None and replica.unreadable_token is None):
        return None
    if source.newest_snapshot is None:
        basis: object = DropToken(because=f"{source.name} has no snapshot any more")
    else:
        newest, origin = source.newest_snapshot, origin_of(source, seen.source)
        basis = find_basis(source, replica, newest, seen.task.short_id, origin)
    if not isinstance(basis, DropToken):
        return None
    text = replica.token.text if replica.token is not None else replica.unreadable_token
    return AbortReceive(
        dataset=replica.name,
        lineage=replica.properties[LINEAGE],
        token=text or "",
        because=basis.because,
    )


def _missing_parents(members: list[Member], seen: Seen) -> Iterator[CreateParents]:
    """Parents between a receive root and a replica that are neither there nor replicas."""
    replicas = {m.target for m in seen.members}
    wanted: dict[str, set[str]] = {}
    for member in members:
        root = receive_root(member.target, seen.task.receive_roots)
        parent = member.target.rsplit("/", 1)[0]
        while root is not None and parent != root:
            if parent not in seen.target.datasets and parent not in replicas:
                wanted.setdefault(root, set()).add(parent)
            parent = parent.rsplit("/", 1)[0]
    for root, parents in sorted(wanted.items()):
        yield CreateParents(root=root, datasets=tuple(sorted(parents)))


def _lacking(member: Member, seen: Seen) -> RestorePosture | None:
    """What is to be set on a replica of ours: a lost posture, and the settings that it follows."""
    replica: Dataset | None = seen.target.datasets.get(member.target)
    if replica is None or not replica.snapshots:
        return None
    wanted = dict(_lost_posture(replica))
    if any(pair.follows_settings and pair.key == member.pair for pair in seen.task.pairs):
        wanted |= followed_settings(seen.source.datasets[member.source], replica)
    if not wanted:
        return None
    lineage = replica.properties[LINEAGE]
    return RestorePosture(dataset=replica.name, lineage=lineage, properties=wanted)


def _lost_posture(replica: Dataset) -> Mapping[str, str]:
    """Of a file system that somebody made writable; not while it is mounted or was written to.

    A volume in that state is in conflict (plan/checks.py): nobody can tell whether it is open.
    """
    return {} if replica.readonly or replica.mounted else replica_posture(replica.kind)
