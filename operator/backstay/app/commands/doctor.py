"""`kubectl backstay doctor`: checks that need the API server only."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import chain

from backstay.api.crds import crd
from backstay.api.v1alpha1 import KINDS, Resource, Site
from backstay.app.commands.cluster import Cluster, NotFound
from backstay.app.commands.rights import GET_CRD, GET_LEASE, NEEDS
from backstay.app.commands.screen import Screen
from backstay.domain.errors import BackstayError
from backstay.ports.kube import Access
from backstay.report.checkup import (
    LEVELS,
    Check,
    Secret,
    Unread,
    check_crd,
    check_leader,
    check_policy,
    check_right,
    check_secret,
    check_site,
    checkup_document,
    unreadable_checks,
)
from backstay.report.inventory import Inventory


async def show_checkup(cluster: Cluster, screen: Screen, site: str | None) -> int:
    """All checks were shown, the bad ones first; 1 when there is a bad one."""
    # The first question is one that everybody may ask: without an answer nothing can be checked.
    rights = [await _right(cluster, access, commands) for access, commands in NEEDS]
    checks = list(await asyncio.gather(*(_crd(cluster, model) for model in KINDS)))
    objects = Inventory()
    try:
        objects = await cluster.inventory()
        checks += await _objects(cluster, objects, site)
    except BackstayError as error:
        step = "see the checks of CRDs and rights"
        unread = Check(
            name="Readable", level="bad", about="objects", says=error.message, next_step=step
        )
        checks.append(unread)
    leaders = await cluster.leaders(objects)
    # Several namespaces may have one operator.
    checks += chain.from_iterable(check_leader(leader) for leader in set(leaders.values()))
    checks += rights
    checks.sort(key=lambda check: LEVELS.index(check.level))
    if screen.is_json:
        screen.document(checkup_document(checks))
    else:
        _show(screen, checks)
    return 1 if any(check.level == "bad" for check in checks) else 0


async def _right(cluster: Cluster, access: Access, commands: Sequence[str]) -> Check:
    namespace = cluster.namespace
    if access == GET_CRD:
        namespace = None
    elif access == GET_LEASE:
        # Where it is looked for first; for all namespaces it is the right to do so in each.
        namespace = cluster.lease_places(namespace)[0][0] if namespace else None
    where = "the cluster" if namespace is None else f"namespace {namespace}"
    allowed = await cluster.kube.may(access, namespace)
    return check_right(f"{access} in {where}", commands, allowed)


async def _crd(cluster: Cluster, model: type[Resource]) -> Check:
    ours = crd(model)
    try:
        found = await cluster.kube.read_crd(model.info.kind)
    except BackstayError as error:
        return check_crd(ours["metadata"]["name"], Unread(why=error.message), ours)
    return check_crd(ours["metadata"]["name"], found, ours)


async def _objects(cluster: Cluster, objects: Inventory, name: str | None) -> list[Check]:
    sites = [site for site in objects.sites if name in (None, site.metadata.name)]
    if name is not None and not sites:
        place = f" in namespace {cluster.namespace}" if cluster.namespace else ""
        raise NotFound(f"Site {name} does not exist{place}, or is not understood")
    checks = [] if name else [*unreadable_checks(objects)]
    asked: set[tuple[str, str]] = set()
    for site in sites:
        key = (site.metadata.namespace, site.spec.ssh.secret_ref.name)
        if key not in asked:
            asked.add(key)
            checks.append(check_secret(site, await _secret(cluster, site)))
        checks += check_site(site, objects.pairs)
    if name is None:
        today = cluster.clock.now().date()
        for policy in objects.policies:
            checks += check_policy(policy, today)
    return checks


async def _secret(cluster: Cluster, site: Site) -> Secret:
    try:
        return await cluster.kube.get_secret(site.metadata.namespace, site.spec.ssh.secret_ref.name)
    except BackstayError as error:
        return Unread(why=error.message)


def _show(screen: Screen, checks: Sequence[Check]) -> None:
    for check in checks:
        steps = [f"next: {check.next_step}"] if check.next_step else []
        screen.entry(check.level, f"{check.about}: {check.says}", *steps)
    counts = [(level, sum(1 for c in checks if c.level == level)) for level in LEVELS]
    screen.line("")
    screen.line(", ".join(f"{count} {level}" for level, count in counts if count))
