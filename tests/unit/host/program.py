"""Runs the host program against a fake `zfs` and folders of a test: program.py HOME ARGUMENTS."""

from __future__ import annotations

import sys
from pathlib import Path

from backstay_host import __main__, children, places, programs, roles, stream, tickets


def run(home: Path, arguments: list[str]) -> None:
    """The program has run to its end."""
    children.SEARCH_PATH = f"{home}/bin:/usr/bin:/bin"
    places.RUN_FOLDER = home / "run"
    places.program = lambda: [sys.executable, __file__, str(home)]
    may_run = lambda: not (home / "no-programs").exists()  # noqa: E731
    for module in (roles, programs):
        setattr(module, "may_run_programs", may_run)  # noqa: B010
    stream.SILENCE_S = 1.5  # shorter patience, since tests wait for its end
    tickets.ALIVE_EVERY_S = 0.2
    __main__.main(arguments)


if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2:])
