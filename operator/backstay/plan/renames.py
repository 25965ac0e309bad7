"""Replicas of a tree whose sources were renamed: told by their history, never by a name.

    source               target                           ->
    a, now b             A; nothing at B                  A gets the name B, with all below it
    a, now b; a new a    A; nothing at B                  the same, then the new a is seeded
    a, now b; b, now c   A, B                             B gets the name C, then A that of B
    a ↔ b                A, B                             one waits aside until its name is free
    a, now b             A; B is another's or foreign     RenameBlocked
    a, now b             A and X, both replicas of a      RenameBlocked
    a, now b             X has its points, is not ours    RenameBlocked
    a, now b             A, which diverged from it        b is seeded, and A stays
    a, now b             A, which diverged, and X         X gets the name B, and A stays
    a is gone            A                                A stays

A replica is of a source when it has a point of it by GUID, and was seeded from this very dataset or
for a lineage that the source has a bookmark of. Both outlive a rename, at either side. Only the
places below one tree's target are looked at, and nothing there is destroyed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from backstay.api.values import is_below
from backstay.api.words import Reason
from backstay.domain.moves import RENAMED_FROM, aside_root
from backstay.domain.pairs import Conflict, Entry, Member, RouteTask
from backstay.domain.zfs import LINEAGE, SOURCE_GUID, Dataset, Guid, HostListing
from backstay.plan.basis import common_base
from backstay.plan.members import has_member
from backstay.plan.naming import bookmark_tag

_ABOUT_THE_PLACE = frozenset(
    {Reason.SETTING_ASIDE, Reason.TARGET_IS_PRIMARY, Reason.ROLE_EPOCH_DIFFERS}
)
"""What keeps everything from a place, whatever is in it now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Misplaced:
    """A replica that does not bear the name that its source's name asks for."""

    replica: Dataset
    source: str
    to: str


