"""What stands in the way of a promotion, what undoes it, and which points can be chosen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backstay.domain.moves import Mark
from backstay.domain.pairs import Conflict
from backstay.domain.roles import (
    PROMOTED_FROM,
    ROLE_EPOCH,
    SECONDARY,
    BringBack,
    CloneRef,
    DiscardClones,
    Relabel,
)
from backstay.domain.zfs import (
    LINEAGE,
    ROLE,
    Dataset,
    Guid,
    SnapshotRef,
)
from backstay.plan.promotion import plan_undo
from backstay.plan.promotion_path import chosen_points, plan_promotion
from unit.plan.promotions import (
    BOTH,
    CLONED,
    FINAL,
    OURS,
    PARENTS,
    ROOT,
    SWAPPED,
    TASK,
    aside,
    clone,
    dataset,
    listing,
    member,
    point,
    promoted,
    reason,
    replica,
    task,
)
from unit.plan.sides import SHORT, set_name

RULE = pytest.mark.rule("Promotion clones the point, never the head")


# --- conflicts ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "why"),
    [
        pytest.param(BOTH[:1], "ReplicaMissing", id="one is gone"),
        pytest.param(
            (BOTH[0], replica("d1", guid=Guid(5))), "ReplicaMissing", id="another dataset"
        ),
        pytest.param(
            (BOTH[0], replica("d1", properties=OURS)), "ReplicaMissing", id="nobody's replica"
        ),
        pytest.param((BOTH[0], replica("d1", "a")), "PointMissing", id="half a group"),
        pytest.param(
            (BOTH[0], replica("d1", encrypted=True, key_available=False)),
            "KeyNotAvailable",
            id="nobody could read it",
        ),
        pytest.param(
            (BOTH[0], replica("d1", properties={LINEAGE: "l", **SWAPPED})),
            "RoleChanged",
            id="a primary",
        ),
        pytest.param(
            (BOTH[0], replica("d1", properties={LINEAGE: "l", ROLE_EPOCH: "5"})),
            "RoleChanged",
            id="of a later epoch",
        ),
        pytest.param(
            (BOTH[0], replica("d1", properties={LINEAGE: "l", ROLE_EPOCH: "04"})),
            "RoleChanged",
            id="an epoch that is not of ours",
        ),
        pytest.param((*BOTH, dataset(f"{FINAL}/d1")), "FinalNameTaken", id="a stranger"),
        pytest.param(
            (aside("d0"), aside("d1"), clone("d0", origin="vault/backstay-aside/other@x")),
            "FinalNameTaken",
            id="a clone of another attempt",
        ),
        pytest.param(
            (*CLONED[:3], clone("d1", written_bytes=4096)), "TargetModified", id="stray writes"
        ),
        pytest.param((*CLONED[:3], clone("d1", readonly=False)), "TargetModified", id="opened"),
        pytest.param(
            (*BOTH, dataset(f"{ROOT}/d1/x")), "PromotionPathBlocked", id="a stranger below"
        ),
        pytest.param(
            (aside("d0", "c"), aside("d1", "c"), promoted("d0"), promoted("d1", properties=OURS)),
            "RoleChanged",
            id="promoted without the role",
        ),
        pytest.param(
            (promoted("d0"), promoted("d1", properties={ROLE: SECONDARY, ROLE_EPOCH: "6"})),
            "RoleChanged",
            id="moved on since",
        ),
    ],
)
@RULE
def test_what_is_not_as_planned_is_named_and_nothing_is_done(
    found: tuple[Dataset, ...], why: str
) -> None:
    assert reason(plan_promotion(TASK, listing(*found))) == why


@RULE
@pytest.mark.parametrize(
    ("final", "words"),
    [
        ("other/d0", "another pool"),
        ("vault/none/d0", "zfs create vault/none"),
        ("vault", "no place"),
        ("vault/backstay-aside/d0", "no place"),
        (f"{FINAL}/{'x' * 200}", "longer than 180"),
        (f"{ROOT}/v/d0", "is a volume"),
    ],
)
def test_a_final_name_that_zfs_would_refuse_blocks_the_path(final: str, words: str) -> None:
    here = listing(replica("d0"), replica("v"))
    blocked = plan_promotion(task(member("d0", final=final)), here)
    assert reason(blocked) == "PromotionPathBlocked"
    assert isinstance(blocked, Conflict)
    assert words in blocked.message


@RULE
@pytest.mark.parametrize(
    ("own", "recv", "final", "why"),
    [
        pytest.param(None, "vault/recv", None, "", id="plain data goes anywhere"),
        pytest.param(f"{ROOT}/d0", None, "vault/vm", "", id="raw data goes anywhere"),
        pytest.param("vault", "vault", "vault", "", id="all under one key"),
        pytest.param(ROOT, ROOT, None, "PromotionPathBlocked", id="out of an encrypted parent"),
        pytest.param(ROOT, ROOT, FINAL, "PromotionPathBlocked", id="between two keys"),
    ],
)
def test_encryption_roots_decide_whether_zfs_would_promote(
    own: str | None, recv: str | None, final: str | None, why: str
) -> None:
    roots = {"vault": "vault" if own == "vault" else None, ROOT: recv, FINAL: final}
    above = [replace(p, encryption_root=roots[p.name]) for p in PARENTS]
    here = listing(*above, replica("d0", encrypted=own is not None, encryption_root=own))
    decided = plan_promotion(task(member("d0")), here)
    assert (reason(decided) if why else type(decided[0]).__name__) == (why or "SetAside")  # type: ignore[index]


def test_thick_volumes_need_their_space_before_anything_is_moved() -> None:
    tight = [replace(p, available_bytes=(2 << 20) + 4096) for p in PARENTS]
    here = listing(*tight, *BOTH)
    assert isinstance(plan_promotion(TASK, here), tuple)
    thick = task(member("d0", thick=True), member("d1", thick=True))
    assert reason(plan_promotion(thick, here)) == "InsufficientSpace"
    assert isinstance(plan_promotion(task(member("d0", thick=True), member("d1")), here), tuple)


# --- undo ---------------------------------------------------------------------------------------


@RULE
def test_the_clones_go_then_the_replicas_come_back_then_their_marks_go() -> None:
    for found in (CLONED, (*CLONED[:3], clone("d1", properties=SWAPPED))):
        (step,) = plan_undo(TASK, listing(*found))  # type: ignore[misc]
        assert isinstance(step, DiscardClones)
        assert step.clones[0] == CloneRef(
            dataset=f"{FINAL}/d0",
            guid=clone("d0").guid,
            origin=SnapshotRef(
                dataset=aside("d0").name, name=set_name("b"), guid=point("d0", "b").guid
            ),
        )
        assert len(step.clones) == 2
    (step,) = plan_undo(TASK, listing(aside("d0"), aside("d1")))  # type: ignore[misc]
    assert isinstance(step, BringBack)
    assert [(m.dataset, m.to) for m in step.moves] == [
        (aside(name).name, f"{ROOT}/{name}") for name in ("d0", "d1")
    ]
    marked = [replace(r, properties={**r.properties, PROMOTED_FROM: r.name}) for r in BOTH]
    (step,) = plan_undo(TASK, listing(*marked))  # type: ignore[misc]
    assert step == Relabel(
        marks=tuple(Mark(dataset=r.name, guid=r.guid, clear=(PROMOTED_FROM,)) for r in marked)
    )
    assert plan_undo(TASK, listing(*BOTH)) == ()


@RULE
@pytest.mark.parametrize(
    ("found", "why"),
    [
        pytest.param(
            (aside("d0", "c"), aside("d1"), promoted("d0"), clone("d1", properties=SWAPPED)),
            "AlreadyPromoted",
            id="one is promoted",
        ),
        pytest.param(
            (*CLONED[:3], clone("d1", written_bytes=1)), "TargetModified", id="somebody wrote"
        ),
        pytest.param(
            (aside("d0"), aside("d1"), dataset(f"{ROOT}/d1")),
            "FinalNameTaken",
            id="the name is taken",
        ),
    ],
)
def test_what_cannot_be_undone_is_named(found: tuple[Dataset, ...], why: str) -> None:
    assert reason(plan_undo(TASK, listing(*found))) == why


@RULE
def test_what_is_not_of_this_attempt_is_not_undone() -> None:
    stranger = clone("d0", origin="vault/backstay-aside/other@x")
    (step,) = plan_undo(TASK, listing(aside("d0"), aside("d1"), stranger))  # type: ignore[misc]
    assert isinstance(step, BringBack)


# --- the point ----------------------------------------------------------------------------------


@pytest.mark.rule("Atomic groups")
@pytest.mark.fault("promotion with a receive in flight, or half a group received")
def test_half_a_group_received_is_no_point() -> None:
    found = {"d0": replica("d0", "a b c"), "d1": replica("d1", "a b")}
    assert chosen_points(found, SHORT) == {n: point(n, "b").guid for n in ("d0", "d1")}
    assert reason(chosen_points(found, SHORT, set_name("c"))) == "PointMissing"
    older = chosen_points(found, SHORT, set_name("a"))
    assert older == {n: point(n, "a").guid for n in ("d0", "d1")}
    empty = {"d0": found["d0"], "d1": replica("d1", "")}
    assert reason(chosen_points(empty, SHORT)) == "PointMissing"
