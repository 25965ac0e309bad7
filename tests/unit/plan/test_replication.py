"""The stages before the streams: what is left alone, prepared, snapshotted and bookmarked."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from backstay.domain.pairs import Entry, RouteObservation, Unseen
from backstay.domain.steps import BookmarkOf, Prune, TakeSnapshots
from backstay.domain.zfs import LINEAGE, DatasetKind, Guid
from backstay.plan.commands import SNAPSHOT_ARGV_BYTES
from backstay.plan.naming import snapshot_time
from backstay.plan.pruning import PruningPlan, plan_pruning
from backstay.plan.replication import (
    Preparation,
    plan_preparation,
    plan_snapshots,
    see_route,
)
from backstay.plan.transfers import plan_transfers
from unit.plan.sides import (
    NOW,
    ROOT,
    SHORT,
    World,
    dataset_guid,
    lineage_for,
    pair,
    set_name,
    source_of,
    target_of,
    tree,
    world,
)

ENTROPY = "beef"


def snapshots(situation: World) -> tuple[TakeSnapshots, ...]:
    """The snapshot steps for a world."""
    return plan_snapshots(situation.seen, NOW, ENTROPY)


def commands(situation: World) -> list[list[str]]:
    """The datasets of each snapshot command."""
    return [
        [name.removeprefix("tank/") for name, _ in step.datasets]
        for step in snapshots(situation)
        if step.datasets
    ]


NOTHING = Preparation(aborts=(), parents=(), postures=())


@pytest.mark.rule("Pure and total planner")
class TestFixpoint:
    @pytest.mark.parametrize("grouped", [True, False])
    def test_after_success_the_plan_is_empty(self, grouped: bool) -> None:
        seen = world(
            source={"x": "a#", "y": "a# X"}, target={"x": "a", "y": "a"}, grouped=grouped
        ).seen
        assert plan_preparation(seen) == NOTHING
        assert plan_snapshots(seen, NOW, ENTROPY) == ()
        planned = plan_transfers(seen)
        assert (planned.increments, planned.lanes, planned.conflicts) == ((), (), {})
        nothing = Prune(snapshots=(), bookmarks=())
        assert plan_pruning(seen) == PruningPlan(source=nothing, target=nothing)

    @pytest.mark.parametrize("side", ["source", "target"])
    def test_a_side_that_was_not_seen_is_never_absent(self, side: str) -> None:
        situation = world(source={"disk": "a#"})
        unseen = Unseen(reason="Unreachable", message="no route")
        observation: RouteObservation = replace(situation.observation, **{side: unseen})  # type: ignore[arg-type]
        assert see_route(situation.task, observation) is None

    def test_a_pool_that_is_not_imported_is_a_conflict(self) -> None:
        situation = world(source={"disk": "a#"}).with_target(pools=())
        assert situation.conflict() == "ReceiveRootMissing"
        assert snapshots(situation) == ()


@pytest.mark.rule("Atomic groups")
class TestGroupCommands:
    def test_a_group_is_one_command(self) -> None:
        assert commands(world(source=dict.fromkeys("xyz", ""), grouped=True)) == [["x", "y", "z"]]

    def test_a_group_stays_whole_and_those_that_only_share_a_command_do_not(self) -> None:
        for grouped in (True, False):
            [step] = snapshots(world(source=dict.fromkeys("xyz", ""), grouped=grouped))
            assert step.divisible is not grouped

    def test_a_joiners_own_snapshot_never_has_the_name_of_the_groups_set(self) -> None:
        """Same name, same set: two commands of one name would not be atomic."""
        situation = world(source={"x": "a# +", "new": ""}, target={"x": "a"}, grouped=True)
        steps = snapshots(situation)
        assert sorted(commands(situation)) == [["new"], ["x"]]
        assert len({step.snapshot for step in steps}) == 2

    def test_two_groups_with_a_common_member_get_a_name_each(self) -> None:
        situation = world(
            source=dict.fromkeys("xyz", ""),
            pairs=(
                pair("x", "y", key="dr/one", grouped=True),
                pair("z", key="dr/two", grouped=True),
            ),
        )
        other = replace(
            situation.task.pairs[1],
            entries=(
                *situation.task.pairs[1].entries,
                Entry(name="y", source=source_of("y"), target=target_of("y2")),
            ),
        )
        steps = snapshots(situation.with_pairs(situation.task.pairs[0], other))
        assert [[n for n, _ in s.datasets] for s in steps] == [
            [source_of("x"), source_of("y")],
            [source_of("z"), source_of("y")],
        ]
        assert steps[0].snapshot != steps[1].snapshot

    @pytest.mark.fault("member list above 128 KiB")
    def test_a_group_that_does_not_fit_into_one_command_is_refused(self) -> None:
        names = [f"d{i:04}" + "x" * 100 for i in range(SNAPSHOT_ARGV_BYTES // 150)]
        situation = world(source=dict.fromkeys(names, ""), grouped=True)
        assert {str(c.reason) for c in situation.seen.conflicts.values()} == {"GroupTooLarge"}
        assert snapshots(situation) == ()

    def test_a_group_over_two_pools_is_refused(self) -> None:
        situation = world(source={"x": "", "y": ""}, grouped=True)
        entries = situation.task.pairs[0].entries
        moved = replace(entries[1], source="other/y")
        datasets = {**situation.source.datasets}
        datasets["other/y"] = replace(datasets.pop(source_of("y")), name="other/y")
        split = situation.with_source(datasets=datasets).with_pairs(
            replace(situation.task.pairs[0], entries=(entries[0], moved))
        )
        assert split.conflict("x") == split.conflict("y") == "GroupSplit"


@pytest.mark.rule("O(hosts) planning")
class TestChunks:
    def test_lone_members_of_a_pool_share_a_command(self) -> None:
        assert commands(world(source=dict.fromkeys("xyz", ""))) == [["x", "y", "z"]]

    @pytest.mark.fault("member list above 128 KiB")
    def test_commands_stay_below_the_kernels_limit(self) -> None:
        names = [f"d{i:04}" + "x" * 160 for i in range(1200)]
        steps = snapshots(world(source=dict.fromkeys(names, "")))
        sizes = [
            sum(len(f"{name}@{step.snapshot} ") for name, _ in step.datasets) for step in steps
        ]
        assert sum(len(step.datasets) for step in steps) == 1200
        assert max(sizes) <= SNAPSHOT_ARGV_BYTES
        assert len(steps) == -(-sum(sizes) // SNAPSHOT_ARGV_BYTES)

    def test_a_source_of_two_pairs_is_snapshotted_once_with_a_bookmark_for_each(self) -> None:
        second = replace(
            pair("x", key="dr/second"),
            entries=(Entry(name="x", source=source_of("x"), target=target_of("x2")),),
        )
        for first in (pair("x", key="dr/first"), pair("x", key="dr/first", grouped=True)):
            [step] = snapshots(world(source={"x": ""}, pairs=(first, second)))
            assert [name for name, _ in step.datasets] == [source_of("x")]
            assert len({b.lineage for b in step.bookmarks}) == 2

    def test_missing_bookmarks_of_a_set_are_one_step(self) -> None:
        situation = world(source=dict.fromkeys("xyz", "a"), grouped=True)
        [step] = snapshots(situation)
        assert step == TakeSnapshots(
            datasets=(),
            snapshot=set_name("a"),
            bookmarks=tuple(
                BookmarkOf(dataset=source_of(m), snapshot=set_name("a"), lineage=lineage_for(m))
                for m in "xyz"
            ),
            divisible=True,
        )


@pytest.mark.rule("Bookmark with snapshot")
class TestBookmarks:
    @pytest.mark.rule("Pruning keeps the chain")
    def test_a_base_gets_its_own_where_the_replica_fell_back_to_it(self) -> None:
        """Somebody destroyed newer points of it; another route could prune the snapshot now."""
        [step] = snapshots(world(source={"disk": "a b#"}, target={"disk": "a"}))
        assert (step.datasets, step.snapshot) == ((), set_name("a"))
        assert [b.lineage for b in step.bookmarks] == [lineage_for("disk")]

    @pytest.mark.rule("Pruning keeps the chain")
    def test_a_base_gets_its_own_where_the_source_was_rolled_back_to_it(self) -> None:
        """The replica is ahead; once that is resolved it goes on from there."""
        situation = world(source={"disk": "a"}, target={"disk": "a b"})
        assert situation.conflict() == "TargetAhead"
        [step] = snapshots(situation)
        assert (step.datasets, step.snapshot) == ((), set_name("a"))

    def test_none_is_made_for_what_is_no_replica_of_ours_or_is_under_way(self) -> None:
        situation = world(source={"disk": "a b#"}, target={"disk": "a"})
        assert snapshots(situation.with_replica("disk", properties={})) == ()
        assert snapshots(situation.with_in_flight("disk")) == ()

    def test_comes_with_the_snapshot(self) -> None:
        [step] = snapshots(world(source={"disk": ""}))
        assert step.datasets == ((source_of("disk"), dataset_guid("disk")),)
        assert step.bookmarks == (
            BookmarkOf(
                dataset=source_of("disk"), snapshot=step.snapshot, lineage=lineage_for("disk")
            ),
        )

    def test_is_not_made_twice(self) -> None:
        assert snapshots(world(source={"disk": "a# b#"}, target={"disk": "a"})) == ()

    def test_is_made_again_for_a_resumed_stream(self) -> None:
        [step] = snapshots(world(source={"disk": "a# b"}, target={"disk": "a >b"}))
        assert [b.snapshot for b in step.bookmarks] == [set_name("b")]

    def test_is_of_the_lineage_that_the_replica_has(self) -> None:
        situation = world(source={"disk": "a# +"}, target={"disk": "a"})
        [step] = snapshots(situation.with_source_dataset("disk", guid=Guid(1)))
        assert [b.lineage for b in step.bookmarks] == [lineage_for("disk")]


@pytest.mark.rule("Unique names")
class TestNames:
    def test_carry_the_time_before_the_command_and_the_installation(self) -> None:
        [step] = snapshots(world(source={"disk": ""}))
        assert snapshot_time(step.snapshot) == NOW
        assert step.snapshot.endswith(f"_{SHORT}{ENTROPY}")

    def test_are_never_those_of_a_snapshot_that_exists(self) -> None:
        """The clock stepped back onto the same millisecond, with the same four digits."""
        situation = world(source={"x": "a# +", "y": "A a#"}, target={"x": "a", "y": "a"})
        [first] = snapshots(situation)
        stray, point = situation.source.datasets[source_of("y")].snapshots
        again = situation.with_source_dataset(
            "y", snapshots=(replace(stray, name=first.snapshot), point)
        )
        [second] = snapshots(again)
        assert second.datasets == first.datasets
        assert second.snapshot != first.snapshot

    @pytest.mark.rule("No wall clock")
    def test_a_clock_that_steps_back_takes_nothing(self) -> None:
        seen = world(source={"disk": "a#"}, target={"disk": "a"}).seen
        for hours in (-48, -1, 0, 1, 48):
            assert plan_snapshots(seen, NOW + timedelta(hours=hours), ENTROPY) == ()


@pytest.mark.rule("Resume tokens are untrusted input")
class TestAborts:
    @pytest.mark.parametrize("held", ["a >!", "a >c", ">c", ">!"])
    def test_a_useless_partial_receive_of_this_lineage_is_dropped(self, held: str) -> None:
        [abort] = plan_preparation(
            world(source={"disk": "a# b#"}, target={"disk": held}).seen
        ).aborts
        assert (abort.dataset, abort.lineage) == (target_of("disk"), lineage_for("disk"))
        assert abort.token in ("1-c", "1-gibberish")

    @pytest.mark.parametrize("held", ["a >b", ">a", ">b"])
    def test_a_useful_one_is_kept(self, held: str) -> None:
        seen = world(source={"disk": "a# b#"}, target={"disk": held}).seen
        assert plan_preparation(seen).aborts == ()

    @pytest.mark.rule("No implicit destruction")
    @pytest.mark.parametrize("properties", [{}, {LINEAGE: "feedfacefeedface"}])
    def test_a_partial_receive_of_somebody_else_is_kept(self, properties: dict[str, str]) -> None:
        situation = world(source={"disk": "a# b#"}, target={"disk": ">c"})
        strange = situation.with_replica("disk", properties=properties)
        assert plan_preparation(strange.seen) == NOTHING

    def test_one_under_way_is_kept(self) -> None:
        situation = world(source={"disk": "a# b#"}, target={"disk": "a >c"})
        assert plan_preparation(situation.with_busy("disk").seen) == NOTHING
        assert plan_preparation(situation.with_in_flight("disk").seen) == NOTHING

    def test_one_of_a_source_without_snapshots_is_dropped(self) -> None:
        seen = world(source={"disk": ""}, target={"disk": ">a"}).seen
        assert len(plan_preparation(seen).aborts) == 1


class TestParents:
    def test_missing_ones_are_made_top_down_below_the_root(self) -> None:
        situation = world(source={"x/y/z": "a#"}, pairs=(pair("x/y/z"),))
        [step] = plan_preparation(situation.seen).parents
        assert (step.root, step.datasets) == (ROOT, (target_of("x"), target_of("x/y")))

    def test_that_are_replicas_are_seeded_instead(self) -> None:
        situation = world(source={"t": "a#", "t/b": "a#"}, pairs=(tree("t"),))
        assert plan_preparation(situation.seen) == NOTHING


@pytest.mark.rule("Replica posture")
class TestPosture:
    @pytest.mark.fault("someone makes the replica writable")
    def test_of_a_replica_that_was_made_writable_is_restored(self) -> None:
        situation = world(source={"disk": "a#"}, target={"disk": "a"})
        [step] = plan_preparation(situation.with_replica("disk", readonly=False).seen).postures
        assert (step.dataset, step.lineage) == (target_of("disk"), lineage_for("disk"))
        assert step.properties["readonly"] == "on"

    @pytest.mark.fault("someone makes the replica writable")
    @pytest.mark.parametrize("held", ["a", "a >b"])
    def test_of_a_writable_volume_is_left_alone_and_so_is_the_member(self, held: str) -> None:
        """A guest may boot from it and not have written yet; `mounted` is of file systems only."""
        situation = world(
            source={"disk": "a# b#", "x": "a# b#"}, target={"disk": held, "x": "a"}
        ).with_source_dataset("disk", kind=DatasetKind.VOLUME)
        volume = situation.with_replica("disk", kind=DatasetKind.VOLUME)
        assert volume.conflict() is None
        opened = volume.with_replica("disk", readonly=False)
        assert opened.conflict() == "TargetWritable"
        assert plan_preparation(opened.seen) == NOTHING
        assert [t.member for p in plan_transfers(opened.seen).increments for t in p.transfers] == [
            "x"
        ]
        why = opened.seen.conflicts[target_of("disk")]
        assert f"zfs set readonly=on volmode=none {target_of('disk')}" in why.message
        assert not why.diverged

    @pytest.mark.fault("someone writes to the replica")
    def test_of_a_volume_that_was_written_to_is_said_as_that(self) -> None:
        situation = world(source={"disk": "a#"}, target={"disk": "a +"}).with_source_dataset(
            "disk", kind=DatasetKind.VOLUME
        )
        written = situation.with_replica("disk", kind=DatasetKind.VOLUME, readonly=False)
        assert written.conflict() == "TargetModified"

    @pytest.mark.parametrize(
        "changes", [{"mounted": True}, {"properties": {}}, {"written_bytes": 1}, {"readonly": True}]
    )
    def test_is_not_touched_where_that_could_harm(self, changes: dict[str, object]) -> None:
        situation = world(source={"disk": "a#"}, target={"disk": "a"})
        changed = situation.with_replica("disk", **{"readonly": False, **changes})
        assert plan_preparation(changed.seen) == NOTHING


@pytest.mark.rule("Isolation")
class TestConflicts:
    def test_of_one_member_leaves_the_others_alone(self) -> None:
        situation = world(
            source={"bad": "a# +", "x": "a# +", "y": "a# b#"},
            target={"bad": "a +", "x": "a", "y": "a"},
        )
        assert situation.conflict("bad") == "TargetModified"
        assert commands(situation) == [["x"]]
        assert [
            t.member for p in plan_transfers(situation.seen).increments for t in p.transfers
        ] == ["y"]

    @pytest.mark.rule("Seed only into nothing, and only what was planned")
    def test_a_target_of_two_members_is_nobodys(self) -> None:
        other = replace(
            pair("y", key="dr/other"),
            entries=(Entry(name="y", source=source_of("y"), target=target_of("t/b")),),
        )
        situation = world(source={"t": "a#", "t/b": "a#", "y": "a#"}, pairs=(tree("t"), other))
        assert situation.conflict("t/b") == "DatasetClaimed"
        planned = plan_transfers(situation.seen)
        assert [[t.member for p in lane.pipes for t in p.transfers] for lane in planned.lanes] == [
            ["t"]
        ]

    def test_a_first_seed_under_way_is_none(self) -> None:
        """While it is received, the dataset shows neither a snapshot nor a token."""
        situation = world(source={"disk": "a#"}, target={"disk": ""})
        assert situation.conflict() == "NoCommonBase"
        assert situation.with_in_flight("disk").conflict() is None
        assert situation.with_busy("disk").conflict() is None

    def test_without_a_base_nothing_is_taken_in_vain(self) -> None:
        assert snapshots(world(source={"disk": ""}, target={"disk": "a"})) == ()
        assert world(source={"disk": ""}, target={"disk": "a"}).conflict() == "NoCommonBase"
