"""The operator's view of a cluster and its hosts, for commands that read the hosts themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from backstay.adapters.clock import SystemClock
from backstay.adapters.host.hosts import Leader, OpenSshHosts, Setup
from backstay.adapters.kube.client import KubeClient
from backstay.adapters.kube.objects import KubeObjects
from backstay.app.hostzip import pack_host_program
from backstay.app.manifests import Laid, lay
from backstay.app.preview import DryRunDirectory
from backstay.controllers.book import Book
from backstay.controllers.hosts import HostFinder
from backstay.controllers.shares import Shares
from backstay.plan.naming import short_id

# Who only looks holds no Lease; this long a host keeps a session of it that says nothing.
SESSION_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Looking:
    """Objects, and the hosts behind them, which change nothing. `unread`: of the cluster."""

    laid: Laid
    unread: str | None
    shares: Shares
    clock: SystemClock


class _LaidKube(KubeObjects):
    """The cluster, with the Secrets of manifests laid over it."""

    secrets: Mapping[tuple[str, str], Mapping[str, bytes]] = {}

    async def get_secret(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        """The data of a Secret from a manifest, else from the cluster."""
        return self.secrets.get((namespace, name)) or await super().get_secret(namespace, name)


@asynccontextmanager
async def looking(
    kubeconfig: str, namespace: str, installation: str, files: Sequence[Path] = ()
) -> AsyncIterator[Looking]:
    """A namespace with manifests laid over it. Raises `ManifestError`; all is closed afterwards."""
    clock, client = SystemClock(), KubeClient(kubeconfig)
    kube = _LaidKube(client, clock, [namespace], lambda _verb, _reason: None)
    leader = Leader(
        installation_id=installation,
        short_id=short_id(installation),
        process_id="preview",
        term=lambda: 0,
        remaining_s=lambda: SESSION_S,
    )
    hosts = OpenSshHosts(Setup(program=pack_host_program(), leader=leader, clock=clock))
    try:
        laid, unread = await lay(kube, files, namespace)
        kube.secrets = laid.secrets
        finder = HostFinder(laid.registry, kube, DryRunDirectory(hosts), leader.term, clock)
        shares = Shares(laid.registry, finder, Book(), leader.short_id)
        yield Looking(laid=laid, unread=unread, shares=shares, clock=clock)
    finally:
        await hosts.close()
        await client.close()
