"""The fence: at any time at most one leader changes anything at this host.

Locks are flock(2) locks on files that every mutating child inherits, so that a lock is free only
when the child is really gone; killing ssh, us, or `zfs` itself does not free it earlier. Order of
a mutation: term lock shared, then the `want` file, then the locks of the datasets, then the
writer of the receive root (identity.py), then the act. There is a term lock for each term: a new
leader writes `want` first, kills what holds the lock of a lower term, and takes that lock
exclusively once: from then on nothing older gets further than reading `want`. Sessions of the
same leader (one operator process) leave each other alone; dataset locks keep them apart. `want`
names the leader, too: Leases of two clusters count from 1, so that an operator that was cut off
and the one of a cluster rebuilt from Git can come with the same term; the second is refused.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from backstay_host import places
from backstay_host.clock import now_s
from backstay_host.refusal import Refused

PATIENCE_S = 1.0
"""How long a lock is waited for: others hold it for moments when they look whether it is free."""
CLAIM_PATIENCE_S = 20.0
_POLL_S = 0.01


@dataclass(frozen=True, slots=True)
class DatasetLock:
    """Which dataset to lock, and whether others may read it meanwhile (`shared`)."""

    dataset: str
    guid: int | None
    shared: bool


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _pause(seconds: float) -> None:
    threading.Event().wait(seconds)


class Lock:
    """An open lock file; `take` and `close` once each."""

    def __init__(self, path: Path) -> None:
        """The file exists; nothing is locked yet."""
        self.path = path
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    def try_take(self, shared: bool) -> bool:
        """Whether the lock is ours now."""
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            fcntl.flock(self.fd, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def take(self, shared: bool, patience_s: float = PATIENCE_S) -> bool:
        """Whether the lock became ours within the time given."""
        until = now_s() + patience_s
        while not self.try_take(shared):
            if now_s() >= until:
                return False
            _pause(_POLL_S)
        return True

    def close(self) -> None:
        """Our hold on the lock ends; that of children who inherited it goes on."""
        os.close(self.fd)


class Fence:
    """The fence of one installation, seen by one session with its term."""

    def __init__(self, installation: str, term: int, leader: str = "") -> None:
        """Nothing is locked yet; `leader` counts when it claims."""
        self.installation = installation
        self.term = term
        self._leader = leader
        self._folder = places.lock_folder()
        self._key = _hashed(installation)

    @property
    def _term_path(self) -> Path:
        return self._folder / f"term-{self._key}-{self.term}"

    @property
    def _want_path(self) -> Path:
        return self._folder / f"want-{self._key}"

    def wanted(self) -> int:
        """The highest term that ever claimed this host since it booted; 0 if none did."""
        return self._read_want()[0]

    def _read_want(self) -> tuple[int, str]:
        """Term and leader of the last claim."""
        try:
            term, _, leader = self._want_path.read_text(encoding="ascii").partition(" ")
        except FileNotFoundError:
            return 0, ""
        return int(term), leader

    def check_term(self) -> None:
        """Our term is the one that claimed last; `HigherTerm` or `NotClaimed` otherwise."""
        wanted = self.wanted()
        if wanted > self.term:
            raise Refused(
                "HigherTerm", f"term {wanted} has claimed this host, we are {self.term}", wanted
            )
        if wanted < self.term:
            raise Refused("NotClaimed", f"term {self.term} has not claimed this host")

    @contextmanager
    def term_shared(self) -> Iterator[tuple[int, ...]]:
        """The term lock is held and our term may act; yields the descriptors to inherit."""
        lock = Lock(self._term_path)
        try:
            if not lock.take(shared=True):  # only who evicts our term takes it exclusively
                raise Refused("FenceBusy", "another leader is claiming this host")
            self.check_term()
            yield (lock.fd,)
        finally:
            lock.close()

    @contextmanager
    def locked(
        self, wanted: Sequence[DatasetLock], *, only_guid: bool = False
    ) -> Iterator[tuple[int, ...]]:
        """These datasets are locked, by name and by GUID; yields the descriptors to inherit.

        `only_guid` adds to a lock by name once the GUID is known.

        Raises `SourceBusy` (shared wanted) or `TargetBusy` (exclusive wanted).
        """
        with ExitStack() as held:
            fds: list[int] = []
            for want in wanted:
                for path in self._paths(want.dataset, want.guid)[only_guid:]:
                    lock = Lock(path)
                    held.callback(lock.close)
                    if not lock.take(want.shared):
                        reason = "SourceBusy" if want.shared else "TargetBusy"
                        raise Refused(reason, f"a command of ours still uses {want.dataset}")
                    fds.append(lock.fd)
            yield tuple(fds)

    def _paths(self, dataset: str, guid: int | None) -> list[Path]:
        by_name = self._folder / f"name-{_hashed(dataset)}"
        return [by_name] if guid is None else [by_name, self._folder / f"guid-{guid:016x}"]

    # --- claim ----------------------------------------------------------------------------------

    def announce(self) -> None:
        """`want` names our term; `HigherTerm` when it names a higher one, or another leader."""
        lock = Lock(self._folder / f"wantlock-{self._key}")
        try:
            if not lock.take(shared=False):
                raise Refused("FenceBusy", "another leader is claiming this host")
            wanted, leader = self._read_want()
            if wanted > self.term:
                self.check_term()
            if wanted == self.term and leader != self._leader:
                raise Refused(
                    "HigherTerm", f"term {wanted} of this host is another leader's", wanted
                )
            if wanted < self.term:
                fresh = self._folder / f"want-{self._key}.{os.getpid()}"
                fresh.write_text(f"{self.term} {self._leader}", encoding="ascii")
                fresh.replace(self._want_path)
        finally:
            lock.close()

    def evict(self, deadline: float) -> None:
        """Nothing of a lower term runs at this host any more; `FenceBusy` at the deadline.

        SIGKILL reaches stopped processes, too. A child that the kernel does not let go yet keeps
        its lock, and so keeps us waiting.
        """
        until = min(deadline, now_s() + CLAIM_PATIENCE_S)
        for path in self._lower_terms():
            lock = Lock(path)
            try:
                self._wrest(lock, until, "FenceBusy", "this host")
                path.unlink(missing_ok=True)  # who opens it anew reads `want` next
            finally:
                lock.close()

    def halt(self, wanted: Sequence[DatasetLock], deadline: float) -> None:
        """Nothing that held these locks runs any more; `TargetBusy` at the deadline.

        Who only looks whether a lock is free has let go of it before anybody is killed.
        """
        until = min(deadline, now_s() + CLAIM_PATIENCE_S)
        for want in wanted:
            for path in self._paths(want.dataset, want.guid):
                lock = Lock(path)
                try:
                    if not lock.take(shared=False):
                        self._wrest(lock, until, "TargetBusy", want.dataset)
                finally:
                    lock.close()

    def _wrest(self, lock: Lock, until: float, reason: str, what: str) -> None:
        """The lock is ours, exclusively; its holders were killed."""
        while not lock.try_take(shared=False):
            self.check_term()
            left = holders(lock.path)
            if now_s() >= until:
                raise Refused(reason, f"processes {left} do not let go of {what}")
            for pid in left:
                _kill(pid)
            _pause(_POLL_S)

    def _lower_terms(self) -> list[Path]:
        found = self._folder.glob(f"term-{self._key}-*")
        return [path for path in found if int(path.name.rpartition("-")[2]) < self.term]


def holders(path: Path) -> list[int]:
    """Processes other than ours that have this file open, as far as we may see."""
    wanted = str(path.resolve())
    found = []
    for process in _processes():
        if process == os.getpid():
            continue
        try:
            opened = [_link(entry) for entry in Path(f"/proc/{process}/fd").iterdir()]
        except OSError:
            continue  # it ended, or it is none of ours
        if wanted in opened:
            found.append(process)
    return found


def _processes() -> Iterable[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""


def _kill(pid: int) -> None:
    # it may have ended in this moment, or be none of ours
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def busy(folder: Path, datasets: Iterable[str]) -> list[str]:
    """Those of the datasets that someone has locked by name."""
    locked = []
    for dataset in datasets:
        path = folder / f"name-{_hashed(dataset)}"
        if not path.exists():
            continue
        lock = Lock(path)
        if not lock.try_take(shared=False):
            locked.append(dataset)
        lock.close()
    return locked
