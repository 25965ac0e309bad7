"""Runs the tiers of tests: `fast` (seconds, no world) or `all` (real hosts, real API server)."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from worlds import bringup, cache, progress

FAST = ("unit", "property")
ALL = (*FAST, "sim", "controlplane", "contract", "lab", "e2e")
WORLDLY = ("controlplane", "contract", "lab", "e2e")
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


def run_unit_on(python: Path) -> None:
    """The unit tests pass on `python`, in an environment of its own."""
    progress.say(f"unit tests on Python {NEWEST_PYTHON} ({python})")
    env = {
        **os.environ,
        "UV_PROJECT_ENVIRONMENT": str(cache.cache_root() / f"venv-{NEWEST_PYTHON}"),
    }
    env.pop("VIRTUAL_ENV", None)
    argv = [os.environ.get("UV", "uv"), "run", "--frozen", "--python", str(python)]
    run([*argv, "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/unit"], env)


def run(argv: list[str], env: dict[str, str] | None = None) -> None:
    """Run `argv` in the project's root; a failure ends this program with its status."""
    status = subprocess.run(argv, cwd=cache.PROJECT, env=env, check=False).returncode
    if status:
        sys.exit(status)


def main() -> None:
    """Run the tiers; the last line is that of pytest."""
    fast = sys.argv[1:] == ["fast"]
    folders = present(FAST if fast else ALL)
    pytest = [sys.executable, "-m", "pytest", *folders]
    if fast:
        run(pytest)
        return
    python = newest_python()
    if python is not None:
        run_unit_on(python)
    before = bringup.running()
    try:
        if present(WORLDLY):
            bringup.up(with_operator=False)
        run(pytest)
    finally:
        bringup.stop(bringup.running() - before)


if __name__ == "__main__":
    main()
