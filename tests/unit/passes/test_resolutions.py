"""A replica that diverged waits for a decision, and what was decided is done once, exactly so."""

from __future__ import annotations

import json

import pytest

from backstay.api.kinds import RESOLVE
from backstay.api.v1alpha1.replicationpair import ReplicationPairStatus
from backstay.domain.divergence import Resolution
from backstay.domain.moves import ASIDE_OF, BRANCHED_AT
from backstay.domain.steps import Increment, Seed
from backstay.domain.zfs import LINEAGE
from backstay.report.approval import approval_of, choose
from fakes.faults import When
from fakes.lab import Lab
from fakes.truths import nothing_destructive
from fakes.world import FakeHost
from fakes.zfs import Partial, Stream

REPLICA = "backup/backstay/d0"
SOURCE = "tank/vm/d0"


def status(lab: Lab) -> ReplicationPairStatus:
    return ReplicationPairStatus.model_validate(dict(lab.core.status("erp")))


def approve(lab: Lab, how: Resolution, *, by: str = "a1b2c3d4", written: int | None = None) -> str:
    """What `kubectl backstay resolve` writes, from the status alone."""
    chosen = choose(status(lab).diverged, how)
    assert chosen.members, chosen.left_out
    document = approval_of(chosen, how, by).document()
    if written is not None:
        document["members"][0]["writtenBytes"] = written
    text = json.dumps(document)
    lab.core.annotate("ReplicationPair", "erp", RESOLVE, text)
    return text


def asides(host: FakeHost) -> list[str]:
    return [d for d in host.pools["backup"].datasets if d.startswith("backup/backstay-aside/")]


async def ahead(lab: Lab, count: int = 1, *, group: bool = False) -> None:
    """Sources were rolled back to their first point after a second one had arrived."""
    lab.core.policy(retention={"source": {"last": 9}, "target": {"last": 9}})
    lab.core.pair("erp", lab.volumes(count), group=group)
    await lab.core.live(200)
    for name in (f"tank/vm/d{i}" for i in range(count)):
        lab.a.write(name, 1 << 20)
    await lab.core.live(200)
    for name in (f"tank/vm/d{i}" for i in range(count)):
        lab.a.rollback(f"{name}@{lab.a.dataset(name).snapshots[0].name}")
        lab.a.write(name, 4096)
    await lab.core.live(200)
    lab.core.sent()
    assert lab.core.condition("erp", "Diverged") == ("True", "TargetAhead")


def ready(lab: Lab) -> tuple[str, str]:
    return lab.core.condition("erp", "Ready")


# --- what is shown ------------------------------------------------------------------------------


@pytest.mark.fault("source rolled back, target ahead")
async def test_a_divergence_names_both_sides_by_guid_and_what_can_be_done(lab: Lab) -> None:
    await ahead(lab)
    (shown,) = status(lab).diverged
    source, replica = lab.a.dataset(SOURCE), lab.b.dataset(REPLICA)
    assert (shown.source_guid, shown.guid) == (str(source.guid), str(replica.guid))
    assert shown.base is not None
    assert shown.base.guid == str(source.snapshots[0].guid)
    assert [p.guid for p in shown.lose] == [str(s.guid) for s in replica.snapshots[1:]]
    assert shown.offers == ("SetAside", "Rollback", "Reseed")
    assert "kubectl backstay resolve erp -n dr --how SetAside" in lab.core.message("erp", "Ready")


@pytest.mark.rule("No implicit destruction")
async def test_nothing_is_done_without_an_approval(lab: Lab) -> None:
    await ahead(lab)
    lab.b.commands.clear()
    await lab.core.live(1800)
    assert lab.b.commands == []


# --- SetAside -----------------------------------------------------------------------------------


@pytest.mark.fault("source rolled back, target ahead")
@pytest.mark.rule("No implicit destruction")
async def test_set_aside_keeps_everything_and_only_the_delta_travels(lab: Lab) -> None:
    await ahead(lab)
    before = lab.b.dataset(REPLICA)
    everything = {s.guid for s in before.snapshots}
    lineage = before.properties[LINEAGE]
    approve(lab, Resolution.SET_ASIDE)
    await lab.core.live(30)
    assert ready(lab) == ("True", "UpToDate")
    assert lab.equal("d0")
    (sent,) = lab.core.sent()
    assert isinstance(sent.how, Increment)
    assert sent.size_bytes < 1 << 16
    (aside,) = asides(lab.b)
    kept, replica = lab.b.dataset(aside), lab.b.dataset(REPLICA)
    assert everything <= {s.guid for s in (*kept.snapshots, *replica.snapshots)}
    assert kept.guid == before.guid
    assert kept.properties[ASIDE_OF] == REPLICA
    assert not {LINEAGE, BRANCHED_AT} & kept.properties.keys()
    assert replica.properties[LINEAGE] == lineage
    assert replica.properties["readonly"] == "on"
    assert replica.properties["volmode"] == "none"
    assert replica.origin is None
    nothing_destructive(lab.world)


