"""Roles of a pair's two ends, and the demotion of a source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from backstay.domain.moves import ASIDE_OF, aside_root
from backstay.domain.pairs import Conflict
from backstay.domain.roles import (
    PRIMARY,
    PROMOTED_FROM,
    ROLE_EPOCH,
    SECONDARY,
    Demoted,
    DemotionTask,
    RoleChange,
    RoleState,
    SetReadonly,
    SwapRoles,
    role_state,
)
from backstay.domain.zfs import LINEAGE, ROLE, SOURCE_GUID, Dataset, DatasetKind, Guid, HostListing
from backstay.plan.demotion import demotion_roots, plan_demotion, plan_demotion_undo
from backstay.plan.posture import seed_properties
from backstay.plan.replication import Preparation, plan_preparation, plan_snapshots
from backstay.plan.transfers import plan_transfers
from unit.plan.sides import (
    NOW,
    World,
    guid_of,
    lineage_for,
    source_of,
    target_of,
    world,
)

FENCED = pytest.mark.rule("Single writer, fenced at the host")
PROMOTES = pytest.mark.rule("Promotion clones the point, never the head")
NOTHING = Preparation(aborts=(), parents=(), postures=())


def roles(role: str = "", epoch: str = "") -> dict[str, str]:
    """Properties of a dataset with this role and epoch, as far as they are set."""
    return {k: v for k, v in ((ROLE, role), (ROLE_EPOCH, epoch)) if v}


def ends(source: Mapping[str, str], target: Mapping[str, str]) -> World:
    """A pair that could send an increment, with these properties at its ends."""
    found = world(source={"disk": "a# b# +"}, target={"disk": "a"})
    replica = found.target.datasets[target_of("disk")]
    ours = {LINEAGE: lineage_for("disk"), SOURCE_GUID: replica.properties.get(SOURCE_GUID, "")}
    changed = replace(replica, properties={**replica.properties, **ours, **target})
    datasets = {**found.target.datasets, changed.name: changed}
    return found.with_source_dataset("disk", properties=dict(source)).with_target(datasets=datasets)


# --- both ends ----------------------------------------------------------------------------------


@FENCED
@pytest.mark.parametrize(
    ("source", "target", "why"),
    [
        pytest.param(roles(), roles(), None, id="no role ever moved"),
        pytest.param(roles(PRIMARY, "2"), roles(SECONDARY, "2"), None, id="the same moves"),
        pytest.param(roles(PRIMARY, "2"), roles("", "2"), None, id="the same epoch"),
        pytest.param(roles(), roles(PRIMARY), "TargetIsPrimary", id="into a primary"),
        pytest.param(roles("", "3"), roles(PRIMARY, "4"), "TargetIsPrimary", id="of any epoch"),
        pytest.param(roles(SECONDARY, "2"), roles("", "2"), "SourceIsSecondary", id="demoted"),
        pytest.param(roles(PRIMARY, "1"), roles("", "2"), "RoleEpochDiffers", id="left behind"),
        pytest.param(roles(PRIMARY, "2"), roles("", "1"), "RoleEpochDiffers", id="ran ahead"),
        pytest.param(roles(PRIMARY, "1"), roles(), "RoleEpochDiffers", id="the replica has none"),
        pytest.param(roles("king", "1"), roles("", "1"), "RoleEpochDiffers", id="no role"),
        pytest.param(roles("", "01"), roles("", "1"), "RoleEpochDiffers", id="no epoch"),
        pytest.param(roles("", "1"), roles("", "-1"), "RoleEpochDiffers", id="no epoch there"),
    ],
)
def test_sends_need_ends_of_one_epoch_and_a_target_that_is_no_primary(
    source: dict[str, str], target: dict[str, str], why: str | None
) -> None:
    found = ends(source, target)
    assert found.conflict() == why
    sent = plan_transfers(found.seen).increments
    assert bool(sent) == (why is None)
    if why is not None:
        assert plan_preparation(found.seen) == NOTHING
        assert plan_snapshots(found.seen, NOW, "0abc") == ()


@FENCED
@pytest.mark.fault("an old primary comes back")
@pytest.mark.parametrize(
    ("epoch", "marks", "why"),
    [
        ("1", {ASIDE_OF: "", **roles(SECONDARY, "2")}, "RoleEpochDiffers"),
        ("2", {ASIDE_OF: "", **roles(SECONDARY, "2")}, None),
        ("2", {ASIDE_OF: ""}, None),
        ("2", {ASIDE_OF: "", **roles("", "x")}, "RoleEpochDiffers"),
        ("2", {PROMOTED_FROM: "", **roles(SECONDARY, "2")}, "TargetIsPrimary"),
    ],
)
def test_an_old_primary_seeds_nothing_where_its_replica_was_promoted(
    epoch: str, marks: dict[str, str], why: str | None
) -> None:
    found = world(source={"disk": "a#"}, target={})
    aside = Dataset(
        name=f"{aside_root(target_of('disk'))}/0123",
        kind=DatasetKind.FILESYSTEM,
        guid=Guid(5),
        createtxg=1,
        properties={key: value or target_of("disk") for key, value in marks.items()},
    )
    there = found.with_target(datasets={**found.target.datasets, aside.name: aside})
    old = there.with_source_dataset("disk", properties=roles(PRIMARY, epoch))
    assert old.conflict() == why


@FENCED
def test_a_new_replica_has_seen_the_moves_of_its_source() -> None:
    source = world(source={"disk": "a"}).source.datasets[source_of("disk")]
    assert ROLE not in seed_properties(source, "feed", "Lec")
    moved = replace(source, properties=roles(PRIMARY, "3"))
    seeded = seed_properties(moved, "feed", "Lec")
    assert (seeded[ROLE], seeded[ROLE_EPOCH]) == (SECONDARY, "3")


@pytest.mark.parametrize(
    ("properties", "state"),
    [
        (roles(), RoleState("", 0)),
        (roles(PRIMARY, "7"), RoleState(PRIMARY, 7)),
        (roles("", "0"), RoleState("", 0)),
        (roles("", "9" * 18), RoleState("", int("9" * 18))),
        (roles("", "9" * 19), None),
        (roles("", "²"), None),
        (roles("", "1_0"), None),
        (roles("Primary"), None),
    ],
)
def test_a_role_is_one_that_we_write_or_none_that_we_know(
    properties: dict[str, str], state: RoleState | None
) -> None:
    source = world(source={"disk": "a"}).source.datasets[source_of("disk")]
    assert role_state(replace(source, properties=properties)) == state


# --- demotion -----------------------------------------------------------------------------------

POINT = guid_of("disk", "b")


def source(text: str = "a b", *, readonly: bool = False, **facts: object) -> Dataset:
    """The source dataset, written in the language of the sides."""
    found = world(source={"disk": text}).source.datasets[source_of("disk")]
    return replace(found, readonly=readonly, **facts)  # type: ignore[arg-type]


def task(*, epoch: int = 2, point: Guid | None = POINT) -> DemotionTask:
    """The demotion of the disk at set b."""
    member = Demoted(name="disk", dataset=source_of("disk"), guid=source().guid, point=point)
    return DemotionTask(host="a/one", members=(member,), expected_epoch=epoch)


def here(*datasets: Dataset) -> HostListing:
    """The source's host."""
    return HostListing(datasets={d.name: d for d in datasets})


