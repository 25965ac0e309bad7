"""Processes that outlive the command that starts them, found again by a file with their id."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_MARK = "BACKSTAY_WORLD"
_POLL_S = 0.1


def weigh_session(pid: int, nice: int) -> None:
    """The session of the process competes with others as `nice` says; best effort.

    Where sessions are scheduled as groups (sched_autogroup_enabled, sched(7)) a process's own nice
    value counts within its session only.
    """
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(nice), encoding="ascii")


def said(*argv: str) -> str:
    """What a command prints; nothing where there is no such program."""
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""


@dataclass(frozen=True, slots=True)
class Process:
    """One long-lived process of a world: `folder` holds `<name>.pid` and `<name>.log`."""

    name: str
    folder: Path

    @property
    def pid_file(self) -> Path:
        return self.folder / f"{self.name}.pid"

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    @property
    def _identity(self) -> str:
        return f"{_MARK}={self.folder}/{self.name}"

    def start(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> int:
        """Start `argv` in a session of its own unless it runs; answers its id."""
        running = self.pid()
        if running is not None:
            return running
        self.folder.mkdir(parents=True, exist_ok=True)
        key, _, value = self._identity.partition("=")
        append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        pid = os.posix_spawnp(
            argv[0],
            list(argv),
            {**os.environ, **(env or {}), key: value},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(self.log), append, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )
        self.pid_file.write_text(f"{pid}\n", encoding="ascii")
        wait_until(lambda: self.pid() is not None, 2.0, 0.005)  # its environment shows a bit later
        return pid

    def pid(self) -> int | None:
        """The id while the process lives; another process with a recycled id does not count."""
        try:
            pid = int(self.pid_file.read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            return None
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)  # a dead child of this very process would stay a zombie
        try:
            marks = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return None
        return pid if self._identity.encode() in marks else None

    def signal(self, number: signal.Signals) -> None:
        """Send `number` if the process lives."""
        pid = self.pid()
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def stop(self, grace_s: float = 15.0) -> bool:
        """End the process, by force after `grace_s`; answers whether it ran."""
        ran = self.pid() is not None
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)
        if not wait_until(lambda: self.pid() is None, grace_s):
            self.kill()
        self.pid_file.unlink(missing_ok=True)
        return ran

    def kill(self) -> None:
        """End the process at once (-9); it is gone when this returns."""
        self.signal(signal.SIGKILL)
        if not wait_until(lambda: self.pid() is None, 30.0):
            raise TimeoutError(f"{self.name} (pid {self.pid()}) survives SIGKILL")

    def tail(self, lines: int = 15) -> str:
        """The end of the log."""
        if not self.log.exists():
            return "(no log)"
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def wait_until(true: Callable[[], bool], within_s: float, every_s: float = _POLL_S) -> bool:
    """Ask `true` again and again; answers whether it came true within `within_s`."""
    deadline = time.monotonic() + within_s
    while not true():
        if time.monotonic() >= deadline:
            return False
        time.sleep(every_s)
    return True


def is_listening(port: int) -> bool:
    """Whether somebody accepts connections at the port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(2.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port(preferred: int, promised: Container[int] = ()) -> int:
    """The first port of 127.0.0.1 from `preferred` on that is neither bound nor promised."""
    for port in range(preferred, preferred + 500):
        if port in promised:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise SystemExit(f"no free port between {preferred} and {preferred + 500} on 127.0.0.1")
