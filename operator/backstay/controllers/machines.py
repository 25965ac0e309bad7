"""Which names of hosts stand for one machine: what is shared there goes by the machine.

One machine may be a host of two Sites, of Sites in two namespaces, or two hosts of one Site. Its
datasets have the same pairs then, whoever names them: they keep each other's points, prune one
after the other, and cannot have one target twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from backstay.controllers.registry import Registry
from backstay.domain.pairs import HostKey
from backstay.domain.zfs import Guid

Machine: TypeAlias = tuple[str, int] | HostKey


def machine_of(host: HostKey, registry: Registry) -> Machine:
    """The address and port that its Site gives the host; its own name while none does.

    Two addresses are two machines: no name is looked up, and a pool is not known before a host is
    asked; that one is seen at both is said (`PoolsSeen`).
    """
    site = registry.site(host.namespace, host.site)
    found = None if site is None else site.spec.host(host.host)
    return host if found is None else (found.address.lower(), found.port)


class PoolsSeen:
    """Which hosts have shown a pool when they were asked last; who did not answer shows none."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._shown: dict[HostKey, frozenset[Guid]] = {}
        self._by: dict[Guid, set[HostKey]] = {}

    def show(self, host: HostKey, pools: Iterable[Guid]) -> None:
        """The host shows these pools now, and no other."""
        for pool in self._shown.pop(host, ()):
            self._by[pool].discard(host)
        self._shown[host] = frozenset(pools)
        for pool in self._shown[host]:
            self._by.setdefault(pool, set()).add(host)

    def elsewhere(self, host: HostKey, pool: Guid) -> HostKey | None:
        """A host at another address that shows the pool, if a Site names one."""
        here = machine_of(host, self._registry)
        others = (k for k in self._by.get(pool, ()) if machine_of(k, self._registry) != here)
        return min((k for k in others if machine_of(k, self._registry) != k), default=None)
