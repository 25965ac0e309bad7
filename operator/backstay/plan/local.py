"""Local points while a target cannot be seen: the source goes on alone, bounded by its policy.

    interval   since our newest snapshot               -> decision
    not over   anything                                -> nothing
    over       nothing was written to any member       -> nothing
    over       something was, or nobody knows          -> one set, whole for a group

Only what was seeded is snapshotted: a member with a bookmark of ours, whose replica had a point
when it was last seen. The points get no bookmark, as nothing is sent; when the target is back, the
newest is sent as any set (plan/sets.py), and the others are pruned as the policy says.

Until then only points go that are newer than every bookmark of their dataset. They were never
sent, so that they can be nobody's base; of any older one nothing can be known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from backstay.domain.pairs import Member, PairTask, RouteTask
from backstay.domain.steps import Prune, TakeSnapshots
from backstay.domain.zfs import Dataset, HostListing
from backstay.plan.checks import source_conflict
from backstay.plan.commands import group_conflict, snapshot_commands, unused_names
from backstay.plan.members import expand_members
from backstay.plan.naming import bookmark_tag, is_ours
from backstay.plan.pruning import Judged, judge_sets, wanted_by_neighbours
from backstay.plan.yielding import making_room


@dataclass(frozen=True, slots=True, kw_only=True)
class Alone:
    """A route of which only the source was seen."""

    task: RouteTask
    source: HostListing
    due: frozenset[str]
    """Keys of the pairs whose last local set is an interval old."""
    confirmed: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Pair → target datasets that held a point when last seen; absent: never seen."""


def plan_local_snapshots(alone: Alone, now: datetime, entropy: str) -> tuple[TakeSnapshots, ...]:
    """The sets to take now, one command and name a set. `entropy`: 4 hex digits."""
    groups: list[list[Member]] = []
    lone: list[Member] = []
    held = making_room(alone.task, alone.source, now).keys()
    for pair in (p for p in alone.task.pairs if p.key in alone.due):
        for members in _groups(pair, alone):
            taken = _taken(members, pair, alone)
            if not held.isdisjoint(m.source for m in taken):
                continue
            if pair.grouped and taken:
                groups.append(taken)
            else:
                lone += taken
    names = unused_names(alone.source, alone.task.short_id, now, entropy)
    return tuple(
        TakeSnapshots(
            datasets=tuple(
                {m.source: alone.source.datasets[m.source].guid for m in command.members}.items()
            ),
            snapshot=next(names),
            bookmarks=(),
            divisible=command.divisible,
        )
        for command in snapshot_commands(groups, lone)
    )


def plan_local_pruning(alone: Alone) -> Prune:
    """What the source's policy no longer wants of the points that were never sent."""
    judged = [
        _judge(members, pair, alone)
        for pair in alone.task.pairs
        for members in _groups(pair, alone)
    ]
    wanted = {ref for one in judged for ref in one.keep}
    doomed = dict.fromkeys(ref for one in judged for ref in one.remove)
    wanted |= wanted_by_neighbours({ref.dataset for ref in doomed}, alone.source, alone.task)
    return Prune(snapshots=tuple(ref for ref in doomed if ref not in wanted), bookmarks=())


def _groups(pair: PairTask, alone: Alone) -> list[list[Member]]:
    groups: dict[str, list[Member]] = {}
    for member in expand_members(pair, alone.source):
        groups.setdefault(member.group, []).append(member)
    return list(groups.values())


def _taken(members: Sequence[Member], pair: PairTask, alone: Alone) -> list[Member]:
    """The members of the group's set; none while it needs none, or could not be whole."""
    found = {m.name: d for m in members if (d := alone.source.datasets.get(m.source)) is not None}
    seeded = [m for m in members if m.name in found and _is_seeded(m, found[m.name], alone)]
    confirmed = alone.confirmed.get(pair.key, frozenset())
    is_one_lost = any(m.name not in found and m.target in confirmed for m in members)
    if is_one_lost or any(_is_left_alone(found[m.name]) for m in seeded):
        return []
    if pair.grouped and group_conflict(pair.key, members) is not None:
        return []
    is_written = any(_is_written(found[m.name], alone.task.short_id) for m in seeded)
    return seeded if is_written else []


def _is_left_alone(source: Dataset) -> bool:
    """A replica's points are its own source's affair (plan/chains.py)."""
    return source.is_replica or source_conflict(source) is not None


def _is_seeded(member: Member, source: Dataset, alone: Alone) -> bool:
    confirmed = alone.confirmed.get(member.pair)
    return _last_mark(source) >= 0 and (confirmed is None or member.target in confirmed)


def _is_written(source: Dataset, short_id: str) -> bool:
    """Whether anything was written since our newest snapshot; what is unknown counts as so."""
    ours = [s.name for s in source.snapshots if is_ours(s, short_id)]
    since = source.written_since
    return not ours or since is None or since.snapshot != ours[-1] or since.size_bytes != 0


def _last_mark(source: Dataset) -> int:
    """The createtxg of the newest of our bookmarks, whatever its lineage; -1 without any."""
    marks = [b.createtxg for b in source.bookmarks if bookmark_tag(b) is not None]
    return max(marks, default=-1)


def _judge(members: Sequence[Member], pair: PairTask, alone: Alone) -> Judged:
    needed: dict[str, str] = {}
    datasets = [d for m in members if (d := alone.source.datasets.get(m.source)) is not None]
    for dataset in datasets:
        ours = [s for s in dataset.snapshots if is_ours(s, alone.task.short_id)]
        needed |= {s.name: "the newest" for s in ours[-1:]}
        mark = _last_mark(dataset)
        is_known = mark >= 0 and not _is_left_alone(dataset)
        needed |= {s.name: "may be a base" for s in ours if not is_known or s.createtxg <= mark}
    return judge_sets(datasets, pair.keep_source, needed, alone.task.short_id)
