"""A deleted pair leaves: its bookmarks go, its snapshots and replicas stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import structlog

from backstay.api.v1alpha1.replicationpair import ReplicationPair
from backstay.controllers.keys import ObjectKey
from backstay.controllers.passes import RoutePasses
from backstay.controllers.registry import Entry
from backstay.controllers.scheduler import Again
from backstay.controllers.shares import Shares
from backstay.domain import pairs
from backstay.domain.errors import BackstayError
from backstay.domain.pairs import Route
from backstay.domain.zfs import WRITER, HostListing
from backstay.plan.lineages import lineages_between
from backstay.plan.naming import short_id
from backstay.plan.pruning import plan_farewell
from backstay.plan.resolve import pair_entries
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

    async def end_streams(self, pair: str, wanted: Mapping[Route, pairs.PairTask]) -> None:
        """Of the pair's streams beside passes only those go on that are wanted of it now."""
        await self._passes.end_streams(pair, wanted)

    async def gone(self, key: ObjectKey) -> None:
        """Nothing of a pair without an object goes on, and nothing is remembered of it."""
        pair = f"{key.namespace}/{key.name}"
        await self._passes.end_streams(pair, {})
        self._shares.book.forget_pair(pair)

    async def run(self, entry: Entry, pair: ReplicationPair) -> Again | None:
        """The pair's streams have ended, its bookmarks are gone, and the object may go.

        After `TRIES` failures the object is released with a warning that names what may remain.
        It needs no policy, which may have gone before.
        """
        if self._finalizer not in entry.finalizers:
            await self.gone(entry.key)
            return None
        tried = self._tries[entry.ref.uid] = self._tries.get(entry.ref.uid, 0) + 1
        if tried > TRIES:
            # Only a fault of ours gets here: it ended every try before its problem was counted.
            await self.release(entry, f"a fault of backstay itself ended {TRIES} tries")
            return None
        problem = await self._remove_bookmarks(_key(entry), pair)
        if problem is not None:
            log.warning("farewell-failed", pair=str(entry.ref), tried=tried, why=problem)
            if tried < TRIES:
                return Again(in_s=PAUSE_S)
        await self.release(entry, problem)
        return None

    async def release(self, entry: Entry, problem: str | None) -> None:
        """The object may go; a problem is told in an event."""
        if problem is not None:
            await self._warn(entry, problem)
        with suppress(Gone):
            await self._kube.patch_finalizers(entry.ref, remove=(self._finalizer,))
        self._tries.pop(entry.ref.uid, None)
        await self.gone(entry.key)

    async def _remove_bookmarks(self, key: str, pair: ReplicationPair) -> str | None:
        """Why bookmarks may remain; None when none does."""
        site = self._shares.book.active_site.get(key, pair.spec.preferred_site)
        await self._passes.end_streams(key, {})
        problems = []
        for route, entries in pair_entries(pair, site).items():
            async with self._passes.alone(route):
                # A pass that was under way may have begun another one.
                await self._passes.end_streams(key, {})
                try:
                    problems += await self._clear_route(key, route, entries)
                except BackstayError as error:
                    problems.append(error.message)
        return problems[0] if problems else None

    async def _clear_route(
        self, key: str, route: Route, entries: Sequence[pairs.Entry]
    ) -> list[str]:
        finder = self._shares.finder
        source = await finder.find(route.source)
        await finder.claim(route.source, source, ())
        roots = tuple((e.source, e.recursive) for e in entries)
        listing = await source.survey(SurveyRequest(roots=roots, sync=False))
        lineages = self._shares.book.lineages.get((key, route))
        if lineages is None:
            # No pass of ours has seen the pair: the target knows.
            lineages = await self._lineages_of(route, entries, listing)
        prune = plan_farewell(listing.datasets, lineages)
        failures = await source.prune(prune) if prune.bookmarks else ()
        return [failure.message for failure in failures]

    async def _lineages_of(
        self, route: Route, entries: Sequence[pairs.Entry], source: HostListing
    ) -> frozenset[str]:
        """What ties the pair to its replicas; those that another installation writes are not ours.

        Its bookmarks bear the same lineages: it would have to send everything anew.
        """
        target = await self._shares.finder.find(route.target)
        targets = {e.target: e.recursive for e in entries}
        above = {dataset for t in targets for dataset in _upwards(t)} - targets.keys()
        roots = (*targets.items(), *((dataset, False) for dataset in sorted(above)))
        found = await target.survey(SurveyRequest(roots=roots, sync=False))
        mine = [e for e in entries if not _is_anothers(e.target, found, self._shares.short_id)]
        replicas = {
            name: dataset
            for name, dataset in found.datasets.items()
            if any(e.target in _upwards(name) for e in mine)
        }
        return lineages_between(mine, source, replace(found, datasets=replicas))

    async def _warn(self, entry: Entry, problem: str) -> None:
        said = (
            f"released; bookmarks backstay_* may remain on the source and can "
            f"be destroyed by hand; all data stays. The problem: {problem}"
        )
        notice = Notice(type="Warning", reason="BookmarksLeft", message=said)
        try:
            await self._kube.emit_event(entry.ref, notice)
        except BackstayError as error:
            log.warning("event-failed", pair=str(entry.ref), why=error.message)


def _upwards(dataset: str) -> list[str]:
    """The dataset itself and all above it, the nearest first."""
    parts = dataset.split("/")
    return ["/".join(parts[:end]) for end in range(len(parts), 0, -1)]


def _is_anothers(replica: str, target: HostListing, own_short_id: str) -> bool:
    """Whether the nearest writer above a replica is another installation."""
    marks = [target.datasets[d].properties for d in _upwards(replica) if d in target.datasets]
    writer = next((mark[WRITER] for mark in marks if WRITER in mark), None)
    return writer is not None and short_id(writer.partition(":")[2]) != own_short_id


def _key(entry: Entry) -> str:
    return f"{entry.ref.namespace}/{entry.ref.name}"
