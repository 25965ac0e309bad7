"""Runs the tiers of tests: `fast` (seconds, no world) or `all` (real hosts, real API server)."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from worlds import bringup, cache, progress
from worlds.processes import weigh_session

UNIT, FAST = ("unit",), ("unit", "property")
VIRTUAL = ("property", "sim")
PURE = ("unit/api", "unit/controllers", "unit/observe", "unit/passes", "unit/plan", "unit/report")
"""As the tiers of `VIRTUAL` without a clock of this machine: both bear being starved."""
OF_THE_API, OF_HOSTS, OF_BOTH = ("controlplane", "contract/api"), ("contract/host", "lab"), ("e2e",)
"""By the world that they need: each is one for all of its tests, which take turns on it."""
SIDE_BY_SIDE = ("-n", "auto", "--dist", "worksteal")
"""A process a core."""
TWO_MODULES = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder")
"""Modules of the last tier have an installation each, and wait more than they work."""
NO_PROPERTIES = ("-p", "no:hypothesispytest")
"""What has no property tests does without the plugin, which parses sources as a session ends."""
PATIENT = 19
"""Niceness of what gets what the worlds leave over."""
STARVED_S = "3600"
"""Deadline of one test that gets what the worlds leave over."""
NEWEST_PYTHON = "3.13"


def present(tiers: tuple[str, ...]) -> list[str]:
    """The folders of those tiers that exist."""
    return [f"tests/{tier}" for tier in tiers if (cache.PROJECT / "tests" / tier).is_dir()]


def newest_python() -> Path | None:
    """The interpreter that the unit tests run on a second time, where there is one."""
    candidates = sorted(Path.home().glob(f".pyenv/versions/{NEWEST_PYTHON}*/bin/python"))
    found = shutil.which(f"python{NEWEST_PYTHON}")
    candidates += [Path(found)] if found else []
    for candidate in candidates:
        argv = [str(candidate), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        answer = subprocess.run(argv, capture_output=True, text=True, check=False)
        if answer.stdout.strip() == NEWEST_PYTHON:
            return candidate
    return None


def timed() -> list[str]:
    """The folders of unit tests that start processes and watch the clock."""
    folders = sorted(
        p for p in (cache.PROJECT / "tests/unit").iterdir() if any(p.glob("**/test_*"))
    )
    return [f"tests/unit/{p.name}" for p in folders if f"unit/{p.name}" not in PURE]


def pytest_on(python: Path) -> list[str]:
    """The command of tests on `python`, in an environment of its own."""
    environment = str(cache.cache_root() / f"venv-{NEWEST_PYTHON}")
    argv = ["env", "-u", "VIRTUAL_ENV", f"UV_PROJECT_ENVIRONMENT={environment}"]
    argv += [os.environ.get("UV", "uv"), "run", "--frozen", "--python", str(python)]
    return [*argv, "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", *SIDE_BY_SIDE]


@contextlib.contextmanager
def beside(argv: list[str], nice: int = 0) -> Iterator[None]:
    """`argv` runs meanwhile; what it said is printed in the end, also if what is inside failed.

    A failure of it ends this program with its status, once what is inside has passed.
    """
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            ["nice", "-n", str(nice), *argv],
            cwd=cache.PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        weigh_session(process.pid, nice)
        try:
            yield
            status = process.wait()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            said.seek(0)
            sys.stdout.flush()
            shutil.copyfileobj(said, sys.stdout.buffer)
    if status:
        sys.exit(status)


def run(argv: list[str]) -> None:
    """Run `argv` in the project's root; a failure ends this program with its status."""
    status = subprocess.run(argv, cwd=cache.PROJECT, check=False).returncode
    if status:
        sys.exit(status)


def run_worldly(pytest: list[str]) -> None:
    """The tiers on real hosts and a real API server pass; what runs beforehand goes on running."""
    before = bringup.running()
    pytest = [*pytest, *NO_PROPERTIES]
    try:
        bringup.up(with_operator=False)
        with beside([*pytest, *present(OF_THE_API)]):
            run([*pytest, *present(OF_HOSTS)])
        run([*pytest, *TWO_MODULES, *present(OF_BOTH)])
    finally:
        bringup.stop(bringup.running() - before)


def main() -> None:
    """Run the tiers; a failure ends it with the status of pytest."""
    pytest = [sys.executable, "-m", "pytest"]
    if sys.argv[1:] == ["fast"]:
        run([*pytest, *SIDE_BY_SIDE, *present(FAST)])
        return
    run([*pytest, *SIDE_BY_SIDE, *present(UNIT)])
    patient = ["--timeout", STARVED_S]
    waiting = [[*pytest, *SIDE_BY_SIDE, "-q", *patient, *present(VIRTUAL)]]
    python = newest_python()
    if python is not None:
        progress.say(f"unit tests on Python {NEWEST_PYTHON} ({python})")
        newest = pytest_on(python)
        run([*newest, *timed()])
        waiting.append([*newest, *patient, *present(PURE)])
    progress.say("the worlds; in what they leave of the cores property tests, simulator, the rest")
    with contextlib.ExitStack() as stack:
        for argv in waiting:
            stack.enter_context(beside(argv, PATIENT))
        run_worldly(pytest)


if __name__ == "__main__":
    main()
