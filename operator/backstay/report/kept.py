"""What is there of a pair besides its members: set aside, left over, or to make room."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from backstay.api.values import is_below
from backstay.domain.pairs import (
    AsideState,
    Conflict,
    Member,
    PairState,
    PairTask,
    RouteObservation,
    RouteTask,
    Side,
)
from backstay.domain.yielding import YieldState
from backstay.domain.zfs import HostListing
from backstay.plan.asides import asides_in
from backstay.plan.replication import Seen
from backstay.plan.yielding import yield_states


def asides_of(members: tuple[Member, ...], target: Side) -> tuple[AsideState, ...]:
    """What was set aside of these members; not of who is no member any more."""
    if not isinstance(target, HostListing):
        return ()
    targets = {member.target for member in members}
    return tuple(
        AsideState(dataset=a.dataset.name, of=a.of, used_bytes=a.dataset.used_bytes)
        for a in asides_in(target.datasets)
        if a.of in targets
    )


def yields_of(
    members: tuple[Member, ...],
    task: RouteTask,
    observation: RouteObservation,
    failures: Mapping[str, Conflict],
) -> tuple[YieldState, ...]:
    """Those of these sources that make room for a rollback, with why something did not go."""
    source, target = observation.source, observation.target
    if not isinstance(source, HostListing):
        return ()
    there = target if isinstance(target, HostListing) else None
    wanted = {member.source for member in members}
    found = yield_states(task, source, there, observation.synced_at)
    return tuple(
        replace(s, failure=failures[s.source].message) if s.left and s.source in failures else s
        for s in found
        if s.source in wanted
    )


def left_over(
    pair: PairTask, task: RouteTask, seen: Seen | None, before: PairState | None
) -> tuple[AsideState, ...]:
    """Replicas of children that their trees have no more; what is below them counts with them.

    What waits for its new name, or is another member's, is none of them.
    """
    if seen is None:
        return () if before is None else before.left_over
    source, target = seen.source, seen.target
    trees = [e for e in pair.entries if e.recursive and e.source in source.datasets]
    if not trees:
        return ()
    known = {m.target for m in seen.members} | seen.conflicts.keys()
    known |= {e.target for other in task.neighbours for e in other.entries}
    found: dict[str, AsideState] = {}
    for entry in trees:
        for name, replica in sorted(target.datasets.items()):
            is_known = name in known or any(is_below(name, other) for other in found)
            is_whole = replica.is_replica and bool(replica.snapshots)
            if is_below(name, entry.target) and is_whole and not is_known:
                of = entry.source + name.removeprefix(entry.target)
                found[name] = AsideState(dataset=name, of=of, used_bytes=replica.used_bytes)
    return tuple(found.values())
