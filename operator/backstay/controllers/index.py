"""Every pair resolved, by its name, its routes and its source hosts; kept up to date by changes.

A change costs the work on what it concerns: with 10,000 pairs, looking at all of them takes a
second in which nothing else runs.
"""

from __future__ import annotations

from collections.abc import (
    Callable,
    Collection,
    Hashable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from typing import TypeVar

from backstay.api.v1alpha1.protectionpolicy import ProtectionPolicy
from backstay.api.v1alpha1.replicationpair import ReplicationPair
from backstay.api.v1alpha1.site import Site
from backstay.controllers.keys import ObjectKey
from backstay.controllers.machines import Machine, machine_of
from backstay.controllers.registry import Registry
from backstay.domain.pairs import Conflict, Entry, HostKey, PairTask, Route
from backstay.plan.claims import refused_claims
from backstay.plan.resolve import ResolvedPair, pair_entries, resolve_pair

K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=Hashable)
W = TypeVar("W")


class PairIndex:
    """What each valid pair asks of which hosts, as of the registry's newest revision.

    | what changed                      | is looked at anew                                      |
    |-----------------------------------|--------------------------------------------------------|
    | a pair, or the site that it is at | it, and those that claim datasets of its target hosts  |
    | a Site or a policy                | the pairs that name it                                 |
    """

    def __init__(self, registry: Registry, active_site: Mapping[str, str]) -> None:
        self._registry = registry
        self._active_site = active_site
        self._revision = -1
        self._active: dict[str, str] = {}
        self._claims = _Claims(self._machine)
        self._resolved: dict[str, ResolvedPair | Conflict] = {}
        self._unserved: dict[str, None] = {}
        self._routes: dict[Route, dict[str, ResolvedPair]] = {}
        self._ends: dict[str, list[tuple[Route, Machine, Machine]]] = {}
        """The routes of a pair with the machines that they were between when it was put in."""
        self._sources: dict[Machine, dict[tuple[Route, str], PairTask]] = {}
        self._targets: dict[Machine, dict[tuple[Route, str], PairTask]] = {}

    def pair(self, key: str) -> ResolvedPair | Conflict | None:
        """The pair with its routes, why it has none, or None when there is no such valid pair."""
        self._catch_up()
        return self._resolved.get(key)

    def on_route(self, route: Route) -> list[ResolvedPair]:
        """The pairs with a share of the route that are neither suspended nor being deleted."""
        self._catch_up()
        return list(self._routes.get(route, {}).values())

    def at_source(self, host: HostKey) -> Iterator[tuple[Route, PairTask]]:
        """All that is asked of a source host's machine; a suspended pair still wants its points."""
        self._catch_up()
        for (route, _), task in self._sources.get(self._machine(host), {}).items():
            yield route, task

    def at_target(self, host: HostKey) -> Iterator[tuple[Route, PairTask]]:
        """All that is sent to a target host's machine, or was until it was suspended."""
        self._catch_up()
        for (route, _), task in self._targets.get(self._machine(host), {}).items():
            yield route, task

    def asking(self, host: HostKey) -> Iterator[tuple[str, Route, Sequence[Entry]]]:
        """As `at_source`, and what pairs would ask there that are not served, or are leaving."""
        machine = self._machine(host)
        for route, task in self.at_source(host):
            yield task.key, route, task.entries
        for key in self._unserved:
            if (pair := self._pair(key)) is None:
                continue
            for site in pair.spec.sites:
                for route, entries in pair_entries(pair, site).items():
                    if self._machine(route.source) == machine:
                        yield key, route, entries

    def _catch_up(self) -> None:
        if self._revision == self._registry.revision and self._active == self._active_site:
            return
        changed = self._changed()
        self._revision, self._active = self._registry.revision, dict(self._active_site)
        concerned = self._claims.update(
            {key: self._pair(key) for key in changed}, self._pair, self._active
        )
        # In the order of the registry where all are new: who reads a task finds it as applied.
        for key in dict.fromkeys((*changed, *concerned)):
            self._take_out(key)
            self._put_in(key)

    def _changed(self) -> list[str]:
        """The pairs that may resolve to something else than they did."""
        news = self._registry.changed_since(self._revision)
        found = [f"{k.namespace}/{k.name}" for k in news if k.kind == ReplicationPair.info.kind]
        others = {k for k in news if k.kind != ReplicationPair.info.kind}
        if others:
            found += [
                f"{pair.metadata.namespace}/{pair.metadata.name}"
                for pair in self._registry.pairs()
                if not others.isdisjoint(_references(pair))
            ]
        moved = self._active.items() ^ self._active_site.items()
        return list(dict.fromkeys((*found, *(key for key, _ in moved))))

    def _put_in(self, key: str) -> None:
        pair = self._pair(key)
        if pair is None:
            return
        resolved = self._claims.refused.get(key) or self._resolve(key, pair)
        self._resolved[key] = resolved
        if isinstance(resolved, Conflict) or pair.metadata.deletion_timestamp is not None:
            self._unserved[key] = None
            return
        for route, task in resolved.shares.items():
            source, target = self._machine(route.source), self._machine(route.target)
            self._ends.setdefault(key, []).append((route, source, target))
            self._sources.setdefault(source, {})[route, key] = task
            self._targets.setdefault(target, {})[route, key] = task
            if not resolved.suspended:
                self._routes.setdefault(route, {})[key] = resolved

    def _take_out(self, key: str) -> None:
        self._resolved.pop(key, None)
        self._unserved.pop(key, None)
        for route, source, target in self._ends.pop(key, ()):
            _discard(self._routes, route, key)
            _discard(self._sources, source, (route, key))
            _discard(self._targets, target, (route, key))

    def _machine(self, host: HostKey) -> Machine:
        return machine_of(host, self._registry)

    def _pair(self, key: str) -> ReplicationPair | None:
        namespace, name = key.split("/", 1)
        return self._registry.pair(namespace, name)

    def _resolve(self, key: str, pair: ReplicationPair) -> ResolvedPair | Conflict:
        namespace = pair.metadata.namespace
        return resolve_pair(
            pair,
            self._registry.policy(namespace, pair.spec.policy_ref.name),
            sites_of(pair, self._registry),
            active_site=self._active.get(key),
        )


