"""`kubectl backstay status` against a cluster in memory."""

from __future__ import annotations

import pytest

from backstay.domain.errors import Unreachable
from fakes import reported
from fakes.commandline import document, lead, ran
from fakes.reader import FakeReader


def test_status_is_0_when_all_is_met(kube: FakeReader) -> None:
    done = ran(kube, "status")
    assert done.exit_code == 0
    assert done.stdout == (
        "NAME  ACTIVE  RPO  LAG  RPO-MET  READY  STATE\n"
        "erp   a       5m   87s  True     True   Fine\n"
        "\n"
        "1 pair: 1 Fine\n"
    )


def test_status_is_1_when_something_is_not_met_and_names_it_first(kube: FakeReader) -> None:
    kube.put(reported.pair("db", lag_s=900, met="False", ready=("False", "SourceBusy", "busy")))
    done = ran(kube, "status")
    assert done.exit_code == 1
    assert done.stdout.splitlines()[1:3] == [
        "db    a       5m   15m  False    False  Breached",
        "  SourceBusy: busy",
    ]


def test_status_is_1_when_nothing_is_promised(kube: FakeReader) -> None:
    done = ran(kube, "status", "-n", "nss")
    assert done.exit_code == 1
    assert "nothing is protected here" in done.stdout


@pytest.mark.parametrize("command", ["status", "explain erp", "sync erp --wait", "doctor"])
def test_an_api_server_that_does_not_answer_is_2_and_not_a_judgement(
    kube: FakeReader, command: str
) -> None:
    kube.failure = Unreachable("Timeout", "the API server did not answer GET within 30 s")
    done = ran(kube, *command.split())
    assert done.exit_code == 2
    assert done.stdout == ""
    assert "the cluster could not be read: Timeout" in done.stderr


def test_the_lag_grows_while_nobody_writes_and_then_nothing_is_met(kube: FakeReader) -> None:
    kube.clock.freeze_and_jump(7200)
    done = ran(kube, "status")
    assert done.exit_code == 1
    assert done.stdout.splitlines()[1] == "erp   a       5m   121m  Unknown  Unknown  Unknown"
    assert "no operator is known to lead" in done.stdout


def test_all_namespaces_are_shown_with_their_names(kube: FakeReader) -> None:
    other = reported.pair("erp")
    other["metadata"]["namespace"] = "other"
    kube.put(other)
    shown = ran(kube, "status", "-A").stdout
    assert "ns/erp" in shown
    assert "other/erp" in shown
    assert "other" not in ran(kube, "status").stdout


def test_an_object_of_a_newer_version_is_unknown_and_not_left_out(kube: FakeReader) -> None:
    newer = reported.pair("newer")
    newer["spec"]["recovery"] = {"mode": "unheard-of"}
    kube.put(newer)
    found = document(kube, "status")
    assert (found["pairs"][0]["name"], found["pairs"][0]["state"]) == ("newer", "Unknown")
    assert "recovery" in found["pairs"][0]["message"]
    assert found["allMet"] is False


def operators(kube: FakeReader, *arguments: str) -> dict[str, bool | None]:
    found = document(kube, "status", *arguments)["operators"]
    return {each["namespace"]: each["leads"] for each in found}


def test_the_lease_is_looked_for_in_both_namespaces_and_where_it_is_said_to_be(
    kube: FakeReader,
) -> None:
    assert operators(kube) == {"ns": True}
    kube.stored.clear()
    assert operators(kube) == {"ns": None}
    lead(kube, age_s=2, namespace="ns")
    assert operators(kube) == {"ns": True}
    lead(kube, age_s=60, namespace="elsewhere")
    assert operators(kube, "--lease", "elsewhere/backstay") == {"ns": False}


def test_each_namespace_is_judged_by_its_own_operator(kube: FakeReader) -> None:
    other = reported.pair("erp")
    other["metadata"]["namespace"] = "other"
    kube.put(other)
    lead(kube, age_s=60, namespace="other")
    assert operators(kube, "-A") == {"ns": True, "other": False}
    states = {p["namespace"]: p["state"] for p in document(kube, "status", "-A")["pairs"]}
    assert states == {"ns": "Fine", "other": "Unknown"}
    assert ran(kube, "doctor", "-A").stdout.count(" operator: Lease") == 2
