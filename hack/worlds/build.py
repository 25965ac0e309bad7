"""Builds named parts: `python -m worlds.build image etcd kube-apiserver kubectl helm`."""

import sys

from worlds import binaries, image


def build(name: str) -> str:
    """Build one part if it is missing; answers where it is."""
    return str(image.image_folder() if name == "image" else binaries.binary(name))


if __name__ == "__main__":
    for part in sys.argv[1:]:
        print(build(part))
