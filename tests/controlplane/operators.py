"""Operator processes for tests against a real API server.

Run as a program, this is the real operator, with an engine that works on no hosts: it reports each
object as Ready and writes down, line by line, what it did under which term.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worlds import processes
from worlds.controlplane import ControlPlane

JOURNAL = "TEST_JOURNAL"
# Often enough that a leader that should not act would be caught at it.
EVERY_S = 0.05


@dataclass(slots=True)
class Running:
    """One operator process."""

    name: str
    process: subprocess.Popen[bytes]
    port: int
    journal: Path
    log: Path

    def get(self, path: str) -> str | None:
        """The answer of its health server; None while there is none, or it is not 200."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=2) as answer:
                return str(answer.read().decode())
        except (OSError, urllib.error.URLError):
            return None

    def metric(self, series: str) -> float | None:
        """The value of a series, by its name and labels as they are printed."""
        for line in (self.get("/metrics") or "").splitlines():
            if line.startswith(f"{series} "):
                return float(line.rpartition(" ")[2])
        return None

    @property
    def leads(self) -> bool:
        """Whether it says that it may act."""
        return self.metric("backstay_leader") == 1

    def acts(self) -> list[dict[str, Any]]:
        """What it did so far."""
        if not self.journal.exists():
            return []
        lines = self.journal.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def signal(self, number: signal.Signals) -> None:
        """It got the signal."""
        self.process.send_signal(number)

    def end(self, within_s: float) -> int:
        """It was told to end and has; its exit code."""
        self.signal(signal.SIGTERM)
        return self.process.wait(within_s)

    def tail(self) -> str:
        """The end of its log, for failures."""
        return "\n".join(self.log.read_text(encoding="utf-8").splitlines()[-30:])


@dataclass(slots=True)
class Operators:
    """Starts operators and leaves none behind."""

    folder: Path
    started: list[Running]

    def start(self, plane: ControlPlane, name: str, kubeconfig: Path, **settings: str) -> Running:
        """An operator runs; it need not be ready."""
        port = processes.free_port(24000 + 37 * len(self.started) + os.getpid() % 1000)
        running_log = self.folder / f"{name}.log"
        journal = self.folder / f"{name}.journal"
        environment = {
            **os.environ,
            "KUBECONFIG": str(kubeconfig),
            "BACKSTAY_HTTP_PORT": str(port),
            "BACKSTAY_LEASE_SECONDS": "3",
            "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
            JOURNAL: str(journal),
            **settings,
        }
        with running_log.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, __file__], env=environment, stdout=log, stderr=log
            )
        running = Running(name, process, port, journal, running_log)
        self.started.append(running)
        return running

    def stop_all(self) -> None:
        """None runs."""
        for running in self.started:
            running.process.kill()
            running.process.wait()


def wait_until(what: str, true: Callable[[], object], *, within_s: float = 30.0) -> float:
    """It has come true, after so many seconds; AssertionError when it did not in time."""
    began = time.monotonic()
    if not processes.wait_until(lambda: bool(true()), within_s):
        raise AssertionError(f"not within {within_s:.0f} s: {what}")
    return time.monotonic() - began


def _main() -> None:
    from backstay.app.engine import Post
    from backstay.app.main import run
    from backstay.app.settings import Settings
    from backstay.controllers.keys import Key, ObjectKey
    from backstay.controllers.scheduler import Again, Outcome
    from backstay.domain.pairs import Route

    journal = Path(os.environ[JOURNAL])

    class JournalEngine:
        """Reports every object as Ready, and writes down that it did."""

        def __init__(self, post: Post) -> None:
            self._post = post

        async def run(self, key: Key) -> Outcome:
            if isinstance(key, Route):
                return None
            self._note(key)
            entry = self._post.registry.entry(key)
            if entry is None:
                return None
            condition = {
                "type": "Ready",
                "status": "True",
                "reason": "UpToDate",
                "message": f"term {self._post.leadership.term()}",
                "lastTransitionTime": "2030-01-01T00:00:00Z",
                "observedGeneration": entry.generation,
            }
            status = {"observedGeneration": entry.generation, "conditions": [condition]}
            self._post.writer.publish(entry.ref, status, rpo_s=None)
            return Again(EVERY_S)

        async def stop(self) -> None:
            self._note(None)

        def sessions(self) -> int:
            return 0

        def _note(self, key: ObjectKey | None) -> None:
            line = {
                "term": self._post.leadership.term(),
                "key": None if key is None else key.name,
                "at": time.clock_gettime(time.CLOCK_BOOTTIME),
            }
            with journal.open("a", encoding="utf-8") as out:
                out.write(json.dumps(line) + "\n")

    sys.exit(run(Settings.from_environment(os.environ), JournalEngine))


if __name__ == "__main__":
    _main()
