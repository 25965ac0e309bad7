"""What keeps its name at the target although a source was renamed, and what is said of it."""

from __future__ import annotations

import pytest

from backstay.domain.zfs import LINEAGE
from fakes.lab import Lab
from unit.passes.test_renames import SOURCE, TARGET, equal, places, ready, seeds, tree, write


@pytest.mark.rule("Seed only into nothing, and only what was planned")
async def test_a_name_that_other_data_has_is_not_taken(lab: Lab) -> None:
    before = await tree(lab, "a")
    lab.b.create(f"{TARGET}/b")
    lab.b.set(f"{TARGET}/b", "readonly", "off")
    lab.b.write(f"{TARGET}/b", 4096)
    lab.a.rename(f"{SOURCE}/a", f"{SOURCE}/b")
    write(lab, "b")
    lab.b.commands.clear()
    await lab.core.live(600)
    assert ready(lab) == ("False", "RenameBlocked")
    assert f"{TARGET}/a" in lab.core.message("tree", "Stalled")
    assert lab.b.commands == []
    assert places(lab)["a"] == before["a"]
    lab.b.rename(f"{TARGET}/b", "backup/old-b")
    await lab.core.live(600)
    assert ready(lab) == ("True", "UpToDate")
    assert places(lab) == {"b": before["a"]}


async def test_the_replica_of_a_removed_child_keeps_its_name(lab: Lab) -> None:
    """b is destroyed, and a gets its name: what was kept of b is never given away."""
    before = await tree(lab, "a", "b")
    lab.a.destroy(f"{SOURCE}/b")
    lab.a.rename(f"{SOURCE}/a", f"{SOURCE}/b")
    lab.b.commands.clear()
    await lab.core.live(600)
    assert ready(lab) == ("False", "RenameBlocked")
    assert places(lab) == before
    assert lab.b.commands == []
    assert lab.core.status("tree")["diverged"][0]["offers"] == ["Reseed"]


async def test_of_two_replicas_none_is_chosen(lab: Lab) -> None:
    before = await tree(lab, "a")
    lab.b.clone(f"{TARGET}/a@{lab.b.dataset(f'{TARGET}/a').snapshots[-1].name}", f"{TARGET}/z")
    twin = lab.b.dataset(f"{TARGET}/z")
    twin.properties.update(lab.b.dataset(f"{TARGET}/a").properties)
    twin.snapshots = list(lab.b.dataset(f"{TARGET}/a").snapshots)
    twin.origin = None
    lab.a.rename(f"{SOURCE}/a", f"{SOURCE}/b")
    lab.b.commands.clear()
    await lab.core.live(600)
    assert ready(lab) == ("False", "RenameBlocked")
    assert f"{TARGET}/z" in lab.core.message("tree", "Stalled")
    assert lab.b.commands == []
    assert places(lab)["a"] == before["a"]


@pytest.mark.parametrize("primary", [True, False])
async def test_what_is_not_our_replica_is_not_renamed(lab: Lab, primary: bool) -> None:
    before = await tree(lab, "a")
    if primary:
        lab.b.set(f"{TARGET}/a", "dev.backstay:role", "primary")
    else:
        lab.b.inherit(f"{TARGET}/a", LINEAGE)
    lab.a.rename(f"{SOURCE}/a", f"{SOURCE}/b")
    lab.b.commands.clear()
    await lab.core.live(600)
    assert ready(lab) == ("False", "RenameBlocked")
    assert lab.b.commands == []
    assert places(lab) == before


async def left_behind(lab: Lab) -> dict[str, int]:
    """The source a was renamed to b while its replica had diverged; the places before that."""
    before = await tree(lab, "a")
    lab.b.set(f"{TARGET}/a", "readonly", "off")
    lab.b.write(f"{TARGET}/a", 4096)
    lab.b.set(f"{TARGET}/a", "readonly", "on")
    lab.world.advance(10)
    lab.a.rename(f"{SOURCE}/a", f"{SOURCE}/b")
    await lab.core.live(600)
    return before


async def test_a_replica_that_diverged_stays_and_the_child_is_seeded(lab: Lab) -> None:
    before = await left_behind(lab)
    assert ready(lab) == ("True", "UpToDate")
    assert places(lab)["a"] == before["a"]
    assert seeds(lab) == [f"{TARGET}/b"]


async def test_a_replica_that_diverged_does_not_stand_in_the_way_of_the_next_one(lab: Lab) -> None:
    """It was left behind by one rename, has the same history, and stays behind by the next."""
    before = await left_behind(lab)
    seeded = places(lab)["b"]
    lab.core.sent()
    lab.a.rename(f"{SOURCE}/b", f"{SOURCE}/c")
    await lab.core.live(600)
    assert ready(lab) == ("True", "UpToDate")
    assert places(lab) == {"a": before["a"], "c": seeded}
    assert seeds(lab) == []


async def test_the_same_names_elsewhere_are_nobodys_business(lab: Lab) -> None:
    """Another child that has the same snapshot names is not taken for the renamed one."""
    before = await tree(lab, "a", "b", group=True)
    lab.a.destroy(f"{SOURCE}/a")
    lab.a.create(f"{SOURCE}/c")
    write(lab, "c")
    await lab.core.live(600)
    assert places(lab)["a"] == before["a"]
    assert seeds(lab) == [f"{TARGET}/c"]
    assert equal(lab, "b", "c")


async def test_another_dataset_with_the_same_points_does_not_inherit_the_replica(
    lab: Lab,
) -> None:
    """A promoted clone has the points of its origin, but it is not what the replica is of."""
    before = await tree(lab, "a")
    newest = lab.a.dataset(f"{SOURCE}/a").snapshots[-1].name
    lab.a.clone(f"{SOURCE}/a@{newest}", f"{SOURCE}/b")
    lab.a.promote(f"{SOURCE}/b")
    lab.a.destroy(f"{SOURCE}/a")
    write(lab, "b")
    await lab.core.live(600)
    assert ready(lab) == ("True", "UpToDate")
    assert places(lab)["a"] == before["a"]
    assert seeds(lab) == [f"{TARGET}/b"]
