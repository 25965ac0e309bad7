"""Child processes: each is watched, bounded, in a session of its own, and gone when we are.

What holds for every child (measured, `sh` 2.4):
- only the main thread forks: PR_SET_PDEATHSIG fires when the forking *thread* ends, prctl(2);
- `_new_session`: a process group of its own, which can be killed as a whole;
- output goes to memory files that the kernel bounds (RLIMIT_FSIZE), so no thread of ours reads;
- descriptors are inherited only by the child that is given them (lock files: fence.py).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import shutil
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import sh

from backstay_host.refusal import Refused
from backstay_host.zfs.failures import failure

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MAX_OUTPUT_BYTES = 64 * 1024 * 1024
MAX_STDERR_BYTES = 1024 * 1024
"""A listing of 100 KiB of names that do not exist complains for several times as long."""
MAX_LAST_WORDS_CHARS = 64 * 1024
MAX_SIDE_BY_SIDE = 8

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


@dataclass(frozen=True, slots=True)
class Command:
    """What to run. `fds` are inherited; `stdin`/`stdout` are descriptors given away as they are."""

    argv: list[str]
    fds: tuple[int, ...] = ()
    stdin: int | None = None
    stdout: int | None = None
    on_stderr: Callable[[str], None] | None = None
    """Called with each line of stderr while the child runs, from another thread."""


@dataclass(frozen=True, slots=True)
class Finished:
    """How a child ended; a negative status is the signal that killed it."""

    argv: list[str]
    status: int
    out: str
    err: str

    @property
    def ok(self) -> bool:
        """Whether it exited with 0."""
        return self.status == 0

    def refusal(self) -> Refused:
        """The failure by name."""
        return failure(" ".join(self.argv[:2]), self.status, self.err)

    def checked(self) -> Finished:
        """Itself; raises the failure by name unless it exited with 0."""
        if not self.ok:
            raise self.refusal()
        return self


@dataclass(slots=True, eq=False)
class Running:
    """A child that was started and not yet waited for."""

    command: Command
    deadline: float
    running: Any
    out_fd: int
    err_fd: int
    last_words: list[str] = field(default_factory=list)
    moved_bytes: int = -1
    """Bytes it read or wrote in all, where the kernel still told after its end; else -1."""
    killed: str = ""
    """Why we killed it; empty if we did not."""

    @property
    def pid(self) -> int:
        """Its process id, which is its process group's id too."""
        return int(self.running.pid)


