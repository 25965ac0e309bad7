"""The QEMU that emulates a host: this machine's, or a newer one of its release's backports.

QEMU 10 starts processes and logins in a guest two to four times as quickly as the QEMU 7.2 of
Debian 12 (docs/adr/0010), and that is what the lab's hosts do most of their time.
"""

import functools
import re
import shutil
import subprocess
from pathlib import Path

from worlds import cache, progress

PROGRAM = "qemu-system-x86_64"
QUICK = 10
"""The first release that is known to be quick."""
PACKAGES = ("qemu-system-x86", "qemu-system-common", "qemu-system-data", "seabios")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


@functools.cache
def emulator() -> tuple[str, ...]:
    """The command, with the folders of its firmware; the older one where no newer can be had."""
    if release_of(_said(PROGRAM, "--version")) >= QUICK:
        return (PROGRAM,)
    source = backports(_said("apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME)"))
    if source is None:
        return (PROGRAM,)
    try:
        folder = cache.built("qemu-backports", lambda made: _unpack(source, made))
        newer = folder / "usr" / "bin" / PROGRAM
        subprocess.run([newer, "--version"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as failure:
        why = getattr(failure, "stderr", b"") or str(failure).encode()
        said = why.decode(errors="replace").strip().splitlines()[-1:]
        progress.say(
            f"hosts: no newer QEMU from {source[1]} ({''.join(said)}): this machine's is used and"
            " takes twice as long; `apt-get update` as root tells whether its archive is reached"
        )
        return (PROGRAM,)
    shared = folder / "usr" / "share"
    return (str(newer), "-L", str(shared / "qemu"), "-L", str(shared / "seabios"))


def release_of(version: str) -> int:
    """The major number in what `--version` says; 0 when it says nothing of the kind."""
    found = re.search(r"version (\d+)\.", version)
    return int(found[1]) if found else 0


def backports(targets: str) -> tuple[str, str] | None:
    """(archive, suite) of the backports of this machine's Debian release; None elsewhere.

    `targets`: a line `URI CODENAME` for each index that apt knows of.
    """
    for line in targets.splitlines():
        uri, _, codename = line.partition(" ")
        if uri.rstrip("/").endswith("/debian") and codename.isalpha():
            return uri, f"{codename}-backports"
    return None


def _said(*argv: str) -> str:
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""


def _unpack(source: tuple[str, str], folder: Path) -> None:
    """The packages' files lie in the folder; nothing is installed, and apt's own state stays."""
    uri, suite = source
    progress.say(f"hosts: fetching a newer QEMU from {suite}, which emulates twice as fast")
    state = folder / "apt"
    for name in ("lists/partial", "archives/partial"):
        (state / name).mkdir(parents=True)
    signed = f"[signed-by={KEYRING}] " if KEYRING.exists() else ""
    (state / "sources.list").write_text(f"deb {signed}{uri} {suite} main\n", encoding="ascii")
    options = {
        "Dir::Etc::SourceList": state / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State::Lists": state / "lists",
        "Dir::Cache": state,
    }
    apt = [
        "apt-get",
        "-q",
        *(part for key, value in options.items() for part in ("-o", f"{key}={value}")),
    ]
    for argv in ([*apt, "update"], [*apt, "download", *PACKAGES]):
        subprocess.run(argv, check=True, capture_output=True, cwd=state)
    for package in state.glob("*.deb"):
        subprocess.run(["dpkg", "-x", package, folder], check=True, capture_output=True)
    shutil.rmtree(state)
