"""A replica as the source of a further pair: a chain, a -> b -> c.

    the replica b                      -> the pair b -> c
    has points of this installation    -> sends them on as they arrive, and takes none itself
    has none yet                       -> waits for the first
    has only those of another one      -> SourceIsReplica: whose points we cannot tell apart
    in a group with other sources      -> SourceIsReplica: no command snapshots both

A snapshot of ours on b would make it differ from a. So b's points are its first pair's: that one
prunes them, and keeps those that c goes on from, as their bookmarks say (plan/pruning.py). What
is unchanged on b proves nothing about a: a point of c is good as of when the first pair says. And
b is sent without being in use (`SendOrder.of_replica`): it goes on receiving meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence

from backstay.api.words import Reason
from backstay.domain.pairs import Conflict, Member
from backstay.domain.zfs import LINEAGE, Dataset, HostListing
from backstay.plan.naming import is_ours


def chain_conflict(source: Dataset, short_id: str) -> Conflict | None:
    """Why a replica cannot be sent on; None for what is no replica, too."""
    is_foreign = source.snapshots and not any(is_ours(s, short_id) for s in source.snapshots)
    if not source.is_replica or not is_foreign:
        return None
    return Conflict(
        reason=Reason.SOURCE_IS_REPLICA,
        message=f"{source.name} is a replica (lineage {source.properties[LINEAGE]}) that another "
        f"installation of backstay keeps: let that one send it on; if it has become the original, "
        f"say so with `zfs inherit {LINEAGE} {source.name}`",
    )


def mixed_group_conflict(
    pair: str, group: Sequence[Member], source: HostListing
) -> Conflict | None:
    """Why the members cannot be a consistency group: some are replicas, others are not."""
    found = [d for m in group if (d := source.datasets.get(m.source)) is not None]
    replicas = [d.name for d in found if d.is_replica]
    if len(replicas) in (0, len(found)):
        return None
    return Conflict(
        reason=Reason.SOURCE_IS_REPLICA,
        message=f"{pair}: {replicas[0]} is a replica and gets its points from its own source, "
        f"other members are not: make one pair for the replicas, or set consistencyGroup: false",
    )
