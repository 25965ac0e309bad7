"""The root file system of a lab host: Debian with OpenZFS, built once by hack/lab/image."""

import os
from pathlib import Path

from worlds import cache, progress

RECIPE = cache.HACK / "lab" / "image"
DEBIANS = {"trixie": "2.3", "bookworm": "2.1"}
"""The releases that a host can be made of, with the OpenZFS that each brings."""


def debian_of(host: str) -> str:
    """The release of `zfs-a`, `zfs-b`, …: LAB_DEBIAN names one for all, or one each in order."""
    named = os.environ.get("LAB_DEBIAN", "trixie").split(",")
    unknown = sorted(set(named) - set(DEBIANS))
    if unknown:
        raise SystemExit(f"LAB_DEBIAN={','.join(unknown)}: there are {', '.join(DEBIANS)}")
    index = ord(host[-1]) - ord("a")
    return named[min(index, len(named) - 1)]


def image_folder(host: str = "zfs-a") -> Path:
    """The folder with root.img, vmlinuz, initrd.img and versions; built when missing."""
    debian = debian_of(host)
    name = f"image-{cache.digest_of(RECIPE.iterdir(), debian)}"
    return cache.built(name, lambda folder: _build(folder, debian))


def _build(folder: Path, debian: str) -> None:
    progress.run_logged(
        f"host image (Debian {debian}, OpenZFS {DEBIANS[debian]})",
        ["nice", str(RECIPE / "build.sh"), str(folder), debian],
        cache.cache_root() / "logs" / f"image-{debian}.log",
    )
