"""`kubectl backstay`: the table of its commands. It reads, has the operator look, and approves.

What a command needs is imported when it runs, so that help and completion start fast.
"""

from __future__ import annotations

from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated, Any

import typer

from backstay.app.commands.asked import Asked, Output
from backstay.domain.divergence import Resolution

app = typer.Typer(
    name="kubectl backstay",
    help="Disaster recovery of ZFS datasets: see what is true, and what the operator does.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _names(kind: str) -> Any:
    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        from backstay.app.commands.cluster import Toolbox
        from backstay.app.commands.completion import names_of

        given = (ctx.params.get("kubeconfig"), ctx.params.get("namespace"))
        return [n for n in names_of(kind, *given, Toolbox()) if n.startswith(incomplete)]

    return complete


Namespace = Annotated[
    str | None,
    typer.Option("--namespace", "-n", help="Namespace; that of the kubeconfig by default."),
]
Everywhere = Annotated[
    bool, typer.Option("--all-namespaces", "-A", help="All namespaces of the cluster.")
]
Kubeconfig = Annotated[
    str | None, typer.Option(envvar="KUBECONFIG", help="Path of the kubeconfig.")
]
Lease = Annotated[
    str | None,
    typer.Option(
        envvar="BACKSTAY_LEASE",
        help="The operator's Lease as NAMESPACE/NAME; by default backstay in the namespace, then "
        "in namespace backstay.",
    ),
]
OutputFormat = Annotated[
    Output, typer.Option("--output", "-o", help="text for people, json for programs.")
]
Installation = Annotated[
    str | None,
    typer.Option(
        envvar="BACKSTAY_INSTALLATION_ID",
        help="The operator's installation id, which is its NAMESPACE/RELEASE unless the chart's "
        "installationId says otherwise; by default backstay in the namespace of the pair.",
    ),
]
PairName = Annotated[
    str,
    typer.Argument(
        metavar="PAIR",
        help="Name of a ReplicationPair.",
        autocompletion=_names("ReplicationPair"),
    ),
]
TEXT = Output.TEXT


def main() -> None:
    """Runs the command line."""
    app(prog_name="kubectl-backstay")


def complete() -> None:
    """Answers kubectl, which runs `kubectl_complete-backstay` for completions of this plugin."""
    from backstay.app.commands.completion import print_answer

    print_answer(main)


@app.command()
def version() -> None:
    """Print the version of this plugin."""
    typer.echo(installed_version("backstay"))


@app.command()
def status(
    ctx: typer.Context,
    *,
    namespace: Namespace = None,
    everywhere: Everywhere = False,
    kubeconfig: Kubeconfig = None,
    lease: Lease = None,
    output: OutputFormat = TEXT,
) -> None:
    """Show all pairs, the most endangered first, and what else is not ready.

    Exit status: 0 all promises are kept, 1 one is not or that is unknown, 2 nothing could be read.
    """
    from backstay.app.commands.cluster import run
    from backstay.app.commands.status import show_status

    asked = _asked(namespace, kubeconfig, lease, output, everywhere=everywhere)
    raise typer.Exit(run(show_status, asked, ctx.obj))


@app.command()
def explain(
    ctx: typer.Context,
    *,
    pair: PairName,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    lease: Lease = None,
    output: OutputFormat = TEXT,
) -> None:
    """Show why a pair meets its RPO or does not, from its policy to its recovery point.

    Exit status: 0 the promise is kept, 1 it is not or that is unknown, 2 it could not be read.
    """
    from backstay.app.commands.cluster import run
    from backstay.app.commands.explain import show_explanation

    asked = _asked(namespace, kubeconfig, lease, output)
    raise typer.Exit(
        run(lambda cluster, screen: show_explanation(cluster, screen, pair), asked, ctx.obj)
    )


@app.command()
def sync(
    ctx: typer.Context,
    *,
    pair: PairName,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait until it was done.")] = False,
    timeout: Annotated[
        str, typer.Option(help="How long to wait at most, as in 30s, 10m or 2h.")
    ] = "10m",
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    lease: Lease = None,
    output: OutputFormat = TEXT,
) -> None:
    """Have the operator look at a pair now, by an annotation that changes nothing else.

    Exit status with --wait: 0 it is Ready, 1 it is not or time ran out, 2 it could not be asked.
    """
    from backstay.api.values import duration_seconds
    from backstay.app.commands.cluster import run
    from backstay.app.commands.sync import sync_pair

    try:
        wait_s = float(duration_seconds(timeout)) if wait else None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--timeout") from None
    asked = _asked(namespace, kubeconfig, lease, output)
    raise typer.Exit(
        run(lambda cluster, screen: sync_pair(cluster, screen, pair, wait_s), asked, ctx.obj)
    )


@app.command()
def resolve(
    ctx: typer.Context,
    *,
    pair: PairName,
    how: Annotated[
        Resolution,
        typer.Option(
            help="SetAside: a clone at the common base takes its place, all is kept. Rollback: "
            "what is newer is lost. Reseed: all is kept, and sent anew. Adopt: it becomes ours."
        ),
    ],
    member: Annotated[
        list[str] | None, typer.Option(help="Only this member; may be given several times.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what becomes of it, and write nothing.")
    ] = False,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    output: OutputFormat = TEXT,
) -> None:
    """Decide about a pair that diverged: shows what is kept and lost, asks, and approves.

    The approval counts once, and only for the very snapshots that were shown, by GUID.

    Exit status: 0 it is approved, 1 it is not, or nothing is to be decided, 2 it could not be read.
    """
    from backstay.app.commands.cluster import run
    from backstay.app.commands.resolve import Wanted, resolve_pair

    wanted = Wanted(pair=pair, how=how, members=member or (), yes=yes, dry_run=dry_run)
    asked = _asked(namespace, kubeconfig, None, output)
    raise typer.Exit(
        run(lambda cluster, screen: resolve_pair(cluster, screen, wanted), asked, ctx.obj)
    )


@app.command(name="yield")
def yield_(
    ctx: typer.Context,
    *,
    pair: PairName,
    to: Annotated[
        str | None,
        typer.Option(
            help="Short name of the snapshot to roll back to; by default the newest of each "
            "source that is not backstay's."
        ),
    ] = None,
    member: Annotated[
        list[str] | None, typer.Option(help="Only this member; may be given several times.")
    ] = None,
    rest: Annotated[
        str, typer.Option("--for", help="How long no new point is taken, as in 15m; a day at most.")
    ] = "15m",
    lose_base: Annotated[
        bool, typer.Option("--lose-base", help="Even if a target then needs a new full copy.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would go, and write nothing.")
    ] = False,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    installation: Installation = None,
    output: OutputFormat = TEXT,
) -> None:
    """Make room for a rollback of a pair's sources, as by Proxmox. Reads the hosts over ssh.

    Shows which of our snapshots and bookmarks go and what each target goes on from, asks, and
    approves. The approval counts only for what was shown, by GUID, and ends by itself.

    Exit status: 0 it is approved, 1 it is not, 2 it could not be read.
    """
    from backstay.app.commands.cluster import run
    from backstay.app.commands.yielding import Wanted, hosts_of, rest_of, yield_pair

    try:
        rest_s = rest_of(rest)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--for") from None
    wanted = Wanted(
        pair=pair,
        to=to,
        members=member or (),
        rest_s=rest_s,
        lose_base=lose_base,
        yes=yes,
        dry_run=dry_run,
    )
    asked = _asked(namespace, kubeconfig, None, output)
    look = ctx.obj.look if ctx.obj is not None and ctx.obj.look else hosts_of(asked, installation)
    raise typer.Exit(
        run(lambda cluster, screen: yield_pair(cluster, screen, wanted, look), asked, ctx.obj)
    )


@app.command()
def doctor(
    ctx: typer.Context,
    *,
    site: Annotated[
        str | None,
        typer.Argument(
            metavar="[SITE]",
            help="Only this Site.",
            autocompletion=_names("Site"),
            show_default=False,
        ),
    ] = None,
    namespace: Namespace = None,
    everywhere: Everywhere = False,
    kubeconfig: Kubeconfig = None,
    lease: Lease = None,
    output: OutputFormat = TEXT,
) -> None:
    """Check CRDs, rights, Secrets, keys, hosts and the operator, as far as the API server knows.

    Exit status: 0 nothing is bad, 1 something is, 2 nothing could be read.
    """
    from backstay.app.commands.cluster import run
    from backstay.app.commands.doctor import show_checkup

    asked = _asked(namespace, kubeconfig, lease, output, everywhere=everywhere)
    raise typer.Exit(
        run(lambda cluster, screen: show_checkup(cluster, screen, site), asked, ctx.obj)
    )


@app.command()
def preview(
    *,
    pair: Annotated[
        str | None,
        typer.Argument(
            help="Name of a ReplicationPair in the cluster.",
            autocompletion=_names("ReplicationPair"),
        ),
    ] = None,
    file: Annotated[
        list[Path] | None,
        typer.Option(
            "--filename", "-f", help="Manifests, laid over the cluster; all their pairs are shown."
        ),
    ] = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    installation: Installation = None,
    output: OutputFormat = TEXT,
) -> None:
    """Print the very commands that a pass over a pair would run now. Only reads.

    kubectl backstay preview -f pair.yaml     what would happen if it were applied

    kubectl backstay preview erp              what the next pass would do
    """
    if (pair is None) == (not file):
        raise typer.BadParameter("name a pair, or give manifests with -f FILE")
    from backstay.app.commands.preview import show_preview

    asked = _asked(namespace, kubeconfig, None, output)
    raise typer.Exit(show_preview(asked, installation, pair, file or []))


@app.command()
def grant(
    ctx: typer.Context,
    *,
    host: Annotated[
        str,
        typer.Argument(metavar="SITE/HOST", help="A host of a Site."),
    ],
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    output: OutputFormat = TEXT,
) -> None:
    """Print what a host must admit: the line for authorized_keys, and how to get there.

    Exit status: 0 it was printed, 1 it admits nothing or leaves a pair out, 2 it could not be read.
    """
    from backstay.app.commands.cluster import run
    from backstay.app.commands.grant import show_grant

    asked = _asked(namespace, kubeconfig, None, output)
    raise typer.Exit(run(lambda cluster, screen: show_grant(cluster, screen, host), asked, ctx.obj))


@app.command(name="host-program")
def host_program() -> None:
    """Write the host program of this version to stdout, as one file to install at hosts."""
    from backstay.app.commands.grant import write_host_program

    raise typer.Exit(write_host_program())


def _asked(
    namespace: str | None,
    kubeconfig: str | None,
    lease: str | None,
    output: Output,
    *,
    everywhere: bool = False,
) -> Asked:
    return Asked(
        namespace=namespace,
        all_namespaces=everywhere,
        kubeconfig=kubeconfig,
        lease=lease,
        output=output,
    )
