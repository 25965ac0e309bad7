"""Runs channel programs: look and act at many datasets of a pool in one command and one txg.

What they do is in `zfs/programs.py`. Root only; whoever calls keeps plain commands beside them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from backstay_host.children import Command
from backstay_host.request import Request
from backstay_host.zfs import argv, parsing


def may_run_programs() -> bool:
    """Whether `zfs program` is open to us: it takes root, or `CAP_SYS_ADMIN` as root has it."""
    return os.geteuid() == 0


@contextmanager
def on_stdin(text: str) -> Iterator[int]:
    """A descriptor that a command reads the program from."""
    program = os.memfd_create("program")
    try:
        os.write(program, text.encode())
        os.lseek(program, 0, os.SEEK_SET)
        yield program
    finally:
        os.close(program)


def run(
    request: Request, pool: str, text: str, words: Sequence[str], fds: tuple[int, ...]
) -> object:
    """What the program returned, to be read by `parsing`; None where it did not run.

    After None, and after what cannot be read, the plain commands must look and act: anything may
    have happened that the program does, none of it or a part.
    """
    vector = argv.run_program(pool, words)
    if request.dry_run or not may_run_programs() or not argv.fits_one_command(vector):
        return None
    with on_stdin(text) as program:
        done = request.host.children.run(Command(vector, fds, stdin=program), request.deadline)
    said = parsing.returned(done.out) if done.ok else None
    if said is not None:
        request.commands.append(vector)
    return said
