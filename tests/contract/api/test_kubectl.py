"""What a user sees at the terminal."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest

from backstay.api.v1alpha1.meta import Condition, Status
from backstay.api.v1alpha1.protectionpolicy import ProtectionPolicyStatus
from backstay.api.v1alpha1.replicationpair import (
    MemberCounts,
    RecoveryPoint,
    ReplicationPairStatus,
    WorstMember,
)
from backstay.api.v1alpha1.site import HostStatus, PoolStatus, SiteStatus
from backstay.api.words import ConditionType, Reason
from contract.api.conftest import ControlPlane
from contract.api.manifests import Manifest, pair, policy, site
from contract.api.server import NAMESPACE, Server, kind_of

NOW = datetime.now(UTC)


def condition(type_: ConditionType, status: str, reason: Reason, message: str) -> Condition:
    """Return a condition of this moment."""
    return Condition.model_validate(
        {
            "type": type_,
            "status": status,
            "reason": reason,
            "message": message,
            "lastTransitionTime": NOW,
            "observedGeneration": 1,
        }
    )


PAIR_STATUS = ReplicationPairStatus(
    observed_generation=1,
    active_site="fra",
    rpo="5m",
    recovery_point=RecoveryPoint(
        time=NOW - timedelta(days=30),
        snapshot="backstay_20261122T003344.123Z_ab12cd34ef56",
        guid="18446744073709551615",
        transfer_seconds=4,
        bytes=1 << 40,
    ),
    members=MemberCounts(total=4, confirmed=3, failed=1),
    worst=(
        WorstMember(
            member="disk-2",
            reason=Reason.TRANSFER_FAILED,
            message="zfs receive: I/O error",
            recovery_point_time=NOW - timedelta(days=30),
        ),
        WorstMember(member="disk-1", reason=Reason.SOURCE_BUSY, message="busy"),
    ),
    conditions=(
        condition(ConditionType.RPO_MET, "True", Reason.WITHIN_RPO, "as the last pass found it"),
        condition(ConditionType.READY, "False", Reason.TRANSFER_FAILED, "disk-2: I/O error"),
    ),
    last_handled_request="2026-11-22T00:33:44Z",
)
POLICY_STATUS = ProtectionPolicyStatus(
    observed_generation=1,
    pairs=7,
    rpo="5m",
    rto="15m",
    conditions=(condition(ConditionType.READY, "True", Reason.VALID, "kept as written"),),
)
SITE_STATUS = SiteStatus(
    observed_generation=1,
    reachable="1/1",
    hosts=(
        HostStatus(
            name="pve1",
            reason=Reason.REACHABLE,
            message="x" * 5000,
            zfs_version="2.3.9",
            python_version="3.13.5",
            clock_skew_seconds=-2,
            pools=(PoolStatus(name="rpool", health="ONLINE", size_bytes=1 << 42, free_bytes=5),),
        ),
    ),
    conditions=(condition(ConditionType.READY, "Unknown", Reason.UNREACHABLE, "pve1: no route"),),
)


def table(text: str) -> list[list[str]]:
    """Return the cells of what `kubectl get` printed."""
    return [line.split() for line in text.splitlines() if line.strip()]


class Shown(NamedTuple):
    """An object with its status, and what `kubectl get -o wide` is to print."""

    manifest: Manifest
    status: Status
    columns: str
    cells: str


SHOWN = (
    Shown(site(), SITE_STATUS, "NAME HOSTS READY AGE", "fra 1/1 Unknown"),
    Shown(policy(), POLICY_STATUS, "NAME CLASS RPO RTO PAIRS READY AGE", "gold Gold 5m 15m 7 True"),
    Shown(
        pair(),
        PAIR_STATUS,
        "NAME ACTIVE RPO RECOVERY-POINT RPO-MET READY AGE WORST MESSAGE",
        "vms fra 5m 30d True False",
    ),
)


@pytest.mark.parametrize("shown", SHOWN, ids=lambda shown: shown.manifest["kind"])
def test_columns_tell_the_status(server: Server, controlplane: ControlPlane, shown: Shown) -> None:
    server.create(shown.manifest)
    server.report(shown.manifest, shown.status.document())
    short_name = kind_of(shown.manifest).info.short_name
    head, row = table(controlplane.kubectl("get", short_name, "-n", NAMESPACE, "-o", "wide"))
    assert head == shown.columns.split()
    # An age of days does not change while the tests run.
    assert row[: len(shown.cells.split())] == shown.cells.split()
    if shown.status is PAIR_STATUS:
        assert row[-4:] == ["disk-2", "disk-2:", "I/O", "error"]
    server.remove(shown.manifest)


def test_a_new_object_shows_nothing_as_good(server: Server, controlplane: ControlPlane) -> None:
    server.create(pair())
    _, row = table(controlplane.kubectl("get", "rpair", "-n", NAMESPACE))
    assert row[0] == "vms"
    assert "True" not in row
    server.remove(pair())


def test_one_word_lists_all_kinds(server: Server, controlplane: ControlPlane) -> None:
    for manifest in (site(), policy(), pair()):
        server.create(manifest)
    listed = controlplane.kubectl("get", "backstay", "-n", NAMESPACE, "-o", "name").split()
    assert sorted(listed) == [
        "protectionpolicy.backstay.dev/gold",
        "replicationpair.backstay.dev/vms",
        "site.backstay.dev/fra",
    ]
    for manifest in (site(), policy(), pair()):
        server.remove(manifest)


@pytest.mark.fault("replication without backup")
def test_replication_without_backup_is_refused_at_the_terminal(
    server: Server, controlplane: ControlPlane
) -> None:
    war_story = policy()
    del war_story["spec"]["backup"]
    with pytest.raises(RuntimeError) as refusal:
        controlplane.kubectl("apply", "-n", NAMESPACE, "-f", "-", given=json.dumps(war_story))
    assert "replication copies a deletion within seconds and is not a backup" in str(refusal.value)


def test_every_field_is_explained(server: Server, controlplane: ControlPlane) -> None:
    shown = controlplane.kubectl("explain", "rpair.spec.datasets.at")
    assert "Its place at each of the two sites" in shown
