"""The plugin's command line, run in a cluster in memory."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from typer.testing import CliRunner, Result

from backstay.app.cli import app
from backstay.ports.kube import LeaseRecord
from fakes import reported
from fakes.reader import FakeReader
from fakes.reported import NOW
from fakes.ssh_keys import host_key, openssh


def healthy_cluster() -> FakeReader:
    """Sites a and b, policy gold, pair erp, an operator that leads; all is well at NOW."""
    found = FakeReader()
    found.clock.freeze_and_jump(timedelta(hours=1).total_seconds())
    for name in ("a", "b"):
        body = reported.site(name)
        body["spec"]["hosts"][0]["hostKeys"] = [host_key("ssh-ed25519")]
        found.put(body)
    found.put(reported.policy())
    found.put(reported.pair("erp"))
    found.secrets["ns", "key"] = {"ssh-privatekey": openssh()}
    lead(found, age_s=2)
    return found


def lead(kube: FakeReader, age_s: float, namespace: str = "backstay") -> None:
    """An operator holds the Lease, renewed so long before NOW."""
    record = LeaseRecord(
        namespace=namespace,
        name="backstay",
        holder="pod-1",
        duration_s=30,
        term=7,
        renewed_at=NOW - timedelta(seconds=age_s),
    )
    kube.stored[namespace, "backstay"] = record


def ran(kube: FakeReader, *arguments: str, **environment: str) -> Result:
    """The command ran with these arguments and this in its environment."""
    return CliRunner().invoke(app, arguments, obj=kube.toolbox(), env=environment)


def document(kube: FakeReader, *arguments: str) -> Any:
    """What the command answers to programs."""
    return json.loads(ran(kube, *arguments, "-o", "json").stdout)
