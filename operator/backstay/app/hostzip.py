"""The host program as one file: what the operator feeds to a host, or what is installed there."""

from __future__ import annotations

import io
import zipfile
from importlib.machinery import PathFinder
from pathlib import Path

from backstay_host.bootstrap import ZIP_MAIN

PACKAGE = "backstay_host"
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip can say: equal sources make equal bytes."""


def pack_host_program() -> bytes:
    """A zip that Python can run: the installed package `backstay_host`, and `sh`.

    Equal sources make equal bytes, so that a host keeps one copy of a version.
    """
    files = {"__main__.py": ZIP_MAIN.encode()}
    for package in (PACKAGE, "sh"):
        files |= _sources(_folder(package), package)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), files[name], zipfile.ZIP_DEFLATED, 9)
    return packed.getvalue()


def executable_host_program(python: str = "/usr/bin/python3") -> bytes:
    """The same as a file that a host can run by its name; `-I` as in `python3 -I FILE`."""
    return f"#!{python} -I\n".encode() + pack_host_program()


def _folder(package: str) -> Path:
    # Not importlib.resources: `sh` puts an object of its own in its module's place.
    spec = PathFinder.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"package {package} is not installed")
    return Path(spec.submodule_search_locations[0])


def _sources(folder: Path, prefix: str) -> dict[str, bytes]:
    return {
        f"{prefix}/{file.relative_to(folder).as_posix()}": file.read_bytes()
        for file in folder.rglob("*.py")
    }
