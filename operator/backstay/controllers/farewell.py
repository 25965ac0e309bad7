"""A deleted pair leaves: its bookmarks go, its snapshots and replicas stay."""

from __future__ import annotations

from contextlib import suppress

import structlog

from backstay.controllers.passes import RoutePasses
from backstay.controllers.registry import Entry
from backstay.controllers.scheduler import Again
from backstay.controllers.shares import Shares
from backstay.domain.errors import BackstayError, Unreachable
from backstay.domain.pairs import Conflict, PairTask, Route
from backstay.domain.zfs import LINEAGE, HostListing
from backstay.observe.route import survey_side
from backstay.plan.pruning import plan_farewell
from backstay.plan.resolve import ResolvedPair
from backstay.ports.host import SurveyRequest
from backstay.ports.kube import Gone, KubePort, Notice

log = structlog.get_logger(__name__)

TRIES = 5
"""About a minute and a half: a dead site must not keep an object, or its namespace, for ever."""
PAUSE_S = 15.0


class Farewell:
    """Runs the end of pairs, with bounded tries."""

    def __init__(self, shares: Shares, kube: KubePort, passes: RoutePasses, finalizer: str) -> None:
        self._shares = shares
        self._kube = kube
        self._passes = passes
        self._finalizer = finalizer
        self._tries: dict[str, int] = {}

    async def run(self, entry: Entry, resolved: ResolvedPair | Conflict) -> Again | None:
        """The pair's streams have ended, its bookmarks are gone, and the object may go.

        After `TRIES` failures the object is released with a warning that names what may remain.
        """
        if self._finalizer not in entry.finalizers:
            self._shares.book.forget_pair(f"{entry.ref.namespace}/{entry.ref.name}")
            return None
        problem = await self._remove_bookmarks(entry, resolved)
        if problem is not None:
            tried = self._tries[entry.ref.uid] = self._tries.get(entry.ref.uid, 0) + 1
            log.warning("farewell-failed", pair=str(entry.ref), tried=tried, why=problem)
            if tried < TRIES:
                return Again(in_s=PAUSE_S)
            await self._warn(entry, problem)
        with suppress(Gone):
            await self._kube.patch_finalizers(entry.ref, remove=(self._finalizer,))
        self._tries.pop(entry.ref.uid, None)
        self._shares.book.forget_pair(f"{entry.ref.namespace}/{entry.ref.name}")
        return None

    async def _remove_bookmarks(
        self, entry: Entry, resolved: ResolvedPair | Conflict
    ) -> str | None:
        """Why bookmarks may remain; None when none does."""
        if isinstance(resolved, Conflict):
            return None if not self._shares.book.lineages.get(_key(entry)) else resolved.message
        for route, task in resolved.shares.items():
            targets = frozenset(e.target for e in task.entries)
            await self._passes.lanes.cancel(
                lambda at, held, route=route, targets=targets: (  # type: ignore[misc]
                    at == route and any(_covers(targets, t) for t in held)
                )
            )
            try:
                async with self._passes.alone(route):
                    problem = await self._clear_route(_key(entry), route, task)
            except BackstayError as error:
                problem = error.message
            if problem is not None:
                return problem
        return None

    async def _clear_route(self, key: str, route: Route, task: PairTask) -> str | None:
        finder = self._shares.finder
        source = await finder.find(route.source)
        await finder.claim(source, ())
        roots = tuple((e.source, e.recursive) for e in task.entries)
        listing = await source.survey(SurveyRequest(roots=roots, sync=False))
        lineages = self._shares.book.lineages.get(key) or await self._lineages_at(route, task)
        prune = plan_farewell(listing.datasets, lineages)
        failures = await source.prune(prune) if prune.bookmarks else ()
        return failures[0].message if failures else None

    async def _lineages_at(self, route: Route, task: PairTask) -> frozenset[str]:
        """The lineages that the pair's replicas carry, when no pass of ours has seen them."""
        target = await self._shares.finder.find(route.target)
        roots = tuple((e.target, e.recursive) for e in task.entries)
        listing = await survey_side(target, SurveyRequest(roots=roots, sync=False))
        if not isinstance(listing, HostListing):
            raise Unreachable(listing.reason, listing.message)
        found = (d.properties.get(LINEAGE) for d in listing.datasets.values())
        return frozenset(lineage for lineage in found if lineage is not None)

    async def _warn(self, entry: Entry, problem: str) -> None:
        said = (
            f"released after {TRIES} tries; bookmarks backstay_* may remain on the source and can "
            f"be destroyed by hand; all data stays. The last problem: {problem}"
        )
        notice = Notice(type="Warning", reason="BookmarksLeft", message=said)
        try:
            await self._kube.emit_event(entry.ref, notice)
        except BackstayError as error:
            log.warning("event-failed", pair=str(entry.ref), why=error.message)


def _key(entry: Entry) -> str:
    return f"{entry.ref.namespace}/{entry.ref.name}"


def _covers(targets: frozenset[str], held: str) -> bool:
    return any(held == t or held.startswith(f"{t}/") for t in targets)
