"""A deleted pair leaves: its bookmarks go, its snapshots and replicas stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

import structlog

from backstay.api.v1alpha1.replicationpair import ReplicationPair
from backstay.controllers.keys import ObjectKey
from backstay.controllers.partings import Cleared
from backstay.controllers.passes import RoutePasses
from backstay.controllers.registry import Entry
from backstay.controllers.scheduler import Again
from backstay.controllers.shares import Shares
from backstay.domain import pairs
from backstay.domain.errors import BackstayError
from backstay.domain.pairs import Route
from backstay.plan.resolve import pair_entries
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
        cleared = await self._remove_bookmarks(_key(entry), pair)
        problem = next(iter(cleared.failures), None)
        if problem is not None:
            log.warning("farewell-failed", pair=str(entry.ref), tried=tried, why=problem)
            if tried < TRIES:
                return Again(in_s=PAUSE_S)
        elif cleared.strays:
            problem = _said(cleared.strays)
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

    async def _remove_bookmarks(self, key: str, pair: ReplicationPair) -> Cleared:
        """No bookmark of the pair remains, but for what is returned."""
        site = self._shares.book.active_site.get(key, pair.spec.preferred_site)
        await self._passes.end_streams(key, {})
        failures: list[str] = []
        strays: list[str] = []
        asked = pair_entries(pair, site)
        book = self._shares.book
        for route in dict.fromkeys((*asked, *book.ties.get(key, {}))):
            async with self._passes.alone(route):
                # A pass that was under way may have begun another one.
                await self._passes.end_streams(key, {})
                try:
                    cleared = await self._passes.partings.clear(key, route, asked.get(route, ()))
                except BackstayError as error:
                    failures.append(error.message)
                else:
                    failures += cleared.failures
                    strays += cleared.strays
        return Cleared(tuple(failures), tuple(strays))

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


def _key(entry: Entry) -> str:
    return f"{entry.ref.namespace}/{entry.ref.name}"


def _said(strays: Sequence[str]) -> str:
    more = f" (and {len(strays) - 1} more)" if len(strays) > 1 else ""
    return (
        f"{strays[0]}{more} is of no replica that is known, as of a member that was removed before "
        f"this operator ran: it was left, as somebody may still go on from it"
    )
