"""Ties that end: the bookmarks of a deleted pair go; those of a member that was removed are told.

    the tie                                        -> its bookmarks at the source
    is of a pair that is deleted                   -> go; the target is asked what else there is
    is of a member that was removed, or moved      -> stay, and those that keep a point are told
    is asked for by another pair, or was given     -> stay
      to another installation

Who removed a member may add it again: nobody but a person knows whether its bookmarks are needed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from backstay.api.values import is_below
from backstay.controllers.machines import machine_of
from backstay.controllers.shares import Shares
from backstay.domain.errors import BackstayError
from backstay.domain.pairs import Entry, Route
from backstay.domain.steps import Prune
from backstay.domain.zfs import WRITER, Dataset, HostListing
from backstay.observe.route import without_covered
from backstay.plan.checks import receive_root
from backstay.plan.lineages import Tie, stray_bookmarks, stray_sources, ties_between
from backstay.plan.members import asks_for
from backstay.plan.naming import short_id
from backstay.plan.pruning import plan_farewell
from backstay.plan.replication import Seen
from backstay.ports.host import HostPort, SurveyRequest

Asking = tuple[str, Route, Sequence[Entry]]


@dataclass(frozen=True, slots=True)
class Cleared:
    """Why bookmarks could not go, and those that nobody is known to need and that were left."""

    failures: tuple[str, ...]
    strays: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Needed:
    """Which lineages pairs are known to have at the sources of a host."""

    lineages: Mapping[str, Collection[str]]
    unseen: tuple[Entry, ...]
    """What pairs ask for whose lineages are not known yet."""

    def at(self, source: str) -> Collection[str] | None:
        """Those of a source; None when some are not known."""
        for entry in self.unseen:
            if source == entry.source or (entry.recursive and is_below(source, entry.source)):
                return None
        return self.lineages.get(source, ())


class Partings:
    """Ends ties on a route; whoever calls it holds the route."""

    def __init__(self, shares: Shares) -> None:
        self._shares = shares
        self._book = shares.book

    async def clear(self, pair: str, route: Route, entries: Sequence[Entry]) -> Cleared:
        """No tie of a pair that is deleted is left on the route, as far as it is known to be one.

        Raises as hosts do; a target that is not seen is missed only before a pass has seen it.
        """
        known = self._book.ties.get(pair, {}).get(route)
        before = () if known is None else known.values()
        source = await self._source(route)
        roots = {(e.source, e.recursive) for e in entries} | {(t.source, False) for t in before}
        listing = await source.survey(SurveyRequest(roots=without_covered(roots), sync=False))
        try:
            target = await self._target(
                route,
                {(e.target, e.recursive) for e in entries} | {(t.target, False) for t in before},
            )
        except BackstayError:
            if known is None:
                raise  # Only the target knows what there may be.
            ties = dict(known)
        else:
            found = {**ties_between(entries, listing, target), **(known or {})}
            ties = self._ours(found, target)
        others = [other for other in self._shares.asking(route.source) if other[0] != pair]
        ties = self._unneeded(route, ties, others)
        failures = await _destroy(source, plan_farewell(listing.datasets, ties))
        needed = self._needed(others)
        strays = (self._strays(d, needed, ties.keys()) for d in listing.datasets.values())
        return Cleared(tuple(failures), tuple(name for found in strays for name in found))

    def strays(self, route: Route, seen: Seen) -> dict[str, tuple[str, ...]]:
        """Source dataset → bookmarks of ours for which no pair is known to have a replica.

        Where a pair that this leader has not seen asks for the source, too, nothing is known.
        """
        candidates = dict(stray_sources(seen))
        if not candidates:
            return {}
        needed = self._needed(self._shares.asking(route.source))
        found = {
            name: self._strays(seen.source.datasets[name], needed, known)
            for name, known in candidates.items()
        }
        return {name: strays for name, strays in found.items() if strays}

    def _ours(self, ties: Mapping[str, Tie], target: HostListing) -> dict[str, Tie]:
        own = self._shares.short_id
        return {k: tie for k, tie in ties.items() if not _is_anothers(tie.target, target, own)}

    def _unneeded(
        self,
        route: Route,
        ties: Mapping[str, Tie],
        others: Iterable[Asking],
    ) -> dict[str, Tie]:
        """Without those that other pairs have, or will have once they are served."""
        registry = self._shares.registry
        machine, left = machine_of(route.target, registry), dict(ties)
        for other, at, entries in others if ties else ():
            known = self._book.ties.get(other, {}).get(at, {})
            is_here = machine_of(at.target, registry) == machine
            for lineage, tie in ties.items():
                is_asked = is_here and asks_for(entries, tie.source, tie.target)
                if is_asked or lineage in known:
                    left.pop(lineage, None)
        return left

    def _strays(self, dataset: Dataset, needed: _Needed, known: Collection[str]) -> tuple[str, ...]:
        others = needed.at(dataset.name)
        if others is None:
            return ()
        strays = stray_bookmarks(dataset, {*known, *others}, self._shares.short_id)
        return tuple(bookmark.full_name for bookmark in strays)

    def _needed(self, asking: Iterable[Asking]) -> _Needed:
        lineages: dict[str, set[str]] = {}
        unseen: list[Entry] = []
        for pair, route, entries in asking:
            known = self._book.ties.get(pair, {}).get(route)
            if known is None:
                unseen += entries
            # The last lineage that tied two datasets is the one that does, if they still are tied.
            newest = {
                tie: lineage
                for lineage, tie in (known or {}).items()
                if asks_for(entries, tie.source, tie.target)
            }
            for tie, lineage in newest.items():
                lineages.setdefault(tie.source, set()).add(lineage)
        return _Needed(lineages, tuple(unseen))

    async def _source(self, route: Route) -> HostPort:
        """The source under our term."""
        finder = self._shares.finder
        source = await finder.find(route.source)
        await finder.claim(route.source, source, ())
        return source

    async def _target(self, route: Route, roots: set[tuple[str, bool]]) -> HostListing:
        """These replicas, and what is above them up to the receive root, which says who writes.

        A hardened host does not show more; without a root of the Site's, it may be any above.
        """
        host = await self._shares.finder.find(route.target)
        known = self._shares.finder.receive_roots(route.target)
        above = set()
        for name, _ in roots:
            root = receive_root(name, known)
            higher = _upwards(name)[1:]
            above |= {(d, False) for d in higher if root in (None, d) or is_below(d, root or "")}
        return await host.survey(SurveyRequest(roots=without_covered(roots | above), sync=False))


async def _destroy(source: HostPort, step: Prune) -> list[str]:
    failures = await source.prune(step) if step.bookmarks else ()
    return [failure.message for failure in failures]


def _upwards(dataset: str) -> list[str]:
    """The dataset itself and all above it, the nearest first."""
    parts = dataset.split("/")
    return ["/".join(parts[:end]) for end in range(len(parts), 0, -1)]


def _is_anothers(replica: str, target: HostListing, own_short_id: str) -> bool:
    """Whether the nearest writer above a replica is another installation.

    Its bookmarks bear the same lineages: it would have to send everything anew.
    """
    marks = [target.datasets[d].properties for d in _upwards(replica) if d in target.datasets]
    writer = next((mark[WRITER] for mark in marks if WRITER in mark), None)
    return writer is not None and short_id(writer.partition(":")[2]) != own_short_id