Pending = dict[str, Misplaced]
"""By the name of the replica."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Renames:
    """What there is to rename at the target.

    `ready` can be renamed now, in this order; where nothing can, `aside` make room for the others.
    `arrived` wait aside no more. `conflicts`: target of a member → why nothing is sent there.
    """

    ready: tuple[Misplaced, ...] = ()
    aside: tuple[Misplaced, ...] = ()
    arrived: tuple[Dataset, ...] = ()
    conflicts: Mapping[str, Conflict] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trees:
    """What renames are judged by.

    `judge`: why the dataset could not go on as the replica of the member; None when it can.
    """

    task: RouteTask
    source: HostListing
    target: HostListing
    members: Sequence[Member]
    conflicts: Mapping[str, Conflict]
    judge: Callable[[Member, Dataset], Conflict | None]

    def used(self, name: str) -> bool:
        """Whether a stream of ours moves into the dataset or into one below it."""
        busy = (*self.task.in_flight, *self.target.busy)
        return any(one == name or is_below(one, name) for one in busy)


def find_renames(trees: Trees) -> Renames:
    """The renames that all trees of a route need now, and what they keep from being sent."""
    entries = [e for pair in trees.task.pairs for e in pair.entries if e.recursive]
    seekers = [m for m in trees.members if _seeks(m, trees)] if entries else []
    pending: Pending = {}
    refused: dict[str, Conflict] = {}
    for entry in entries if seekers else ():
        found, conflicts = _misplaced(entry, seekers, trees)
        pending |= found
        refused |= conflicts
    refused |= _without_taken(pending, trees)
    circle = _circle(pending)
    aside = sorted((one for one in circle if _can_leave(one.replica)), key=_name)[:1]
    if not aside:
        refused |= {pending.pop(_name(one)).to: _locked_in(one) for one in circle}
    waiting = {at: _renaming(one) for one in pending.values() for at in (_name(one), one.to)}
    still = [one for one in pending.values() if not trees.used(_name(one))]
    ready = [one for one in still if _is_ready(one, pending, trees)]
    # A child that leaves its parent does so before that one takes along what is below it.
    ready.sort(key=lambda one: (-_name(one).count("/"), _name(one)))
    return Renames(
        ready=tuple(ready),
        aside=() if ready else tuple(one for one in aside if one in still),
        arrived=tuple(_arrived(entries, pending, trees.target)),
        conflicts={**waiting, **refused},
    )


# --- whose replica is where ---------------------------------------------------------------------


def _misplaced(
    entry: Entry, seekers: Sequence[Member], trees: Trees
) -> tuple[Pending, dict[str, Conflict]]:
    """The replicas of a tree that are to be renamed, and why others that match are not."""
    matches = [one for one in _matches(entry, seekers, trees) if _may_go_on(*one, trees)]
    members = Counter(member.target for member, _ in matches)
    replicas = Counter(replica.name for _, replica in matches)
    pending: Pending = {}
    refused: dict[str, Conflict] = {}
    for member, replica in matches:
        if members[member.target] > 1 or replicas[replica.name] > 1:
            named = [r.name for m, r in matches if member.target == m.target]
            refused[member.target] = _ambiguous(member, named)
        elif not replica.is_replica:
            refused[member.target] = _not_ours(member, replica)
        else:
            one = Misplaced(replica=replica, source=member.source, to=member.target)
            pending[replica.name] = one
    return pending, refused


def _matches(
    entry: Entry, seekers: Sequence[Member], trees: Trees
) -> Iterator[tuple[Member, Dataset]]:
    """Children of the tree with no replica of theirs in their place, and whose history is where."""
    known: dict[Guid, list[Member]] = {}
    for member in seekers:
        if not (is_below(member.source, entry.source) and is_below(member.target, entry.target)):
            continue
        source = trees.source.datasets[member.source]
        for guid in {s.guid for s in source.snapshots} | {b.guid for b in source.bookmarks}:
            known.setdefault(guid, []).append(member)
    for replica in _below_tree(entry, trees.target) if known else ():
        newest = next((s.guid for s in reversed(replica.snapshots) if s.guid in known), Guid(0))
        for member in known.get(newest, ()):
            source = trees.source.datasets[member.source]
            is_ours = _is_tied(source, replica) or not replica.is_replica
            if is_ours and not _is_wanted_there(source.name, replica.name, trees.task):
                yield member, replica


def _may_go_on(member: Member, replica: Dataset, trees: Trees) -> bool:
    """False for a replica of ours that diverged: no other one is in doubt because of it."""
    as_named = replace(replica, name=member.target)
    return not replica.is_replica or trees.judge(member, as_named) is None


def _seeks(member: Member, trees: Trees) -> bool:
    """Whether a member may have a replica that bears another name."""
    source = trees.source.datasets.get(member.source)
    if source is None:
        return False
    here, conflict = trees.target.datasets.get(member.target), trees.conflicts.get(member.target)
    if here is None or (conflict is not None and conflict.reason in _ABOUT_THE_PLACE):
        return here is None and conflict is None
    is_begun = not here.snapshots or common_base(source, here) is not None
    return not (_is_tied(source, here) and is_begun)


def _is_tied(source: Dataset, replica: Dataset) -> bool:
    """Whether the replica was seeded from this very dataset, or has a lineage of it."""
    if replica.properties.get(SOURCE_GUID) == str(source.guid):
        return True
    tags = (bookmark_tag(b) for b in source.bookmarks)
    return replica.properties.get(LINEAGE) in {tag.lineage for tag in tags if tag is not None}


def _is_wanted_there(source: str, target: str, task: RouteTask) -> bool:
    return any(has_member(pair, source, target) for pair in (*task.pairs, *task.neighbours))


def _below_tree(entry: Entry, target: HostListing) -> Iterator[Dataset]:
    """What lies below the tree's target, and what waits aside to come back there."""
    root = aside_root(entry.target)
    waiting = [
        name
        for name, found in target.datasets.items()
        if name.rpartition("/")[0] == root
        and is_below(found.properties.get(RENAMED_FROM, ""), entry.target)
    ]
    for name, found in target.datasets.items():
        is_aside = any(name == one or is_below(name, one) for one in waiting)
        if found.snapshots and (is_aside or is_below(name, entry.target)):
            yield found


# --- in which order -----------------------------------------------------------------------------


