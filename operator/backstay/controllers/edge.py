"""From what the API server says to what is due: one module for all kinds, no Kopf in it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from typing import Protocol

import structlog

from backstay.api.v1alpha1 import KINDS, ReplicationPair
from backstay.controllers import protectionpolicy, replicationpair, site
from backstay.controllers.keys import Key, routes_of
from backstay.controllers.objects import FINALIZER
from backstay.controllers.registry import Entry, Registry, parse, parse_key
from backstay.domain.errors import BackstayError
from backstay.domain.pairs import Route
from backstay.ports.clock import Clock
from backstay.ports.kube import Body, KubePort, ObjectRef

log = structlog.get_logger(__name__)

KIND_NAMES = tuple(model.info.kind for model in KINDS)
# Ten minutes bound how long a missed event stays unnoticed; a LIST of 10,000 objects takes 6 s.
HEAL_EVERY_S = 600.0
HEAL_RETRY_S = 5.0
RELIST_CALM_S = 5.0
JUDGED_A_SECOND = 50
"""Objects of a new leader; more would take the loop from the first passes, which judge most of them
anyway, and no more statuses are written."""
FIRST_HEAL_S = 60.0
"""After a start: the list was complete a moment ago, and the watch begins with another one."""
AT_A_TIME = 100
"""Objects of a LIST that are parsed before others get their turn: ten milliseconds."""


class Bells(Protocol):
    """What the edge may do with keys."""

    def ring(self, key: Key) -> None:
        """The key is due now."""
        ...

    def interrupt(self, key: Key) -> None:
        """The key's run is cancelled and it is due now."""
        ...

    def due_at(self, key: Key, monotonic_s: float) -> None:
        """The key is due at that time, or earlier if it already was."""
        ...


class Forgetful(Protocol):
    """Who remembers objects until they are gone."""

    def forget(self, ref: ObjectRef) -> None:
        """Nothing is kept of exactly this object."""
        ...


class Edge:
    """Feeds the registry and rings what has news."""

    def __init__(self, registry: Registry, bells: Bells, forgetful: Forgetful) -> None:
        self._registry = registry
        self._bells = bells
        self._forgetful = forgetful
        self._relisted = asyncio.Event()

    def receive(self, kind: str, event: str | None, body: Body) -> None:
        """The registry knows what a watch event said, and what it concerns is due.

        `event` is the API server's word, or None for the objects that a watch begins with. A watch
        that begins anew has lost events, and says nothing of what was deleted meanwhile.
        """
        if event is None:
            self._relisted.set()
        if event == "DELETED":
            entry = parse(kind, body)
            if self._registry.drop(entry.ref):
                self._gone(entry)
            return
        key = parse_key(kind, body)
        before = self._registry.entry(key)
        if self._registry.put(kind, body):
            after = self._registry.entry(key)
            assert after is not None
            self._news(before, after)

    async def heal(self, kube: KubePort, kind: str) -> None:
        """The registry equals a complete LIST of the kind; raises as the port does."""
        before = {entry.key: entry for entry in self._registry.entries(kind)}
        with self._registry.healing(kind) as heal:
            entries = []
            async for body in kube.list_all(kind):
                entries.append(self._registry.read(kind, body))
                if len(entries) % AT_A_TIME == 0:
                    await asyncio.sleep(0)
        news, ghosts = self._registry.heal(heal, entries)
        for entry in news:
            self._news(before.get(entry.key), entry)
        for ghost in ghosts:
            self._gone(ghost)
        if before and (news or ghosts):
            log.warning("healed", kind=kind, missed=len(news), ghosts=len(ghosts))

    async def heal_forever(self, kube: KubePort, clock: Clock) -> None:
        """Every ten minutes, and after a watch began anew, the registry equals a LIST."""
        await clock.sleep(FIRST_HEAL_S)
        while True:
            await self._time_to_heal(clock)
            for kind in KIND_NAMES:
                try:
                    await self.heal(kube, kind)
                except BackstayError as error:
                    log.warning("heal-failed", kind=kind, reason=error.reason, why=error.message)

    async def _time_to_heal(self, clock: Clock) -> None:
        nap = asyncio.create_task(clock.sleep(HEAL_EVERY_S))
        bell = asyncio.create_task(self._relisted.wait())
        try:
            await asyncio.wait({nap, bell}, return_when=asyncio.FIRST_COMPLETED)
            if bell.done():
                # The other kinds' watches have most likely broken, too: one LIST of each for all.
                await clock.sleep(RELIST_CALM_S)
        finally:
            nap.cancel()
            bell.cancel()
        self._relisted.clear()

    async def first_list(self, kube: KubePort, clock: Clock) -> None:
        """Every object is known; tries until it is so."""
        for kind in KIND_NAMES:
            while True:
                try:
                    await self.heal(kube, kind)
                    break
                except BackstayError as error:
                    log.warning("list-failed", kind=kind, reason=error.reason, why=error.message)
                    await clock.sleep(HEAL_RETRY_S)

    def ring_all(self, now_s: float) -> Collection[Route]:
        """Every known object is due: a new leader knows nothing of what was done.

        The routes that were begun come first, at once, then what no pass will judge, then the
        others, which are judged by what a pass has seen. Returns the routes.
        """
        entries = [entry for kind in KIND_NAMES for entry in self._registry.entries(kind)]
        begun = {entry.key: routes for entry in entries if (routes := _begun_routes(entry))}
        first = sorted({route for routes in begun.values() for route in routes})
        for route in first:
            self._bells.due_at(route, now_s)
        entries.sort(key=lambda entry: entry.key in begun)
        for number, entry in enumerate(entries):
            self._bells.due_at(entry.key, now_s + number / JUDGED_A_SECOND)
        return first

    def _news(self, before: Entry | None, after: Entry) -> None:
        if before is not None and before.ref.uid != after.ref.uid:
            self._forgetful.forget(before.ref)
        for route in _to_interrupt(before, after):
            self._bells.interrupt(route)
        for key in self._concerned(after):
            self._bells.ring(key)

    def _gone(self, entry: Entry) -> None:
        log.info("gone", object=str(entry.ref))
        self._forgetful.forget(entry.ref)
        for route in _to_interrupt(entry, None):
            self._bells.interrupt(route)
        for key in self._concerned(entry):
            self._bells.ring(key)

    def _concerned(self, entry: Entry) -> Iterator[Key]:
        match entry.ref.kind:
            case "Site":
                return site.concerned(entry, self._registry)
            case "ProtectionPolicy":
                return protectionpolicy.concerned(entry, self._registry)
            case _:
                return replicationpair.concerned(entry, self._registry)


def _begun_routes(entry: Entry) -> tuple[Route, ...]:
    """The routes of a pair that we, or who led before, have begun."""
    if isinstance(entry.value, ReplicationPair) and FINALIZER in entry.finalizers:
        return tuple(routes_of(entry.value))
    return ()


def _to_interrupt(before: Entry | None, after: Entry | None) -> tuple[Route, ...]:
    if before is None or not isinstance(before.value, ReplicationPair):
        return ()
    return replicationpair.to_interrupt(before.value, before, after)
