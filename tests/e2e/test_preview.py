"""`kubectl backstay preview` prints what a pass would run, and runs none of it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from e2e import manifests, pools
from e2e.scene import Scene
from worlds import binaries
from worlds.operator_process import PROGRAM

pytestmark = pytest.mark.timeout(1800)


def preview(scene: Scene, *arguments: str) -> str:
    """What `kubectl backstay preview` prints."""
    kubectl = str(binaries.binary("kubectl"))
    environment = {
        **os.environ,
        "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}",
        "KUBECONFIG": str(scene.plane.kubeconfig),
        "BACKSTAY_INSTALLATION_ID": scene.installation,
    }
    argv = [kubectl, "backstay", "preview", "-n", scene.namespace, *arguments]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.rule("Honest dry run")
def test_a_preview_prints_the_commands_of_a_seed_and_changes_nothing(
    bare_scene: Scene, tmp_path: Path
) -> None:
    scene = bare_scene
    source, target = f"{scene.source}/disk", f"{scene.root}/disk"
    pools.make_volume(scene.a, source, megabytes=1)
    file = tmp_path / "pair.yaml"
    pair = manifests.pair("disk", manifests.member("disk", source, target))
    file.write_text(yaml.safe_dump(pair), encoding="utf-8")
    before = pools.everything(scene.a, scene.source), pools.everything(scene.b, scene.root)
    said = preview(scene, "-f", str(file))
    assert f"zfs snapshot {source}@backstay_" in said.replace(" -- ", " ")
    assert "zfs send" in said
    assert "zfs receive" in said
    assert target in said
    after = pools.everything(scene.a, scene.source), pools.everything(scene.b, scene.root)
    assert after == before
    assert scene.kubectl("get", "rpair") == ""
