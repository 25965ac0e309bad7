"""How the host program gets to a host: a line of Python, then the program on its stdin."""

from __future__ import annotations

import io
import zipfile

BOOTSTRAP = "backstay_host/bootstrap.py"
"""The member of the program that is given to `python3 -c`; it describes what it reads."""


def bootstrap_command(program: bytes) -> list[str]:
    """What to run at a host; it reads `feed(program)` from its stdin, byte for byte.

    `-I`: neither the account's environment nor its working folder can bring in other modules.
    """
    with zipfile.ZipFile(io.BytesIO(program)) as archive:
        return ["python3", "-I", "-c", archive.read(BOOTSTRAP).decode()]


def feed(program: bytes) -> bytes:
    """The program, framed as the first input of the bootstrap."""
    return b"%d\n" % len(program) + program
