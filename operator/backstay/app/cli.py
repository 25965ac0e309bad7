"""`kubectl backstay`: a reader of what the operator would do."""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated

import typer

from backstay.adapters.clock import SystemClock
from backstay.adapters.host.hosts import Leader, OpenSshHosts, Setup
from backstay.adapters.host.transfers import OpenSshTransfers
from backstay.adapters.kube.client import KubeClient, default_kubeconfig, default_namespace
from backstay.adapters.kube.objects import KubeObjects
from backstay.app.hostzip import pack_host_program
from backstay.app.manifests import Laid, ManifestError, lay
from backstay.app.preview import DryRunDirectory, RoutePreview, preview_pair
from backstay.controllers.book import Book
from backstay.controllers.hosts import HostFinder
from backstay.controllers.keys import ObjectKey
from backstay.controllers.shares import Shares
from backstay.domain.pairs import Conflict
from backstay.plan.naming import short_id

# A preview holds no Lease; this long a host keeps a session of it that says nothing.
SESSION_S = 30.0

app = typer.Typer(
    name="kubectl backstay",
    help="Disaster recovery of ZFS datasets: see what the operator does, before it does it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Runs the command line."""
    app()


@app.command()
def version() -> None:
    """Print the version of this plugin."""
    typer.echo(installed_version("backstay"))


@app.command()
def preview(
    pair: Annotated[
        str | None, typer.Argument(help="Name of a ReplicationPair in the cluster.")
    ] = None,
    file: Annotated[
        list[Path] | None,
        typer.Option(
            "--filename", "-f", help="Manifests, laid over the cluster; all their pairs are shown."
        ),
    ] = None,
    namespace: Annotated[
        str | None,
        typer.Option("--namespace", "-n", help="Namespace; that of the kubeconfig by default."),
    ] = None,
    kubeconfig: Annotated[
        str | None, typer.Option(envvar="KUBECONFIG", help="Path of the kubeconfig.")
    ] = None,
    installation: Annotated[
        str | None,
        typer.Option(
            envvar="BACKSTAY_INSTALLATION_ID",
            help="The operator's installation id; <namespace>/backstay by default.",
        ),
    ] = None,
) -> None:
    """Print the very commands that a pass over a pair would run now. Only reads.

    kubectl backstay preview -f pair.yaml     what would happen if it were applied

    kubectl backstay preview erp              what the next pass would do
    """
    if (pair is None) == (not file):
        sys.exit("preview: name a pair, or give manifests with -f FILE")
    config = kubeconfig or default_kubeconfig()
    place = namespace or default_namespace(config)
    wanted = [] if pair is None else [ObjectKey("ReplicationPair", place, pair)]
    try:
        good = asyncio.run(
            _preview(config, (place, installation or f"{place}/backstay"), wanted, file or [])
        )
    except ManifestError as error:
        sys.exit(f"preview: {error}")
    sys.exit(0 if good else 1)


class _LaidKube(KubeObjects):
    """The cluster, with the Secrets of manifests laid over it."""

    secrets: Mapping[tuple[str, str], Mapping[str, bytes]] = {}

    async def get_secret(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        """The data of a Secret from a manifest, else from the cluster."""
        return self.secrets.get((namespace, name)) or await super().get_secret(namespace, name)


async def _preview(
    kubeconfig: str, place: tuple[str, str], wanted: list[ObjectKey], files: Sequence[Path]
) -> bool:
    """Whether everything that was asked for could be shown."""
    namespace, installation = place
    clock, client = SystemClock(), KubeClient(kubeconfig)
    kube = _LaidKube(client, clock, [namespace], lambda _verb, _reason: None)
    leader = Leader(
        installation_id=installation,
        short_id=short_id(installation),
        term=lambda: 0,
        remaining_s=lambda: SESSION_S,
    )
    hosts = OpenSshHosts(Setup(program=pack_host_program(), leader=leader, clock=clock))
    try:
        laid, unread = await lay(kube, files, namespace)
        if unread is not None:
            typer.echo(f"# the cluster could not be read: {unread}", err=True)
        kube.secrets = laid.secrets
        finder = HostFinder(laid.registry, kube, DryRunDirectory(hosts), leader.term, clock)
        shares = Shares(laid.registry, finder, Book(), leader.short_id)
        shown = [await _show(key, laid, shares, clock) for key in wanted or laid.pairs]
        return all(shown) and bool(shown)
    finally:
        await hosts.close()
        await client.close()


async def _show(key: ObjectKey, laid: Laid, shares: Shares, clock: SystemClock) -> bool:
    entry = laid.registry.entry(key)
    resolved = shares.resolve(key.namespace, key.name)
    if resolved is None:
        why = "does not exist" if entry is None else f"is invalid: {entry.value}"
        typer.echo(f"# {key} {why}", err=True)
        return False
    if isinstance(resolved, Conflict):
        typer.echo(f"# {key}: {resolved.reason}: {resolved.message}", err=True)
        return False
    if resolved.suspended:
        typer.echo(f"# {key} is suspended: a pass would do nothing; if it were not:")
    previews = await preview_pair(resolved, shares, OpenSshTransfers(clock), clock)
    for shown in previews:
        _print(shown)
    return not any(shown.problems for shown in previews)


def _print(shown: RoutePreview) -> None:
    typer.echo(f"# {shown.route}")
    for host, argv in shown.commands:
        typer.echo(f"{host}$ {shlex.join(argv)}")
    if shown.background:
        typer.echo("# beside the pass, for as long as they take:")
    for host, argv in shown.background:
        typer.echo(f"{host}$ {shlex.join(argv)}")
    if not shown.commands and not shown.background and not shown.problems:
        typer.echo("# nothing to do")
    for where, why in shown.problems.items():
        typer.echo(f"# {where}: {why.reason}: {why.message}")