async def test_what_was_set_aside_is_shown_with_its_size_until_it_is_gone(lab: Lab) -> None:
    await ahead(lab)
    approve(lab, Resolution.SET_ASIDE)
    await lab.core.live(30)
    (aside,) = asides(lab.b)
    (shown,) = status(lab).asides
    assert (shown.dataset, shown.of) == (aside, REPLICA)
    assert 1 << 20 <= shown.used_bytes < 1 << 21
    assert lab.core.condition("erp", "AsideRetained") == ("True", "AsideKept")
    assert aside in lab.core.message("erp", "AsideRetained")
    assert status(lab).diverged == ()
    await lab.core.live(1800)
    assert lab.core.condition("erp", "AsideRetained") == ("True", "AsideKept")
    lab.b.destroy(aside)
    await lab.core.live(400)
    assert lab.core.condition("erp", "AsideRetained") == ("", "")
    assert ready(lab) == ("True", "UpToDate")


async def test_a_group_is_set_aside_as_a_whole(lab: Lab) -> None:
    await ahead(lab, 3, group=True)
    approve(lab, Resolution.SET_ASIDE)
    requests = lab.b.requests.copy()
    await lab.core.live(30)
    assert ready(lab) == ("True", "UpToDate")
    assert lab.equal("d0", "d1", "d2")
    assert len(asides(lab.b)) == 3
    spent = lab.b.requests - requests
    assert {spent[word] for word in ("rename", "clone", "promote")} == {1}


@pytest.mark.rule("Fixpoint")
@pytest.mark.parametrize("request_", ["label", "rename", "clone", "promote"])
@pytest.mark.parametrize("when", ["before", "middle", "after"])
@pytest.mark.parametrize("forgets", [True, False])
async def test_a_crash_anywhere_ends_in_the_same_place(
    lab: Lab, request_: str, when: When, forgets: bool
) -> None:
    """Even when the pair was created anew meanwhile, and the approval with it is gone."""
    await ahead(lab, 2)
    approve(lab, Resolution.SET_ASIDE)
    lab.b.faults.fail(request_, when=when)
    await lab.core.live(5)
    assert lab.b.faults.planned == []
    if forgets:
        body = next(b for key, b in lab.core.bodies.items() if key.name == "erp")
        del body["metadata"]["annotations"]
    await lab.core.kill()
    await lab.core.live(400)
    assert not any(isinstance(t.how, Seed) for t in lab.core.sent())
    for i in range(2):  # what was begun is ended
        replica = lab.b.dataset(f"backup/backstay/d{i}")
        assert replica.origin is None
        assert lab.equal(f"d{i}") or (forgets and len(replica.snapshots) > 1)
    if not forgets or request_ in ("clone", "promote"):
        assert ready(lab) == ("True", "UpToDate")
        assert len(asides(lab.b)) == 2
    nothing_destructive(lab.world)


async def test_a_tree_keeps_its_children_in_their_places(lab: Lab) -> None:
    lab.core.policy(retention={"source": {"last": 9}, "target": {"last": 9}})
    for name in ("tank/fs", "tank/fs/a", "tank/fs/a/b"):
        lab.a.create(name)
        lab.a.write(name, 4096)
    lab.core.pair("erp", {"fs": ("tank/fs", "backup/backstay/fs")}, recursive=True)
    await lab.core.live(300)
    first = lab.a.dataset("tank/fs").snapshots[0].name
    children = {n: lab.b.guid(f"backup/backstay/{n}") for n in ("fs/a", "fs/a/b")}
    lab.a.write("tank/fs", 1 << 20)
    await lab.core.live(300)
    lab.a.rollback(f"tank/fs@{first}")
    lab.a.write("tank/fs", 1)
    await lab.core.live(200)
    lab.core.sent()
    approve(lab, Resolution.SET_ASIDE)
    await lab.core.live(60)
    assert ready(lab) == ("True", "UpToDate")
    assert {n: lab.b.guid(f"backup/backstay/{n}") for n in children} == children
    assert len(asides(lab.b)) == 1
    assert not any(isinstance(t.how, Seed) for t in lab.core.sent())


