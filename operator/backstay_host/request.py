"""One request while it is carried out: its deadline, its children, and what it ran."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from backstay_host import places
from backstay_host.children import Children, Command, Finished
from backstay_host.clock import now_s
from backstay_host.fence import DatasetLock, Fence
from backstay_host.points import KnownPoints
from backstay_host.refusal import Refused
from backstay_host.zfs import argv, parsing

if TYPE_CHECKING:
    from backstay_host.allow import Allowed  # only behind a gate: every stream is a new process


@dataclass(slots=True)
class Host:
    """What the requests of a session have in common."""

    children: Children
    nonce: str
    fence: Fence | None = None
    """Set by `claim`; without it nothing is changed."""
    versions: tuple[str, parsing.Version] | None = None
    allowed: Allowed | None = None
    """The lists of the key that this session was opened with; None where nothing limits it."""
    points: KnownPoints = field(default_factory=KnownPoints)

    def program(self) -> list[str]:
        """Argument vector that starts the program again; behind a gate, what the gate admits."""
        return places.program() if self.allowed is None else [places.INSTALLED]

    def version(self, deadline: float) -> tuple[str, parsing.Version]:
        """The version of ZFS, asked once a session; `NoZfs` when there is none."""
        if self.versions is None:
            done = self.children.run(Command(argv.version()), deadline)
            if not done.ok:
                raise Refused("NoZfs", f"zfs version: {done.err.strip()[-500:]}")
            self.versions = parsing.version(done.out)
        return self.versions


@dataclass(slots=True)
class Request:
    """One request. With `dry_run`, changes are recorded in `commands` and not run."""

    host: Host
    deadline: float
    dry_run: bool = False
    commands: list[list[str]] = field(default_factory=list)

    def read(self, vector: list[str]) -> Finished:
        """The output of a reading command."""
        return self.host.children.run(Command(vector), self.deadline)

    def read_all(self, vectors: Sequence[list[str]]) -> list[Finished]:
        """The outputs of reading commands, run side by side."""
        return self.host.children.run_all([Command(v) for v in vectors], self.deadline)

    def change(self, vector: list[str], fds: tuple[int, ...], stdin: int | None = None) -> Finished:
        """The changing command was run to its end, holding these locks; or only recorded."""
        self.commands.append(vector)
        if self.dry_run:
            return Finished(vector, 0, "", "")
        return self.host.children.run(Command(vector, fds, stdin=stdin), self.deadline)

    def change_all(self, vectors: Sequence[list[str]], fds: tuple[int, ...]) -> list[Finished]:
        """Like `change` for commands that do not depend on each other: they share a txg's wait."""
        self.commands.extend(vectors)
        if self.dry_run:
            return [Finished(vector, 0, "", "") for vector in vectors]
        return self.host.children.run_all([Command(v, fds) for v in vectors], self.deadline)

    def left_s(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - now_s()

    @contextmanager
    def fenced(self) -> Iterator[tuple[int, ...]]:
        """Our term may act (fence steps 1 and 2); a dry run changes nothing and needs no term."""
        if self.dry_run:
            yield ()
            return
        if self.host.fence is None:
            raise Refused("NotClaimed", "this session has not claimed the host yet")
        with self.host.fence.term_shared() as fds:
            yield fds

    @contextmanager
    def locked(self, wanted: Sequence[DatasetLock]) -> Iterator[tuple[int, ...]]:
        """These datasets are locked; a dry run locks nothing."""
        if self.dry_run:
            yield ()
            return
        if self.host.fence is None:
            raise Refused("NotClaimed", "this session has not claimed the host yet")
        with self.host.fence.locked(wanted) as fds:
            yield fds
