"""`kubectl backstay grant` and `host-program` against a cluster in memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from backstay.app.cli import app
from fakes.commandline import document, ran
from fakes.reader import FakeReader
from fakes.ssh_keys import openssh_with_public

LINE = (
    'restrict,command="/usr/local/bin/backstay-host gate --send tank/erp --receive tank/backstay" '
)


def test_grant_prints_the_line_the_steps_and_what_it_admits(kube: FakeReader) -> None:
    done = ran(kube, "grant", "a/h1")
    assert done.exit_code == 0
    page = (Path(__file__).parents[3] / "docs" / "kubectl-backstay.md").read_text()
    assert f"$ kubectl backstay grant a/h1\n{done.stdout}```\n" in page
    assert LINE + "PUBLIC-KEY" in done.stdout
    said = document(kube, "grant", "a/h1")
    assert said["send"] == ["tank/erp"]
    assert said["receive"] == ["tank/backstay"]
    assert said["publicKey"] is None
    assert said["authorizedKeys"] in done.stdout


def test_the_public_half_of_the_key_is_shown_to_who_may_read_it(kube: FakeReader) -> None:
    kube.secrets["ns", "key"] = {"ssh-privatekey": openssh_with_public()}
    assert LINE + "ssh-ed25519 AAAA" in ran(kube, "grant", "a/h1").stdout
    assert document(kube, "grant", "a/h1")["dataPublicKey"] is None
    kube.secrets["ns", "key"]["data-privatekey"] = openssh_with_public()
    said = document(kube, "grant", "a/h1")
    assert said["dataAuthorizedKeys"].endswith(said["dataPublicKey"])
    kube.denied.add("get secrets")
    done = ran(kube, "grant", "a/h1")
    assert (done.exit_code, LINE + "PUBLIC-KEY" in done.stdout) == (0, True)


def test_what_does_not_exist_is_named(kube: FakeReader) -> None:
    for place, why in (
        ("a", "write SITE/HOST"),
        ("nope/h1", "Site ns/nope: does not exist"),
        ("a/h9", "has no host h9 (it has h1)"),
    ):
        done = ran(kube, "grant", place)
        assert done.exit_code == 2
        assert why in done.stderr


def test_a_pair_that_is_not_understood_is_said_to_be_left_out(kube: FakeReader) -> None:
    pair = next(body for body in kube.objects.values() if body["metadata"]["name"] == "erp")
    pair["spec"]["novelty"] = 1
    done = ran(kube, "grant", "a/h1")
    assert done.exit_code == 1
    assert "NOT what ReplicationPair erp needs" in done.stdout


def test_the_host_program_is_one_file_that_python_runs(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["host-program"])
    assert done.exit_code == 0
    assert done.stdout_bytes.startswith(b"#!/usr/bin/python3 -I\n")
    file = tmp_path / "backstay-host.pyz"
    file.write_bytes(done.stdout_bytes)
    said = subprocess.run(
        [sys.executable, "-I", str(file)], capture_output=True, timeout=30, check=False
    )
    assert said.returncode == 2
    assert b"usage: backstay-host serve" in said.stderr
