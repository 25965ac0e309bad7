"""What a pair asks of its routes: each side by its own Site."""

from __future__ import annotations

import pytest

from backstay.api.v1alpha1 import ProtectionPolicy, ReplicationPair, Site
from backstay.domain.pairs import Keep, PairTask
from backstay.domain.steps import Transport
from backstay.plan.resolve import ResolvedPair, resolve_pair
from contract.api import manifests

MIB = 1024 * 1024
COUNTS = {"last": 3, "hourly": 24, "daily": 14, "weekly": 8, "monthly": 12, "yearly": 7}


def task(active_site: str, *changes: manifests.Change) -> PairTask:
    """The share of a pair between Frankfurt and a Site in New York whose data lives there."""
    policy = manifests.policy(("spec.replication.retention", {"target": COUNTS}), *changes)
    sites = {
        "fra": manifests.site(("spec.timeZone", "Europe/Berlin")),
        "muc": manifests.site(
            ("metadata.name", "muc"),
            ("spec.timeZone", "America/New_York"),
            ("spec.hosts.0.name", "muc1"),
        ),
    }
    resolved = resolve_pair(
        ReplicationPair.model_validate(manifests.pair()),
        ProtectionPolicy.model_validate(policy),
        {name: Site.model_validate(site) for name, site in sites.items()},
        active_site=active_site,
    )
    assert isinstance(resolved, ResolvedPair)
    (share,) = resolved.shares.values()
    return share


@pytest.mark.parametrize(
    ("active", "here", "there"),
    [("fra", "Europe/Berlin", "America/New_York"), ("muc", "America/New_York", "Europe/Berlin")],
)
def test_each_side_keeps_by_the_clock_of_its_own_site(active: str, here: str, there: str) -> None:
    share = task(active)
    assert share.keep_source == Keep(last=4, time_zone=here)
    assert share.keep_target == Keep(**COUNTS, time_zone=there)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("transfer", "transport"),
    [
        ({}, Transport()),
        ({"path": "Direct"}, Transport(direct=True)),
        ({"rateLimit": "50MiB"}, Transport(rate_bytes_s=50 * MIB)),
        (
            {"compression": "Zstd", "buffer": "1GiB"},
            Transport(compressed=True, buffer_bytes=1 << 30),
        ),
        ({"path": "Relay", "compression": "Off", "buffer": None}, Transport()),
    ],
)
def test_the_policy_says_how_bytes_travel(
    transfer: dict[str, object], transport: Transport
) -> None:
    assert task("fra", ("spec.replication.transfer", transfer)).transport == transport


def test_the_interval_of_an_odd_rpo_is_the_one_that_is_shown() -> None:
    odd = (("spec.replication", {"retention": {"target": COUNTS}}), ("spec.rpo", "61s"))
    shown = ProtectionPolicy.model_validate(manifests.policy(*odd)).spec.interval_seconds
    assert task("fra", *odd).interval_s == shown == 30
