"""`kubectl backstay status`: all pairs by danger, on one screen."""

from __future__ import annotations

from backstay.app.commands.cluster import Cluster
from backstay.app.commands.screen import Screen
from backstay.report.overview import overview, overview_document, overview_lines


async def show_status(cluster: Cluster, screen: Screen) -> int:
    """The overview was shown; 0 when every promise is kept, else 1."""
    objects = await cluster.inventory()
    shown = overview(objects, await cluster.leaders(objects), cluster.clock.now())
    if screen.is_json:
        screen.document(overview_document(shown))
    else:
        everywhere = cluster.namespace is None
        for line in overview_lines(shown, width=screen.width, with_namespace=everywhere):
            screen.line(line.text, line.danger)
    return 0 if shown.all_met else 1
