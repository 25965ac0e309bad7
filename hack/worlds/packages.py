"""Packages of a Debian archive, unpacked into a folder: nothing is installed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from worlds.processes import said

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def archive() -> tuple[str, str] | None:
    """(archive, codename) of this machine's Debian release; None elsewhere."""
    return archive_of(said("apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME)"))


def archive_of(targets: str) -> tuple[str, str] | None:
    """The same of what apt says: a line `URI CODENAME` for each index that it knows of."""
    for line in targets.splitlines():
        uri, _, codename = line.partition(" ")
        if uri.rstrip("/").endswith("/debian") and codename.isalpha():
            return uri, codename
    return None


def unpack(uri: str, suite: str, names: Sequence[str], folder: Path) -> None:
    """The packages' files lie in the folder, checked as apt checks them; its own state stays.

    Raises `CalledProcessError` by what apt said, with nothing useful in the folder.
    """
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
    for argv in ([*apt, "update"], [*apt, "download", *names]):
        subprocess.run(argv, check=True, capture_output=True, cwd=state)
    for package in state.glob("*.deb"):
        subprocess.run(["dpkg", "-x", package, folder], check=True, capture_output=True)
    shutil.rmtree(state)
