"""`kubectl backstay grant` and `host-program`: what a hardened host needs."""

from __future__ import annotations

import dataclasses
import sys

from backstay.api.kinds import DATA_KEY, PRIVATE_KEY
from backstay.api.v1alpha1 import Site
from backstay.app.commands.cluster import Cluster, NotFound
from backstay.app.commands.screen import Screen
from backstay.app.hostzip import executable_host_program
from backstay.domain.errors import BackstayError
from backstay.report.grant import grant_document, grant_lines, grant_of
from backstay.report.inventory import Unreadable
from backstay.report.ssh_keys import public_key


async def show_grant(cluster: Cluster, screen: Screen, place: str) -> int:
    """The grant of `SITE/HOST` was shown; 1 when it admits nothing or leaves something out."""
    site_name, slash, host_name = place.partition("/")
    if not slash or not host_name:
        raise NotFound(f"{place}: write SITE/HOST, as in fra/pve1")
    site = await cluster.one(Site, site_name)
    if site is None or isinstance(site, Unreadable):
        why = "does not exist" if site is None else site.why
        raise NotFound(f"Site {cluster.namespace}/{site_name}: {why}")
    host = site.spec.host(host_name)
    if host is None:
        known = ", ".join(h.name for h in site.spec.hosts)
        raise NotFound(f"Site {site_name} has no host {host_name} (it has {known})")
    objects = await cluster.inventory()
    keys = await _public_keys(cluster, site)
    grant = dataclasses.replace(
        grant_of(site, host, objects.pairs, *keys),
        unreadable=tuple(u.name for u in objects.unreadable if u.kind == "ReplicationPair"),
    )
    if screen.is_json:
        screen.document(grant_document(grant))
    else:
        for line in grant_lines(grant):
            screen.line(line)
    return 1 if grant.unreadable or not (grant.send or grant.receive) else 0


async def _public_keys(cluster: Cluster, site: Site) -> tuple[str | None, str | None]:
    """Only the public halves; who may not read the Secret gets lines to be filled in."""
    try:
        name = site.spec.ssh.secret_ref.name
        secret = await cluster.kube.get_secret(site.metadata.namespace, name)
    except BackstayError:
        return None, None
    found = secret or {}
    return public_key(found.get(PRIVATE_KEY, b"")), public_key(found.get(DATA_KEY, b""))


def write_host_program() -> int:
    """The program is on stdout, as a file that a host can run; 2 where a person would see it."""
    if sys.stdout.isatty():
        sys.stderr.write("this is a program: kubectl backstay host-program > backstay-host.pyz\n")
        return 2
    sys.stdout.buffer.write(executable_host_program())
    sys.stdout.buffer.flush()
    return 0
