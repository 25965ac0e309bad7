"""The worlds as tests and tools ask for them."""

import contextlib
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from worlds import binaries, cache, install
from worlds.controlplane import ControlPlane
from worlds.hosts import LabHost, ensure_hosts, stop_hosts
from worlds.kubeapi import NAMESPACE

__all__ = [
    "NAMESPACE",
    "ControlPlane",
    "LabHost",
    "controlplane",
    "ensure_controlplane",
    "ensure_hosts",
    "private_controlplane",
    "stop_controlplane",
    "stop_hosts",
]


def controlplane() -> ControlPlane:
    """The shared control plane, running or not."""
    folder = cache.run_folder()
    return ControlPlane(folder / "controlplane", folder)


def ensure_controlplane() -> tuple[ControlPlane, bool]:
    """The shared control plane runs with our kinds and rights; answers whether it was started."""
    plane = controlplane()
    with cache.locked("controlplane"):
        for name in ("etcd", "kube-apiserver", "kubectl"):
            binaries.binary(name)
        started = plane.start()
        install.install(plane)
    return plane, started


def stop_controlplane() -> bool:
    """The shared control plane is gone with its data; answers whether it ran."""
    with cache.locked("controlplane"):
        return controlplane().stop()


@contextlib.contextmanager
def private_controlplane() -> Iterator[ControlPlane]:
    """A control plane of one's own to kill, compact and empty; gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="backstay-controlplane-"))
    # Ports far from the shared one's, and apart from those that another process chooses meanwhile.
    plane = ControlPlane(folder / "data", folder, random.randrange(23000, 32000))
    try:
        plane.start()
        install.install(plane)
        yield plane
    finally:
        plane.stop()
        shutil.rmtree(folder, ignore_errors=True)
