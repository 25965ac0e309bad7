"""From a host's name in a Site to its port, under the leader's term."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from backstay.api.words import Reason
from backstay.controllers.registry import Registry
from backstay.domain.errors import Refused, Stalled
from backstay.domain.pairs import HostKey
from backstay.domain.zfs import WRITER, HostListing
from backstay.plan.resolve import find_host
from backstay.ports.host import Endpoint, HostDirectory, HostPort
from backstay.ports.kube import KubePort

PRIVATE_KEY = "ssh-privatekey"


@dataclass(frozen=True, slots=True)
class _Claim:
    """What holds at a host: since which term, and the mark on each receive root."""

    term: int
    writers: Mapping[str, str]

    def covers(self, term: int, roots: Sequence[str]) -> bool:
        return self.term == term and self.writers.keys() >= set(roots)


class HostFinder:
    """Opens hosts by their keys and makes this leader's term known to them once."""

    def __init__(
        self,
        registry: Registry,
        kube: KubePort,
        directory: HostDirectory,
        term: Callable[[], int],
    ) -> None:
        self._registry = registry
        self._kube = kube
        self._directory = directory
        self._term = term
        self._claims: dict[HostKey, _Claim] = {}

    async def find(self, key: HostKey) -> HostPort:
        """The port of the host.

        Raises `Stalled` when the Site, the host or the Secret's key does not exist.
        """
        site = self._registry.site(key.namespace, key.site)
        if site is None:
            raise Stalled(Reason.SITE_MISSING, f"no Site {key.site} in {key.namespace}: apply it")
        host = find_host(site, key.host)
        if host is None:
            raise Stalled(Reason.HOST_MISSING, f"Site {key.site} has no host {key.host}")
        name = site.spec.ssh.secret_ref.name
        secret = await self._kube.get_secret(key.namespace, name)
        if secret is None or PRIVATE_KEY not in secret:
            raise Stalled(
                Reason.SECRET_MISSING,
                f"Secret {name} in {key.namespace} does not exist or has no key {PRIVATE_KEY}: "
                f"create it with the key that {key} admits",
            )
        return self._directory.open(
            Endpoint(
                name=str(key),
                address=host.address,
                port=host.port,
                user=host.user,
                host_keys=tuple(host.host_keys),
                private_key=secret[PRIVATE_KEY],
            )
        )

    def receive_roots(self, key: HostKey) -> tuple[str, ...]:
        """The receive roots that the Site gives the host."""
        site = self._registry.site(key.namespace, key.site)
        host = None if site is None else find_host(site, key.host)
        return () if host is None else tuple(host.receive_roots)

    async def claim(self, key: HostKey, host: HostPort, roots: Sequence[str]) -> dict[str, str]:
        """This leader's term is known at the host and writes to the roots that are ours.

        Returns the roots of other installations with their writers. Raises `Refused` when the
        host knows a higher term of ours. A claim that held is not repeated within a term.
        """
        known = self._claims.get(key)
        if known is not None and known.covers(self._term(), roots):
            return {}
        states = await host.claim(tuple(sorted(roots)))
        superseded = next((s for s in states if s.outcome == "Superseded"), None)
        if superseded is not None:
            raise Refused(
                Reason.SUPERSEDED,
                f"{superseded.root} on {host.name} is written by {superseded.writer}",
                higher_term=int(superseded.writer.partition(":")[0] or 0),
            )
        if all(s.outcome == "Held" for s in states):
            self._claims[key] = _Claim(self._term(), {s.root: s.writer for s in states})
        return {s.root: s.writer for s in states if s.outcome == "Foreign"}

    async def claim_lost(
        self, key: HostKey, host: HostPort, listing: HostListing
    ) -> dict[str, str]:
        """Roots that the listing shows without our mark were claimed anew; returned as by `claim`.

        A receive root may be made again, or given to another installation, while we lead.
        """
        known = self._claims.get(key)
        if known is None or all(
            root in listing.datasets and listing.datasets[root].properties.get(WRITER) == writer
            for root, writer in known.writers.items()
        ):
            return {}
        del self._claims[key]
        return await self.claim(key, host, tuple(known.writers))
