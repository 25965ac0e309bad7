"""From entries to members: trees are looked up in each observation, parents first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from backstay.api.values import is_below
from backstay.domain.pairs import Entry, Member, PairTask
from backstay.domain.zfs import HostListing


def expand_members(pair: PairTask, source: HostListing) -> tuple[Member, ...]:
    """The members of a pair, parents before their children."""
    return tuple(
        Member(
            pair=pair.key,
            name=name,
            source=dataset,
            target=target,
            group=pair.key if pair.grouped else f"{pair.key}:{name}",
            rests=target in pair.resting,
        )
        for entry in pair.entries
        for name, dataset, target in _expand(entry, source)
    )


def has_member(pair: PairTask, source: str, target: str) -> bool:
    """Whether the pair asks for `source` to be kept at `target`, itself or as part of a tree."""
    return asks_for(pair.entries, source, target)


def asks_for(entries: Iterable[Entry], source: str, target: str) -> bool:
    """Whether entries ask for `source` to be kept at `target`, itself or as part of a tree."""
    return any(
        source == entry.source + below and (not below or entry.recursive)
        for entry in entries
        if target == entry.target or is_below(target, entry.target)
        for below in (target.removeprefix(entry.target),)
    )


def known_members(pair: PairTask, target: HostListing) -> tuple[Member, ...]:
    """The members as far as the target tells, for passes that could not see the source."""
    return tuple(
        Member(
            pair=pair.key,
            name=entry.name + below,
            source=entry.source + below,
            target=entry.target + below,
            group=pair.key if pair.grouped else f"{pair.key}:{entry.name}{below}",
        )
        for entry in pair.entries
        for below in ("", *(_below(entry.target, target) if entry.recursive else ()))
    )


def _expand(entry: Entry, source: HostListing) -> Iterator[tuple[str, str, str]]:
    yield entry.name, entry.source, entry.target
    if entry.recursive:
        for below in _below(entry.source, source):
            yield entry.name + below, entry.source + below, entry.target + below


def _below(root: str, listing: HostListing) -> list[str]:
    """Paths below `root` with their leading slash; sorting puts a parent before its children."""
    return sorted(name.removeprefix(root) for name in listing.datasets if is_below(name, root))
