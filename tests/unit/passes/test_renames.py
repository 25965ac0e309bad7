"""A dataset of a tree that is renamed at the source keeps its replica, which is renamed, too."""

from __future__ import annotations

import pytest

from backstay.domain.moves import ASIDE, RENAMED_FROM
from backstay.domain.steps import Increment, Seed
from fakes.lab import Lab
from fakes.truths import nothing_destructive

SOURCE, TARGET = "tank/vm/t", "backup/backstay/t"


async def tree(lab: Lab, *children: str, group: bool = False) -> dict[str, int]:
    """A tree with these children at rest; the GUIDs of their replicas."""
    for name in ("", *(f"/{child}" for child in children)):
        lab.a.create(SOURCE + name)
        lab.a.write(SOURCE + name, 4096)
    lab.core.pair("tree", {"t": (SOURCE, TARGET)}, recursive=True, group=group)
    await lab.core.live(300)
    assert ready(lab) == ("True", "UpToDate")
    lab.core.sent()
    return {child: lab.b.guid(f"{TARGET}/{child}") for child in children}


def ready(lab: Lab) -> tuple[str, str]:
    return lab.core.condition("tree", "Ready")


def places(lab: Lab) -> dict[str, int]:
    """Everything below the tree's target and what waits aside, with GUIDs."""
    found = lab.b.pools["backup"].datasets
    below = {n.removeprefix(f"{TARGET}/"): d.guid for n, d in found.items() if n.startswith(TARGET)}
    return {n: guid for n, guid in below.items() if n != TARGET}


def seeds(lab: Lab) -> list[str]:
    """The targets that were sent in full."""
    return [t.target_dataset for t in lab.core.sent() if isinstance(t.how, Seed)]


def write(lab: Lab, *children: str) -> None:
    for child in children:
        lab.a.write(f"{SOURCE}/{child}", 512)


def equal(lab: Lab, *children: str) -> bool:
    return lab.equal("t", *(f"t/{child}" for child in children))


def waiting(lab: Lab) -> list[str]:
    return [n for n in lab.b.pools["backup"].datasets if n.startswith(f"backup/{ASIDE}/")]


@pytest.mark.rule("Proven base")
@pytest.mark.parametrize("group", [False, True])
async def test_a_renamed_child_goes_on_with_increments(lab: Lab, group: bool) -> None:
    before = await tree(lab, "a", "other", group=group)
    old = lab.b.dataset(f"{TARGET}/a")
    kept, points = dict(old.properties), [s.guid for s in old.snapshots]
    lab.a.rename(f"{SOURCE}/a", f"{SOURCE}/b")
    write(lab, "b")
    await lab.core.live(300)
    assert ready(lab) == ("True", "UpToDate")
    assert places(lab) == {"b": before["a"], "other": before["other"]}
    assert equal(lab, "b", "other")
    replica = lab.b.dataset(f"{TARGET}/b")
    assert replica.properties == kept
    assert points[-1] in [s.guid for s in replica.snapshots]
    sent = [t for t in lab.core.sent() if t.target_dataset == f"{TARGET}/b"]
    assert sent
    assert all(isinstance(t.how, Increment) for t in sent)
    nothing_destructive(lab.world)


async def test_a_rename_at_rest_moves_no_byte(lab: Lab) -> None:
    before = await tree(lab, "a")
    lab.a.rename(f"{SOURCE}/a", f"{SOURCE}/b")
    await lab.core.live(300)
    assert places(lab) == {"b": before["a"]}
    assert lab.core.sent() == []
    assert [c[1] for c in lab.b.commands].count("rename") == 1


async def test_what_is_below_comes_along(lab: Lab) -> None:
    before = await tree(lab, "a", "a/x", "a/x/y")
    lab.a.rename(f"{SOURCE}/a", f"{SOURCE}/b")
    await lab.core.live(300)
    assert places(lab) == {
        "b": before["a"],
        "b/x": before["a/x"],
        "b/x/y": before["a/x/y"],
    }
    assert [c[1] for c in lab.b.commands].count("rename") == 1
    assert lab.core.sent() == []


async def test_a_child_below_a_new_parent_waits_for_it(lab: Lab) -> None:
    before = await tree(lab, "a")
    lab.a.create(f"{SOURCE}/new")
    lab.a.rename(f"{SOURCE}/a", f"{SOURCE}/new/a")
    write(lab, "new/a")
    await lab.core.live(600)
    assert ready(lab) == ("True", "UpToDate")
    assert places(lab)["new/a"] == before["a"]
    assert seeds(lab) == [f"{TARGET}/new"]
    assert [c[1] for c in lab.b.commands].count("rename") == 1
    assert equal(lab, "new", "new/a")