async def test_a_partial_receive_goes_before_its_dataset_is_set_aside(lab: Lab) -> None:
    await ahead(lab)
    replica = lab.b.dataset(REPLICA)
    begun = Stream(SOURCE, "later", 77, replica.snapshots[-1].guid, replica.head, 9, True, None)
    replica.partial = Partial(begun, 5, seed=False)
    approve(lab, Resolution.SET_ASIDE)
    await lab.core.live(60)
    assert ready(lab) == ("True", "UpToDate")
    aborted = lab.b.commands.index(("zfs", "receive", "-A", REPLICA))
    assert aborted < [argv[1] for argv in lab.b.commands].index("rename")


# --- an approval counts for its very list, and once ----------------------------------------------


@pytest.mark.rule("No implicit destruction")
@pytest.mark.parametrize("how", [Resolution.SET_ASIDE, Resolution.ROLLBACK, Resolution.RESEED])
async def test_an_approval_is_void_when_the_list_has_changed(lab: Lab, how: Resolution) -> None:
    await ahead(lab)
    lab.b.snapshot(f"{REPLICA}@somebodys")
    lab.b.commands.clear()
    approve(lab, how)
    await lab.core.live(300)
    assert lab.b.commands == []
    assert "is void" in lab.core.message("erp", "Ready")
    assert lab.core.condition("erp", "Diverged")[0] == "True"
    approve(lab, how, by="b1b2c3d4")  # of what is shown by now
    await lab.core.live(60)
    assert ready(lab) == ("True", "UpToDate")


async def test_an_approval_that_cannot_be_read_is_said_and_not_guessed(lab: Lab) -> None:
    await ahead(lab)
    lab.b.commands.clear()
    lab.core.annotate("ReplicationPair", "erp", RESOLVE, '{"how": "Rollback"}')
    await lab.core.live(120)
    assert lab.b.commands == []
    assert "cannot be read" in lab.core.message("erp", "Ready")


async def test_an_approval_of_another_pairs_dataset_does_nothing(lab: Lab) -> None:
    await ahead(lab)
    text = approve(lab, Resolution.ROLLBACK).replace(REPLICA, "backup/backstay/d9")
    lab.b.commands.clear()
    lab.core.annotate("ReplicationPair", "erp", RESOLVE, text)
    await lab.core.live(120)
    assert lab.b.commands == []


# --- Rollback -----------------------------------------------------------------------------------


@pytest.mark.rule("No implicit destruction")
async def test_a_rollback_destroys_what_was_approved_and_the_pair_goes_on(lab: Lab) -> None:
    await ahead(lab)
    doomed = {f"{REPLICA}@{s.name}" for s in lab.b.dataset(REPLICA).snapshots[1:]}
    lab.b.commands.clear()
    approve(lab, Resolution.ROLLBACK)
    await lab.core.live(10)
    assert ready(lab) == ("True", "UpToDate")
    assert lab.equal("d0")
    assert {argv[2] for argv in lab.b.commands if argv[1] == "destroy"} == doomed
    assert asides(lab.b) == []
    (sent,) = lab.core.sent()
    assert isinstance(sent.how, Increment)


@pytest.mark.rule("No implicit destruction")
@pytest.mark.fault("someone writes to the replica")
async def test_a_rollback_is_approved_once_even_if_the_same_happens_again(lab: Lab) -> None:
    """Nothing tells the second write from the first one but that the approval was used."""
    lab.core.pair("erp", {"fs": ("tank/fs", "backup/backstay/fs")})
    lab.a.create("tank/fs")
    lab.a.write("tank/fs", 4096)
    await lab.core.live(200)
    for by, works in (("a1b2c3d4", True), ("a1b2c3d4", False), ("b1b2c3d4", True)):
        lab.b.set("backup/backstay/fs", "readonly", "off")
        lab.b.write("backup/backstay/fs", 8192)
        lab.b.set("backup/backstay/fs", "readonly", "on")
        await lab.core.live(200)
        approve(lab, Resolution.ROLLBACK, by=by)
        await lab.core.live(120)
        assert (lab.core.condition("erp", "Diverged")[0] != "True") is works
        if not works:
            assert "was used" in lab.core.message("erp", "Ready")
            newest = lab.b.dataset("backup/backstay/fs").snapshots[-1].name
            lab.b.rollback(f"backup/backstay/fs@{newest}")
            await lab.core.live(200)


@pytest.mark.rule("No implicit destruction")
async def test_a_rollback_is_void_when_other_bytes_were_written(lab: Lab) -> None:
    await ahead(lab)
    lab.b.commands.clear()
    approve(lab, Resolution.ROLLBACK, written=512)
    await lab.core.live(120)
    assert lab.b.commands == []
    assert "is void" in lab.core.message("erp", "Ready")


