"""Which names of hosts stand for one machine: what is shared there goes by the machine.

One machine may be a host of two Sites, of Sites in two namespaces, or two hosts of one Site. Its
datasets have the same pairs then, whoever names them: they keep each other's points, prune one
after the other, and cannot have one target twice.
"""

from __future__ import annotations

from typing import TypeAlias

from backstay.controllers.registry import Registry
from backstay.domain.pairs import HostKey
from backstay.plan.resolve import find_host

Machine: TypeAlias = tuple[str, int] | HostKey


def machine_of(host: HostKey, registry: Registry) -> Machine:
    """The address and port that its Site gives the host; its own name while none does.

    Two addresses are two machines: no name is looked up, and what a pool says comes too late.
    """
    site = registry.site(host.namespace, host.site)
    found = None if site is None else find_host(site, host.host)
    return host if found is None else (found.address.lower(), found.port)