async def test_a_new_dataset_of_the_old_name_is_seeded(lab: Lab) -> None:
    before = await tree(lab, "a")
    lab.a.rename(f"{SOURCE}/a", f"{SOURCE}/b")
    lab.a.create(f"{SOURCE}/a")
    write(lab, "a", "b")
    await lab.core.live(600)
    assert ready(lab) == ("True", "UpToDate")
    assert places(lab)["b"] == before["a"]
    assert places(lab)["a"] != before["a"]
    assert seeds(lab) == [f"{TARGET}/a"]
    assert equal(lab, "a", "b")


@pytest.mark.rule("No implicit destruction")
async def test_swapped_names_are_swapped_at_the_target(lab: Lab) -> None:
    before = await tree(lab, "a", "a/x", "b")
    lab.a.rename(f"{SOURCE}/a", f"{SOURCE}/tmp")
    lab.a.rename(f"{SOURCE}/b", f"{SOURCE}/a")
    lab.a.rename(f"{SOURCE}/tmp", f"{SOURCE}/b")
    write(lab, "a", "b", "b/x")
    await lab.core.live(300)
    assert ready(lab) == ("True", "UpToDate")
    assert places(lab) == {"a": before["b"], "b": before["a"], "b/x": before["a/x"]}
    assert equal(lab, "a", "b", "b/x")
    assert seeds(lab) == []
    assert waiting(lab) == []
    assert RENAMED_FROM not in lab.b.dataset(f"{TARGET}/b").properties
    assert RENAMED_FROM not in lab.b.dataset(f"{TARGET}/a").properties
    nothing_destructive(lab.world)


async def test_a_chain_of_renames_is_followed_from_its_end(lab: Lab) -> None:
    before = await tree(lab, "a", "b", "c")
    for old, new in (("c", "d"), ("b", "c"), ("a", "b")):
        lab.a.rename(f"{SOURCE}/{old}", f"{SOURCE}/{new}")
    await lab.core.live(300)
    assert ready(lab) == ("True", "UpToDate")
    assert places(lab) == {"b": before["a"], "c": before["b"], "d": before["c"]}
    assert seeds(lab) == []


async def test_a_ring_of_three_is_turned(lab: Lab) -> None:
    before = await tree(lab, "a", "b", "c")
    for old, new in (("a", "tmp"), ("c", "a"), ("b", "c"), ("tmp", "b")):
        lab.a.rename(f"{SOURCE}/{old}", f"{SOURCE}/{new}")
    write(lab, "a", "b", "c")
    await lab.core.live(300)
    assert ready(lab) == ("True", "UpToDate")
    assert places(lab) == {"b": before["a"], "c": before["b"], "a": before["c"]}
    assert seeds(lab) == []


async def test_a_child_that_leaves_goes_before_its_parent(lab: Lab) -> None:
    before = await tree(lab, "a", "a/x")
    lab.a.rename(f"{SOURCE}/a/x", f"{SOURCE}/c")
    lab.a.rename(f"{SOURCE}/a", f"{SOURCE}/b")
    await lab.core.passing(301)
    assert ready(lab) == ("True", "UpToDate")
    assert places(lab) == {"b": before["a"], "c": before["a/x"]}
    assert seeds(lab) == []


async def test_a_child_becomes_the_parent_of_its_parent(lab: Lab) -> None:
    before = await tree(lab, "a", "a/b")
    lab.a.rename(f"{SOURCE}/a/b", f"{SOURCE}/c")
    lab.a.rename(f"{SOURCE}/a", f"{SOURCE}/c/a")
    await lab.core.live(300)
    assert places(lab) == {"c": before["a/b"], "c/a": before["a"]}
    assert seeds(lab) == []


async def test_a_parent_and_the_child_that_took_its_name(lab: Lab) -> None:
    before = await tree(lab, "a", "b")
    lab.a.rename(f"{SOURCE}/a", f"{SOURCE}/b/x")
    lab.a.rename(f"{SOURCE}/b", f"{SOURCE}/a")
    await lab.core.live(300)
    assert places(lab) == {"a": before["b"], "a/x": before["a"]}
    assert seeds(lab) == []
    assert waiting(lab) == []


