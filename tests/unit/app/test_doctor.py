"""`kubectl backstay doctor` and what users are allowed to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from backstay.app.commands.completion import names_of
from backstay.app.commands.rights import GET_LEASE, GETS, LISTS, PATCH_PAIR
from backstay.domain.errors import Stalled
from fakes.commandline import document, lead, ran
from fakes.reader import FakeReader
from fakes.ssh_keys import SECRET, openssh


def checks(kube: FakeReader, *arguments: str) -> dict[str, str]:
    """The worst level of each check."""
    found: dict[str, str] = {}
    for check in document(kube, "doctor", *arguments)["checks"]:
        found.setdefault(check["name"], check["level"])
    return found


def test_doctor_finds_a_healthy_installation_healthy(kube: FakeReader) -> None:
    assert set(checks(kube).values()) == {"ok"}
    assert ran(kube, "doctor").exit_code == 0


def test_doctor_is_1_for_a_bad_thing_and_names_it_first(kube: FakeReader) -> None:
    kube.secrets.clear()
    done = ran(kube, "doctor")
    assert done.exit_code == 1
    first = done.stdout.splitlines()[:2]
    assert first[0] == "bad      Secret ns/key: does not exist, and Site a logs in with it"
    assert "next: kubectl -n ns create secret generic key" in first[1]


@pytest.mark.parametrize(
    ("right", "check", "level", "status"),
    [
        ("get secrets", "SecretUsable", "unknown", 0),
        ("get leases.coordination.k8s.io", "OperatorLeads", "unknown", 0),
        ("get customresourcedefinitions.apiextensions.k8s.io", "CrdInstalled", "unknown", 0),
        ("patch replicationpairs.backstay.dev", "UserMay", "warn", 0),
    ],
)
def test_doctor_without_a_right_knows_less_and_says_so(
    kube: FakeReader, right: str, check: str, level: str, status: int
) -> None:
    kube.denied.add(right)
    assert checks(kube)[check] == level
    assert checks(kube)["UserMay"] == "warn"
    assert ran(kube, "doctor").exit_code == status


def test_doctor_without_crds_says_to_install_them(kube: FakeReader) -> None:
    kube.crds.clear()
    assert checks(kube)["CrdInstalled"] == "bad"


def test_doctor_of_one_site_leaves_the_others_out(kube: FakeReader) -> None:
    done = ran(kube, "doctor", "a").stdout
    assert "Site ns/a host" in done
    assert "Site ns/b" not in done
    assert "Policy" not in done
    assert ran(kube, "doctor", "nope").exit_code == 2


def test_doctor_warns_of_a_clock_that_differs(kube: FakeReader) -> None:
    lead(kube, age_s=-10)
    assert checks(kube)["ReaderClock"] == "warn"


def test_nothing_of_a_key_is_ever_shown(kube: FakeReader) -> None:
    key = openssh(b"aes256-ctr")
    kube.secrets["ns", "key"] = {"ssh-privatekey": key}
    for output in ("text", "json"):
        said = ran(kube, "doctor", "-o", output).output
        assert "passphrase" in said
        for part in (*key.decode().splitlines()[1:-1], SECRET.decode()):
            assert part not in said


CHART = Path(__file__).parents[3] / "charts" / "backstay" / "templates"


def role_rules(name: str) -> list[dict[str, Any]]:
    text = (CHART / "userroles.yaml").read_text(encoding="utf-8")
    plain = "\n".join(
        line for line in text.splitlines() if "{{" not in line or "backstay.name" in line
    )
    roles = list(yaml.safe_load_all(plain.replace('{{ include "backstay.name" . }}', "backstay")))
    return [
        rule
        for role in roles
        if role["metadata"]["name"] == f"backstay-{name}"
        for rule in role["rules"]
    ]


def test_the_charts_roles_suffice_to_look_and_to_ask() -> None:
    for role, needed in (
        ("viewer", (*LISTS, *GETS, GET_LEASE)),
        ("editor", (*LISTS, *GETS, PATCH_PAIR, GET_LEASE)),
    ):
        for access in needed:
            assert any(
                access.verb in rule["verbs"]
                and access.resource in rule["resources"]
                and access.group in rule["apiGroups"]
                for rule in role_rules(role)
            ), f"{role} may not {access}"
    assert not any("patch" in rule["verbs"] for rule in role_rules("viewer"))


def test_names_are_completed_from_the_cluster_and_silence_is_no_name(kube: FakeReader) -> None:
    assert names_of("ReplicationPair", None, None, kube.toolbox()) == ["erp"]
    assert names_of("Site", None, "ns", kube.toolbox()) == ["a", "b"]
    kube.failure = Stalled("NoRights", "403")
    assert names_of("Site", None, None, kube.toolbox()) == []


SICK = """\
bad      Secret ns/key: has no key ssh-privatekey (it has id_ed25519)
         next: put the private key's file under ssh-privatekey
warn     Site ns/b host h1: its clock is 3 s ahead of the operator's
         next: run an NTP service at the host: timedatectl set-ntp true
warn     you: patch replicationpairs.backstay.dev in namespace ns: not allowed;
         needed for sync, resolve, yield
         next: ask for a role with it; the chart has viewer and editor
ok       CRD sites.backstay.dev: serves v1alpha1 with the """


def test_doctor_shows_the_bad_first_each_with_the_next_step(kube: FakeReader) -> None:
    kube.secrets["ns", "key"] = {"id_ed25519": openssh()}
    kube.denied.add("patch replicationpairs.backstay.dev")
    site = next(body for body in kube.objects.values() if body["metadata"]["name"] == "b")
    site["status"]["hosts"][0]["clockSkewSeconds"] = 3
    done = ran(kube, "doctor", COLUMNS="80")
    assert done.stdout.startswith(SICK)
    assert SICK in (CHART.parents[2] / "docs" / "kubectl-backstay.md").read_text(encoding="utf-8")
