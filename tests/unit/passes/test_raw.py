"""An encrypted source end to end: its replica follows without any key at the target."""

from __future__ import annotations

import pytest

from backstay.domain.divergence import Resolution
from backstay.domain.steps import Increment, Resume
from fakes import streams
from fakes.lab import Lab
from unit.passes.test_bad_input import stays
from unit.passes.test_resolutions import approve, asides

SOURCE, REPLICA = "tank/vm/d0", "backup/backstay/d0"


async def replicated(lab: Lab, *, encrypted: bool = True) -> None:
    """A pair of one volume with a first point."""
    lab.a.create(SOURCE, volume=True, encrypted=encrypted)
    lab.a.write(SOURCE, 4096)
    lab.core.pair("erp", {"d0": (SOURCE, REPLICA)})
    await lab.core.live(200)
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")


async def write(lab: Lab, seconds: float = 200) -> None:
    """Something is written and has the time to arrive."""
    lab.a.write(SOURCE, 4096)
    await lab.core.live(seconds)


def sends(lab: Lab) -> list[str]:
    """The flags of the streams that the source has sent."""
    found = [c for c in lab.a.commands if c[:2] == ("zfs", "send") and "-t" not in c]
    return [word for c in found for word in c if word.startswith("-Lec")]


@pytest.mark.rule("Raw lineage")
async def test_an_encrypted_source_travels_raw_and_arrives_encrypted(lab: Lab) -> None:
    await replicated(lab)
    await write(lab)
    await write(lab)
    assert sends(lab) == ["-Lecw"] * 3
    assert lab.equal("d0")
    replica = lab.b.dataset(REPLICA)
    assert replica.encrypted
    assert replica.properties["dev.backstay:stream"] == "Lecw"
    held = [(s.guid, s.ivset) for s in replica.snapshots]
    assert held == [(s.guid, s.ivset) for s in lab.a.dataset(SOURCE).snapshots][-len(held) :]


@pytest.mark.rule("Raw lineage")
async def test_a_pass_that_has_sent_a_new_point_finds_nothing_wrong_with_it(lab: Lab) -> None:
    """The pass judges what it sees at its end, with a point that no listing of the source has."""
    await replicated(lab)
    for _ in range(3):
        lab.a.write(SOURCE, 4096)
        await lab.core.passing(151)
        assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")
        assert lab.core.condition("erp", "Stalled") == ("", "")


@pytest.mark.rule("Raw lineage")
async def test_a_source_whose_key_is_not_loaded_is_replicated_all_the_same(lab: Lab) -> None:
    await replicated(lab)
    lab.a.dataset(SOURCE).key_loaded = False
    await write(lab)
    assert lab.equal("d0")


@pytest.mark.rule("Replica posture")
async def test_a_failover_is_not_ready_until_the_key_is_loaded_at_the_target(lab: Lab) -> None:
    await replicated(lab)
    assert lab.core.condition("erp", "FailoverReady") == ("False", "KeyNotAvailable")
    assert f"zfs load-key -n {REPLICA}" in lab.core.message("erp", "FailoverReady")
    assert lab.core.condition("erp", "Protected") == ("True", "Confirmed")
    lab.core.restart()
    lab.b.reachable = False
    await lab.core.live(60)
    assert lab.core.condition("erp", "FailoverReady") == ("False", "KeyNotAvailable")
    lab.b.reachable = True
    lab.b.load_key(REPLICA)
    await write(lab, 600)
    assert lab.core.condition("erp", "FailoverReady") == ("", "")


@pytest.mark.rule("Replica posture")
async def test_nothing_is_said_of_keys_where_nothing_is_encrypted(lab: Lab) -> None:
    await replicated(lab, encrypted=False)
    assert sends(lab) == ["-Lec"]
    assert lab.core.condition("erp", "FailoverReady") == ("", "")


@pytest.mark.rule("Raw lineage")
@pytest.mark.fault("someone snapshots the replica")
async def test_a_snapshot_of_a_raw_replica_stops_it_until_it_is_gone(lab: Lab) -> None:
    await replicated(lab)
    lab.b.snapshot(f"{REPLICA}@manual")
    lab.a.write(SOURCE, 4096)
    lab.core.sent()
    await stays(lab, "RawLineageBroken", words=f"zfs destroy {REPLICA}@manual")
    lab.b.destroy(f"{REPLICA}@manual")
    await lab.core.live(200)
    assert lab.equal("d0")


