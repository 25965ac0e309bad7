"""What `kubectl_complete-backstay` answers kubectl."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from backstay.app.cli import main
from backstay.app.commands.completion import answer_kubectl


def answer(*words: str) -> list[str]:
    return answer_kubectl(main, words).splitlines()


def values(*words: str) -> list[str]:
    return [line.partition("\t")[0] for line in answer(*words)[:-1]]


def test_commands_are_offered_with_their_help_and_no_files() -> None:
    assert values("") == [
        "version",
        "status",
        "explain",
        "sync",
        "resolve",
        "yield",
        "doctor",
        "preview",
        "grant",
        "host-program",
    ]
    assert values("s") == ["status", "sync"]
    assert answer("st")[0].startswith("status\tShow all pairs")
    assert answer("st")[-1] == ":4"


def test_each_line_is_one_completion_however_long_its_help_is() -> None:
    assert all(value.startswith("--") for value in values("status", "--"))
    assert "--lease" in values("status", "--")


def test_values_of_options_are_offered() -> None:
    assert values("status", "-o", "") == ["text", "json"]


def test_where_nothing_is_known_the_shell_offers_files() -> None:
    assert answer("preview", "-f", "") == [":0"]


def test_an_unreachable_cluster_costs_the_names_and_says_nothing(tmp_path: Path) -> None:
    program = "from backstay.app.cli import complete; complete()"
    done = subprocess.run(
        [sys.executable, "-c", program, "explain", ""],
        env={**os.environ, "KUBECONFIG": str(tmp_path / "missing")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == (":0\n", "")


def test_the_environment_is_as_before() -> None:
    before = dict(os.environ)
    answer("st")
    assert dict(os.environ) == before
