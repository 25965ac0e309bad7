"""What the source does alone while its target cannot be seen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backstay.domain.pairs import Keep
from backstay.domain.zfs import LINEAGE
from backstay.plan.local import Alone, plan_local_pruning, plan_local_snapshots
from backstay.plan.naming import snapshot_time
from unit.plan.sides import (
    NOW,
    PAIR,
    World,
    letters,
    pair,
    source_of,
    target_of,
    tree,
    world,
)


def alone(situation: World, *, confirmed: str | None = None, due: bool = True) -> Alone:
    """Only the source is seen. `confirmed`: members whose replicas had a point when last seen."""
    known = {} if confirmed is None else {PAIR: frozenset(map(target_of, confirmed.split()))}
    return Alone(
        task=situation.task,
        source=situation.source,
        due=frozenset({p.key for p in situation.task.pairs} if due else ()),
        confirmed=known,
    )


def taken(view: Alone) -> list[list[str]]:
    """Members of each set that is taken."""
    steps = plan_local_snapshots(view, NOW, "0abc")
    assert all(step.bookmarks == () for step in steps)
    return [[name.removeprefix("tank/") for name, _ in step.datasets] for step in steps]


def gone(view: Alone) -> dict[str, str]:
    """Member → letters of its snapshots that go."""
    prune = plan_local_pruning(view)
    assert prune.bookmarks == ()
    found: dict[str, list[object]] = {}
    for ref in prune.snapshots:
        found.setdefault(ref.dataset.removeprefix("tank/"), []).append(ref)
    return {name: letters(refs) for name, refs in found.items()}


class TestSnapshots:
    def test_are_taken_where_something_was_written(self) -> None:
        view = alone(world(source={"x": "a# +", "y": "a#", "z": "a# b +"}))
        assert taken(view) == [["x", "z"]]

    @pytest.mark.parametrize("at_source", ["a# ?", "#a", "a# X +", "a# X ?"])
    def test_are_taken_where_nobody_knows_what_was_written(self, at_source: str) -> None:
        assert taken(alone(world(source={"disk": at_source}))) == [["disk"]]

    def test_are_not_taken_before_the_interval_is_over(self) -> None:
        assert taken(alone(world(source={"disk": "a# +"}), due=False)) == []

    @pytest.mark.rule("RPO truth")
    @pytest.mark.rule("Unique names")
    def test_are_named_by_the_time_before_the_command(self) -> None:
        [step] = plan_local_snapshots(alone(world(source={"disk": "a# +"})), NOW, "0abc")
        assert snapshot_time(step.snapshot) == NOW

    @pytest.mark.rule("Atomic groups")
    def test_of_a_group_are_one_set_of_all_members(self) -> None:
        view = alone(world(source={"x": "a# +", "y": "a#", "z": "a#"}, grouped=True))
        assert taken(view) == [["x", "y", "z"]]
        assert taken(alone(world(source={"x": "a#", "y": "a#"}, grouped=True))) == []

    @pytest.mark.parametrize("grouped", [False, True])
    def test_are_not_taken_of_what_was_never_seeded(self, grouped: bool) -> None:
        """There is nothing to protect yet; in a set it would hold its group up afterwards."""
        assert taken(alone(world(source={"new": "+"}, grouped=grouped))) == []
        assert taken(alone(world(source={"new": "a +"}, grouped=grouped))) == []
        assert taken(alone(world(source={"x": "a# +", "new": "b +"}, grouped=grouped))) == [["x"]]

    def test_are_not_taken_of_a_member_whose_seed_is_under_way(self) -> None:
        """Its bookmark is older than its replica; what was last seen of the target tells."""
        situation = world(source={"x": "a# +", "new": "b# +"}, grouped=True)
        assert taken(alone(situation, confirmed="x")) == [["x"]]
        assert taken(alone(situation, confirmed="x new")) == [["x", "new"]]
        assert taken(alone(situation)) == [["x", "new"]], "after a restart the bookmark counts"

    @pytest.mark.rule("Atomic groups")
    def test_are_not_taken_while_a_member_of_the_group_is_lost(self) -> None:
        situation = world(source={"x": "a# +"}, target={"y": "a"}, grouped=True)
        assert taken(alone(situation, confirmed="x y")) == []
        assert taken(alone(situation, confirmed="x")) == [["x"]]
        lone = world(source={"x": "a# +"}, target={"y": "a"})
        assert taken(alone(lone, confirmed="x y")) == [["x"]]

    @pytest.mark.parametrize("grouped", [False, True])
    def test_are_never_taken_of_a_replica(self, grouped: bool) -> None:
        """They would make it differ from its own source."""
        situation = world(source={"x": "a# +", "y": "a# +"}, grouped=grouped)
        mixed = situation.with_source_dataset("x", properties={LINEAGE: "feedfacefeedface"})
        assert taken(alone(mixed)) == ([] if grouped else [["y"]])
        assert gone(alone(mixed)) == {}

    def test_of_two_pools_are_no_group(self) -> None:
        situation = world(source={"x": "a# +", "y": "a# +"}, grouped=True)
        task = situation.task.pairs[0]
        moved = replace(task.entries[1], source="other/y")
        datasets = {
            **situation.source.datasets,
            "other/y": replace(situation.source.datasets[source_of("y")], name="other/y"),
        }
        split = situation.with_source(datasets=datasets).with_pairs(
            replace(task, entries=(task.entries[0], moved))
        )
        assert taken(alone(split)) == []

    def test_of_a_tree_follow_its_children(self) -> None:
        situation = world(source={"t": "a# +", "t/new": "+"}, pairs=(tree("t"),))
        assert taken(alone(situation)) == [["t"]]

    def test_of_a_source_that_two_pairs_share_are_taken_once(self) -> None:
        situation = world(source={"x": "a# +", "y": "a# +"}).with_pairs(
            pair("x", "y", grouped=True), pair("x", key="dr/second")
        )
        assert taken(alone(situation)) == [["x", "y"]]


@pytest.mark.rule("Pruning keeps the chain")
class TestPruning:
    def test_keeps_as_many_as_the_policy_says(self) -> None:
        situation = world(source={"disk": "a# b c d e"}, keep=Keep(last=2))
        assert gone(alone(situation)) == {"disk": "b c"}

    def test_does_not_wait_for_the_interval(self) -> None:
        situation = world(source={"disk": "a# b c d e"}, keep=Keep(last=2))
        assert gone(alone(situation, due=False)) == {"disk": "b c"}

    @pytest.mark.parametrize("mark", ["#", "*"])
    def test_never_takes_what_has_a_bookmark_of_any_lineage(self, mark: str) -> None:
        situation = world(source={"disk": f"a# b{mark} c d e"}, keep=Keep(last=1))
        assert gone(alone(situation)) == {"disk": "c d"}

    def test_never_takes_what_may_have_been_sent(self) -> None:
        """The target may have been rolled back to any point that it ever had."""
        situation = world(source={"disk": "a b c# d e"}, keep=Keep(last=1))
        assert gone(alone(situation)) == {"disk": "d"}
        situation = world(source={"disk": "a b #c d e"}, keep=Keep(last=1))
        assert gone(alone(situation)) == {"disk": "d"}

    def test_never_takes_the_newest(self) -> None:
        situation = world(source={"disk": "a# b c"}, keep=Keep(last=0))
        assert gone(alone(situation)) == {"disk": "b"}

    def test_takes_nothing_of_a_member_without_a_bookmark(self) -> None:
        situation = world(source={"disk": "a b c"}, keep=Keep(last=1))
        assert gone(alone(situation)) == {}

    def test_never_takes_what_is_not_ours(self) -> None:
        situation = world(source={"disk": "a# X b b~ c Y d"}, keep=Keep(last=1))
        assert gone(alone(situation)) == {"disk": "b c"}

    @pytest.mark.rule("Atomic groups")
    def test_keeps_or_takes_whole_sets(self) -> None:
        situation = world(source={"x": "a# b c d", "y": "a# b c d"}, grouped=True)
        assert gone(alone(situation)) == {"x": "b c", "y": "b c"}
        situation = world(source={"x": "a# b c d", "y": "a# b c# d"}, grouped=True)
        assert gone(alone(situation)) == {}, "who was sent c may be sent it again with x"

    def test_takes_what_two_pairs_share_only_when_both_let_it_go(self) -> None:
        situation = world(source={"x": "a# b c d"}).with_pairs(
            pair("x", keep=Keep(last=1)), pair("x", key="dr/second", keep=Keep(last=2))
        )
        assert gone(alone(situation)) == {"x": "b"}

    def test_keeps_what_a_pair_wants_whose_target_answers(self) -> None:
        generous = pair("x", key="dr/generous", keep=Keep(last=3))
        situation = world(source={"x": "a# b c d e"}, target={"x": "a"}, keep=Keep(last=1))
        assert gone(alone(situation)) == {"x": "b c d"}
        assert gone(alone(situation.with_task(neighbours=(generous,)))) == {"x": "b"}