OF_EPOCH_2 = roles(PRIMARY, "2")


@PROMOTES
def test_a_source_is_closed_read_back_and_only_then_loses_its_role() -> None:
    open_ = source(properties=OF_EPOCH_2)
    named = ((open_.name, open_.guid),)
    assert plan_demotion(task(), here(open_)) == (SetReadonly(datasets=named, on=True),)
    closed = replace(open_, readonly=True)
    change = RoleChange(dataset=open_.name, guid=open_.guid, found=RoleState(PRIMARY, 2))
    assert plan_demotion(task(), here(closed)) == (
        SwapRoles(changes=(change,), to=RoleState(SECONDARY, 3)),
    )
    demoted = replace(closed, properties=roles(SECONDARY, "3"))
    assert plan_demotion(task(), here(demoted)) == ()
    assert demotion_roots(task()) == ((open_.name, False),)


@PROMOTES
@pytest.mark.parametrize("text", ["a b +", "a b ?", "a", "a b c"])
def test_what_was_written_after_the_last_point_keeps_the_role(text: str) -> None:
    closed = source(text, readonly=True, properties=OF_EPOCH_2)
    decided = plan_demotion(task(), here(closed))
    assert isinstance(decided, Conflict)
    assert decided.reason == "SourceModified"
    assert isinstance(plan_demotion(task(point=None), here(closed)), tuple)


@PROMOTES
@pytest.mark.parametrize(
    ("found", "why"),
    [
        pytest.param((), "SourceMissing", id="gone"),
        pytest.param((source(guid=Guid(5)),), "NewLineage", id="another dataset"),
        pytest.param((source(properties=roles(PRIMARY, "3")),), "RoleChanged", id="moved on"),
        pytest.param((source(properties=roles(SECONDARY, "2")),), "RoleChanged", id="no primary"),
        pytest.param((source(properties=roles("", "x")),), "RoleChanged", id="not of ours"),
    ],
)
def test_a_demotion_of_what_is_not_as_planned_is_refused(
    found: tuple[Dataset, ...], why: str
) -> None:
    for decided in (plan_demotion(task(), here(*found)), plan_demotion_undo(task(), here(*found))):
        assert isinstance(decided, Conflict)
        assert decided.reason == why


@PROMOTES
def test_a_demotion_is_undone_until_the_role_is_gone() -> None:
    closed = source(readonly=True, properties=OF_EPOCH_2)
    named = ((closed.name, closed.guid),)
    assert plan_demotion_undo(task(), here(closed)) == (SetReadonly(datasets=named, on=False),)
    assert plan_demotion_undo(task(), here(replace(closed, readonly=False))) == ()
    demoted = replace(closed, properties=roles(SECONDARY, "3"))
    decided = plan_demotion_undo(task(), here(demoted))
    assert isinstance(decided, Conflict)
    assert decided.reason == "RoleChanged"
