"""`kubectl backstay explain`: the chain of facts behind one pair's state."""

from __future__ import annotations

from backstay.api.v1alpha1 import ProtectionPolicy, Site
from backstay.app.commands.cluster import Cluster
from backstay.app.commands.screen import Screen
from backstay.report.explain import Around, Explanation, explain, explanation_document


async def show_explanation(cluster: Cluster, screen: Screen, name: str) -> int:
    """The facts were shown; 0 when the promise is kept, else 1."""
    assert cluster.namespace is not None
    pair = await cluster.pair(name)
    around = Around(
        policy=await cluster.one(ProtectionPolicy, pair.spec.policy_ref.name),
        sites={site: await cluster.one(Site, site) for site in pair.spec.sites},
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
