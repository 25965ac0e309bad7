"""The plugin's command line."""

from __future__ import annotations

from importlib.metadata import version

import pytest
from typer.testing import CliRunner

from backstay.app.cli import app

RUNNER = CliRunner()


def test_help_shows_how_to_use_each_command() -> None:
    assert "preview" in RUNNER.invoke(app, ["--help"]).output
    said = RUNNER.invoke(app, ["preview", "--help"]).output
    assert "kubectl backstay preview -f pair.yaml" in said
    assert "Only reads" in said


def test_version_is_that_of_the_package() -> None:
    assert RUNNER.invoke(app, ["version"]).output == f"{version('backstay')}\n"


@pytest.mark.parametrize("arguments", [[], ["erp", "-f", "pair.yaml"]])
def test_preview_wants_a_pair_or_manifests_and_not_both(arguments: list[str]) -> None:
    done = RUNNER.invoke(app, ["preview", *arguments])
    assert done.exit_code == 2
    assert "name a pair, or give manifests" in done.stderr
