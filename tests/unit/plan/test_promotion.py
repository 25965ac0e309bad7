"""Promotion clones the point, never the head: what is planned from each state of the target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from backstay.domain.moves import ASIDE_OF, Mark, Move, NewClone
from backstay.domain.moves import Promotion as Promote
from backstay.domain.pairs import Conflict
from backstay.domain.roles import (
    PRIMARY,
    PROMOTED_FROM,
    ROLE_EPOCH,
    SECONDARY,
    HaltReceives,
    MakeClones,
    OpenPromoted,
    PromoteClones,
    PromotionTask,
    Relabel,
    RoleChange,
    RoleState,
    RoleStep,
    SetAside,
    SwapRoles,
)
from backstay.domain.steps import AbortReceive
from backstay.domain.zfs import (
    LINEAGE,
    ROLE,
    SOURCE_GUID,
    DatasetKind,
    Guid,
    HostListing,
    ResumeToken,
    SnapshotRef,
)
from backstay.plan.promotion import aside_name
from backstay.plan.promotion_path import plan_promotion, promotion_roots
from unit.plan.promotions import (
    EPOCH,
    FINAL,
    OURS,
    ROOT,
    SWAPPED,
    TASK,
    aside,
    clone,
    listing,
    member,
    point,
    promoted,
    replica,
    task,
)
from unit.plan.sides import set_name

RULE = pytest.mark.rule("Promotion clones the point, never the head")


# --- stage by stage -----------------------------------------------------------------------------


def planned(task: PromotionTask, here: HostListing) -> Sequence[RoleStep]:
    """The steps of a plan that is no conflict."""
    steps = plan_promotion(task, here)
    assert not isinstance(steps, Conflict)
    return steps


@RULE
@pytest.mark.fault("promotion with a receive in flight, or half a group received")
def test_what_receives_is_ended_before_anything_is_moved() -> None:
    here = listing(replica("d0"), replica("d1"), busy=(f"{ROOT}/d1",))
    assert plan_promotion(TASK, here) == (HaltReceives(datasets=(f"{ROOT}/d0", f"{ROOT}/d1")),)


@RULE
def test_a_partial_receive_is_dropped_before_its_dataset_is_set_aside() -> None:
    token = ResumeToken(
        text="1-t", to_name="tank/d1@x", to_guid=Guid(9), from_guid=None, received_bytes=1
    )
    (step,) = planned(TASK, listing(replica("d0"), replica("d1", token=token)))
    assert isinstance(step, AbortReceive)
    assert (step.dataset, step.lineage, step.token) == (f"{ROOT}/d1", "ld1", "1-t")


@RULE
def test_the_replicas_are_marked_and_set_aside() -> None:
    (step,) = planned(TASK, listing(replica("d0"), replica("d1")))
    assert isinstance(step, SetAside)
    assert step.marks == tuple(
        Mark(dataset=r.name, guid=r.guid, properties={PROMOTED_FROM: r.name})
        for r in (replica("d0"), replica("d1"))
    )
    assert step.moves == tuple(
        Move(dataset=r.name, guid=r.guid, to=aside_name(TASK, m), kind=r.kind)
        for r, m in zip((replica("d0"), replica("d1")), TASK.members, strict=True)
    )
    assert all(move.to.startswith("vault/backstay-aside/") for move in step.moves)


@RULE
def test_the_rest_is_set_aside_before_anything_is_cloned() -> None:
    (step,) = planned(TASK, listing(aside("d0"), replica("d1")))
    assert isinstance(step, SetAside)
    assert [move.dataset for move in step.moves] == [f"{ROOT}/d1"]


@RULE
def test_the_chosen_point_is_cloned_out_of_sight_and_never_the_head() -> None:
    (step,) = planned(TASK, listing(aside("d0"), aside("d1")))
    assert isinstance(step, MakeClones)
    assert step.clones == tuple(
        NewClone(
            snapshot=SnapshotRef(
                dataset=aside(name).name, name=set_name("b"), guid=point(name, "b").guid
            ),
            dataset=f"{FINAL}/{name}",
            properties={"readonly": "on", "volmode": "none", **OURS},
        )
        for name in ("d0", "d1")
    )


@RULE
def test_a_file_system_is_cloned_unmounted_and_without_a_role_that_it_never_had() -> None:
    bare = {LINEAGE: "l", PROMOTED_FROM: "x"}
    first = replace(TASK, expected_epoch=0)
    found = [aside(n, kind=DatasetKind.FILESYSTEM) for n in ("d0", "d1")]
    (step,) = planned(first, listing(*(replace(d, properties=bare) for d in found)))
    assert isinstance(step, MakeClones)
    assert [c.properties for c in step.clones] == [{"readonly": "on", "canmount": "noauto"}] * 2


@RULE
def test_the_role_is_swapped_only_when_every_clone_was_read_back() -> None:
    (step,) = planned(TASK, listing(aside("d0"), aside("d1"), clone("d0")))
    assert isinstance(step, MakeClones)
    (step,) = planned(TASK, listing(aside("d0"), aside("d1"), clone("d0"), clone("d1")))
    found = RoleState(SECONDARY, EPOCH)
    assert step == SwapRoles(
        changes=tuple(
            RoleChange(dataset=c.name, guid=c.guid, found=found) for c in (clone("d0"), clone("d1"))
        ),
        to=RoleState(PRIMARY, EPOCH + 1),
    )


@RULE
@pytest.mark.parametrize("epoch", [EPOCH, EPOCH + 1])
def test_a_swap_that_was_done_for_some_is_done_for_the_others(epoch: int) -> None:
    partly = clone("d0", properties={ROLE: PRIMARY, ROLE_EPOCH: str(epoch)})
    here = listing(aside("d0"), aside("d1"), partly, clone("d1"))
    (step,) = planned(TASK, here)
    assert isinstance(step, SwapRoles)
    names = [f"{FINAL}/d1"] if epoch > EPOCH else [f"{FINAL}/d0", f"{FINAL}/d1"]
    assert [c.dataset for c in step.changes] == names


@RULE
def test_clones_are_promoted_once_all_have_the_role() -> None:
    swapped = [clone(name, properties=SWAPPED) for name in ("d0", "d1")]
    (step,) = planned(TASK, listing(aside("d0"), aside("d1"), *swapped))
    assert isinstance(step, PromoteClones)
    assert step.promotions[0] == Promote(
        dataset=f"{FINAL}/d0",
        guid=swapped[0].guid,
        origin=SnapshotRef(
            dataset=aside("d0").name, name=set_name("b"), guid=point("d0", "b").guid
        ),
    )
    (step,) = planned(TASK, listing(aside("d0", "c"), aside("d1"), promoted("d0"), swapped[1]))
    assert isinstance(step, PromoteClones)
    assert [p.dataset for p in step.promotions] == [f"{FINAL}/d1"]


@RULE
def test_nothing_is_opened_before_all_are_promoted_and_then_the_replicas_retire() -> None:
    asides = [aside("d0", "c"), aside("d1", "c")]
    thick = task(member("d0", thick=True), member("d1"))
    (step,) = planned(thick, listing(*asides, promoted("d0"), promoted("d1")))
    assert step == OpenPromoted(
        targets=(
            (f"{FINAL}/d0", promoted("d0").guid, True),
            (f"{FINAL}/d1", promoted("d1").guid, False),
        ),
        epoch=EPOCH + 1,
    )
    opened = [promoted(name, readonly=False) for name in ("d0", "d1")]
    (step,) = planned(TASK, listing(*asides, *opened))
    assert isinstance(step, Relabel)
    assert step.marks[0] == Mark(
        dataset=asides[0].name,
        guid=asides[0].guid,
        properties={
            ASIDE_OF: f"{ROOT}/d0",
            ROLE: SECONDARY,
            ROLE_EPOCH: str(EPOCH + 1),
        },
        clear=(LINEAGE, SOURCE_GUID, PROMOTED_FROM),
    )
    retired = [replace(d, properties={ASIDE_OF: d.name}) for d in asides]
    assert plan_promotion(TASK, listing(*retired, *opened)) == ()
    assert plan_promotion(TASK, listing(*opened)) == ()


def test_a_tree_moves_with_its_top_and_is_cloned_from_the_top_down() -> None:
    tree = task(member("t"), member("t/d0", final=f"{FINAL}/t/d0"))
    found = [
        replica("t", kind=DatasetKind.FILESYSTEM),
        replica("t/d0"),
    ]
    (step,) = planned(tree, listing(*found))
    assert isinstance(step, SetAside)
    assert [move.dataset for move in step.moves] == [f"{ROOT}/t"]
    assert [mark.dataset for mark in step.marks] == [f"{ROOT}/t", f"{ROOT}/t/d0"]
    top, below = (aside_name(tree, m) for m in tree.members)
    assert below == f"{top}/d0"
    asides = [
        replace(d, name=name, snapshots=tuple(replace(s, dataset=name) for s in d.snapshots))
        for d, name in zip(found, (top, below), strict=True)
    ]
    (step,) = planned(tree, listing(*asides))
    assert isinstance(step, MakeClones)
    assert [c.dataset for c in step.clones] == [f"{FINAL}/t", f"{FINAL}/t/d0"]


def test_a_replica_can_be_promoted_to_its_own_name() -> None:
    own = task(member("d0", final=f"{ROOT}/d0"))
    (step,) = planned(own, listing(replica("d0")))
    assert isinstance(step, SetAside)
    (step,) = planned(own, listing(aside("d0")))
    assert isinstance(step, MakeClones)
    assert step.clones[0].dataset == f"{ROOT}/d0"


def test_each_look_asks_for_every_place_once() -> None:
    roots = dict(promotion_roots(TASK))
    asides = {aside_name(TASK, m): True for m in TASK.members}
    assert roots == {
        **asides,
        **{"vault": False, ROOT: False, FINAL: False, "vault/backstay-aside": False},
        **{f"{ROOT}/d0": True, f"{ROOT}/d1": True, f"{FINAL}/d0": False, f"{FINAL}/d1": False},
    }
