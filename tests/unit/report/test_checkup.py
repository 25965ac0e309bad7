"""What `doctor` finds, from values that were read."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any

import pytest

from backstay.api.crds import crd
from backstay.api.v1alpha1 import ProtectionPolicy, ReplicationPair, Site
from backstay.report.checkup import (
    Check,
    Unread,
    check_crd,
    check_leader,
    check_policy,
    check_right,
    check_secret,
    check_site,
    checkup_document,
)
from backstay.report.leader import Leader
from fakes import objects, reported
from fakes.ssh_keys import host_key, openssh, openssh_with_public

TODAY = date(2030, 1, 1)
OURS = crd(Site)
NAME = "sites.backstay.dev"


def site(**changes: Any) -> dict[str, Any]:
    body = reported.site("b", **changes)
    body["spec"]["hosts"][0]["hostKeys"] = [host_key("ssh-ed25519")]
    return body


def levels(checks: Iterable[Check]) -> dict[str, str]:
    return {check.name: check.level for check in checks}


def site_levels(body: dict[str, Any], *pairs: dict[str, Any]) -> dict[str, str]:
    parsed = [ReplicationPair.model_validate(pair) for pair in pairs]
    return levels(check_site(Site.model_validate(body), parsed))


def test_a_healthy_site_is_ok_in_everything() -> None:
    assert site_levels(site(), reported.pair("erp")) == {
        "HostKeys": "ok",
        "ReceiveRoots": "ok",
        "HostReachable": "ok",
        "ClockSkew": "ok",
        "Pool": "ok",
    }


@pytest.mark.parametrize(
    ("skew_s", "level"), [(0, "ok"), (2, "ok"), (-2, "ok"), (3, "warn"), (-3, "warn")]
)
def test_a_clock_that_differs_by_more_than_two_seconds_is_flagged(skew_s: int, level: str) -> None:
    assert site_levels(site(skew_s=skew_s))["ClockSkew"] == level


def test_an_unreachable_host_is_bad_and_says_nothing_of_its_pools() -> None:
    found = site_levels(site(trouble=("KeyRefused", "h1: the host refused the key")))
    assert found["HostReachable"] == "bad"
    assert "Pool" not in found
    assert "ClockSkew" not in found


def test_a_site_that_nobody_looked_at_is_unknown() -> None:
    body = objects.site("b")
    assert site_levels(body)["Ready"] == "unknown"
    assert "HostReachable" not in site_levels(body)


@pytest.mark.parametrize(
    ("health", "free", "level"),
    [
        ("ONLINE", 110, "ok"),
        ("ONLINE", 90, "warn"),
        ("DEGRADED", 500, "bad"),
        ("ONLINE", 0, "warn"),
    ],
)
def test_a_pool_is_bad_when_it_is_ill_and_worth_a_warning_when_it_is_full(
    health: str, free: int, level: str
) -> None:
    body = site()
    pool = {"name": "tank", "health": health, "sizeBytes": 1000, "freeBytes": free}
    body["status"]["hosts"][0]["pools"] = [pool]
    assert site_levels(body)["Pool"] == level


def test_a_host_key_that_does_not_parse_is_bad() -> None:
    assert site_levels(objects.site("b"))["HostKeys"] == "bad"


def test_a_target_needs_a_receive_root_and_a_source_does_not() -> None:
    body = site()
    del body["spec"]["hosts"][0]["receiveRoots"]
    assert site_levels(body, reported.pair("erp"))["ReceiveRoots"] == "bad"
    assert site_levels(body, reported.pair("erp", activeSite="b"))["ReceiveRoots"] == "ok"
    assert site_levels(body)["ReceiveRoots"] == "ok"


@pytest.mark.parametrize(
    ("secret", "level", "words"),
    [
        ({"ssh-privatekey": openssh()}, "ok", "looks like"),
        ({"ssh-privatekey": b"ssh-ed25519 AAAA"}, "bad", "public key"),
        ({"id_ed25519": openssh()}, "bad", "has no key ssh-privatekey (it has id_ed25519)"),
        (
            {"ssh-privatekey": openssh(), "data-privatekey": b"x"},
            "bad",
            "data-privatekey: it is no",
        ),
        (
            {"ssh-privatekey": openssh(), "data-privatekey": openssh()},
            "bad",
            "data-privatekey is the same key",
        ),
        ({"ssh-privatekey": openssh(), "data-privatekey": openssh_with_public()}, "ok", "looks"),
        ({}, "bad", "it has none"),
        (None, "bad", "does not exist"),
        (Unread(why="403"), "unknown", "403"),
    ],
)
def test_a_secret_is_judged_without_showing_it(secret: Any, level: str, words: str) -> None:
    check = check_secret(Site.model_validate(site()), secret)
    assert check.level == level
    assert words in check.says
    assert bool(check.next_step) is (level != "ok")


def without_field(schema: dict[str, Any]) -> dict[str, Any]:
    found = copy.deepcopy(schema)
    version = found["spec"]["versions"][0]
    del version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["ssh"]
    return found


def test_a_crd_is_of_this_version_when_it_has_the_same_fields() -> None:
    assert check_crd(NAME, OURS, OURS).level == "ok"
    older = check_crd(NAME, without_field(OURS), OURS)
    assert (older.level, ".spec.ssh" in older.says) == ("bad", True)
    newer = check_crd(NAME, OURS, without_field(OURS))
    assert (newer.level, ".spec.ssh" in newer.says) == ("warn", True)


def test_a_crd_that_is_missing_or_serves_another_version_is_bad_and_an_unread_one_unknown() -> None:
    assert check_crd(NAME, None, OURS).level == "bad"
    assert check_crd(NAME, Unread(why="403"), OURS).level == "unknown"
    other = copy.deepcopy(OURS)
    other["spec"]["versions"][0]["name"] = "v2"
    assert "does not serve v1alpha1" in check_crd(NAME, other, OURS).says
    unserved = copy.deepcopy(OURS)
    unserved["spec"]["versions"][0]["served"] = False
    assert check_crd(NAME, unserved, OURS).level == "bad"


def policy(kind: str, days: int) -> ProtectionPolicy:
    body = reported.policy()
    until = str(TODAY + timedelta(days=days))
    if kind == "exception":
        del body["spec"]["backup"]
        excused = {"reason": "a test", "until": until}
        body["spec"]["exceptions"] = {"replicationWithoutBackup": excused}
    else:
        body["spec"]["backup"]["external"]["until"] = until
    return ProtectionPolicy.model_validate(body)


@pytest.mark.parametrize("kind", ["exception", "statement"])
@pytest.mark.parametrize(
    ("days", "level"), [(-1, "bad"), (0, "warn"), (14, "warn"), (15, "ok"), (400, "ok")]
)
def test_what_runs_out_within_14_days_is_warned_of(kind: str, days: int, level: str) -> None:
    found = list(check_policy(policy(kind, days), TODAY))
    assert levels(found) == {"Ready": "ok", "RunsOut": level}
    assert f"{abs(days)} " in found[-1].says


def test_a_leader_is_ok_nobody_is_bad_and_an_unread_lease_unknown() -> None:
    for leads, level in ((True, "ok"), (False, "bad"), (None, "unknown")):
        assert levels(check_leader(Leader(leads=leads, says="x"))) == {"OperatorLeads": level}


@pytest.mark.parametrize(("ahead_s", "flagged"), [(2.0, False), (2.1, True)])
def test_a_reader_whose_clock_is_behind_is_told(ahead_s: float, flagged: bool) -> None:
    found = levels(check_leader(Leader(leads=True, says="x", ahead_s=ahead_s)))
    assert ("ReaderClock" in found) is flagged


def test_a_missing_right_is_a_warning_with_the_commands_that_need_it() -> None:
    check = check_right("patch replicationpairs.backstay.dev", ("sync",), False)
    assert check.level == "warn"
    assert "sync" in check.says
    assert "editor" in check.next_step
    assert check_right("x", ("sync",), True).level == "ok"


def test_programs_get_counts_and_whether_anything_is_bad() -> None:
    bad = Check(name="A", level="bad", about="x", says="y", next_step="z")
    good = Check(name="B", level="ok", about="x", says="y")
    assert checkup_document([good])["healthy"] is True
    document = checkup_document([bad, good])
    assert document["healthy"] is False
    assert document["counts"] == {"bad": 1, "unknown": 0, "warn": 0, "ok": 1}
    assert document["checks"][0] == {
        "name": "A",
        "level": "bad",
        "object": "x",
        "message": "y",
        "nextStep": "z",
    }