class Children:
    """The children of this process; `start` and `finish` are for the main thread only."""

    def __init__(self) -> None:
        """None yet."""
        self._lock = threading.Lock()
        self._alive: set[Running] = set()
        self._stopped: Refused | None = None
        self._devnull = os.open(os.devnull, os.O_RDWR)

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped is not None

    def start(self, command: Command, deadline: float) -> Running:
        """The command runs; it is killed when the deadline passes (`expire`) or on `stop`."""
        path = shutil.which(command.argv[0], path=SEARCH_PATH)
        if path is None:
            reason = "NoZfs" if command.argv[0] in ("zfs", "zpool") else "NoTool"
            raise Refused(reason, f"no {command.argv[0]} in {SEARCH_PATH}")
        out_fd = os.memfd_create("out") if command.stdout is None else -1
        err_fd = os.memfd_create("err") if command.on_stderr is None else -1
        child = Running(command, deadline, None, out_fd, err_fd)
        with self._lock:
            if self._stopped is not None:
                _close(child)
                raise Refused(self._stopped.reason, self._stopped.message)
            try:
                child.running = self._spawn(path, child)
            except (sh.ForkException, OSError) as error:
                _close(child)
                raise Refused("CommandFailed", f"cannot run {path}: {error}") from error
            self._alive.add(child)
        return child

    def _spawn(self, path: str, child: Running) -> Any:
        command = child.command
        return sh.Command(path)(
            *command.argv[1:],
            _in=cast(Any, self._devnull if command.stdin is None else command.stdin),
            _out=child.out_fd if command.stdout is None else command.stdout,
            _err=child.err_fd if command.on_stderr is None else _line_keeper(child),
            _bg=True,
            _bg_exc=False,
            _ok_code=list(range(256)),
            _tty_out=False,
            _new_session=True,
            _pass_fds=set(command.fds),
            _preexec_fn=_before_exec(os.getpid(), command),
            _env={"PATH": SEARCH_PATH, "LC_ALL": "C", "LANG": "C", "TZ": "UTC"},
            _encoding="utf-8",
            _decode_errors="replace",
        )

    def finish(self, child: Running) -> Finished:
        """The child is gone and reaped; what it printed, within bounds."""
        try:
            os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
            child.moved_bytes = moved_bytes(child.pid)
        except ChildProcessError:
            pass  # reaped already by a thread of sh
        try:
            child.running.wait()
        except sh.ErrorReturnCode:
            pass  # killed by a signal; the status says so
        finally:
            with self._lock:
                self._alive.discard(child)
        status = int(child.running.exit_code)
        try:
            if _size_bytes(child.out_fd) >= MAX_OUTPUT_BYTES:
                said = f"{' '.join(child.command.argv[:2])} printed 64 MiB or more"
                raise Refused("OutputTooLarge", said)
            out, err = _read(child.out_fd, MAX_OUTPUT_BYTES), _read(child.err_fd, MAX_STDERR_BYTES)
        finally:
            _close(child)
        words = err if child.err_fd >= 0 else "".join(child.last_words)[-MAX_LAST_WORDS_CHARS:]
        if child.killed and status < 0:
            raise Refused(child.killed, f"{' '.join(child.command.argv[:2])} was killed: {words}")
        return Finished(child.command.argv, status, out, words)

    def run(self, command: Command, deadline: float) -> Finished:
        """The command ran to its end."""
        return self.finish(self.start(command, deadline))

    def run_all(self, commands: Sequence[Command], deadline: float) -> list[Finished]:
        """The commands ran side by side, a few at a time; results in their order."""
        results: list[Finished] = []
        for first in range(0, len(commands), MAX_SIDE_BY_SIDE):
            results += self._run_batch(commands[first : first + MAX_SIDE_BY_SIDE], deadline)
        return results

    def _run_batch(self, commands: Sequence[Command], deadline: float) -> list[Finished]:
        started: list[Running] = []
        ended: list[Finished] = []
        failed: Refused | None = None
        try:
            for command in commands:
                started.append(self.start(command, deadline))
        except Refused as error:
            failed = error
        for child in started:
            try:
                ended.append(self.finish(child))
            except Refused as error:
                failed = failed or error
        if failed is not None:
            raise failed
        return ended

    def expire(self, now: float) -> None:
        """Every child past its deadline is being killed, with its process group."""
        with self._lock:
            for child in self._alive:
                if child.deadline < now:
                    _kill(child, "Timeout")

    def end(self, child: Running) -> None:
        """The child was killed, with its process group, and reaped; what it said is lost."""
        _kill(child, "Stopped")
        with contextlib.suppress(Refused):
            self.finish(child)

    def stop(self, why: str, reason: str = "Stopped") -> None:
        """Every child is being killed and none is started any more; all fail with this reason."""
        with self._lock:
            self._stopped = self._stopped or Refused(reason, why)
            for child in self._alive:
                _kill(child, self._stopped.reason)


def _kill(child: Running, reason: str) -> None:
    child.killed = child.killed or reason
    with contextlib.suppress(ProcessLookupError, PermissionError):  # it ended in this moment
        os.killpg(child.pid, signal.SIGKILL)


def _before_exec(parent: int, command: Command) -> Callable[[], None]:
    """What the child does between fork and exec: no imports, no locks, no allocations of note."""
    bounded = command.stdout is None

    def prepare() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent died before the signal was armed
            os._exit(137)
        for fd in command.fds:
            os.set_inheritable(fd, True)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it, and so would the child
        if bounded:
            resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_OUTPUT_BYTES, MAX_OUTPUT_BYTES))

    return prepare


def _line_keeper(child: Running) -> Callable[[str | bytes], None]:
    """A callback that keeps the last words of stderr and hands every line on."""
    heard = child.command.on_stderr

    def keep(chunk: str | bytes) -> None:
        line = chunk if isinstance(chunk, str) else chunk.decode(errors="replace")
        child.last_words.append(line[:MAX_LAST_WORDS_CHARS])
        del child.last_words[:-200]
        if heard is not None:
            heard(line)

    return keep


def _read(fd: int, limit: int) -> str:
    """The last `limit` bytes of a memory file, as text."""
    if fd < 0:
        return ""
    return os.pread(fd, limit, max(0, _size_bytes(fd) - limit)).decode(errors="replace")


def _size_bytes(fd: int) -> int:
    return os.fstat(fd).st_size if fd >= 0 else 0


def _close(child: Running) -> None:
    for fd in (child.out_fd, child.err_fd):
        if fd >= 0:
            os.close(fd)


def moved_bytes(pid: int) -> int:
    """Bytes that a process has read or written so far, the larger of the two; -1 if unknown.

    Reads inside an ioctl count (proc(5), `rchar`), so this is how far a receive is.
    """
    return max(io_bytes(pid))


def io_bytes(pid: int) -> tuple[int, int]:
    """Bytes that a process has read and written so far; (-1, -1) if unknown."""
    try:
        lines = Path(f"/proc/{pid}/io").read_text(encoding="ascii").splitlines()
        counts = dict(line.split(": ", 1) for line in lines)
        return int(counts["rchar"]), int(counts["wchar"])
    except (OSError, KeyError, ValueError):
        return -1, -1
