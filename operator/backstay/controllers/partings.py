"""Ties that end: bookmarks go with a member that left its pair, and with a pair that was deleted.

    the tie                                        -> its bookmarks at the source
    is of a member that was removed since          -> go before the next pass; what was removed
      a pass of this leader has seen it               while no operator ran is said, and stays
    is of a pair that is deleted                   -> go; the target is asked what else there is
    is asked for by another pair, or was given     -> stay
      to another installation

Snapshots and replicas stay: a member that is added again goes on from one that both sides have.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import structlog

from backstay.api.values import is_below
from backstay.controllers.machines import machine_of
from backstay.controllers.scheduler import Again
from backstay.controllers.shares import Shares
from backstay.domain.errors import BackstayError
from backstay.domain.pairs import Entry, PairTask, Route
from backstay.domain.zfs import WRITER, HostListing
from backstay.observe.route import without_covered
from backstay.plan.lineages import Tie, stray_bookmarks, stray_sources, ties_between
from backstay.plan.members import asks_for, has_member
from backstay.plan.naming import short_id
from backstay.plan.pruning import plan_farewell
from backstay.plan.replication import Seen
from backstay.plan.resolve import ResolvedPair
from backstay.ports.host import HostPort, SurveyRequest

log = structlog.get_logger(__name__)

TRIES = 5
"""About a minute and a half: a site that is dead must not keep an object, or its namespace."""
PAUSE_S = 15.0


@dataclass(frozen=True, slots=True)
class Cleared:
    """Why bookmarks could not go, and those that nobody is known to need and that were left."""

    failures: tuple[str, ...]
    strays: tuple[str, ...]


class Partings:
    """Ends ties on a route; whoever calls it holds the route."""

    def __init__(self, shares: Shares) -> None:
        self._shares = shares
        self._book = shares.book

    def edited(self, pair: str, route: Route) -> None:
        """Before the route is passed again, what the pair does not ask of it any more is untied."""
        if self._book.ties.get(pair, {}).get(route):
            self._book.parting.setdefault(route, {}).setdefault(pair, 0)

    def left(self, pair: str, wanted: Mapping[Route, PairTask]) -> list[Route]:
        """The routes that the pair has left and that ties of it are still on."""
        routes = [route for route in self._book.ties.get(pair, {}) if route not in wanted]
        for route in routes:
            self.edited(pair, route)
        return routes

    async def see_off(self, route: Route) -> Again | None:
        """Members that left are untied; when it must be tried again.

        After `TRIES` failures it is given up: who still has the source says what remains.
        """
        waiting = self._book.parting.get(route, {})
        for pair in list(waiting):
            tried = waiting[pair] = waiting[pair] + 1
            # More only after faults of ours, which ended every try: passes go on.
            problem = None if tried > TRIES else await self._part(pair, route)
            if problem is not None:
                log.warning("parting-failed", pair=pair, route=str(route), why=problem)
            if problem is None or tried >= TRIES:
                self._forget(pair, route)
                waiting.pop(pair, None)
        if waiting:
            return Again(in_s=PAUSE_S)
        self._book.parting.pop(route, None)
        return None

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
        failures = await self._untie(source, listing, ties)
        return Cleared(tuple(failures), tuple(self._remaining(listing, ties, others)))

    def strays(self, route: Route, seen: Seen) -> dict[str, tuple[str, ...]]:
        """Source dataset → bookmarks of ours for which no pair is known to have a replica.

        Where a pair that this leader has not seen asks for the source, too, nothing is known.
        """
        found = {}
        for name, known in stray_sources(seen):
            others = self._lineages(name, self._shares.asking(route.source))
            if others is None:
                continue
            strays = stray_bookmarks(
                seen.source.datasets[name], known | others, self._shares.short_id
            )
            if strays:
                found[name] = tuple(bookmark.full_name for bookmark in strays)
        return found

    async def _part(self, pair: str, route: Route) -> str | None:
        """What the pair does not want of the route any more is untied, or why it is not."""
        ended = self._ended(pair, route)
        others = [x for x in self._shares.asking(route.source) if x[:2] != (pair, route)]
        ties = self._unneeded(route, ended, others)
        if not ties:
            return None
        log.info("members-left", pair=pair, route=str(route), ties=len(ties))
        try:
            source = await self._source(route)
            ties = await self._still_ours(route, ties)
            roots = {(tie.source, False) for tie in ties.values()}
            listing = await source.survey(SurveyRequest(roots=without_covered(roots), sync=False))
            failures = await self._untie(source, listing, ties)
        except BackstayError as error:
            return error.message
        return next(iter(failures), None)

    def _ended(self, pair: str, route: Route) -> dict[str, Tie]:
        """Ties on the route that the pair, as it is now, does not ask for; none while it rests."""
        namespace, name = pair.split("/", 1)
        resolved = self._shares.resolve(namespace, name)
        if not isinstance(resolved, ResolvedPair) or resolved.suspended:
            return {}
        share = resolved.shares.get(route)
        return {
            lineage: tie
            for lineage, tie in self._book.ties.get(pair, {}).get(route, {}).items()
            if share is None or not has_member(share, tie.source, tie.target)
        }

    def _forget(self, pair: str, route: Route) -> None:
        known = self._book.ties.get(pair, {})
        for lineage in self._ended(pair, route):
            del known[route][lineage]
        if not known.get(route, True):
            del known[route]

    async def _still_ours(self, route: Route, ties: Mapping[str, Tie]) -> dict[str, Tie]:
        """Without those whose target another installation has been given; a dead one has not."""
        try:
            target = await self._target(route, {(tie.target, False) for tie in ties.values()})
        except BackstayError:
            return dict(ties)
        return self._ours(ties, target)

    def _ours(self, ties: Mapping[str, Tie], target: HostListing) -> dict[str, Tie]:
        own = self._shares.short_id
        return {k: tie for k, tie in ties.items() if not _is_anothers(tie.target, target, own)}

    def _unneeded(
        self,
        route: Route,
        ties: Mapping[str, Tie],
        others: Iterable[tuple[str, Route, Sequence[Entry]]],
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

    async def _untie(
        self, source: HostPort, listing: HostListing, ties: Mapping[str, Tie]
    ) -> list[str]:
        prune = plan_farewell(listing.datasets, ties)
        failures = await source.prune(prune) if prune.bookmarks else ()
        return [failure.message for failure in failures]

    def _remaining(
        self,
        listing: HostListing,
        ended: Mapping[str, Tie],
        others: Sequence[tuple[str, Route, Sequence[Entry]]],
    ) -> Iterator[str]:
        """What no other pair is known to need."""
        for dataset in listing.datasets.values():
            known = self._lineages(dataset.name, others)
            if known is None:
                continue
            strays = stray_bookmarks(dataset, known | ended.keys(), self._shares.short_id)
            yield from (bookmark.full_name for bookmark in strays)

    def _lineages(
        self, source: str, asking: Iterable[tuple[str, Route, Sequence[Entry]]]
    ) -> frozenset[str] | None:
        """All lineages of the pairs that ask for a source; None when some are not known."""
        found: set[str] = set()
        for pair, route, entries in asking:
            if not any(
                e.source == source or (e.recursive and is_below(source, e.source)) for e in entries
            ):
                continue
            known = self._book.ties.get(pair, {}).get(route)
            if known is None:
                return None
            found |= known.keys()
        return frozenset(found)

    async def _source(self, route: Route) -> HostPort:
        """The source under our term."""
        finder = self._shares.finder
        source = await finder.find(route.source)
        await finder.claim(route.source, source, ())
        return source

    async def _target(self, route: Route, roots: set[tuple[str, bool]]) -> HostListing:
        """These replicas, and all datasets above them, which say who writes there."""
        host = await self._shares.finder.find(route.target)
        above = {(dataset, False) for name, _ in roots for dataset in _upwards(name)[1:]}
        return await host.survey(SurveyRequest(roots=without_covered(roots | above), sync=False))


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
