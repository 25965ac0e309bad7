"""Where the program keeps its files at a host: one folder that nobody else can enter."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

from backstay_host import bootstrap
from backstay_host.refusal import Refused

RUN_FOLDER: Path | None = None
"""Set by tests; otherwise `bootstrap.default_folder`."""
UNBORN = ".new"
"""Suffix of a socket that is bound and does not listen yet."""
INSTALLED = "backstay-host"
"""The installed program, as the operator calls it."""


def run_folder() -> Path:
    """The folder of locks, sockets and fed programs: ours, mode 0700, on a file system in memory.

    Identities that share a host without being root have no locks in common; what ZFS itself
    refuses remains.
    """
    folder = RUN_FOLDER or Path(bootstrap.default_folder())
    try:
        bootstrap.make_private(str(folder))
    except OSError as error:
        raise Refused("NoRights", str(error)) from error
    return folder


def lock_folder() -> Path:
    """The folder of the lock files; those of datasets stay while the host is up."""
    folder = run_folder() / "locks"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def socket_path(nonce: str) -> Path:
    """Where the `serve` of this nonce listens for its streams."""
    return run_folder() / f"{nonce}.sock"


def packed_program() -> Path | None:
    """The zip that this program runs from, fed through ssh or installed; None: from a folder."""
    here = Path(__file__).parent.parent
    return here if here.is_file() else None


def fed_program() -> Path | None:
    """The zip that this program runs from, if it was fed through ssh for this session."""
    packed = packed_program()
    return packed if packed is not None and packed.parent == run_folder() else None


def program() -> list[str]:
    """Argument vector that starts this very program again."""
    packed = packed_program()
    if packed is None:
        return [sys.executable, "-I", "-m", "backstay_host"]
    return [sys.executable, "-I", "-S", str(packed)]  # nothing of site-packages is in it


def remove(nonce: str) -> None:
    """Socket and fed program of this nonce are gone."""
    socket_path(nonce).unlink(missing_ok=True)
    fed = fed_program()
    if fed is not None and fed.stem == nonce:
        fed.unlink(missing_ok=True)


def sweep() -> None:
    """What killed sessions left behind is gone: sockets that nobody listens on, and their zips."""
    folder = run_folder()
    for path in folder.glob("*.sock"):
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                _discard(path)
            except OSError:
                continue  # it went away in this moment, or its queue is full
    # One that does not listen yet refuses, too: only the kernel knows whether it has an owner.
    for path in set(folder.glob(f"*{UNBORN}")) - _bound_sockets():
        _discard(path)


def _discard(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.with_suffix(".zip").unlink(missing_ok=True)


def _bound_sockets() -> set[Path]:
    """The paths that sockets of running processes were bound to, proc(5) `/proc/net/unix`."""
    rows = Path("/proc/net/unix").read_text(encoding="utf-8", errors="replace").splitlines()
    return {Path(row.split(maxsplit=7)[7]) for row in rows[1:] if len(row.split()) > 7}
