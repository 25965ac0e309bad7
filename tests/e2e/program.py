"""The operator of this checkout as a process of its own."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from e2e.patience import eventually
from worlds.operator_process import PROGRAM
from worlds.processes import Process

_SERIES = re.compile(r"^(?P<name>\w+)(?:\{(?P<labels>[^}]*)\})? (?P<value>\S+)$")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(slots=True)
class Operator:
    """One operator process with its settings; may be killed, stopped and started at will."""

    process: Process
    settings: dict[str, str]
    port: int = field(default_factory=_free_port)

    def start(self) -> None:
        """It runs and knows all objects."""
        environment = {
            **os.environ,
            **self.settings,
            "BACKSTAY_HTTP_PORT": str(self.port),
            "PYTHONUNBUFFERED": "1",
        }
        self.process.start([str(PROGRAM)], environment)

        def ready() -> None:
            assert self.process.pid() is not None, self.process.tail(25)
            assert self._get("/readyz") is not None, self.process.tail(5)

        eventually(ready)

    def restart(self) -> None:
        """A new process, after `kill`."""
        self.process.pid_file.unlink(missing_ok=True)
        self.start()

    def kill(self) -> None:
        """`kill -9`: nothing of its own runs after this, but its ssh children may, for a moment."""
        self.process.kill()

    def freeze(self) -> None:
        """It is stopped as by a paused machine."""
        self.process.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        self.process.signal(signal.SIGCONT)

    def stop(self) -> None:
        """It has ended, frozen or not."""
        self.process.stop()

    def total(self, name: str, /, **labels: str) -> float:
        """The sum of the series of that name which have these labels."""
        wanted = {f'{label}="{value}"' for label, value in labels.items()}
        found = [_SERIES.match(line) for line in (self._get("/metrics") or "").splitlines()]
        return sum(
            float(series["value"])
            for series in found
            if series
            and series["name"] == name
            and wanted <= set((series["labels"] or "").split(","))
        )

    def is_leader(self) -> bool:
        """What it says of itself."""
        return self.total("backstay_leader") == 1.0

    def streams(self) -> list[int]:
        """Its ssh processes that carry a stream.

        Control connections have the text of the host program's start in their command line.
        """
        return self._children(r"\.zip stream [^ ]+$")

    def trunks(self) -> list[int]:
        """Its ssh processes that carry the bytes of all streams of a host."""
        return self._children("ControlMaster=yes")

    def _children(self, pattern: str) -> list[int]:
        argv = ["pgrep", "-P", str(self.process.pid() or 0), "-f", pattern]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        return [int(pid) for pid in done.stdout.split()]

    def _get(self, path: str) -> str | None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return str(answer.read().decode())
        except (OSError, urllib.error.URLError):
            return None


def operator(name: str, folder: Path, kubeconfig: Path, **settings: str) -> Operator:
    """An operator that keeps its files in `folder`; it is not started yet."""
    given = {f"BACKSTAY_{word.upper()}": value for word, value in settings.items()}
    return Operator(Process(name, folder), {"KUBECONFIG": str(kubeconfig), **given})
