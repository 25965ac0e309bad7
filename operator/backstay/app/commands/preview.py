"""`kubectl backstay preview`: a cluster, with manifests laid over it, and what passes would run."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backstay.adapters.host.transfers import OpenSshTransfers
from backstay.adapters.kube.client import default_kubeconfig, default_namespace
from backstay.api.words import Reason
from backstay.app.commands.asked import Asked
from backstay.app.commands.cluster import UNREAD
from backstay.app.commands.looking import Looking, looking
from backstay.app.commands.screen import Screen
from backstay.app.manifests import ManifestError
from backstay.app.preview import Command, RoutePreview, preview_pair
from backstay.controllers.keys import ObjectKey
from backstay.domain.pairs import Conflict


@dataclass(frozen=True, slots=True, kw_only=True)
class PairPreview:
    """What passes over one pair would do; `problem` is why that cannot be said."""

    pair: str
    problem: str | None = None
    suspended: bool = False
    routes: tuple[RoutePreview, ...] = ()

    @property
    def good(self) -> bool:
        """Whether everything could be shown and nothing is left alone."""
        return self.problem is None and not any(route.problems for route in self.routes)


def show_preview(
    asked: Asked, installation: str | None, pair: str | None, files: Sequence[Path]
) -> int:
    """The commands were shown; 0 when all that was asked for could be and has no problem."""
    screen = Screen(asked.output)
    config = asked.kubeconfig or default_kubeconfig()
    place = asked.namespace or default_namespace(config)
    wanted = [] if pair is None else [ObjectKey("ReplicationPair", place, pair)]
    named = (place, installation or f"{place}/backstay")
    try:
        unread, shown = asyncio.run(_preview(config, named, wanted, files))
    except ManifestError as error:
        screen.complain(f"preview: {error}")
        return UNREAD
    if unread is not None:
        screen.complain(f"# the cluster could not be read: {unread}")
    if screen.is_json:
        screen.document(preview_document(shown, unread))
    else:
        for each in shown:
            _show(screen, each)
    return 0 if shown and all(each.good for each in shown) else 1


async def _preview(
    kubeconfig: str, place: tuple[str, str], wanted: list[ObjectKey], files: Sequence[Path]
) -> tuple[str | None, list[PairPreview]]:
    """Why the cluster could not be read, if so, and the previews."""
    async with looking(kubeconfig, *place, files) as world:
        keys = wanted or world.laid.pairs
        return world.unread, [await _look(key, world) for key in keys]


async def _look(key: ObjectKey, world: Looking) -> PairPreview:
    shares, clock = world.shares, world.clock
    entry = world.laid.registry.entry(key)
    resolved = shares.resolve(key.namespace, key.name)
    if resolved is None:
        why = "does not exist" if entry is None else f"is invalid: {entry.value}"
        return PairPreview(pair=str(key), problem=why)
    if isinstance(resolved, Conflict):
        return PairPreview(pair=str(key), problem=f"{resolved.reason}: {resolved.message}")
    previews = await preview_pair(resolved, shares, OpenSshTransfers(clock), clock)
    return PairPreview(pair=str(key), suspended=resolved.suspended, routes=tuple(previews))


def _show(screen: Screen, shown: PairPreview) -> None:
    if shown.problem is not None:
        screen.complain(f"# {shown.pair}: {shown.problem}")
        return
    if shown.suspended:
        screen.line(f"# {shown.pair} is suspended: a pass would do nothing; if it were not:")
    for route in shown.routes:
        show_route(screen, route)


def show_route(screen: Screen, shown: RoutePreview) -> None:
    """The commands of one route, and why members are left alone."""
    screen.line(f"# {shown.route}")
    for host, argv in shown.commands:
        screen.line(f"{host}$ {shlex.join(argv)}")
    if shown.background:
        screen.line("# beside the pass, for as long as they take:")
    for host, argv in shown.background:
        screen.line(f"{host}$ {shlex.join(argv)}")
    if not shown.commands and not shown.background and not shown.problems:
        screen.line("# nothing to do")
    for where, why in shown.problems.items():
        screen.line(f"# {where}: {why.reason}: {why.message}")
    if any(why.reason == Reason.FOREIGN_WRITER for why in shown.problems.values()):
        screen.line("# is that the operator of this pair? Then name it with --installation")


def preview_document(shown: Sequence[PairPreview], unread: str | None) -> dict[str, Any]:
    """The same for programs; its fields stay."""
    return {
        "clusterUnread": unread,
        "pairs": [
            {
                "pair": each.pair,
                "problem": each.problem,
                "suspended": each.suspended,
                "routes": [
                    {
                        "route": str(route.route),
                        "commands": _commands(route.commands),
                        "background": _commands(route.background),
                        "problems": [
                            {"where": where, "reason": why.reason, "message": why.message}
                            for where, why in route.problems.items()
                        ],
                    }
                    for route in each.routes
                ],
            }
            for each in shown
        ],
    }


def _commands(commands: Sequence[Command]) -> list[dict[str, Any]]:
    return [{"host": host, "argv": list(argv)} for host, argv in commands]
