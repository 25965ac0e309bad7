"""From a host's name in a Site to its port, under the leader's term."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from backstay.api.kinds import DATA_KEY, PRIVATE_KEY, REQUESTED_AT
from backstay.api.v1alpha1.site import Site
from backstay.api.words import Reason
from backstay.controllers.registry import Registry
from backstay.domain.errors import Refused, Stalled
from backstay.domain.pairs import HostKey
from backstay.domain.zfs import WRITER, HostListing
from backstay.ports.clock import Clock
from backstay.ports.host import Endpoint, HostDirectory, HostPort
from backstay.ports.kube import KubePort

SECRET_KEPT_S = 300.0
"""A pass logs in with a Secret that is no older. Sites look each minute and want a newer one, so
that a pass finds it read already, and a key that was changed is in use after a minute."""


@dataclass(frozen=True, slots=True)
class _Claim:
    """What holds at a host: since which term, and the mark on each receive root."""

    term: int
    writers: Mapping[str, str]

    def covers(self, term: int, roots: Sequence[str]) -> bool:
        return self.term == term and self.writers.keys() >= set(roots)


@dataclass(frozen=True, slots=True)
class _Kept:
    """A Site's keys as read for one state of its spec; the data key may be absent."""

    asked: object
    private_key: bytes = field(repr=False)
    data_key: bytes | None = field(repr=False)
    read_s: float


class HostFinder:
    """Opens hosts by their keys and makes this leader's term known to them once."""

    def __init__(
        self,
        registry: Registry,
        kube: KubePort,
        directory: HostDirectory,
        term: Callable[[], int],
        clock: Clock,
    ) -> None:
        self._registry = registry
        self._kube = kube
        self._directory = directory
        self._term = term
        self._clock = clock
        self._claims: dict[HostKey, _Claim] = {}
        self._keys: dict[tuple[str, str], _Kept] = {}
        self._reading: dict[tuple[str, str], asyncio.Lock] = {}

    async def find(self, key: HostKey, *, within_s: float = SECRET_KEPT_S) -> HostPort:
        """The port of the host, with a key that was read at most so long ago.

        Raises `Stalled` when the Site, the host or the Secret's key does not exist, or the host
        may not be used as it is.
        """
        site = self._registry.site(key.namespace, key.site)
        if site is None:
            raise Stalled(Reason.SITE_MISSING, f"no Site {key.site} in {key.namespace}: apply it")
        host = site.spec.host(key.host)
        if host is None:
            raise Stalled(Reason.HOST_MISSING, f"Site {key.site} has no host {key.host}")
        keys = await self._keys_of(site, within_s)
        return self._directory.open(
            Endpoint(
                name=str(key),
                address=host.address,
                port=host.port,
                user=host.user,
                host_keys=tuple(host.host_keys),
                private_key=keys.private_key,
                installed=host.program == "Installed",
                data_address=host.replication_address or "",
                data_port=host.replication_port or 0,
                data_key=keys.data_key,
            )
        )

    def refused(self, key: HostKey) -> None:
        """The host did not admit the key of its Site: it is read anew before the next login."""
        self._keys.pop((key.namespace, key.site), None)

    async def _keys_of(self, site: Site, within_s: float) -> _Kept:
        """The keys of the Site's Secret: one read serves all hosts until it is too old.

        A missing one is looked for each time: somebody may create it at any moment.
        """
        meta, name = site.metadata, site.spec.ssh.secret_ref.name
        place = (meta.namespace, meta.name)
        asked = (meta.uid, meta.generation, meta.annotations.get(REQUESTED_AT))
        async with self._reading.setdefault(place, asyncio.Lock()):
            now_s = self._clock.monotonic_s()
            kept = self._keys.get(place)
            if kept is not None and kept.asked == asked and now_s - kept.read_s <= within_s:
                return kept
            secret = await self._kube.get_secret(meta.namespace, name)
            if secret is None or PRIVATE_KEY not in secret:
                self._keys.pop(place, None)
                raise Stalled(
                    Reason.SECRET_MISSING,
                    f"Secret {name} in {meta.namespace} does not exist or has no key "
                    f"{PRIVATE_KEY}: create it with the key that the hosts of Site {meta.name} "
                    f"admit",
                )
            kept = _Kept(asked, secret[PRIVATE_KEY], secret.get(DATA_KEY), now_s)
            self._keys[place] = kept
            return kept

    def receive_roots(self, key: HostKey) -> tuple[str, ...]:
        """The receive roots that the Site gives the host."""
        site = self._registry.site(key.namespace, key.site)
        host = None if site is None else site.spec.host(key.host)
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
