"""What others do at the pools, or to one member of a pipe, costs nobody else anything."""

from __future__ import annotations

import pytest

from backstay.domain.steps import Increment, Seed
from fakes import truths
from fakes.core import NAMESPACE
from fakes.lab import Lab

KEEP_TWO = {"source": {"last": 2}, "target": {"last": 2}}


@pytest.mark.rule("A pipe cannot mix up members")
@pytest.mark.rule("Isolation")
@pytest.mark.fault("member of a shared pipe fails in the middle")
@pytest.mark.parametrize("fault", ["cut", "garbled"])
async def test_members_behind_a_failed_one_are_untouched_and_right_in_the_next_pass(
    lab: Lab, fault: str
) -> None:
    lab.core.pair("erp", lab.volumes(5))
    await lab.core.live(100)
    before = {f"d{i}": lab.b.content(f"backup/backstay/d{i}") for i in range(5)}
    for name in before:
        lab.a.write(f"tank/vm/{name}", 5000)
    lab.core.sent()
    if fault == "cut":
        lab.world.transfer_faults.cut(member=1, after_bytes=2500)
    else:
        lab.world.transfer_faults.garble(member=1)
    lab.world.advance(151)
    (route,) = {route for _, route in lab.core.shares.book.states}
    await lab.core.run(route)
    assert [t.member for t in lab.core.pipes[0].transfers] == list(before)
    assert lab.equal("d0")
    for name in ("d1", "d2", "d3", "d4"):
        assert lab.b.content(f"backup/backstay/{name}") == before[name]
    lab.core.sent()
    await lab.core.passing(1)
    assert lab.equal("d0", "d2", "d3", "d4")
    await lab.core.live(200)
    assert lab.equal("d1")
    assert not [t for t in lab.core.sent() if isinstance(t.how, Seed)]
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")


@pytest.mark.rule("No implicit destruction")
async def test_the_first_advice_about_a_replica_that_was_written_to_keeps_it(lab: Lab) -> None:
    lab.core.pair("erp", lab.volumes(1))
    await lab.core.live(200)
    lab.b.set("backup/backstay/d0", "readonly", "off")
    lab.b.write("backup/backstay/d0", 4096)
    lab.b.set("backup/backstay/d0", "readonly", "on")
    await lab.core.live(200)
    assert lab.core.condition("erp", "Ready") == ("False", "TargetModified")
    said = lab.core.message("erp", "Ready")
    assert said.count(" --how ") == 1
    _, _, advice = said.partition("): ")
    assert advice.startswith(f"`kubectl backstay resolve erp -n {NAMESPACE} --how SetAside` keeps")
    assert "roll" not in said


@pytest.mark.rule("Replica posture")
@pytest.mark.fault("someone makes the replica writable")
async def test_a_replica_that_was_made_writable_is_made_read_only_again(lab: Lab) -> None:
    lab.a.create("tank/vm/fs")
    lab.core.pair("erp", {"fs": ("tank/vm/fs", "backup/backstay/fs")})
    await lab.core.live(100)
    lab.b.set("backup/backstay/fs", "readonly", "off")
    await lab.core.passing(151)
    assert lab.b.dataset("backup/backstay/fs").properties["readonly"] == "on"
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")
    assert lab.core.condition("erp", "Diverged") == ("", "")


@pytest.mark.rule("Replica posture")
@pytest.mark.rule("No implicit destruction")
@pytest.mark.fault("someone makes the replica writable")
async def test_a_volume_that_a_guest_may_run_from_is_not_touched(lab: Lab) -> None:
    """An emergency by hand: readonly=off, volmode=default, and the guest has not written yet."""
    lab.core.pair("erp", lab.volumes(2))
    await lab.core.live(100)
    lab.b.set("backup/backstay/d0", "readonly", "off")
    lab.b.set("backup/backstay/d0", "volmode", "default")
    before = list(lab.b.commands)
    for name in ("d0", "d1"):
        lab.a.write(f"tank/vm/{name}", 5000)
    await lab.core.live(400)
    assert not [c for c in lab.b.commands[len(before) :] if "backup/backstay/d0" in " ".join(c)]
    assert lab.b.dataset("backup/backstay/d0").properties["volmode"] == "default"
    assert lab.core.condition("erp", "Ready") == ("False", "TargetWritable")
    assert lab.core.condition("erp", "Stalled")[0] == "True"
    assert lab.equal("d1")
    assert not lab.equal("d0")
    lab.b.set("backup/backstay/d0", "readonly", "on")
    lab.b.set("backup/backstay/d0", "volmode", "none")
    await lab.core.live(200)
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")
    assert lab.equal("d0")


@pytest.mark.rule("Resume tokens are untrusted input")
@pytest.mark.fault("token's source snapshot recreated under the same name")
async def test_a_token_of_another_snapshot_of_the_same_name_is_not_resumed(lab: Lab) -> None:
    lab.core.pair("erp", lab.volumes(1))
    await lab.core.live(100)
    lab.a.write("tank/vm/d0", 5000)
    lab.world.transfer_faults.cut(after_bytes=2500)
    lab.world.advance(151)
    (route,) = {route for _, route in lab.core.shares.book.states}
    await lab.core.run(route)
    partial = lab.b.dataset("backup/backstay/d0").partial
    assert partial is not None
    name = f"tank/vm/d0@{partial.stream.snapshot}"
    lab.a.destroy(name)
    lab.a.write("tank/vm/d0", 7000)
    lab.a.snapshot(name)
    lab.core.sent()
    await lab.core.live(400)
    assert {type(t.how) for t in lab.core.sent()} == {Increment}
    assert [c for c in lab.b.commands if "-A" in c] == [
        ("zfs", "receive", "-A", "backup/backstay/d0")
    ]
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")
    assert lab.equal("d0")


@pytest.mark.rule("Pruning keeps the chain")
@pytest.mark.fault("foreign snapshots on both sides")
async def test_snapshots_of_others_are_never_pruned_on_either_side(lab: Lab) -> None:
    lab.core.policy(retention=KEEP_TWO)
    lab.core.pair("erp", lab.volumes(1))
    await lab.core.live(100)
    foreign = []
    for number in range(5):
        foreign += [
            (lab.a, f"tank/vm/d0@daily{number}"),
            (lab.b, f"backup/backstay/d0@daily{number}"),
        ]
        for host, name in foreign[-2:]:
            host.snapshot(name)
        lab.a.write("tank/vm/d0", 5000)
        await lab.core.passing(151)
    assert all(host.exists(name) for host, name in foreign)
    ours = [s for s in lab.a.dataset("tank/vm/d0").snapshots if s.name.startswith("backstay_")]
    assert len(ours) == 2
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")
    assert lab.equal("d0")
    truths.nothing_destructive(lab.world)
