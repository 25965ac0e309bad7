"""What is expensive to build is built once, under a name that contains a digest of its recipe."""

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

HACK = Path(__file__).resolve().parent.parent
PROJECT = HACK.parent


def cache_root() -> Path:
    """The folder that holds everything built or running."""
    configured = os.environ.get("BACKSTAY_CACHE")
    return Path(configured).resolve() if configured else Path.home() / ".cache" / "backstay"


def run_folder() -> Path:
    """Where process ids, keys, kubeconfigs, logs and disks of running worlds lie."""
    folder = cache_root() / "run"
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder


def digest_of(files: Iterable[Path], *words: str) -> str:
    """A short name for the contents of `files` (by their names) and the `words`."""
    total = hashlib.sha256()
    for file in sorted(files, key=lambda path: path.name):
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        total.update(f"{file.name} {content}\n".encode())
    for word in words:
        total.update(f"{word}\n".encode())
    return total.hexdigest()[:12]


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """One process at a time holds `name`; a lock goes with the process that held it."""
    folder = cache_root() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def built(name: str, build: Callable[[Path], None]) -> Path:
    """The folder `name` of the cache, made by `build` if it is not there; whole or absent."""
    folder = cache_root() / "built" / name
    if folder.is_dir():
        return folder
    with locked(f"{name}.build"):
        if folder.is_dir():
            return folder
        unfinished = folder.with_name(f"{name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        build(unfinished)
        unfinished.rename(folder)
    return folder
