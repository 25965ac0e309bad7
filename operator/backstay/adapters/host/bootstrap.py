"""How the host program is started: fed through ssh, or installed at the host before."""

from __future__ import annotations

import io
import zipfile

BOOTSTRAP = "backstay_host/bootstrap.py"
"""The member of the program that is given to `python3 -c`; it describes what it reads."""


INSTALLED_COMMAND = ("backstay-host", "serve")
"""What to run at a host that has the program; behind a gate it is all that is admitted."""


def bootstrap_command(program: bytes) -> list[str]:
    """What to run at a host; it reads `feed(program)` from its stdin, byte for byte.

    `-I`: neither the account's environment nor its working folder can bring in other modules.
    """
    with zipfile.ZipFile(io.BytesIO(program)) as archive:
        return ["python3", "-I", "-c", archive.read(BOOTSTRAP).decode()]


def feed(program: bytes) -> bytes:
    """The program, framed as the first input of the bootstrap."""
    return b"%d\n" % len(program) + program
