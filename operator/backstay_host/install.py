"""`install`: the program lies where sshd finds it, compiled for the Python that will run it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from backstay_host import bootstrap, places
from backstay_host.refusal import Refused

USAGE = "usage: python3 -I backstay-host.pyz install [PATH]"
PATH = f"/usr/local/bin/{places.INSTALLED}"


def run(arguments: Sequence[str]) -> int:
    """The file at the path is this program, mode 0755; who starts it meanwhile finds one of both.

    After an upgrade of Python it runs as before, and starts slower until it is installed again.
    """
    if len(arguments) > 1:
        raise Refused("BadRequest", USAGE)
    path = Path(arguments[0] if arguments else PATH)
    packed = places.packed_program()
    if packed is None:
        raise Refused("BadRequest", f"this is not the file of `host-program`; {USAGE}")
    new = path.with_name(f"{path.name}.new")
    try:
        program = bootstrap.compiled(packed.read_bytes(), with_sources=True)
        new.write_bytes(f"#!{sys.executable} -IS\n".encode() + program)  # no site-packages
        new.chmod(0o755)
        new.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            new.unlink()  # what a full disk has cut short
        raise Refused("NoRights", f"cannot write {path}: {error}; run it as root") from error
    sys.stdout.write(f"{path} is installed, compiled for Python {sys.version.split()[0]}\n")
    sys.stdout.flush()
    return 0
