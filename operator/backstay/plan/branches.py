"""Clones stay clones: a replica branches off its origin's, where the target has that snapshot.

    source C is      the snapshot O@s at the target        -> how the seed of C travels
    no clone         –                                     -> Seed
    a clone of O@s   a replica of its pool has it, by GUID -> Branch: what differs from s
    a clone of O@s   is to come: O is about to be seeded   -> none yet: OriginMissing
    a clone of O@s   is not there and is not to come       -> Seed: in full

The seed of O stops at such an s first, as only that gets it to the target: points are sent one by
one, and a snapshot older than what the target has of O can never be sent. What an encrypted clone
shares stays shared only raw and below one encryption root: it is seeded in full.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from backstay.api.values import pool_of
from backstay.api.words import Reason
from backstay.domain.pairs import Conflict, Member
from backstay.domain.steps import Base, Branch, Seed
from backstay.domain.zfs import Dataset, HostListing, Snapshot, SnapshotRef


def origin_of(clone: Dataset, source: HostListing) -> Snapshot | None:
    """The snapshot that a source dataset is a clone of; None also where nobody looked at it."""
    owner, _, name = (clone.origin or "").partition("@")
    dataset = source.datasets.get(owner)
    return None if dataset is None else dataset.snapshot_by_name(name)


def seed_of(
    member: Member, coming: Mapping[str, Snapshot], source: HostListing, target: HostListing
) -> Seed | Branch | Conflict:
    """How a member without a replica is seeded. `coming`: target dataset → `first_stops`."""
    clone = source.datasets[member.source]
    origin = origin_of(clone, source)
    if origin is None or clone.encrypted:
        return Seed()
    pool = pool_of(member.target)
    for name, replica in sorted(target.datasets.items()):
        found = replica.snapshot_by_guid(origin.guid)
        if found is not None and replica.is_replica and pool_of(name) == pool:
            return Branch(
                base=Base(full_name=origin.full_name, guid=origin.guid),
                origin=SnapshotRef(dataset=name, name=found.name, guid=found.guid),
            )
    awaited = (t for t, stop in coming.items() if stop == origin and pool_of(t) == pool)
    if (parent := next(awaited, None)) is not None:
        return Conflict(
            reason=Reason.ORIGIN_MISSING,
            message=f"{clone.name} is a clone of {origin.full_name}: it waits until {parent} is "
            f"seeded up to there, so that the two share space at the target, too",
        )
    return Seed()


def first_stops(
    unseeded: Sequence[Member], source: HostListing, target: HostListing
) -> dict[str, Snapshot]:
    """Target dataset → where its seed stops first: the origin of most clones that wait for it.

    `unseeded`: members that may be worked on and of which the target has no snapshot yet. Of
    several origins the newest of those with most clones; clones of the others come in full.
    """
    waiting = Counter(
        (origin, pool_of(m.target))
        for m in unseeded
        if m.target not in target.datasets
        and not source.datasets[m.source].encrypted
        and (origin := origin_of(source.datasets[m.source], source)) is not None
    )
    stops: dict[str, Snapshot] = {}
    for member in unseeded:
        at_member = [
            (count, origin.createtxg, origin)
            for (origin, pool), count in waiting.items()
            if origin.dataset == member.source and pool == pool_of(member.target)
        ]
        if at_member:
            stops[member.target] = max(at_member, key=lambda one: one[:2])[2]
    return stops
