"""The models as values: effective numbers, times, texts, and what is written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import available_timezones

import pytest
import yaml
from pydantic import ValidationError

from backstay.api.v1alpha1 import ProtectionPolicy, ReplicationPair, Site, problems
from backstay.api.v1alpha1.meta import Condition
from backstay.api.v1alpha1.protectionpolicy import CLASSES
from backstay.api.v1alpha1.replicationpair import RecoveryPoint, ReplicationPairStatus
from backstay.api.v1alpha1.site import HostStatus
from contract.api.manifests import REMOVED, backup_only, pair, policy, site

POLICIES = Path(__file__).parents[3] / "examples" / "policies"
MOMENT = datetime(2026, 11, 22, 0, 33, 44, 999_000, tzinfo=UTC)


@pytest.mark.parametrize("name", ["bronze", "silver", "gold"])
def test_shipped_policies_promise_what_their_class_promises(name: str) -> None:
    manifest = yaml.safe_load((POLICIES / f"{name}.yaml").read_text(encoding="utf-8"))
    found = ProtectionPolicy.model_validate(manifest)
    assert found.metadata.name == name
    assert found.spec.class_ == name.capitalize()
    assert (found.spec.rpo, found.spec.rto) == CLASSES[found.spec.class_]


def test_shipped_platinum_is_refused_with_the_reason() -> None:
    manifest = yaml.safe_load((POLICIES / "platinum.yaml").read_text(encoding="utf-8"))
    with pytest.raises(ValidationError, match="needs Ceph RBD mirroring"):
        ProtectionPolicy.model_validate(manifest)


def test_a_class_gives_the_numbers_that_are_not_set_alone() -> None:
    by_class = ProtectionPolicy.model_validate(backup_only("Silver", "24x-7d")).spec
    assert (by_class.effective_rpo, by_class.effective_rto) == ("1h", "2h")
    alone = ProtectionPolicy.model_validate(policy(("spec.rpo", "10m"))).spec
    assert (alone.effective_rpo, alone.rpo_seconds, alone.effective_rto) == ("10m", 600, "15m")


@pytest.mark.parametrize(
    ("replication", "seconds"), [({"interval": "2m"}, 120), ({}, 150), (REMOVED, None)]
)
def test_the_interval_is_half_of_the_rpo_unless_set(
    replication: object, seconds: int | None
) -> None:
    manifest = policy(("spec.replication", replication))
    if replication is REMOVED:
        manifest = backup_only("Bronze", "1x-7d")
    assert ProtectionPolicy.model_validate(manifest).spec.interval_seconds == seconds


def test_all_broken_rules_are_said_at_once() -> None:
    manifest = policy(
        ("spec.rpo", "20s"), ("spec.replication.interval", "10s"), ("spec.backup", REMOVED)
    )
    with pytest.raises(ValidationError) as refusal:
        ProtectionPolicy.model_validate(manifest)
    said = "\n".join(problems(refusal.value))
    for part in ("is not a backup", "rpo 20s is below 30s", "interval 10s is below 15s"):
        assert part in said


def test_problems_begin_with_the_path() -> None:
    with pytest.raises(ValidationError) as refusal:
        Site.model_validate(site(("spec.hosts.0.port", 0), ("spec.ssh", REMOVED)))
    assert [line.split(":")[0] for line in problems(refusal.value)] == [
        "spec.hosts.0.port",
        "spec.ssh",
    ]


def test_the_first_target_is_the_site_that_is_not_preferred() -> None:
    assert ReplicationPair.model_validate(pair()).spec.other_site == "muc"
    turned = pair(("spec.preferredSite", "muc"))
    assert ReplicationPair.model_validate(turned).spec.other_site == "fra"


def test_a_host_is_found_by_its_name() -> None:
    spec = Site.model_validate(site()).spec
    found = spec.host("pve1")
    assert found is not None
    assert (found.port, found.user) == (22, "root")
    assert spec.host("pve2") is None


def test_times_are_whole_seconds_in_utc_and_never_newer() -> None:
    elsewhere = MOMENT.astimezone(timezone(timedelta(hours=1)))
    point = RecoveryPoint(time=elsewhere, snapshot="s")
    assert point.document() == {"time": "2026-11-22T00:33:44Z", "snapshot": "s"}
    assert RecoveryPoint.model_validate(point.document()) == point


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(ValidationError, match="timezone"):
        RecoveryPoint(time=datetime(2026, 11, 22), snapshot="s")  # noqa: DTZ001


def test_long_messages_are_cut_and_not_refused() -> None:
    status = HostStatus(name="pve1", reason="Unreachable", message="x" * 5000)
    assert len(status.message) == 1024
    assert status.message.endswith("x…")


def test_a_status_of_another_version_is_read() -> None:
    found = ReplicationPairStatus.model_validate({"observedGeneration": 3, "roleEpoch": 7})
    assert found.observed_generation == 3


def test_a_stored_object_is_read_with_its_metadata() -> None:
    metadata = {
        "name": "vms",
        "namespace": "dr",
        "uid": "u-1",
        "generation": 4,
        "resourceVersion": "17",
        "annotations": {"backstay.dev/requested-at": "now"},
        "creationTimestamp": "2026-11-22T00:33:44Z",
        "managedFields": [{"manager": "kubectl"}],
    }
    found = ReplicationPair.model_validate(pair() | {"metadata": metadata})
    assert (found.metadata.uid, found.metadata.generation) == ("u-1", 4)
    assert found.metadata.annotations == {"backstay.dev/requested-at": "now"}
    assert found.status.observed_generation == -1


def test_conditions_of_one_type_twice_are_refused() -> None:
    ready = Condition(
        type="Ready", status="True", reason="UpToDate", message="", last_transition_time=MOMENT
    )
    with pytest.raises(ValidationError, match="Duplicate value"):
        ReplicationPairStatus(conditions=(ready, ready))


def test_models_are_frozen() -> None:
    found = ReplicationPair.model_validate(pair())
    with pytest.raises(ValidationError, match="frozen"):
        found.spec.suspend = True  # type: ignore[misc]


@pytest.mark.parametrize("name", ["Europe/Berlim", "Europe", "A" * 64])
def test_a_time_zone_that_does_not_exist_is_refused_by_the_models(name: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        Site.model_validate(site(("spec.timeZone", name)))
    assert problems(refusal.value) == [
        f"spec.timeZone: no time zone {name} is known: write the IANA name of a time zone, as in "
        "Europe/Berlin or UTC"
    ]


def test_every_time_zone_fits_into_the_field() -> None:
    for name in available_timezones():
        # Beside the zones of tzdata itself, hosts have copies in folders and links of their own.
        if name[0].isupper():
            assert Site.model_validate(site(("spec.timeZone", name))).spec.time_zone == name
