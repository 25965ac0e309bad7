"""What lies at the hosts and forbids work: named with its object, and never written over."""

from __future__ import annotations

import pytest

from e2e import manifests, pools
from e2e.scene import Scene

pytestmark = pytest.mark.timeout(1800)


def pair(scene: Scene, name: str) -> manifests.Document:
    """A pair of the volume of that name."""
    target = f"{scene.root}/{name}"
    return manifests.pair(name, manifests.member(name, f"{scene.source}/{name}", target))


@pytest.mark.fault("source dataset missing")
def test_a_missing_source_is_named_and_heals_when_it_is_there(scene: Scene) -> None:
    scene.apply(pair(scene, "absent"))
    seen = scene.await_verdict("rpair", "absent", "Ready", ("False", "SourceMissing"))
    assert f"{scene.source}/absent" in seen.condition("Ready")["message"]
    assert not pools.exists(scene.b, f"{scene.root}/absent")
    pools.make_volume(scene.a, f"{scene.source}/absent", megabytes=1)
    scene.request("absent")
    scene.await_ready("absent")


@pytest.mark.rule("Seed only into nothing, and only what was planned")
@pytest.mark.fault("target exists with foreign data")
def test_a_target_with_foreign_data_is_left_alone(scene: Scene) -> None:
    target = f"{scene.root}/foreign"
    pools.make_volume(scene.a, f"{scene.source}/foreign", megabytes=1)
    pools.make_volume(scene.b, target, megabytes=1)
    scene.b.run(f"zfs snapshot {target}@mine")
    before = pools.everything(scene.b, target)
    scene.apply(pair(scene, "foreign"))
    seen = scene.await_verdict("rpair", "foreign", "Ready", ("False", "TargetHasForeignData"))
    assert target in seen.condition("Ready")["message"]
    assert seen.verdict("Stalled") == ("True", "TargetHasForeignData")
    scene.request("foreign")
    scene.await_verdict("rpair", "foreign", "Ready", ("False", "TargetHasForeignData"))
    assert pools.everything(scene.b, target) == before


@pytest.mark.rule("Proven base")
@pytest.mark.fault("someone writes to the replica")
def test_a_replica_that_was_written_to_stops_its_pair_until_it_is_rolled_back(scene: Scene) -> None:
    source, target = f"{scene.source}/touched", f"{scene.root}/touched"
    pools.make_volume(scene.a, source, megabytes=1)
    scene.apply(pair(scene, "touched"))
    (before,) = scene.await_ready("touched")
    scene.b.run(f"zfs set readonly=off volmode=dev {target} && udevadm settle")
    pools.write(scene.b, target)
    scene.b.run(f"zfs set readonly=on volmode=none {target}")
    points = pools.snapshots(scene.b, target)
    pools.write(scene.a, source)
    scene.request("touched")
    seen = scene.await_verdict("rpair", "touched", "Diverged", ("True", "TargetModified"))
    assert target in seen.condition("Diverged")["message"]
    assert seen.verdict("Ready") == ("False", "TargetModified")
    assert pools.snapshots(scene.b, target) == points
    assert int(scene.b.run(f"zfs get -Hp -o value written {target}")) > 0
    scene.b.run(f"zfs rollback {target}@{before.point['snapshot']}")
    scene.request("touched")
    scene.await_next_point("touched", before)
    (healed,) = scene.await_ready("touched")
    assert healed.verdict("Diverged")[0] == "absent"


@pytest.mark.fault("receive root missing")
def test_a_missing_receive_root_is_named_and_heals_when_it_is_there(scene: Scene) -> None:
    root = f"{scene.root}/second"
    pools.make_volume(scene.a, f"{scene.source}/rootless", megabytes=1)
    member = manifests.member("rootless", f"{scene.source}/rootless", f"{root}/rootless")
    scene.apply(
        manifests.site("ham", manifests.host_entry(scene.b, root)),
        manifests.between(manifests.pair("rootless", member), "fra", "ham"),
    )
    seen = scene.await_verdict("rpair", "rootless", "Ready", ("False", "ReceiveRootMissing"))
    assert root in seen.condition("Ready")["message"]
    scene.b.run(f"zfs create -o canmount=off {root}")
    scene.request("rootless")
    scene.await_ready("rootless")


@pytest.mark.fault("receive root inside a Proxmox storage path")
def test_a_receive_root_inside_a_proxmox_storage_is_refused_until_it_is_none(scene: Scene) -> None:
    root = f"{scene.root}/guests"
    pools.make_volume(scene.a, f"{scene.source}/inside", megabytes=1)
    scene.b.run(f"zfs create -o canmount=off {root}")
    member = manifests.member("inside", f"{scene.source}/inside", f"{root}/inside")
    config = f"zfspool: local-zfs\\n\\tpool {root}\\n\\tcontent images,rootdir\\n"
    scene.b.run(f"mkdir -p /etc/pve && printf '{config}' >/etc/pve/storage.cfg")
    try:
        scene.apply(
            manifests.site("pve", manifests.host_entry(scene.b, root)),
            manifests.between(manifests.pair("inside", member), "fra", "pve"),
        )
        wanted = ("False", "ReceiveRootInProxmoxStorage")
        seen = scene.await_verdict("rpair", "inside", "Ready", wanted)
        assert root in seen.condition("Ready")["message"]
        assert not pools.exists(scene.b, f"{root}/inside")
    finally:
        scene.b.run("rm -r /etc/pve")
    scene.request("inside")
    scene.await_ready("inside")
