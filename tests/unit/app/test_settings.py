"""What the environment may say, and what is said about nonsense."""

from __future__ import annotations

import json
import re

import pytest

from backstay.app.lease import LeaseTimes
from backstay.app.settings import Settings, SettingsError
from backstay_host.refusal import Refused
from backstay_host.zfs import names
from worlds import cache

SCHEMA = cache.PROJECT / "charts" / "backstay" / "values.schema.json"
CHART_PATTERN = json.loads(SCHEMA.read_text())["properties"]["installationId"]["pattern"]


def settings(**more: str) -> Settings:
    return Settings.from_environment({"BACKSTAY_NAMESPACE": "backstay", "PATH": "/bin", **more})


def test_a_namespace_is_enough() -> None:
    found = settings()
    assert found.namespaces == ("backstay",)
    assert found.installation_id == "backstay/backstay"
    assert found.http_port == 8080
    assert found.log_format == "json"
    assert found.kubeconfig == ""
    assert found.lease_times == LeaseTimes(duration_s=30, renew_deadline_s=20, retry_s=5)


def test_the_own_namespace_is_always_watched() -> None:
    assert settings(BACKSTAY_WATCH_NAMESPACES="b, a,,b").namespaces == ("a", "b", "backstay")


def test_a_star_means_all_namespaces() -> None:
    assert settings(BACKSTAY_WATCH_NAMESPACES="a,*").namespaces == ()


def test_the_installation_id_can_be_given() -> None:
    assert settings(BACKSTAY_INSTALLATION_ID="fra/one").installation_id == "fra/one"


@pytest.mark.parametrize("text", ["fra/one", "A.b_c-1", "a", "a" * 255, "9/"])
def test_an_installation_id_that_the_hosts_take_is_taken(text: str) -> None:
    assert names.installation(text) == text
    assert settings(BACKSTAY_INSTALLATION_ID=text).installation_id == text
    assert re.search(CHART_PATTERN, text)


@pytest.mark.parametrize("text", ["a:b", "a b", "/a", "-a", "é", "a" * 256, "a\n", "a+b"])
def test_an_installation_id_that_the_hosts_refuse_is_refused_at_once(text: str) -> None:
    with pytest.raises(Refused):
        names.installation(text)
    with pytest.raises(SettingsError, match="BACKSTAY_INSTALLATION_ID"):
        settings(BACKSTAY_INSTALLATION_ID=text)
    assert not re.search(CHART_PATTERN.replace("$", r"\Z"), text)


def test_fed_hosts_are_used_unless_the_chart_says_no() -> None:
    assert not settings().require_installed
    assert not settings(BACKSTAY_REQUIRE_INSTALLED="false").require_installed
    assert settings(BACKSTAY_REQUIRE_INSTALLED="true").require_installed


def test_a_variable_that_is_set_but_empty_counts_as_absent() -> None:
    assert settings(BACKSTAY_HTTP_PORT="", BACKSTAY_INSTALLATION_ID=" ") == settings()


def test_a_short_lease_keeps_its_proportions() -> None:
    times = settings(BACKSTAY_LEASE_SECONDS="3").lease_times
    assert times == LeaseTimes(duration_s=3, renew_deadline_s=2, retry_s=0.5)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("BACKSTAY_NAMESPACE", ""),
        ("BACKSTAY_NAMESPACE", "Not_A_Namespace"),
        ("BACKSTAY_WATCH_NAMESPACES", "ok,Not_OK"),
        ("BACKSTAY_HTTP_PORT", "http"),
        ("BACKSTAY_HTTP_PORT", "70000"),
        ("BACKSTAY_LOG_FORMAT", "xml"),
        ("BACKSTAY_LEASE_SECONDS", "0"),
        ("BACKSTAY_LEASE_RENEW_SECONDS", "31"),
        ("BACKSTAY_LEASE_RETRY_SECONDS", "25"),
        ("BACKSTAY_INSTALLATION_ID", "a:b"),
    ],
)
def test_nonsense_is_refused_with_the_name_of_the_variable(variable: str, value: str) -> None:
    with pytest.raises(SettingsError, match=variable):
        settings(**{variable: value})


def test_settings_never_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        setattr(settings(), "http_port", 1)  # noqa: B010  # mypy knows it, too
