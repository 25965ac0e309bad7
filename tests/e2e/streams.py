"""Streams of an operator under way: caught, held still, and their processes killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from e2e.patience import eventually
from e2e.program import Operator
from worlds.api import LabHost

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Held:
    """A stream that stands still half-way: the ssh process that carries its bytes."""

    operator: Operator
    ssh: int

    def kill_ssh(self) -> None:
        """`kill -9` of the ssh process."""
        os.kill(self.ssh, signal.SIGKILL)


@contextmanager
def held_stream(operator: Operator, at_least: int = 8 * MIB) -> Iterator[Held]:
    """The operator's only stream, once so many bytes have passed, held still at this machine.

    The hosts can be looked at without haste then; the stream goes on after the block.
    """
    before = _passed(operator)
    ssh = eventually(lambda: _carrier(operator, before, at_least), every_s=0.02)
    os.kill(ssh, signal.SIGSTOP)
    try:
        yield Held(operator, ssh)
    finally:
        if Path(f"/proc/{ssh}").exists():
            os.kill(ssh, signal.SIGCONT)


def _carrier(operator: Operator, before: dict[int, int], at_least: int) -> int:
    """The ssh process that has handed on so many bytes since then."""
    passed = {pid: size - before.get(pid, 0) for pid, size in _passed(operator).items()}
    found = [pid for pid, size in passed.items() if size >= at_least]
    assert found, f"bytes by ssh process: {passed}; {operator.process.tail(3)}"
    return found[0]


def _passed(operator: Operator) -> dict[int, int]:
    return {pid: _written(pid) for pid in (*operator.trunks(), *operator.streams())}


def _written(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/io").read_text(encoding="ascii").split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(fields[fields.index("wchar:") + 1])


def kill_receive(host: LabHost, target: str) -> None:
    """`kill -9` of the `zfs receive` into that dataset."""
    host.run(f"pkill -KILL -f '^[^ ]*zfs receive .*{target}'")


def kill_host_program(host: LabHost, target: str) -> None:
    """`kill -9` of the control program whose stream receives into that dataset.

    A stream's command line names its ticket, and the control program listens at a socket of that
    name; the programs of other sessions at the host are left alone.
    """
    host.run(
        f"receive=$(pgrep -f '^[^ ]*zfs receive .*{target}' | head -n 1); "
        "ticket=$(tr '\\0' '\\n' </proc/$(ps -o ppid= $receive | tr -d ' ')/cmdline | tail -n 1); "
        "serve=$(ss -xlpH | grep ${ticket%%.*} | grep -o 'pid=[0-9]*' | head -n 1); "
        "kill -KILL ${serve#pid=}"
    )


def receives(host: LabHost, target: str) -> bool:
    """Whether a `zfs receive` into that dataset runs."""
    return host.attempt(f"pgrep -f '^[^ ]*zfs receive .*{target}'").returncode == 0
