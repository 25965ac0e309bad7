"""Clones stay clones: a replica branches off its origin's, where the target has that snapshot.

    source C is      the snapshot O@s at the target        -> how the seed of C travels
    no clone         –                                     -> Seed
    a clone of O@s   a replica of its pool has it, by GUID -> Branch: what differs from s
    a clone of O@s   is to come: O is about to be seeded   -> none yet: OriginMissing
    a clone of O@s   is not there and is not to come       -> Seed: in full

The seed of O stops at such an s first, as only that gets it to the target: points are sent one by
one, and a snapshot older than what the target has of O can never be sent. What an encrypted clone
shares stays shared only raw and below one encryption root: it is seeded in full. So is a clone that
would wait for itself, as O waits for a parent in turn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from backstay.api.values import pool_of
from backstay.api.words import Reason
from backstay.domain.pairs import Conflict, Member
from backstay.domain.steps import Base, Branch, Seed
from backstay.domain.zfs import Dataset, HostListing, Snapshot, SnapshotRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Branches:
    """What clones ask of the seeds of their origins; keys are target datasets.

    `stops`: where the seed of an origin stops first. `waits`: clone → the origin it waits for.
    """

    stops: Mapping[str, Snapshot]
    waits: Mapping[str, str]


def origin_of(clone: Dataset, source: HostListing) -> Snapshot | None:
    """The snapshot that a source dataset is a clone of; None also where nobody looked at it."""
    owner, _, name = (clone.origin or "").partition("@")
    dataset = source.datasets.get(owner)
    return None if dataset is None else dataset.snapshot_by_name(name)


def seed_of(
    member: Member, branches: Branches, source: HostListing, target: HostListing
) -> Seed | Branch | Conflict:
    """How a member without a replica is seeded."""
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
    if (awaited := branches.waits.get(member.target)) is not None:
        return Conflict(
            reason=Reason.ORIGIN_MISSING,
            message=f"{clone.name} is a clone of {origin.full_name}: it waits until {awaited} is "
            f"seeded up to there, so that the two share space at the target, too",
        )
    return Seed()


def find_branches(unseeded: Sequence[Member], source: HostListing, target: HostListing) -> Branches:
    """Where seeds stop first, and which clones wait for that.

    `unseeded`: members that may be worked on and of which the target has no snapshot yet. A seed
    stops at the origin of most clones that wait for it, of several such at the newest; clones of
    the others come in full.
    """
    clones = [
        (m.target, origin)
        for m in unseeded
        if m.target not in target.datasets
        and not source.datasets[m.source].encrypted
        and (origin := origin_of(source.datasets[m.source], source)) is not None
    ]
    waiting = Counter((origin, pool_of(clone)) for clone, origin in clones)
    stops: dict[str, Snapshot] = {}
    for member in unseeded:
        at_member = [
            (count, origin.createtxg, origin)
            for (origin, pool), count in waiting.items()
            if origin.dataset == member.source and pool == pool_of(member.target)
        ]
        if at_member:
            stops[member.target] = max(at_member, key=lambda one: one[:2])[2]
    waits = {
        clone: awaited
        for clone, origin in clones
        for awaited, stop in stops.items()
        if stop == origin and pool_of(awaited) == pool_of(clone)
    }
    sound = {c: o for c, o in waits.items() if c not in set(_waited_for(o, waits))}
    return Branches(stops=stops, waits=sound)


def _waited_for(target: str, waits: Mapping[str, str]) -> Iterator[str]:
    """The target and all that must be there before it: parents and origins, and theirs."""
    todo, seen = [target], set[str]()
    while todo:
        one = todo.pop()
        if one in seen:
            continue
        seen.add(one)
        yield one
        parent = one.rpartition("/")[0]
        todo += [name for name in (parent, waits.get(one)) if name]
