"""A scene a module: shared by its tests, which make datasets and objects of their own names.

Two modules run at a time on the same hosts (`hack/tiers.py`): a test leaves alone what is not of
its scene there, or hides it from its own logins only.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e import manifests, pools
from e2e.manifests import TREE, VOLUMES
from e2e.scene import Scene
from worlds.api import ControlPlane, LabHost


@pytest.fixture(scope="module")
def scene(
    lab_hosts: list[LabHost], controlplane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    """Namespace, rights, Sites, policy and a running operator with a short Lease."""
    made = Scene(controlplane, tmp_path_factory.mktemp("scene"), lab_hosts)
    try:
        made.build()
        made.apply_sites()
        made.operator(lease_seconds="12").start()
        yield made
    finally:
        made.tear_down()


@pytest.fixture(scope="module")
def protected(scene: Scene) -> Scene:
    """A tree of file systems and a group of volumes, each with a recovery point."""
    source, root = scene.source, scene.root
    pools.make_tree(scene.a, *(f"{source}/{name}" for name in TREE))
    for name in VOLUMES:
        pools.make_volume(scene.a, f"{source}/{name}", megabytes=2)
    disks = [manifests.member(name, f"{source}/{name}", f"{root}/{name}") for name in VOLUMES]
    tree = manifests.member("tree", f"{source}/tree", f"{root}/tree", recursive=True)
    scene.apply(manifests.pair("tree", tree), manifests.pair("vm", *disks, grouped=True))
    scene.await_ready("tree", "vm")
    return scene


@pytest.fixture(scope="module")
def bare_scene(
    lab_hosts: list[LabHost], controlplane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    """A scene without any operator."""
    made = Scene(controlplane, tmp_path_factory.mktemp("scene"), lab_hosts)
    try:
        made.build()
        made.apply_sites()
        yield made
    finally:
        made.tear_down()


@pytest.fixture
def private_scene(
    lab_hosts: list[LabHost], private_controlplane: ControlPlane, tmp_path: Path
) -> Iterator[Scene]:
    """A scene on a control plane of the test's own, without any operator."""
    made = Scene(private_controlplane, tmp_path, lab_hosts)
    try:
        made.build()
        made.apply_sites()
        yield made
    finally:
        made.tear_down()
