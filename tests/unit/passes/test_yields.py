"""Room for a rollback: what was approved goes, once, exactly so; and the pair goes on by itself."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from backstay.api.kinds import RESOLVE, YIELD
from backstay.api.v1alpha1.replicationpair import ReplicationPairStatus
from backstay.domain.divergence import Resolution
from backstay.domain.steps import Increment
from backstay.domain.zfs import Guid
from backstay.plan.naming import bookmark_name
from backstay.report.approval import approval_of, choose
from backstay.report.events import turns
from backstay.report.room import yield_of
from fakes.core import NAMESPACE
from fakes.lab import Lab
from fakes.truths import nothing_destructive
from fakes.yields import (
    KEPT,
    REPLICA,
    SOURCE,
    approve,
    in_the_way,
    newer,
    offer,
    points,
    said,
    yielding,
)

# --- what goes ----------------------------------------------------------------------------------


@pytest.mark.rule("Room for a rollback")
@pytest.mark.rule("No implicit destruction")
async def test_what_was_shown_goes_and_nothing_else(lab: Lab) -> None:
    await points(lab)
    before = {s.guid for s in lab.a.dataset(SOURCE).snapshots}
    there = {s.guid for s in lab.b.dataset(REPLICA).snapshots}
    shown = await offer(lab)
    (member,) = shown.members
    gone = {ref.guid for ref in member.room.snapshots}
    assert len(gone) == 2
    assert member.room.bookmarks
    approve(lab, shown)
    await lab.core.live(5)
    assert in_the_way(lab) == []
    marked = {b.guid for b in lab.a.dataset(SOURCE).bookmarks}
    assert marked & there, "another target's pruning could take what the replica falls back to"
    assert {s.guid for s in lab.a.dataset(SOURCE).snapshots} == before - gone
    assert there <= {s.guid for s in lab.b.dataset(REPLICA).snapshots}
    assert yielding(lab) == ("True", "MakesRoom")
    (turn,) = turns({"conditions": [said(lab)]}, {"conditions": []})
    assert (turn.type, turn.reason) == ("Normal", "YieldingEnded")
    nothing_destructive(lab.world)


@pytest.mark.rule("Room for a rollback")
async def test_nothing_goes_without_an_approval(lab: Lab) -> None:
    await points(lab)
    await offer(lab)
    blockers = in_the_way(lab)
    await lab.core.live(60)
    assert set(blockers) <= set(in_the_way(lab))
    assert yielding(lab) == ("", "")


@pytest.mark.rule("Room for a rollback")
@pytest.mark.rule("Pruning keeps the chain")
async def test_foreign_points_and_held_ones_stay_and_are_named(lab: Lab) -> None:
    await points(lab)
    lab.a.snapshot(f"{SOURCE}@vzdump")
    other = lab.a.dataset(SOURCE).snapshots[-1]
    mark = bookmark_name("feedfacefeedface", Guid(other.guid), other.createtxg)
    lab.a.bookmark(f"{SOURCE}@vzdump", mark)  # as another installation would name its own
    ours = next(s.name for s in reversed(lab.a.dataset(SOURCE).snapshots) if s.name != "vzdump")
    lab.a.hold(f"{SOURCE}@{ours}")
    shown = await offer(lab)
    foreign = [p.name for p in shown.members[0].room.foreign]
    assert foreign == ["vzdump", mark]
    approve(lab, shown)
    await lab.core.live(5)
    assert sorted(in_the_way(lab)) == sorted(["@vzdump", f"#{mark}", f"@{ours}"])
    assert yielding(lab) == ("False", "RoomMissing")
    assert ours in lab.core.message("erp", "Yielding")
    lab.a.release(f"{SOURCE}@{ours}")
    await lab.core.live(170)
    assert sorted(in_the_way(lab)) == sorted(["@vzdump", f"#{mark}"])
    assert yielding(lab) == ("False", "RoomMissing")
    assert f"{SOURCE}@vzdump is newer than @snap1" in lab.core.message("erp", "Yielding")
    lab.a.destroy(f"{SOURCE}@vzdump")
    lab.a.destroy(f"{SOURCE}#{mark}")
    await lab.core.live(170)
    assert in_the_way(lab) == []
    assert yielding(lab) == ("True", "MakesRoom")


async def test_by_itself_it_chooses_the_newest_snapshot_that_is_not_ours(lab: Lab) -> None:
    await points(lab)
    (member,) = (await offer(lab, to=None)).members
    assert member.to.name == "snap1"
    nothing = await offer(lab, to="nowhere")
    assert nothing.left_out == {"d0": f"{SOURCE} has no snapshot @nowhere"}


# --- an approval of something else --------------------------------------------------------------


@pytest.mark.rule("Room for a rollback")
async def test_an_approval_of_another_list_is_void_and_says_so(lab: Lab) -> None:
    await points(lab)
    shown = await offer(lab)
    await newer(lab)
    blockers = in_the_way(lab)
    approve(lab, shown)
    await lab.core.live(5)
    assert set(in_the_way(lab)) >= {b for b in blockers if b.startswith("@")}
    assert yielding(lab) == ("False", "ApprovalVoid")
    message = lab.core.message("erp", "Yielding")
    assert "newer points that it does not name" in message
    assert f"`kubectl backstay yield erp -n {NAMESPACE}` again" in message
    (turn,) = turns({"conditions": []}, {"conditions": [said(lab)]})
    assert (turn.type, turn.reason) == ("Warning", "ApprovalVoid")


@pytest.mark.rule("Room for a rollback")
async def test_an_approval_that_names_what_is_not_ours_is_void(lab: Lab) -> None:
    await points(lab)
    lab.a.snapshot(f"{SOURCE}@vzdump")
    shown = yield_of(await offer(lab), lab.world.now + timedelta(minutes=15)).document()
    shown["members"][0]["snapshots"].append(str(lab.a.dataset(SOURCE).snapshots[-1].guid))
    lab.core.annotate("ReplicationPair", "erp", YIELD, json.dumps(shown))
    blockers = in_the_way(lab)
    await lab.core.live(5)
    assert set(blockers) <= set(in_the_way(lab))
    assert "not ours" in lab.core.message("erp", "Yielding")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"guid": "7"}, "another GUID"),
        ({"to": "7"}, "has no snapshot with GUID 7"),
        ({"targets": []}, "newer points that it does not name"),
    ],
)
async def test_an_approval_of_another_dataset_snapshot_or_cost_is_void(
    lab: Lab, change: dict[str, Any], words: str
) -> None:
    await points(lab)
    shown = yield_of(await offer(lab), lab.world.now + timedelta(minutes=15)).document()
    shown["members"][0] |= change
    if "targets" in change:
        shown["members"][0]["bookmarks"] = []
    lab.core.annotate("ReplicationPair", "erp", YIELD, json.dumps(shown))
    blockers = in_the_way(lab)
    await lab.core.live(5)
    assert set(blockers) <= set(in_the_way(lab))
    assert yielding(lab)[1] == "ApprovalVoid" or "targets" in change


async def test_an_approval_that_cannot_be_read_is_void(lab: Lab) -> None:
    await points(lab)
    lab.core.annotate("ReplicationPair", "erp", YIELD, "{")
    await lab.core.live(5)
    assert yielding(lab) == ("False", "ApprovalVoid")


@pytest.mark.rule("Room for a rollback")
async def test_no_clock_rests_a_pair_for_more_than_a_day(lab: Lab) -> None:
    await points(lab)
    blockers = in_the_way(lab)
    approve(lab, await offer(lab), minutes=60 * 24 * 30)
    await lab.core.live(5)
    assert set(blockers) <= set(in_the_way(lab))
    assert yielding(lab) == ("False", "ApprovalVoid")


@pytest.mark.rule("Fixpoint")
async def test_a_list_that_was_cut_short_is_gone_on_with(lab: Lab) -> None:
    await points(lab)
    shown = await offer(lab)
    lab.a.destroy(f"{SOURCE}@{shown.members[0].room.snapshots[0].name}")
    approve(lab, shown)
    await lab.core.live(5)
    assert in_the_way(lab) == []
    assert yielding(lab) == ("True", "MakesRoom")


# --- for how long -------------------------------------------------------------------------------


@pytest.mark.rule("Room for a rollback")
async def test_no_point_is_taken_until_the_time_is_over_and_then_they_are(lab: Lab) -> None:
    await points(lab)
    approve(lab, await offer(lab))
    await lab.core.live(5)
    lab.a.write(SOURCE, 4096)
    await lab.core.live(14 * 60)
    assert in_the_way(lab) == []
    await lab.core.live(5 * 60)
    assert yielding(lab) == ("", "")
    # Nobody rolled back, and the replica holds points that the source no longer has.
    assert lab.core.condition("erp", "Diverged") == ("True", "TargetAhead")


@pytest.mark.rule("Room for a rollback")
async def test_nor_is_one_while_the_target_cannot_be_seen(lab: Lab) -> None:
    lab.core.policy(retention=KEPT)
    lab.core.pair("erp", lab.volumes(1))
    await lab.core.live(200)
    lab.a.snapshot(f"{SOURCE}@snap1")
    approve(lab, await offer(lab))
    await lab.core.live(5)
    lab.b.reachable = False
    lab.a.write(SOURCE, 4096)
    await lab.core.live(12 * 60)
    assert in_the_way(lab) == []
    await lab.core.live(20 * 60)
    assert in_the_way(lab) != []


async def test_a_group_takes_none_of_any_member(lab: Lab) -> None:
    lab.core.policy(retention=KEPT)
    lab.core.pair("erp", lab.volumes(2), group=True)
    await lab.core.live(200)
    lab.a.snapshot(f"{SOURCE}@snap1")
    await newer(lab, 2)
    approve(lab, await offer(lab))
    await lab.core.live(5)
    before = len(lab.a.dataset("tank/vm/d1").snapshots)
    lab.a.write("tank/vm/d1", 4096)
    await lab.core.live(13 * 60)
    assert in_the_way(lab) == []
    assert len(lab.a.dataset("tank/vm/d1").snapshots) == before


# --- and then -----------------------------------------------------------------------------------


@pytest.mark.rule("Room for a rollback")
@pytest.mark.fault("source rolled back, target ahead")
async def test_a_rollback_after_it_is_a_divergence_that_costs_the_delta(lab: Lab) -> None:
    await points(lab)
    shown = await offer(lab)
    assert shown.members[0].targets[0].ahead == 2
    assert not shown.lost
    approve(lab, shown)
    await lab.core.live(5)
    assert in_the_way(lab) == []
    lab.a.rollback(f"{SOURCE}@snap1")
    lab.a.write(SOURCE, 4096)
    await lab.core.live(16 * 60)
    assert lab.core.condition("erp", "Diverged") == ("True", "TargetAhead")
    status = ReplicationPairStatus.model_validate(dict(lab.core.status("erp")))
    chosen = choose(status.diverged, Resolution.SET_ASIDE)
    document = approval_of(chosen, Resolution.SET_ASIDE, "a1b2c3d4").document()
    lab.core.sent()
    lab.core.annotate("ReplicationPair", "erp", RESOLVE, json.dumps(document))
    await lab.core.live(60)
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")
    assert lab.equal("d0")
    (sent,) = lab.core.sent()
    assert isinstance(sent.how, Increment)


@pytest.mark.rule("Room for a rollback")
@pytest.mark.parametrize("rolled_back", [False, True])
async def test_a_target_that_is_at_the_base_goes_on_from_it_by_itself(
    lab: Lab, rolled_back: bool
) -> None:
    lab.core.policy(retention=KEPT)
    lab.core.pair("erp", lab.volumes(1))
    await lab.core.live(200)
    lab.b.reachable = False  # so that newer points stay at the source
    lab.a.write(SOURCE, 4096)
    lab.a.snapshot(f"{SOURCE}@snap1")
    await newer(lab)
    await newer(lab)
    assert in_the_way(lab)
    shown = await offer(lab)
    assert "Unreachable" in shown.left_out["d0"]
    lab.b.reachable = True
    shown = await offer(lab)
    (target,) = shown.members[0].targets
    assert (target.ahead, target.is_lost) == (0, False)
    approve(lab, shown)
    await lab.core.live(5)
    assert in_the_way(lab) == []
    if rolled_back:
        lab.a.rollback(f"{SOURCE}@snap1")
        lab.a.write(SOURCE, 8192)
    lab.core.sent()
    await lab.core.live(20 * 60)
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")
    assert lab.equal("d0")
    (sent,) = lab.core.sent()
    assert isinstance(sent.how, Increment)
    assert target.base is not None
    assert sent.how.base.guid == target.base.guid


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.fault("Proxmox storage replication of a source or target")
async def test_a_source_that_proxmox_replicates_is_refused_with_the_reason(lab: Lab) -> None:
    await points(lab)
    lab.a.snapshot(f"{SOURCE}@__replicate_100-0_1700000000__")
    shown = await offer(lab)
    assert shown.members == ()
    assert shown.left_out["d0"].startswith("ForeignReplication: ")
