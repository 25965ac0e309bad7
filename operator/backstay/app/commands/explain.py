"""`kubectl backstay explain`: the chain of facts behind one pair's state."""

from __future__ import annotations

from backstay.app.commands.cluster import Cluster, NotFound
from backstay.app.commands.screen import Screen
from backstay.report.explain import Around, Explanation, explain, explanation_document
from backstay.report.inventory import Unreadable


async def show_explanation(cluster: Cluster, screen: Screen, name: str) -> int:
    """The facts were shown; 0 when the promise is kept, else 1."""
    assert cluster.namespace is not None
    objects = await cluster.inventory()
    pair = objects.pair(cluster.namespace, name)
    if pair is None or isinstance(pair, Unreadable):
        why = "does not exist" if pair is None else pair.why
        raise NotFound(f"ReplicationPair {cluster.namespace}/{name}: {why}")
    around = Around(
        policy=objects.policy(cluster.namespace, pair.spec.policy_ref.name),
        sites={site: objects.site(cluster.namespace, site) for site in pair.spec.sites},
        leader=await cluster.leader(cluster.namespace),
    )
    now = cluster.clock.now()
    shown = explain(pair, around, now)
    if screen.is_json:
        screen.document(explanation_document(shown, now))
    else:
        _show(screen, shown)
    return 0 if shown.met else 1


def _show(screen: Screen, shown: Explanation) -> None:
    for fact in shown.facts:
        screen.entry(fact.state, f"{fact.about}: {fact.says}")
    screen.line("")
    for step in shown.next_steps:
        screen.entry("next", step)
