"""Shell completion: names from the cluster, and the program that kubectl asks for completions."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from backstay.domain.errors import BackstayError

if TYPE_CHECKING:
    from backstay.app.commands.cluster import Toolbox

PROGRAM = "kubectl-backstay"
PATIENCE_S = 3.0
"""Nobody waits longer for a name after the Tab key."""
# Cobra's directives, which kubectl takes from the last line (pkg/cmd/plugin/plugin_completion.go).
_FILES_TOO, _NO_FILES = ":0", ":4"


def names_of(kind: str, kubeconfig: str | None, namespace: str | None, tools: Toolbox) -> list[str]:
    """The names of a kind's objects; none when the cluster does not answer at once."""
    from backstay.adapters.kube.client import default_kubeconfig

    config = kubeconfig or default_kubeconfig()
    place = namespace or tools.default_namespace(config)

    async def read() -> list[str]:
        async with asyncio.timeout(PATIENCE_S), tools.open(config, [place]) as kube:
            return [body["metadata"]["name"] async for body in kube.list_all(kind)]

    try:
        return asyncio.run(read())
    except (BackstayError, TimeoutError):
        return []


def answer_kubectl(run: Callable[[], None], words: Sequence[str]) -> str:
    """What `kubectl_complete-backstay` prints for these words, the last of which is unfinished.

    Asks Typer as the fish shell does: `value<Tab>help` a line is what kubectl takes, too.
    """
    *done, last = words or ("",)
    asked = shlex.join([PROGRAM, *done]) + " " + (shlex.quote(last) if last else "")
    environment = {
        "_KUBECTL_BACKSTAY_COMPLETE": "complete_fish",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "_TYPER_COMPLETE_ARGS": asked,
        # Typer has the help wrapped, and each line would be a completion of its own.
        "COLUMNS": "1000",
    }
    before = dict(os.environ)
    os.environ.update(environment)
    said = io.StringIO()
    # What libraries say on standard error would be in the middle of the user's command line.
    silence = contextlib.redirect_stderr(io.StringIO())
    try:
        with silence, contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
            run()
    finally:
        os.environ.clear()
        os.environ.update(before)
    lines = [line for line in said.getvalue().splitlines() if line.strip()]
    return "\n".join([*lines, _NO_FILES if lines else _FILES_TOO]) + "\n"


def print_answer(run: Callable[[], None]) -> None:
    """The completions for this process's arguments are on standard output."""
    sys.stdout.write(answer_kubectl(run, sys.argv[1:]))
