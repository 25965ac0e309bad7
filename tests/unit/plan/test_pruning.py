"""What goes, and all that never does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backstay.domain.pairs import Entry, Keep, PairTask
from backstay.domain.steps import Prune
from backstay.domain.zfs import BookmarkRef, SnapshotRef
from backstay.plan.naming import snapshot_name
from backstay.plan.pruning import plan_farewell, plan_pruning
from unit.plan.sides import (
    T0,
    World,
    letters,
    lineage_for,
    pair,
    source,
    source_of,
    target_of,
    tree,
    world,
)

pytestmark = pytest.mark.rule("Pruning keeps the chain")


def gone(prune: Prune) -> dict[str, str]:
    """Member → letters of its snapshots that go."""
    found: dict[str, list[SnapshotRef]] = {}
    for ref in prune.snapshots:
        found.setdefault(ref.dataset.rsplit("/", 1)[-1], []).append(ref)
    return {name: letters(refs) for name, refs in found.items()}


def marks(situation: World) -> str:
    """Letters of the bookmarks that go."""
    at_source = source("a b c d e f")
    names = {s.guid: letters([s]) for s in at_source.snapshots}
    return " ".join(names[b.guid] for b in plan_pruning(situation.seen).source.bookmarks)


class TestSource:
    def test_keeps_the_last_by_policy(self) -> None:
        situation = world(source={"disk": "a b c# d#"}, target={"disk": "d"}, keep=Keep(last=2))
        assert gone(plan_pruning(situation.seen).source) == {"disk": "a b"}

    def test_keeps_the_newest_common_snapshot(self) -> None:
        situation = world(source={"disk": "a b# c# d#"}, target={"disk": "a b"})
        assert gone(plan_pruning(situation.seen).source) == {"disk": "a"}

    def test_keeps_what_was_not_sent(self) -> None:
        situation = world(source={"disk": "a# b c d#"}, target={"disk": "a"})
        assert gone(plan_pruning(situation.seen).source) == {}

    def test_keeps_the_base_of_a_target_that_is_away(self) -> None:
        """Its bookmark tells what the target of another route has, or may have."""
        situation = world(source={"disk": "a b* c* d#"}, target={"disk": "d"})
        assert gone(plan_pruning(situation.seen).source) == {"disk": "a"}
        assert marks(situation) == ""

    def test_keeps_a_common_snapshot_besides_a_common_bookmark(self) -> None:
        """A failback needs a snapshot on both sides: for it a bookmark is not enough."""
        situation = world(source={"disk": "a b #c d#"}, target={"disk": "a b c"})
        plan = plan_pruning(situation.seen)
        assert gone(plan.source) == {"disk": "a"}
        assert gone(plan.target) == {"disk": "a"}

    def test_of_two_pairs_keeps_what_either_wants(self) -> None:
        thrifty, generous = pair("x", key="dr/thrifty"), pair(key="dr/generous")
        generous = replace(
            generous,
            keep_source=Keep(last=3),
            entries=(Entry(name="x", source=source_of("x"), target=target_of("y")),),
        )
        situation = world(source={"x": "a b c d#"}, target={"x": "d"}, pairs=(thrifty, generous))
        other = replace(
            situation.target.datasets[target_of("x")],
            name=target_of("y"),
            snapshots=tuple(
                replace(s, dataset=target_of("y"))
                for s in situation.target.datasets[target_of("x")].snapshots
            ),
        )
        both = situation.with_target(datasets={**situation.target.datasets, target_of("y"): other})
        assert gone(plan_pruning(both.seen).source) == {"x": "a"}

    @pytest.mark.parametrize(
        ("other", "goes"),
        [
            (pair("x"), "a"),
            (tree("x"), "a"),
            (tree("x/below"), "a b c"),
            (pair("y"), "a b c"),
        ],
    )
    def test_keeps_what_a_pair_wants_that_this_pass_does_not_serve(
        self, other: PairTask, goes: str
    ) -> None:
        generous = replace(other, key="dr/generous", keep_source=Keep(last=3))
        situation = world(source={"x": "a b c d#"}, target={"x": "d"})
        served = situation.with_task(neighbours=(generous,))
        assert gone(plan_pruning(served.seen).source) == {"x": goes}

    def test_of_a_child_keeps_what_the_pair_of_a_tree_above_it_wants(self) -> None:
        generous = replace(tree("t", key="dr/generous"), keep_source=Keep(last=2))
        situation = world(source={"t/x": "a b c#"}, target={"t/x": "c"})
        served = situation.with_task(neighbours=(generous,))
        assert gone(plan_pruning(served.seen).source) == {"x": "a"}

    def test_of_two_pairs_keeps_what_the_one_at_rest_wants(self) -> None:
        """Its target was written to, say; its base has a bookmark, its older points have none."""
        generous = replace(
            pair(key="dr/generous"),
            keep_source=Keep(last=3),
            entries=(Entry(name="x", source=source_of("x"), target=target_of("y")),),
        )
        situation = world(source={"x": "a b c d#"}, target={"x": "d"}, pairs=(pair("x"), generous))
        strange = replace(
            situation.target.datasets[target_of("x")], name=target_of("y"), properties={}
        )
        both = situation.with_target(datasets={**situation.target.datasets, strange.name: strange})
        assert both.conflict("y") == "TargetHasForeignData"
        assert gone(plan_pruning(both.seen).source) == {"x": "a"}

    def test_names_each_by_identity(self) -> None:
        situation = world(source={"disk": "a b#"}, target={"disk": "b"})
        [ref] = plan_pruning(situation.seen).source.snapshots
        first = source("a b#").snapshots[0]
        assert ref == SnapshotRef(dataset=first.dataset, name=first.name, guid=first.guid)


class TestTarget:
    def test_keeps_the_last_by_policy(self) -> None:
        situation = world(source={"disk": "d#"}, target={"disk": "a b c d"}, keep=Keep(last=2))
        assert gone(plan_pruning(situation.seen).target) == {"disk": "a b"}

    def test_keeps_the_newest_common_snapshot(self) -> None:
        situation = world(source={"disk": "#b d#"}, target={"disk": "a b"})
        assert gone(plan_pruning(situation.seen).target) == {"disk": "a"}


class TestForeign:
    @pytest.mark.fault("foreign snapshots on both sides")
    def test_snapshots_stay_on_both_sides(self) -> None:
        situation = world(source={"disk": "A a B b C c# D"}, target={"disk": "A a B b c D"})
        plan = plan_pruning(situation.seen)
        assert gone(plan.source) == gone(plan.target) == {"disk": "a b"}

    @pytest.mark.fault("another installation on the same hosts")
    def test_snapshots_of_another_installation_stay(self) -> None:
        situation = world(source={"disk": "a b c#"}, target={"disk": "a b c"})
        plan = plan_pruning(situation.with_task(short_id="ffffffff").seen)
        assert gone(plan.source) == gone(plan.target) == {}

    def test_bookmarks_stay(self) -> None:
        situation = world(source={"disk": "a b c#"}, target={"disk": "c"})
        found = situation.source.datasets[source_of("disk")]
        theirs = replace(found.bookmarks[0], name="zrepl_cursor")
        kept = situation.with_source_dataset("disk", bookmarks=(theirs, *found.bookmarks))
        assert marks(kept) == ""


class TestBookmarks:
    def test_of_the_last_confirmed_and_the_last_attempted_stay(self) -> None:
        assert marks(world(source={"disk": "#a #b #c d#"}, target={"disk": "a b c d"})) == "a b c"
        assert marks(world(source={"disk": "#a #b c# d#"}, target={"disk": "a b"})) == "a c"

    def test_of_a_member_at_rest_stay(self) -> None:
        situation = world(source={"disk": "#a #b c#"}, target={"disk": "a b c"})
        assert marks(situation) == "a b"
        assert marks(situation.with_busy("disk")) == ""

    def test_of_seeds_in_vain_but_the_first_and_the_last_go(self) -> None:
        """Each try has a newer point, which its bookmark would pin for ever."""
        situation = world(source={"disk": "a# b# c# d#"})
        assert marks(situation) == "b c"
        assert marks(situation.with_in_flight("disk")) == ""
        found = situation.source.datasets[source_of("disk")]
        theirs = tuple(
            replace(b, name=b.name.replace(lineage_for("disk"), "feedfacefeedface"))
            for b in found.bookmarks
        )
        assert marks(situation.with_source_dataset("disk", bookmarks=theirs)) == ""

    def test_of_a_deleted_pair_go_and_all_data_stays(self) -> None:
        found = source("a# b* c#")
        farewell = plan_farewell({found.name: found}, frozenset({lineage_for("disk")}))
        own = [b for b in found.bookmarks if lineage_for("disk") in b.name]
        assert farewell == Prune(
            snapshots=(),
            bookmarks=tuple(BookmarkRef(dataset=b.dataset, name=b.name, guid=b.guid) for b in own),
        )
        assert len(own) == 2


class TestMembersAtRest:
    @pytest.mark.parametrize("at_target", ["a b c >d", "a b c >!", "a b c +", ">d", "X"])
    def test_keep_everything_on_both_sides(self, at_target: str) -> None:
        situation = world(source={"disk": "a b c# d#"}, target={"disk": at_target})
        plan = plan_pruning(situation.seen)
        assert gone(plan.source) == gone(plan.target) == {}

    @pytest.mark.parametrize("state", ["in flight", "busy"])
    def test_keep_everything_while_something_is_under_way(self, state: str) -> None:
        situation = world(source={"disk": "a b c#"}, target={"disk": "a b c"})
        rest = situation.with_busy("disk") if state == "busy" else situation.with_in_flight("disk")
        assert gone(plan_pruning(situation.seen).source) == {"disk": "a b"}
        assert gone(plan_pruning(rest.seen).source) == {}
        assert gone(plan_pruning(rest.seen).target) == {}

    @pytest.mark.rule("Isolation")
    def test_do_not_keep_other_members_from_being_pruned(self) -> None:
        situation = world(
            source={"bad": "a b c#", "good": "a b c#"}, target={"bad": "a b c +", "good": "a b c"}
        )
        plan = plan_pruning(situation.seen)
        assert gone(plan.source) == gone(plan.target) == {"good": "a b"}


@pytest.mark.rule("Atomic groups")
class TestWholeSets:
    def test_go_or_stay_as_one(self) -> None:
        situation = world(
            source={"x": "a b c#", "y": "a b c#"}, target={"x": "a b c", "y": "a b c"}, grouped=True
        )
        plan = plan_pruning(situation.seen)
        assert gone(plan.source) == gone(plan.target) == {"x": "a b", "y": "a b"}

    def test_the_newest_whole_one_at_the_target_stays(self) -> None:
        situation = world(
            source={"x": "a b# c#", "y": "a b# c#"}, target={"x": "a b c", "y": "a b"}, grouped=True
        )
        plan = plan_pruning(situation.seen)
        assert gone(plan.target) == {"x": "a", "y": "a"}
        assert gone(plan.source) == {"x": "a", "y": "a"}

    def test_the_newest_whole_one_stays_when_each_member_went_on_alone(self) -> None:
        """Two abandoned sets: each member has another newest point, and `a` is the group's."""
        situation = world(
            source={"x": "b# #c d#", "y": "#b c# d#"}, target={"x": "a b", "y": "a c"}, grouped=True
        )
        assert gone(plan_pruning(situation.seen).target) == {}

    @pytest.mark.parametrize("state", ["in flight", "diverged"])
    def test_of_a_member_at_rest_stay_with_all_others(self, state: str) -> None:
        situation = world(
            source={"x": "a b c#", "y": "a b c#"}, target={"x": "a b c", "y": "a b c"}, grouped=True
        )
        rest = (
            situation.with_in_flight("y")
            if state == "in flight"
            else situation.with_replica("y", written_bytes=1)
        )
        plan = plan_pruning(rest.seen)
        assert gone(plan.source) == gone(plan.target) == {}

    def test_of_the_others_stay_beside_an_older_joiner_until_the_next_one_is_whole(self) -> None:
        """Who was a pair of its own hides the group's point; that is no reason to lose `a`."""
        situation = world(
            source={"old": "b# c#", "x": "a c#", "y": "a c#"},
            target={"old": "b", "x": "a c", "y": "a c"},
            grouped=True,
        )
        for name in "xy":
            situation = situation.with_replica(name, createtxg=5)
        assert gone(plan_pruning(situation.seen).target) == {}
        arrived = replace(situation.source.datasets[source_of("old")].snapshots[1], createtxg=50)
        held = situation.target.datasets[target_of("old")].snapshots
        whole = situation.with_replica("old", snapshots=(*held, arrived))
        assert gone(plan_pruning(whole.seen).target) == {"old": "b", "x": "a", "y": "a"}

    def test_older_than_a_joiner_go_while_it_is_seeded(self) -> None:
        situation = world(
            source={"x": "a b c#", "new": "d#"}, target={"x": "a b c", "new": ">d"}, grouped=True
        )
        plan = plan_pruning(situation.seen)
        assert gone(plan.source) == gone(plan.target) == {"x": "a b"}


