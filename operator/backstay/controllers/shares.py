"""Which pairs a pass over a route serves, and when the route is due again."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from backstay.api.kinds import REQUESTED_AT, RESOLVE, YIELD
from backstay.api.v1alpha1.replicationpair import ReplicationPair
from backstay.api.values import duration_seconds
from backstay.api.words import Reason
from backstay.controllers.book import Book
from backstay.controllers.hosts import HostFinder
from backstay.controllers.index import PairIndex, sites_of
from backstay.controllers.registry import Registry
from backstay.controllers.scheduler import Again
from backstay.domain.pairs import (
    Chained,
    Conflict,
    Entry,
    HostKey,
    PairState,
    PairTask,
    Route,
    RouteTask,
)
from backstay.domain.zfs import Guid
from backstay.plan.resolve import ResolvedPair

LOOK_S = 60.0
"""After a pass that brought nothing: the pools are looked at this often to find what a human or a
stream in the background has done."""
SOONEST_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteShare:
    """What one pass serves; `marks` says which state of each spec it was for."""

    task: RouteTask
    marks: dict[str, tuple[object, ...]]
    turns: frozenset[str]
    """Pairs whose turn for new points it is."""


class Shares:
    """Resolves the registry's pairs to routes and keeps their due times."""

    def __init__(self, registry: Registry, finder: HostFinder, book: Book, short_id: str) -> None:
        self.registry = registry
        self.finder = finder
        self.book = book
        self.short_id = short_id
        self._awake: set[tuple[Route, str]] = set()
        self._index = PairIndex(registry, book.active_site)

    def resolve(self, namespace: str, name: str) -> ResolvedPair | Conflict | None:
        """The pair with its routes, why it has none, or None when there is no such valid pair."""
        return self._index.pair(f"{namespace}/{name}")

    def rpo_s(self, pair: ReplicationPair) -> int | None:
        """The RPO of the pair's policy, if there is one, whatever else is wrong with the pair."""
        policy = self.registry.policy(pair.metadata.namespace, pair.spec.policy_ref.name)
        return None if policy is None else duration_seconds(policy.spec.effective_rpo)

    def is_new(self, route: Route, key: str) -> bool:
        """Whether no pass has served the pair as it is now."""
        return self.book.served.get(f"{key} {route}") != self._mark(key)

    def on_route(self, route: Route) -> list[ResolvedPair]:
        """The pairs with a share of the route that are neither suspended nor being deleted."""
        return self._index.on_route(route)

    def at_source(self, host: HostKey) -> tuple[tuple[Route, PairTask], ...]:
        """All that is asked of a source host, by route; of suspended pairs, too."""
        return tuple(self._index.at_source(host))

    def asking(self, host: HostKey) -> tuple[tuple[str, Route, Sequence[Entry]], ...]:
        """What any pair asks of a source host, served or not: (pair, route, its entries)."""
        return tuple(self._index.asking(host))

    def due(self, route: Route, now: datetime, now_s: float) -> RouteShare | None:
        """What a pass now would serve; None when nothing is on the route any more.

        A pass takes along what falls due within its own expected duration, and all that waits for
        a side that was not seen: one login tells for all of them.
        """
        resolved = self.on_route(route)
        if not resolved:
            return None
        horizon = max(self.book.mean_duration_s(route), SOONEST_S)
        ripe = {r.key for r in resolved if self._wait_s(r, route, now, now_s) <= horizon}
        chosen = [r for r in resolved if r.key in ripe or (ripe and self._is_unseen(r.key, route))]
        turns = frozenset(r.key for r in chosen if self._is_turn(r, route, now_s + horizon))
        tasks = tuple(
            replace(
                r.shares[route],
                quarantined=self.book.quarantined(route, r.key),
                resting=frozenset() if r.key in turns else self._resting(r, route, now),
            )
            for r in chosen
        )
        return RouteShare(
            task=RouteTask(
                source_host=str(route.source),
                target_host=str(route.target),
                receive_roots=self.finder.receive_roots(route.target),
                short_id=self.short_id,
                pairs=tasks,
                neighbours=self.neighbours(route, {r.key for r in chosen}),
                chained=self._chained(route, tasks),
            ),
            marks={r.key: self._mark(r.key) for r in chosen},
            turns=turns,
        )

    def neighbours(self, route: Route, served: Collection[str]) -> tuple[PairTask, ...]:
        """All that is asked of the route's source host but what a pass now serves."""
        return tuple(
            task
            for other, task in self._index.at_source(route.source)
            if other != route or task.key not in served
        )

    def _feeding(
        self, route: Route, tasks: Collection[PairTask]
    ) -> list[tuple[Route, PairTask, frozenset[str]]]:
        """The pairs that send to sources of these, with the targets that they send to."""
        served = {task.key for task in tasks}
        sources = {e.source for task in tasks for e in task.entries}
        at_or_above = {name for source in sources for name in _upwards(source)}
        found = []
        for other, task in self._index.at_target(route.source):
            targets = frozenset(
                e.target
                for e in task.entries
                if e.target in at_or_above or not sources.isdisjoint(_upwards(e.target))
            )
            if targets and task.key not in served:
                found.append((other, task, targets))
        return found

    def _chained(self, route: Route, tasks: tuple[PairTask, ...]) -> Chained:
        """What the route's sources are to other pairs."""
        feeding = self._feeding(route, tasks)
        targets = frozenset(target for _, _, names in feeding for target in names)
        upstream: dict[str, tuple[Guid, datetime]] = {}
        for other, task, _ in feeding:
            state = self.book.states.get((task.key, other))
            for member in () if state is None else state.members:
                if member.point is not None and member.as_of is not None:
                    upstream[member.target] = member.point.guid, member.as_of
        sources = {e.source for task in tasks for e in task.entries}
        fed = frozenset(s for s in sources if not targets.isdisjoint(_upwards(s)))
        return Chained(fed=fed, upstream=upstream)

    def began(self, route: Route, share: RouteShare) -> None:
        """A pass for these pairs begins; what wakes them from now on is for the next one."""
        self._awake -= {(route, key) for key in share.marks}
        if any(self.is_new(route, key) for key in share.marks):
            self.book.trust(route)

    def passed(self, route: Route, share: RouteShare) -> None:
        """The pass has served these pairs as they were when it began."""
        for key, mark in share.marks.items():
            self.book.served[f"{key} {route}"] = mark
            state = self.book.states.get((key, route))
            if key in share.turns and state is not None and state.problem is None:
                self.book.turned_at[key, route] = self.book.looks[key, route].began_s
            if state is not None and state.problem and state.problem.reason == Reason.KEY_REFUSED:
                self.finder.refused(route.source)
                self.finder.refused(route.target)

    def wake(self, route: Route, pairs: Collection[str]) -> None:
        """The pairs are due: something of theirs has ended."""
        self._awake |= {(route, pair) for pair in pairs}

    def host_is_back(self, host: HostKey) -> list[Route]:
        """Pairs whose last pass could not see a side are due; returns their routes by the host."""
        waiting = {
            (route, pair)
            for pair, route in self.book.states
            if host in (route.source, route.target) and self._is_unseen(pair, route)
        }
        self._awake |= waiting
        return sorted({route for route, _ in waiting})

    def next_due(self, route: Route, now: datetime, now_s: float) -> Again | None:
        """When the route's earliest pair is due, and by when that pass should start."""
        resolved = self.on_route(route)
        if not resolved:
            return None
        waits = [(self._wait_s(r, route, now, now_s), r) for r in resolved]
        wait, first = min(waits, key=lambda w: w[0])
        room = first.rpo_s - first.interval_s - 1.5 * self.book.mean_duration_s(route)
        return Again(in_s=max(wait, SOONEST_S), deadline_in_s=max(wait + room, 0.0))

    def _wait_s(self, pair: ResolvedPair, route: Route, now: datetime, now_s: float) -> float:
        """Seconds until the pair is due on the route; 0 or less when it is.

        | the pair                                  | is due                                     |
        |-------------------------------------------|--------------------------------------------|
        | was never passed, edited, asked for, woken | now                                       |
        | had a side that was not seen              | some seconds after that pass began, longer |
        |                                           | each time, but no more than its interval   |
        | is in conflict, or the pass brought nothing | a minute after it began                  |
        | has a newer point                         | an interval after that point or that pass, |
        |                                           | after its first pass a part of one         |
        | has a failed member                       | when its pause ends, if that is earlier    |
        """
        key = (pair.key, route)
        state, look = self.book.states.get(key), self.book.looks.get(key)
        if state is None or look is None or (route, pair.key) in self._awake:
            return 0.0
        if self.is_new(route, pair.key):
            return 0.0
        since = now_s - look.began_s
        if state.problem is not None:
            return min(look.rest_s, pair.interval_s) - since
        wait = min(LOOK_S, pair.interval_s) - since
        if look.has_news and state.point is not None and not any(m.conflict for m in state.members):
            interval_s = pair.interval_s * (_part(route) if look.is_first else 1.0)
            # A wall clock that was set back must not put the next pass off.
            wait = interval_s - max(_age_s(state, now), since)
        retry_at_s = self.book.retry_at_s(route, pair.key, look.began_s)
        return wait if retry_at_s is None else min(wait, retry_at_s - now_s)

    def _is_turn(self, pair: ResolvedPair, route: Route, until_s: float) -> bool:
        """Whether its interval is over by then, however often it was looked at since.

        Passes that look after one member, or try again, must not take points of the others: each
        would push an older one out of what the policy keeps.
        """
        key = (pair.key, route)
        at_s, look = self.book.turned_at.get(key), self.book.looks.get(key)
        if at_s is None or look is None or self.is_new(route, pair.key):
            return True
        return until_s - at_s >= pair.interval_s * (_part(route) if look.is_first else 1.0)

    def _resting(self, pair: ResolvedPair, route: Route, now: datetime) -> frozenset[str]:
        state = self.book.states.get((pair.key, route))
        return frozenset(
            m.target
            for m in (() if state is None else state.members)
            if m.point is not None
            and (now - (m.as_of or m.point.at)).total_seconds() < pair.interval_s
        )

    def _is_unseen(self, pair: str, route: Route) -> bool:
        state = self.book.states.get((pair, route))
        return state is not None and state.problem is not None

    def _mark(self, key: str) -> tuple[object, ...]:
        namespace, name = key.split("/", 1)
        pair = self.registry.pair(namespace, name)
        if pair is None:
            return ()
        policy = self.registry.policy(namespace, pair.spec.policy_ref.name)
        meta = pair.metadata
        return (
            meta.uid,
            meta.generation,
            meta.annotations.get(REQUESTED_AT),
            meta.annotations.get(RESOLVE),
            meta.annotations.get(YIELD),
            None if policy is None else policy.metadata.generation,
            *(site.metadata.generation for site in sites_of(pair, self.registry).values()),
        )


def _upwards(dataset: str) -> list[str]:
    parts = dataset.split("/")
    return ["/".join(parts[:end]) for end in range(len(parts), 0, -1)]


def _part(route: Route) -> float:
    """From 0 to 1, another one for each route: all begin at once, and must not stay in step."""
    return zlib.crc32(str(route).encode()) / 2**32


def _age_s(state: PairState, now: datetime) -> float:
    assert state.point is not None
    return (now - (state.as_of or state.point.at)).total_seconds()