@pytest.mark.rule("No implicit destruction")
async def test_the_replica_of_a_removed_child_is_kept_and_told_of(lab: Lab) -> None:
    before = await tree(lab, "a", "a/x", "b")
    points = [s.guid for s in lab.b.dataset(f"{TARGET}/a").snapshots]
    assert lab.core.condition("tree", "ReplicaRetained") == ("", "")
    lab.a.destroy(f"{SOURCE}/a")
    write(lab, "b")
    await lab.core.live(900)
    assert ready(lab) == ("True", "UpToDate")
    assert places(lab) == before
    assert [s.guid for s in lab.b.dataset(f"{TARGET}/a").snapshots] == points
    assert lab.core.condition("tree", "ReplicaRetained") == ("True", "ReplicaKept")
    said = lab.core.message("tree", "ReplicaRetained")
    assert said.startswith("1 replicas")
    assert f"{TARGET}/a" in said
    lab.b.reachable = False
    lab.core.restart()
    await lab.core.live(60)
    assert lab.core.condition("tree", "ReplicaRetained") == ("True", "ReplicaKept")
    lab.b.reachable = True
    lab.b.destroy(f"{TARGET}/a")
    await lab.core.live(900)
    assert lab.core.condition("tree", "ReplicaRetained") == ("", "")


# --- faults -------------------------------------------------------------------------------------


@pytest.mark.rule("Single writer, fenced at the host")
async def test_a_replica_that_is_received_into_is_renamed_later(lab: Lab) -> None:
    before = await tree(lab, "a", "b")
    reached, go_on = lab.world.transfer_faults.pause(after_bytes=100)
    lab.a.create(f"{SOURCE}/a/new")
    write(lab, "a/new")
    await lab.core.live(300)
    assert reached.is_set()
    lab.a.rename(f"{SOURCE}/a", f"{SOURCE}/c")
    await lab.core.live(300)
    assert places(lab)["a"] == before["a"]
    assert lab.core.condition("tree", "Stalled") == ("True", "Renaming")
    assert lab.core.condition("tree", "ReplicaRetained") == ("", "")
    go_on.set()
    await lab.core.live(600)
    assert ready(lab) == ("True", "UpToDate")
    assert places(lab)["c"] == before["a"]
    assert equal(lab, "b", "c", "c/new")


@pytest.mark.rule("Fixpoint")
@pytest.mark.parametrize("when", ["before", "middle", "after"])
@pytest.mark.parametrize("request_", ["rename", "label"])
@pytest.mark.parametrize("nth", [1, 2, 3])
async def test_a_swap_goes_on_from_wherever_it_was_cut_off(
    lab: Lab, when: str, request_: str, nth: int
) -> None:
    before = await tree(lab, "a", "b")
    lab.a.rename(f"{SOURCE}/a", f"{SOURCE}/tmp")
    lab.a.rename(f"{SOURCE}/b", f"{SOURCE}/a")
    lab.a.rename(f"{SOURCE}/tmp", f"{SOURCE}/b")
    write(lab, "a", "b")
    lab.b.faults.fail(request_, when=when, nth=nth)  # type: ignore[arg-type]
    await lab.core.live(600)
    assert ready(lab) == ("True", "UpToDate")
    assert places(lab) == {"a": before["b"], "b": before["a"]}
    assert equal(lab, "a", "b")
    assert seeds(lab) == []
    assert waiting(lab) == []


async def test_a_rename_that_fails_is_tried_again_and_nothing_is_seeded(lab: Lab) -> None:
    before = await tree(lab, "a")
    lab.b.busy_for[f"{TARGET}/a"] = 3
    lab.a.rename(f"{SOURCE}/a", f"{SOURCE}/b")
    write(lab, "b")
    await lab.core.live(900)
    assert ready(lab) == ("True", "UpToDate")
    assert places(lab) == {"b": before["a"]}
    assert seeds(lab) == []


async def test_an_interrupted_increment_is_dropped_and_sent_anew(lab: Lab) -> None:
    """Its token names the snapshot as it was called at the source."""
    before = await tree(lab, "a")
    lab.world.transfer_faults.cut(after_bytes=100)
    write(lab, "a")
    await lab.core.passing(301)
    lab.a.rename(f"{SOURCE}/a", f"{SOURCE}/b")
    write(lab, "b")
    await lab.core.live(900)
    assert ready(lab) == ("True", "UpToDate")
    assert places(lab) == {"b": before["a"]}
    assert equal(lab, "b")
    assert seeds(lab) == []