def sites_of(pair: ReplicationPair, registry: Registry) -> dict[str, Site]:
    """Those of the pair's two Sites that exist, in the order of the spec."""
    found = {name: registry.site(pair.metadata.namespace, name) for name in pair.spec.sites}
    return {name: site for name, site in found.items() if site is not None}


class _Claims:
    """The pairs whose targets belong to older ones, judged machine by machine.

    Pairs that meet on no target, directly or through others, have nothing to do with each
    other; those that do are judged together.
    """

    def __init__(self, machine: Callable[[HostKey], Machine]) -> None:
        self.refused: dict[str, Conflict] = {}
        self._machine = machine
        self._hosts: dict[str, frozenset[Machine]] = {}
        self._claimants: dict[Machine, dict[str, None]] = {}

    def update(
        self,
        changed: Mapping[str, ReplicationPair | None],
        pair_of: Callable[[str], ReplicationPair | None],
        active_site: Mapping[str, str],
    ) -> list[str]:
        """The claims are those of now; the pairs of which something else is said than before."""
        touched: set[Machine] = set()
        for key, pair in changed.items():
            for host in (before := self._hosts.pop(key, frozenset())):
                _discard(self._claimants, host, key)
            touched |= before
            if pair is None:
                continue
            site = active_site.get(key, pair.spec.preferred_site)
            self._hosts[key] = frozenset(
                self._machine(route.target) for route in pair_entries(pair, site)
            )
            touched |= self._hosts[key]
            for host in self._hosts[key]:
                self._claimants.setdefault(host, {})[key] = None
        judged = self._meeting(touched)
        pairs = [pair for key in judged if (pair := pair_of(key)) is not None]
        said = refused_claims(pairs, active_site, self._machine)
        concerned = [key for key in judged if self.refused.get(key) != said.get(key)]
        for key in (*changed, *judged):
            self.refused.pop(key, None)
        self.refused |= said
        return concerned

    def _meeting(self, hosts: Collection[Machine]) -> Iterable[str]:
        """The pairs that claim something on these machines, or on one that such a pair is on."""
        found: dict[str, None] = {}
        known, todo = set(hosts), list(hosts)
        while todo:
            for key in self._claimants.get(todo.pop(), {}):
                if key not in found:
                    found[key] = None
                    todo += self._hosts[key] - known
                    known |= self._hosts[key]
        return found


def _references(pair: ReplicationPair) -> set[ObjectKey]:
    namespace, spec = pair.metadata.namespace, pair.spec
    sites = {ObjectKey(Site.info.kind, namespace, name) for name in spec.sites}
    return {ObjectKey(ProtectionPolicy.info.kind, namespace, spec.policy_ref.name), *sites}


def _discard(index: dict[K, dict[V, W]], at: K, key: V) -> None:
    there = index.get(at, {})
    there.pop(key, None)
    if not there:
        index.pop(at, None)
