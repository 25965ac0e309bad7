"""Which lineages tie a pair's sources to its replicas, those of unborn replicas included."""

from __future__ import annotations

from collections.abc import Sequence

from backstay.domain.pairs import Entry, Keep, PairTask
from backstay.domain.zfs import LINEAGE, HostListing
from backstay.plan.members import expand_members
from backstay.plan.naming import lineage_id


def lineages_between(
    entries: Sequence[Entry], source: HostListing, target: HostListing
) -> frozenset[str]:
    """What the replicas carry, and what replicas that were never begun would be given.

    A seed that was killed at its start has left a bookmark of the latter kind.
    """
    carried = {d.properties.get(LINEAGE) for d in target.datasets.values()}
    pools = {pool.name: pool.guid for pool in target.pools}
    pair = PairTask(
        key="", entries=tuple(entries), grouped=False, keep_source=Keep(), keep_target=Keep()
    )
    coming = {
        lineage_id(source.datasets[m.source].guid, pools[pool], m.target)
        for m in expand_members(pair, source)
        if m.source in source.datasets and (pool := m.target.split("/")[0]) in pools
    }
    return frozenset(coming | {lineage for lineage in carried if lineage is not None})