@pytest.mark.rule("No wall clock")
def test_a_clock_that_stepped_back_prunes_nothing_newer() -> None:
    """`last` counts by createtxg: what was taken after the step is the newest."""
    situation = world(source={"disk": "a b c#"}, target={"disk": "c"}, keep=Keep(last=2))
    found = situation.source.datasets[source_of("disk")]
    early = snapshot_name(T0.replace(year=2020), found.snapshots[2].name[-12:-4], "0000")
    renamed = replace(found.snapshots[2], name=early)
    stepped = situation.with_source_dataset("disk", snapshots=(*found.snapshots[:2], renamed))
    assert gone(plan_pruning(stepped.seen).source) == {"disk": "a"}


def test_the_origin_of_a_clone_stays_at_the_target() -> None:
    """ZFS would refuse to destroy it in each pass anew; the whole set stays with it."""
    text = {"x": "a b c d#", "y": "a b c d#"}
    held = {"x": "a b c d", "y": "a b c d"}
    situation = world(source=text, target=held, grouped=True)
    assert gone(plan_pruning(situation.seen).target) == {"x": "a b c", "y": "a b c"}
    origin = situation.target.datasets[target_of("x")].snapshots[1].full_name
    clone = replace(situation.target.datasets[target_of("y")], name="vault/aside/z", origin=origin)
    found = {**situation.target.datasets, clone.name: clone}
    situation = situation.with_target(datasets=found)
    assert gone(plan_pruning(situation.seen).target) == {"x": "a c", "y": "a c"}