@pytest.mark.rule("Raw lineage")
@pytest.mark.fault("manual non-raw receive into a raw replica")
async def test_a_plain_receive_by_hand_is_noticed_before_a_byte_is_sent(lab: Lab) -> None:
    """The GUIDs are the same, so that only the IV set tells."""
    await replicated(lab)
    first = lab.b.dataset(REPLICA).snapshots[-1].name
    lab.a.snapshot(f"{SOURCE}@hand")
    lab.b.load_key(REPLICA)
    pools = lab.a.pool_of(SOURCE), lab.b.pool_of(REPLICA)
    base = f"{SOURCE}@{first}"
    streams.by_hand(pools[0], f"{SOURCE}@hand", base, pools[1], REPLICA, mode="Lec")
    lab.a.write(SOURCE, 4096)
    lab.core.sent()
    await stays(lab, "RawLineageBroken", words=f"roll back to {REPLICA}@{first}")
    lab.b.rollback(f"{REPLICA}@{first}")
    await lab.core.live(200)
    assert lab.equal("d0")
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")


@pytest.mark.rule("Raw lineage")
@pytest.mark.fault("raw flag flipped after the seed")
async def test_a_pair_that_was_seeded_plain_never_goes_on_raw(lab: Lab) -> None:
    await replicated(lab)
    lab.b.set(REPLICA, "dev.backstay:stream", "Lec")
    lab.a.write(SOURCE, 4096)
    lab.core.sent()
    await stays(lab, "StreamModePinned", words="never changes")


@pytest.mark.rule("Raw lineage")
@pytest.mark.rule("Resume tokens are untrusted input")
@pytest.mark.fault("full stream cut in the middle")
@pytest.mark.parametrize("of_seed", [True, False])
async def test_an_interrupted_raw_stream_goes_on_raw(lab: Lab, of_seed: bool) -> None:
    if not of_seed:
        await replicated(lab)
        lab.core.sent()
    lab.world.transfer_faults.cut(after_bytes=2000)
    if of_seed:
        await replicated(lab)
    else:
        await write(lab, 400)
    sent = lab.core.sent()
    assert [isinstance(t.how, Resume) for t in sent] == [False, True]
    assert lab.equal("d0")
    assert lab.b.dataset(REPLICA).encrypted


@pytest.mark.rule("Raw lineage")
async def test_a_raw_tree_follows_and_a_plain_child_below_it_says_why_it_cannot(lab: Lab) -> None:
    """A plain stream lands under the encryption of its parent, whose key is not there."""
    lab.a.create("tank/vm/t", encrypted=True)
    lab.a.create("tank/vm/t/b")
    lab.a.create("tank/vm/t/plain").encrypted = False
    lab.core.pair("erp", {"t": ("tank/vm/t", "backup/backstay/t")}, recursive=True)
    await lab.core.live(600)
    assert lab.b.dataset("backup/backstay/t/b").encrypted
    assert not lab.b.exists("backup/backstay/t/plain")
    assert lab.core.condition("erp", "Ready") == ("False", "KeyNotAvailable")


@pytest.mark.rule("Raw lineage")
@pytest.mark.rule("No implicit destruction")
@pytest.mark.fault("source rolled back, target ahead")
async def test_a_raw_replica_is_set_aside_and_only_the_delta_travels_raw(lab: Lab) -> None:
    lab.core.policy(retention={"source": {"last": 9}, "target": {"last": 9}})
    await replicated(lab)
    await write(lab)
    before = lab.b.dataset(REPLICA)
    everything = {s.guid for s in before.snapshots}
    lab.a.rollback(f"{SOURCE}@{lab.a.dataset(SOURCE).snapshots[0].name}")
    await write(lab)
    assert lab.core.condition("erp", "Ready") == ("False", "TargetAhead")
    lab.core.sent()
    approve(lab, Resolution.SET_ASIDE)
    await lab.core.live(200)
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")
    assert lab.equal("d0")
    sent = lab.core.sent()
    assert sent
    assert all(isinstance(t.how, Increment) and t.mode == "Lecw" for t in sent)
    (aside,) = asides(lab.b)
    kept = {s.guid for s in (*lab.b.dataset(aside).snapshots, *lab.b.dataset(REPLICA).snapshots)}
    assert everything <= kept
    assert lab.b.dataset(aside).guid == before.guid
