"""What `preview` says, to people and to programs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from backstay.app.cli import app
from backstay.app.commands.asked import Output
from backstay.app.commands.preview import PairPreview, preview_document, show_route
from backstay.app.commands.screen import Screen
from backstay.app.preview import RoutePreview
from backstay.domain.pairs import Conflict, HostKey, Route
from fakes import objects

ROUTE = Route(source=HostKey("ns", "a", "h1"), target=HostKey("ns", "b", "h1"))


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose kubeconfig leads to no cluster, with the manifest of a pair without Sites."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "missing"))
    manifest = tmp_path / "pair.yaml"
    manifest.write_text(yaml.safe_dump(objects.pair("erp")), encoding="utf-8")
    return manifest


def ran(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["preview", *arguments])


def test_what_cannot_be_shown_is_1_with_the_reason(nowhere: Path) -> None:
    done = ran("-f", str(nowhere))
    assert done.exit_code == 1
    assert done.stdout == ""
    assert "# the cluster could not be read" in done.stderr
    assert "# ReplicationPair ns/erp: " in done.stderr


def test_programs_get_the_same_reason_and_whether_the_cluster_was_read(nowhere: Path) -> None:
    done = ran("-f", str(nowhere), "-o", "json")
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert "no credentials" in found["clusterUnread"]
    assert found["pairs"][0]["pair"] == "ReplicationPair ns/erp"
    assert "Missing" in found["pairs"][0]["problem"]
    assert found["pairs"][0]["routes"] == []


def test_a_manifest_that_cannot_be_read_is_2(nowhere: Path) -> None:
    done = ran("-f", str(nowhere.parent / "nope.yaml"))
    assert done.exit_code == 2
    assert "nope.yaml" in done.stderr


def test_who_may_have_named_the_wrong_installation_is_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    owned = Conflict(reason="ForeignWriter", message="tank/r is written by dr/prod")
    shown = RoutePreview(route=ROUTE, commands=(), background=(), problems={"tank/r/d": owned})
    show_route(Screen(Output.TEXT), shown)
    assert "--installation" in capsys.readouterr().out
    show_route(Screen(Output.TEXT), replace(shown, problems={}))
    assert "--installation" not in capsys.readouterr().out


def test_commands_stay_argument_vectors_for_programs() -> None:
    argv = ("zfs", "snapshot", "tank/a b@x")
    route = RoutePreview(
        route=ROUTE,
        commands=(("a/h1", argv),),
        background=(("b/h1", ("zfs", "receive", "tank/r")),),
        problems={"tank/r": Conflict(reason="TargetModified", message="look")},
    )
    shown = PairPreview(pair="ReplicationPair ns/erp", routes=(route,))
    assert not shown.good
    assert preview_document([shown], None)["pairs"][0]["routes"] == [
        {
            "route": str(ROUTE),
            "commands": [{"host": "a/h1", "argv": list(argv)}],
            "background": [{"host": "b/h1", "argv": ["zfs", "receive", "tank/r"]}],
            "problems": [{"where": "tank/r", "reason": "TargetModified", "message": "look"}],
        }
    ]
