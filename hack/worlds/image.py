"""The root file system of a lab host: Debian with OpenZFS, built once by hack/lab/image."""

from pathlib import Path

from worlds import cache, progress

RECIPE = cache.HACK / "lab" / "image"


def image_folder() -> Path:
    """The folder with root.img, vmlinuz, initrd.img and versions; built when missing."""
    name = f"image-{cache.digest_of(RECIPE.iterdir())}"
    return cache.built(name, _build)


def _build(folder: Path) -> None:
    progress.run_logged(
        "host image (Debian, OpenZFS)",
        ["nice", str(RECIPE / "build.sh"), str(folder)],
        cache.cache_root() / "logs" / "image.log",
    )
