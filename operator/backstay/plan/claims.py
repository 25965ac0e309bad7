"""Who may have a target dataset: the pair that was made first, and nobody beside it.

first            second                  -> second is
muc/h tank/x     muc/h tank/x            refused
muc/h tank/x/**  muc/h tank/x/y          refused (a tree claims everything below it)
muc/h tank/x/y   muc/h tank/x/**         refused
muc/h tank/x     muc/h tank/x/y          fine
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from backstay.api.v1alpha1.replicationpair import ReplicationPair
from backstay.api.words import Reason
from backstay.domain.pairs import Conflict, Entry, HostKey
from backstay.plan.resolve import pair_entries

_NO_TIME = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Claim:
    host: HostKey
    machine: Hashable
    entry: Entry
    pair: str


def refused_claims(
    pairs: Iterable[ReplicationPair],
    active_sites: Mapping[str, str],
    machine: Callable[[HostKey], Hashable],
) -> dict[str, Conflict]:
    """The pairs that name a target dataset of an older pair, with what they are told.

    Hosts of one `machine` are one, whatever they are called. The older pair is that with the
    smaller creation time; of equals that with the smaller name.
    """
    lone: dict[tuple[Hashable, str], str] = {}
    trees: dict[tuple[Hashable, str], str] = {}
    above: dict[tuple[Hashable, str], str] = {}
    refused: dict[str, Conflict] = {}
    for pair in sorted(pairs, key=_age):
        key = _key(pair)
        site = active_sites.get(key, pair.spec.preferred_site)
        claims = [
            _Claim(route.target, machine(route.target), entry, key)
            for route, entries in pair_entries(pair, site).items()
            for entry in entries
        ]
        for claim in claims:
            spot = (claim.machine, claim.entry.target)
            higher = [(claim.machine, name) for name in _with_parents(claim.entry.target)]
            owner = lone.get(spot) or next((trees[h] for h in higher if h in trees), None)
            if owner is None and claim.entry.recursive:
                owner = above.get(spot)
            if owner is not None:
                refused[key] = _conflict(claim, owner)
                break
        else:
            for claim in claims:
                spot = (claim.machine, claim.entry.target)
                (trees if claim.entry.recursive else lone).setdefault(spot, key)
                for name in _with_parents(claim.entry.target)[1:]:
                    above.setdefault((claim.machine, name), key)
    return refused


def _conflict(claim: _Claim, owner: str) -> Conflict:
    return Conflict(
        reason=Reason.DATASET_CLAIMED,
        message=f"member {claim.entry.name}: {claim.entry.target} on {claim.host} is already the "
        f"target of ReplicationPair {owner}: choose another target dataset",
    )


def _with_parents(dataset: str) -> list[str]:
    parts = dataset.split("/")
    return ["/".join(parts[:end]) for end in range(len(parts), 0, -1)]


def _key(pair: ReplicationPair) -> str:
    return f"{pair.metadata.namespace}/{pair.metadata.name}"


def _age(pair: ReplicationPair) -> tuple[datetime, str]:
    return pair.metadata.creation_timestamp or _NO_TIME, _key(pair)
