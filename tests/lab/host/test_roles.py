"""Roles on real ZFS: the channel program, writers that have a volume open, encryption roots."""

from __future__ import annotations

import shlex

import pytest

from backstay_host import protocol
from backstay_host.zfs.programs import SWAP_ROLES
from lab.host.conftest import Connect
from lab.host.scene import Scene
from unit.host.client import HostError

ROLE, EPOCH = "dev.backstay:role", "dev.backstay:roleepoch"
RULE = pytest.mark.rule("Promotion clones the point, never the head")


def _guid(scene: Scene, name: str) -> int:
    return int(scene.host.run(f"zfs get -Hp -o value guid {name}"))


def _roles(scene: Scene, *names: str) -> list[str]:
    out = scene.host.run(f"zfs get -Hp -o value -s local,none {ROLE},{EPOCH} {' '.join(names)}")
    return out.split()


def _volumes(scene: Scene, count: int) -> list[protocol.RoleChange]:
    names = [f"{scene.root}/r{number}" for number in range(count)]
    scene.host.run("; ".join(f"zfs create -s -V 8M {name}" for name in names))
    return [protocol.RoleChange(name, _guid(scene, name), "", 0) for name in names]


@RULE
@pytest.mark.fault("two operators of one installation")
def test_in_races_of_two_exactly_one_wins(scene: Scene, connect: Connect) -> None:
    members = _volumes(scene, 3)
    other = connect(scene.host)
    scene.claim(1, other)
    for epoch in range(1, 5):
        body = protocol.SwapRoles(members, "primary", epoch)
        said = []
        waiting = [(client, client.post("roles", body)) for client in (scene.client, other)]
        for client, answer in waiting:
            try:
                client.result(answer)
                said.append("")
            except HostError as error:
                said.append(error.reason)
        assert sorted(said)[0] == ""
        assert sorted(said)[1] in ("RoleChanged", "TargetBusy")
        assert _roles(scene, *(m.dataset for m in members)) == ["primary", str(epoch)] * 3
        members = [protocol.RoleChange(m.dataset, m.guid, "primary", epoch) for m in members]


@RULE
def test_the_program_itself_changes_nothing_when_one_member_differs(scene: Scene) -> None:
    """Without our own look before it: as if somebody had come between."""
    one, two = _volumes(scene, 2)
    scene.host.run(f"zfs set {ROLE}=secondary {two.dataset}")

    def run(*words: str) -> str:
        pool = scene.root.split("/")[0]
        script = (
            f"printf %s {shlex.quote(SWAP_ROLES)} | zfs program -j {pool} - {shlex.join(words)}"
        )
        return scene.host.run(script)

    guids = [f"{m.guid:016x}" for m in (one, two)]
    said = run("primary", "1", one.dataset, guids[0], "", "", two.dataset, guids[1], "", "")
    assert two.dataset in said
    assert "secondary" in said
    assert one.dataset not in said
    assert _roles(scene, one.dataset) == ["-", "-"]
    for dataset, guid in ((one.dataset, f"{5:016x}"), (f"{scene.root}/none", guids[0])):
        assert dataset in run("primary", "1", dataset, guid, "", "")
    # What a parent has is not the child's.
    scene.host.run(f"zfs set {ROLE}=primary {scene.root}")
    assert run("primary", "1", one.dataset, guids[0], "", "").strip() in (
        '{"return":{}}',
        '{"return": {}}',
    )
    assert _roles(scene, one.dataset) == ["primary", "1"]


@RULE
def test_a_writer_that_has_the_source_open_is_stopped(scene: Scene) -> None:
    scene.write(1)
    writer = (
        "import os, sys, time\n"
        f"fd = os.open('/dev/zvol/{scene.volume}', os.O_WRONLY | os.O_DIRECT | os.O_SYNC)\n"
        "import mmap\n"
        "page = mmap.mmap(-1, 4096)\n"
        "os.pwrite(fd, page, 0)\n"
        "open('/run/backstay-opened', 'w').close()\n"
        "while os.path.exists('/run/backstay-opened'):\n"
        "    time.sleep(0.1)\n"
        "try:\n"
        "    os.pwrite(fd, page, 0)\n"
        "except OSError:\n"
        "    sys.exit(3)\n"
    )
    running = scene.start(f"udevadm settle; python3 -c {shlex.quote(writer)}")
    scene.host.run("while ! [ -e /run/backstay-opened ]; do sleep 0.1; done")
    target = protocol.Named(scene.volume, _guid(scene, scene.volume))
    scene.client.request("readonly", protocol.SetReadonly([target], on=True))
    scene.host.run("rm /run/backstay-opened")
    assert running.wait(60) == 3
    scene.client.request("readonly", protocol.SetReadonly([target], on=False))
    scene.write(1)


@pytest.fixture
def encrypted(scene: Scene) -> str:
    """A file system below the receive root that has a key of its own."""
    name = f"{scene.root}/enc"
    scene.host.run(
        f"echo 12345678 | zfs create -o encryption=on -o keyformat=passphrase "
        f"-o keylocation=prompt {name} && zfs create -s -V 8M {name}/v && zfs snapshot {name}/v@a"
    )
    return name


@RULE
def test_a_replica_with_its_parents_key_leaves_it_neither_by_rename_nor_by_promote(
    scene: Scene, encrypted: str
) -> None:
    """Why `PromotionPathBlocked` is said before anything is moved."""
    body = protocol.Survey([protocol.SurveyRoot(encrypted, True)], "ab12")
    listed = {d["name"]: d for d in scene.client.request("survey", body)["datasets"]}
    assert listed[f"{encrypted}/v"]["encryption_root"] == encrypted
    moved = scene.host.attempt(f"zfs rename {encrypted}/v {scene.root}/out")
    assert moved.returncode != 0
    scene.host.run(f"zfs clone -o volmode=none {encrypted}/v@a {scene.root}/clone")
    promoted = scene.host.attempt(f"zfs promote {scene.root}/clone")
    assert promoted.returncode != 0
    doomed = protocol.DoomedClone(
        f"{scene.root}/clone",
        _guid(scene, f"{scene.root}/clone"),
        f"{encrypted}/v@a",
        _guid(scene, f"{encrypted}/v@a"),
    )
    (item,) = scene.client.request("discard", protocol.DiscardClones([doomed]))["items"]
    assert item["reason"] == ""


@RULE
def test_what_is_its_own_encryption_root_can_be_set_aside_and_promoted(scene: Scene) -> None:
    """As a raw replica is; its key need not be loaded."""
    name, aside, final = (f"{scene.root}/{n}" for n in ("raw", "kept", "final"))
    scene.host.run(
        f"echo 12345678 | zfs create -s -V 8M -o encryption=on -o keyformat=passphrase "
        f"-o keylocation=prompt {name} && zfs snapshot {name}@a && udevadm settle && "
        f"zfs set volmode=none {name} && zfs unload-key {name}"
    )
    scene.host.run(
        f"zfs rename {name} {aside} && zfs clone -o readonly=on -o volmode=none {aside}@a {final} "
        f"&& zfs promote {final}"
    )
    body = protocol.Survey([protocol.SurveyRoot(scene.root, True)], "ab12")
    listed = {d["name"]: d for d in scene.client.request("survey", body)["datasets"]}
    assert listed[final]["encryption_root"] == final
    assert listed[aside]["encryption_root"] == final
