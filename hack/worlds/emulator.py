"""The QEMU that emulates a host: this machine's, or a newer one of its release's backports.

QEMU 10 starts processes and logins in a guest two to four times as quickly as the QEMU 7.2 of
Debian 12 (docs/adr/0010), and that is what the lab's hosts do most of their time.
"""

import functools
import re
import subprocess
from pathlib import Path

from worlds import cache, packages, progress
from worlds.processes import said

PROGRAM = "qemu-system-x86_64"
QUICK = 10
"""The first release that is known to be quick."""
PACKAGES = ("qemu-system-x86", "qemu-system-common", "qemu-system-data", "seabios")


@functools.cache
def emulator() -> tuple[str, ...]:
    """The command, with the folders of its firmware; the older one where no newer can be had."""
    if release_of(said(PROGRAM, "--version")) >= QUICK:
        return (PROGRAM,)
    source = packages.archive()
    if source is None:
        return (PROGRAM,)
    uri, suite = source[0], f"{source[1]}-backports"
    try:
        folder = cache.built("qemu-backports", lambda made: _fetch(uri, suite, made))
        newer = folder / "usr" / "bin" / PROGRAM
        subprocess.run([newer, "--version"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as failure:
        why = getattr(failure, "stderr", b"") or str(failure).encode()
        last = why.decode(errors="replace").strip().splitlines()[-1:]
        progress.say(
            f"hosts: no newer QEMU from {suite} ({''.join(last)}): this machine's is used and"
            " takes twice as long; `apt-get update` as root tells whether its archive is reached"
        )
        return (PROGRAM,)
    shared = folder / "usr" / "share"
    return (str(newer), "-L", str(shared / "qemu"), "-L", str(shared / "seabios"))


def release_of(version: str) -> int:
    """The major number in what `--version` says; 0 when it says nothing of the kind."""
    found = re.search(r"version (\d+)\.", version)
    return int(found[1]) if found else 0


def _fetch(uri: str, suite: str, folder: Path) -> None:
    progress.say(f"hosts: fetching a newer QEMU from {suite}, which emulates twice as fast")
    packages.unpack(uri, suite, PACKAGES, folder)
