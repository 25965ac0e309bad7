"""Where the data lives is read from the pools: `spec.preferredSite` counts only before the seed."""

from __future__ import annotations

from backstay.domain.zfs import LINEAGE, SOURCE_GUID
from backstay.plan.replication import Seen


def reversed_pairs(seen: Seen) -> frozenset[str]:
    """Pairs whose supposed source is in truth the replica of the supposed target.

    True when any member shows it: such a pair is never worked on in the supposed direction,
    because its other members have a role, too.
    """
    return frozenset(
        member.pair for member in seen.members if _is_replica(member.source, member.target, seen)
    )


def _is_replica(source: str, target: str, seen: Seen) -> bool:
    here, there = seen.source.datasets.get(source), seen.target.datasets.get(target)
    if here is None or there is None or LINEAGE in there.properties:
        return False
    return LINEAGE in here.properties and here.properties.get(SOURCE_GUID) == str(there.guid)