def _without_taken(pending: Pending, trees: Trees) -> dict[str, Conflict]:
    """Those whose new name something has that stays are pending no more; why, by their targets."""
    refused: dict[str, Conflict] = {}
    while taken := [
        one for one in pending.values() if one.to in trees.target.datasets and one.to not in pending
    ]:
        for one in taken:
            del pending[_name(one)]
            conflict = trees.conflicts.get(one.to)
            refused[one.to] = _taken(one, trees.target.datasets[one.to], conflict)
    return refused


def _circle(pending: Pending) -> list[Misplaced]:
    """Replicas of which each waits for the next and the last for the first; empty without any."""
    for start in sorted(pending):
        path = [start]
        while (following := next(_waits_for(pending[path[-1]], pending), None)) is not None:
            if following in path:
                return [pending[name] for name in path[path.index(following) :]]
            path.append(following)
    return []


def _waits_for(one: Misplaced, pending: Pending) -> Iterator[str]:
    """Those that must be renamed before: one takes it along, or they have its name or are above."""
    name = _name(one)
    for above in _above(name):
        if above in pending and pending[above].to + name.removeprefix(above) == one.to:
            yield above
    yield from (taken for taken in (one.to, *_above(one.to)) if taken in pending)


def _is_ready(one: Misplaced, pending: Pending, trees: Trees) -> bool:
    """Whether its new name is free, and right below what can have children."""
    parent = trees.target.datasets.get(one.to.rpartition("/")[0])
    is_waiting = next(_waits_for(one, pending), None) is not None
    if parent is None or is_waiting or trees.used(one.to):
        return False
    is_whole = parent.token is None and parent.unreadable_token is None
    is_there = bool(parent.snapshots) or (is_whole and parent.name not in trees.task.in_flight)
    return is_there and one.to not in trees.target.datasets


def _arrived(entries: list[Entry], pending: Pending, target: HostListing) -> Iterator[Dataset]:
    for name, found in target.datasets.items():
        is_parked = RENAMED_FROM in found.properties and name not in pending
        if is_parked and any(is_below(name, entry.target) for entry in entries):
            yield found


def _can_leave(replica: Dataset) -> bool:
    """Whether it has its own key or none: with that of a parent it has to stay below that one."""
    return replica.encryption_root in (None, replica.name)


def _name(one: Misplaced) -> str:
    return one.replica.name


def _above(name: str) -> Iterator[str]:
    while name := name.rpartition("/")[0]:
        yield name


# --- in words -----------------------------------------------------------------------------------


def _renaming(one: Misplaced) -> Conflict:
    return Conflict(
        reason=Reason.RENAMING,
        message=f"{one.replica.name} is the replica of {one.source}, which was renamed: it becomes "
        f"{one.to} as soon as no stream moves there, its new name is free, and the dataset above "
        f"that is there",
    )


def _blocked(message: str) -> Conflict:
    return Conflict(reason=Reason.RENAME_BLOCKED, message=message)


def _taken(one: Misplaced, there: Dataset, conflict: Conflict | None) -> Conflict:
    said = (
        f"{one.replica.name} is the replica of {one.source}, which was renamed, but {there.name} "
        f"(GUID {there.guid}) exists and holds other data: rename that out of the tree"
    )
    if conflict is None or conflict.divergence is None:
        return _blocked(said)
    return replace(conflict, reason=Reason.RENAME_BLOCKED, message=f"{said} ({conflict.message})")


def _ambiguous(member: Member, replicas: Sequence[str]) -> Conflict:
    return _blocked(
        f"{member.source} has no replica of its name, and more than one dataset with its history "
        f"({', '.join(replicas)}), or one that is also another's: rename those that it is not to "
        f"go on from out of the tree"
    )


def _not_ours(member: Member, found: Dataset) -> Conflict:
    why = "has the role primary" if LINEAGE in found.properties else "is no replica of backstay"
    return _blocked(
        f"{found.name} has the history of {member.source} but {why}, so it keeps its name: rename "
        f"it out of the tree to have the source seeded, or to {member.target} to go on from it"
    )


def _locked_in(one: Misplaced) -> Conflict:
    return _blocked(
        f"{one.replica.name} is the replica of {one.source} and should be {one.to}, whose place is "
        f"taken in turn; no replica of this circle can wait aside, as it has the key of "
        f"{one.replica.encryption_root}: rename them by hand"
    )
