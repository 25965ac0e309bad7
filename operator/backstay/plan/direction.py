"""Where the data lives is read from the pools: `spec.preferredSite` counts only before the seed."""

from __future__ import annotations

from backstay.domain.pairs import RouteTask
from backstay.domain.zfs import LINEAGE, SOURCE_GUID, HostListing
from backstay.plan.replication import Seen


def reversed_pairs(seen: Seen) -> frozenset[str]:
    """Pairs whose supposed source is in truth the replica of the supposed target.

    True when any member shows it: such a pair is never worked on in the supposed direction,
    because its other members have a role, too.
    """
    return frozenset(
        member.pair for member in seen.members if _is_replica(member.source, member.target, seen)
    )


def replicas_alone(task: RouteTask, source: HostListing) -> frozenset[str]:
    """Pairs whose supposed source carries a lineage while the other side cannot be seen.

    In a disaster somebody points `spec.preferredSite` at the site that is left. What lies there is
    a replica: it stays one, and goes on to be shown as what can be recovered. One that another
    pair feeds is the source of a chain.
    """
    return frozenset(
        pair.key
        for pair in task.pairs
        for entry in pair.entries
        if entry.source not in task.chained.fed
        and (found := source.datasets.get(entry.source))
        and LINEAGE in found.properties
    )


def _is_replica(source: str, target: str, seen: Seen) -> bool:
    here, there = seen.source.datasets.get(source), seen.target.datasets.get(target)
    if here is None or there is None or LINEAGE in there.properties:
        return False
    return LINEAGE in here.properties and here.properties.get(SOURCE_GUID) == str(there.guid)