@pytest.mark.rule("Destroy by identity")
@pytest.mark.fault("foreign holds on both sides")
async def test_a_hold_stops_a_rollback_before_anything_is_lost(lab: Lab) -> None:
    await ahead(lab)
    held = lab.b.dataset(REPLICA).snapshots[-1].name
    lab.b.hold(f"{REPLICA}@{held}")
    points = [s.guid for s in lab.b.dataset(REPLICA).snapshots]
    approve(lab, Resolution.ROLLBACK)
    await lab.core.live(60)
    assert [s.guid for s in lab.b.dataset(REPLICA).snapshots] == points
    assert "the last try failed: SourceBusy" in lab.core.message("erp", "Ready")
    lab.b.release(f"{REPLICA}@{held}")
    await lab.core.live(120)
    assert ready(lab) == ("True", "UpToDate")


# --- Reseed, Adopt ------------------------------------------------------------------------------


@pytest.mark.fault("source destroyed and recreated under the same name")
@pytest.mark.rule("No implicit destruction")
async def test_a_recreated_source_is_seeded_beside_the_old_replica(lab: Lab) -> None:
    lab.core.pair("erp", lab.volumes(1))
    await lab.core.live(200)
    old = lab.b.dataset(REPLICA)
    points = [s.guid for s in old.snapshots]
    lab.a.destroy(SOURCE)
    lab.volumes(1)
    await lab.core.live(120)
    assert lab.core.condition("erp", "Diverged") == ("True", "NewLineage")
    assert status(lab).diverged[0].offers == ("Reseed",)
    lab.core.sent()
    approve(lab, Resolution.RESEED)
    await lab.core.live(120)
    assert ready(lab) == ("True", "UpToDate")
    (sent,) = lab.core.sent()
    assert isinstance(sent.how, Seed)
    (aside,) = asides(lab.b)
    assert lab.b.dataset(aside) is old
    assert [s.guid for s in old.snapshots] == points
    assert LINEAGE not in old.properties
    assert lab.equal("d0")
    nothing_destructive(lab.world)


async def test_children_of_a_reseeded_parent_come_back_and_are_not_sent_again(lab: Lab) -> None:
    for name in ("tank/fs", "tank/fs/a"):
        lab.a.create(name)
        lab.a.write(name, 4096)
    lab.core.pair("erp", {"fs": ("tank/fs", "backup/backstay/fs")}, recursive=True)
    await lab.core.live(300)
    child = lab.b.guid("backup/backstay/fs/a")
    for point in list(lab.b.dataset("backup/backstay/fs").snapshots):
        lab.b.destroy(f"backup/backstay/fs@{point.name}")
    await lab.core.live(200)
    assert lab.core.condition("erp", "Diverged") == ("True", "NoCommonBase")
    lab.core.sent()
    approve(lab, Resolution.RESEED)
    await lab.core.live(300)
    assert ready(lab) == ("True", "UpToDate")
    assert lab.b.guid("backup/backstay/fs/a") == child
    assert [t.target_dataset for t in lab.core.sent() if isinstance(t.how, Seed)] == [
        "backup/backstay/fs"
    ]


@pytest.mark.fault("target exists with foreign data")
async def test_a_dataset_that_shares_a_point_becomes_the_replica(lab: Lab) -> None:
    lab.core.pair("erp", lab.volumes(1))
    await lab.core.live(200)
    replica = lab.b.dataset(REPLICA)
    guid = replica.guid
    for name in [LINEAGE, "dev.backstay:source", "readonly", "volmode"]:
        lab.b.inherit(REPLICA, name)
    await lab.core.live(120)
    assert ready(lab) == ("False", "TargetHasForeignData")
    assert status(lab).diverged[0].offers == ("Adopt",)
    said = lab.core.message("erp", "Ready")
    assert 0 < said.find("resolve erp -n dr --how Adopt") < said.find("rename it")
    lab.core.sent()
    approve(lab, Resolution.ADOPT)
    await lab.core.live(120)
    assert ready(lab) == ("True", "UpToDate")
    assert lab.b.dataset(REPLICA).guid == guid
    assert lab.b.dataset(REPLICA).properties["readonly"] == "on"
    assert not any(isinstance(t.how, Seed) for t in lab.core.sent())


@pytest.mark.fault("target exists with foreign data")
async def test_a_dataset_that_shares_nothing_is_not_on_offer(lab: Lab) -> None:
    lab.b.create(REPLICA, volume=True)
    lab.core.pair("erp", lab.volumes(1))
    await lab.core.live(120)
    assert ready(lab) == ("False", "TargetHasForeignData")
    assert status(lab).diverged == ()
    assert lab.core.message("erp", "Ready").endswith(
        ": rename it, or choose another target dataset"
    )
