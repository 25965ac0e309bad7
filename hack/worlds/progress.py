"""Lines that say what goes on, each with the seconds since the command began."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_BEGAN = time.monotonic()
_EVERY_S = 20.0


def say(text: str) -> None:
    """Print one line of progress on standard error."""
    print(f"[{time.monotonic() - _BEGAN:6.1f}s] {text}", file=sys.stderr, flush=True)


def run_logged(
    what: str,
    argv: Sequence[str],
    log: Path,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> None:
    """Run `argv` with its output in `log`; says every 20 s how far the log has come.

    A failure ends with the last lines of the log, because they are what one wants to see.
    """
    say(f"{what}: started (log: {log})")
    log.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with log.open("wb") as sink:
        process = subprocess.Popen(
            argv,
            stdout=sink,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=None if env is None else {**os.environ, **env},
            cwd=cwd,
        )
        while True:
            try:
                status = process.wait(_EVERY_S)
                break
            except subprocess.TimeoutExpired:
                say(f"{what}: {time.monotonic() - began:.0f} s … {_last_line(log)}")
    if status:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-25:])
        raise SystemExit(f"{what} failed with status {status}; the end of {log}:\n{tail}")
    say(f"{what}: done in {time.monotonic() - began:.0f} s")


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return lines[-1][:90] if lines else ""


def side_by_side(*jobs: Callable[[], object]) -> None:
    """Run all jobs at once; the first failure is raised when all have ended."""
    with ThreadPoolExecutor(len(jobs)) as threads:
        running = [threads.submit(job) for job in jobs]
    for job in running:
        job.result()
