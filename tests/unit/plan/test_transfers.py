"""Which streams run, and which of them share a pipe."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backstay.domain.steps import Increment, Resume, Seed, Transfer, Transport
from backstay.domain.zfs import LINEAGE, SOURCE_GUID, STREAM, DatasetKind, Guid
from backstay.plan.transfers import RESERVE_BYTES, TransferPlan, plan_transfers
from unit.plan.sides import (
    ROOT,
    World,
    dataset_guid,
    lineage_for,
    pair,
    replica,
    source_of,
    target_of,
    tree,
    world,
)


def plan(situation: World) -> TransferPlan:
    """The plan for a world."""
    return plan_transfers(situation.seen)


def lanes(planned: TransferPlan) -> list[list[list[str]]]:
    """Lanes of pipes of member names."""
    return [[[t.member for t in pipe.transfers] for pipe in lane.pipes] for lane in planned.lanes]


def shared(planned: TransferPlan) -> list[str]:
    """Members in the shared pipe."""
    return [t.member for pipe in planned.increments for t in pipe.transfers]


def reasons(planned: TransferPlan) -> dict[str, str]:
    """Member → why it is not sent now."""
    return {t.removeprefix(f"{ROOT}/"): str(c.reason) for t, c in planned.conflicts.items()}


def everything(planned: TransferPlan) -> list[Transfer]:
    """All transfers of a plan."""
    pipes = [*planned.increments, *(p for lane in planned.lanes for p in lane.pipes)]
    return [t for p in pipes for t in p.transfers]


@pytest.mark.rule("A pipe cannot mix up members")
class TestPipes:
    def test_increments_share_one(self) -> None:
        planned = plan(
            world(source=dict.fromkeys("xyz", "a# b#"), target=dict.fromkeys("xyz", "a"))
        )
        assert shared(planned) == ["x", "y", "z"]
        assert planned.lanes == ()

    def test_increments_that_travel_in_another_way_have_another_one(self) -> None:
        direct, slow = Transport(direct=True), Transport(rate_bytes_s=1 << 20)
        planned = plan(
            world(
                source=dict.fromkeys("vwxyz", "a# b#"),
                target=dict.fromkeys("vwxyz", "a"),
                pairs=(
                    pair("v", "x", key="ns/one", transport=direct),
                    pair("w", key="ns/two"),
                    pair("y", key="ns/three", transport=slow),
                    pair("z", key="ns/four", transport=direct),
                ),
            )
        )
        found = {p.transport: [t.member for t in p.transfers] for p in planned.increments}
        assert found == {direct: ["v", "x", "z"], Transport(): ["w"], slow: ["y"]}

    def test_a_seed_travels_as_its_pair_says(self) -> None:
        direct = Transport(direct=True, compressed=True)
        planned = plan(
            world(source={"x": "a#"}, pairs=(pair("x", key="ns/one", transport=direct),))
        )
        assert [pipe.transport for lane in planned.lanes for pipe in lane.pipes] == [direct]

    def test_a_seed_has_one_of_its_own(self) -> None:
        planned = plan(world(source={"x": "a#", "y": "a#", "z": "a# b#"}, target={"z": "a"}))
        assert shared(planned) == ["z"]
        assert lanes(planned) == [[["x"]], [["y"]]]

    def test_a_resumed_stream_has_one_of_its_own(self) -> None:
        planned = plan(
            world(source=dict.fromkeys("xyz", "a# b#"), target={"x": "a >b", "y": ">b", "z": "a"})
        )
        assert shared(planned) == ["z"]
        assert lanes(planned) == [[["x"]], [["y"]]]
        hows = {t.member: t.how for t in everything(planned)}
        assert hows["x"] == Resume(token="1-b", seed=False)
        assert hows["y"] == Resume(token="1-b", seed=True)

    @pytest.mark.rule("Isolation")
    def test_a_quarantined_member_has_one_of_its_own(self) -> None:
        situation = world(source=dict.fromkeys("xyz", "a# b#"), target=dict.fromkeys("xyz", "a"))
        planned = plan(situation.with_pairs(pair("x", "y", "z", quarantined=frozenset("y"))))
        assert shared(planned) == ["x", "z"]
        assert lanes(planned) == [[["y"]]]

    @pytest.mark.rule("Isolation")
    def test_quarantine_is_of_a_pairs_member_not_of_a_name(self) -> None:
        one, other = pair("x", key="dr/one"), pair("y", key="dr/other")
        one = replace(
            one,
            entries=(replace(one.entries[0], name="disk"),),
            quarantined=frozenset({"disk"}),
        )
        other = replace(
            other,
            entries=(replace(other.entries[0], name="disk"),),
            quarantined=frozenset({"disk"}),
        )
        third = pair("z", key="dr/third")
        third = replace(third, entries=(replace(third.entries[0], name="disk"),))
        situation = world(
            source=dict.fromkeys("xyz", "a# b#"),
            target=dict.fromkeys("xyz", "a"),
            pairs=(one, other, third),
        )
        planned = plan(situation)
        assert [t.target_dataset for p in planned.increments for t in p.transfers] == [
            target_of("z")
        ]
        assert len(planned.lanes) == 2


@pytest.mark.rule("Isolation")
class TestParents:
    def test_are_seeded_before_their_children_in_one_lane(self) -> None:
        situation = world(
            source={"t": "a#", "t/b": "a#", "t/b/c": "a#", "u": "a#"},
            pairs=(tree("t"), pair("u", key="dr/u")),
        )
        assert lanes(plan(situation)) == [[["t"], ["t/b"], ["t/b/c"]], [["u"]]]

    def test_are_seeded_first_in_whatever_order_the_entries_are(self) -> None:
        situation = world(source={"t/b": "a#", "t": "a#"}, pairs=(pair("t/b", "t"),))
        assert lanes(plan(situation)) == [[["t"], ["t/b"]]]

    @pytest.mark.parametrize("parent", ["in flight", "too big", "in conflict", "without bookmark"])
    def test_that_are_not_there_keep_their_children_waiting_by_name(self, parent: str) -> None:
        situation = world(
            source={"t": "a" if parent == "without bookmark" else "a#", "t/b": "a#"},
            pairs=(tree("t"),),
        )
        match parent:
            case "in flight":
                situation = situation.with_in_flight("t")
            case "too big":
                situation = situation.with_source_dataset("t", referenced_bytes=1 << 50)
            case "in conflict":
                (own,) = situation.source.datasets[source_of("t")].snapshots
                pvesr = replace(own, name="__replicate_1", guid=Guid(5))
                situation = situation.with_source_dataset("t", snapshots=(own, pvesr))
        planned = plan(situation)
        assert everything(planned) == []
        assert reasons(planned)["t/b"] == "ParentMissing"

    def test_in_flight_and_partly_there_keep_their_children_waiting(self) -> None:
        """A child below a partial receive makes `receive -A` of the parent fail for good."""
        situation = world(source={"t": "a#", "t/b": "a#"}, target={"t": ""}, pairs=(tree("t"),))
        planned = plan(situation.with_in_flight("t"))
        assert reasons(planned) == {"t/b": "ParentMissing"}

    def test_resume_before_their_children_in_one_lane(self) -> None:
        situation = world(source={"t": "a#", "t/b": "a#"}, target={"t": ">a"}, pairs=(tree("t"),))
        assert lanes(plan(situation)) == [[["t"], ["t/b"]]]

    def test_that_are_there_and_in_conflict_do_not_hold_their_children_up(self) -> None:
        situation = world(
            source={"t": "a# b#", "t/b": "a#"}, target={"t": "a +"}, pairs=(tree("t"),)
        )
        assert situation.conflict("t") == "TargetModified"
        assert lanes(plan(situation)) == [[["t/b"]]]

    def test_in_quarantine_do_not_hold_their_children_up(self) -> None:
        situation = world(source={"t": "a# b#", "t/b": "a#"}, target={"t": "a"}, pairs=(tree("t"),))
        quarantined = replace(tree("t"), quarantined=frozenset({"t"}))
        assert lanes(plan(situation.with_pairs(quarantined))) == [[["t"]], [["t/b"]]]


@pytest.mark.rule("Bookmark with snapshot")
class TestBookmarks:
    @pytest.mark.parametrize("target", [{}, {"disk": "a"}, {"disk": "a >b"}])
    def test_no_byte_leaves_before_the_bookmark_is_there(self, target: dict[str, str]) -> None:
        assert everything(plan(world(source={"disk": "a# b"}, target=target))) == []
        assert len(everything(plan(world(source={"disk": "a# b#"}, target=target)))) == 1

    def test_the_bookmark_of_another_target_does_not_count(self) -> None:
        assert everything(plan(world(source={"disk": "a# b*"}, target={"disk": "a"}))) == []


@pytest.mark.rule("Space first")
class TestSpace:
    def roomy(self, situation: World, room: int) -> World:
        """The same world with so many bytes left in the receive root beyond the reserve."""
        root = replace(situation.target.datasets[ROOT], available_bytes=RESERVE_BYTES + room)
        return situation.with_target(datasets={**situation.target.datasets, ROOT: root})

    @pytest.mark.fault("target with too little space")
    def test_is_checked_before_the_first_byte(self) -> None:
        situation = world(source={"disk": "a#"}).with_source_dataset("disk", referenced_bytes=1000)
        assert len(everything(plan(self.roomy(situation, 1000)))) == 1
        planned = plan(self.roomy(situation, 999))
        assert everything(planned) == []
        assert reasons(planned) == {"disk": "InsufficientSpace"}

    def test_counts_what_the_others_of_the_pass_need(self) -> None:
        situation = world(source={"x": "a#", "y": "a#"})
        for name in "xy":
            situation = situation.with_source_dataset(name, referenced_bytes=1000)
        planned = plan(self.roomy(situation, 1999))
        assert [t.member for t in everything(planned)] == ["x"]
        assert reasons(planned) == {"y": "InsufficientSpace"}

    def test_counts_what_other_receive_roots_of_the_pool_need(self) -> None:
        situation = world(source={"x": "a#", "y": "a#"})
        for name in "xy":
            situation = situation.with_source_dataset(name, referenced_bytes=1000)
        situation = self.roomy(situation, 1999)
        root = replace(situation.target.datasets[ROOT], name="vault/second")
        datasets = {**situation.target.datasets, "vault/second": root}
        lone = pair("x", "y")
        second = replace(lone.entries[1], target="vault/second/y")
        planned = plan(
            situation.with_target(datasets=datasets)
            .with_task(receive_roots=(ROOT, "vault/second"))
            .with_pairs(replace(lone, entries=(lone.entries[0], second)))
        )
        assert [t.member for t in everything(planned)] == ["x"]

    def test_counts_what_is_still_to_come_of_streams_under_way(self) -> None:
        """Two seeds that do not fit together must not run together."""
        situation = world(source={"x": "a#", "y": "a#"})
        situation = situation.with_source_dataset("y", referenced_bytes=1000)
        flying = situation.with_in_flight("x", to_come=500)
        assert [t.member for t in everything(plan(self.roomy(flying, 1500)))] == ["y"]
        planned = plan(self.roomy(flying, 1499))
        assert everything(planned) == []
        assert reasons(planned) == {"y": "InsufficientSpace"}

    def test_counts_streams_of_pairs_that_are_not_due(self) -> None:
        situation = world(source={"y": "a#"}).with_source_dataset("y", referenced_bytes=1000)
        flying = self.roomy(situation, 1499).with_in_flight("elsewhere", to_come=500)
        assert reasons(plan(flying)) == {"y": "InsufficientSpace"}
        elsewhere = flying.with_task(in_flight={"other/recv/x": 500})
        assert len(everything(plan(elsewhere))) == 1

    @pytest.mark.parametrize(("at_target", "room"), [({}, 2000), ({"x": "a"}, 1300)])
    def test_counts_a_child_of_an_earlier_operator_in_full(
        self, at_target: dict[str, str], room: int
    ) -> None:
        situation = world(source={"x": "a# b#", "y": "a#"}, target=at_target).with_busy("x")
        for name in "xy":
            situation = situation.with_source_dataset(
                name, referenced_bytes=1000, written_bytes=300
            )
        assert [t.member for t in everything(plan(self.roomy(situation, room)))] == ["y"]
        assert reasons(plan(self.roomy(situation, room - 1))) == {"y": "InsufficientSpace"}

    def test_a_small_member_goes_while_a_big_one_waits(self) -> None:
        situation = world(source={"x": "a#", "y": "a#"})
        situation = situation.with_source_dataset("x", referenced_bytes=10_000)
        situation = situation.with_source_dataset("y", referenced_bytes=1000)
        assert [t.member for t in everything(plan(self.roomy(situation, 1000)))] == ["y"]

    def test_what_was_received_is_not_needed_again(self) -> None:
        situation = world(source={"disk": "a#"}, target={"disk": ">a"})
        situation = situation.with_source_dataset("disk", referenced_bytes=1500)
        assert [t.size_bytes for t in everything(plan(situation))] == [500]

    def test_an_increment_needs_what_was_written(self) -> None:
        situation = world(source={"disk": "a# + b#"}, target={"disk": "a"})
        situation = situation.with_source_dataset("disk", written_bytes=4096)
        assert [t.size_bytes for t in everything(plan(situation))] == [4096]


class TestTransfer:
    def test_names_everything_by_identity(self) -> None:
        [transfer] = everything(plan(world(source={"disk": "a# b#"}, target={"disk": "a"})))
        assert (transfer.source_dataset, transfer.source_guid) == (
            source_of("disk"),
            dataset_guid("disk"),
        )
        assert transfer.lineage == lineage_for("disk")
        assert isinstance(transfer.how, Increment)
        assert transfer.properties == {}

    @pytest.mark.rule("Replica posture")
    def test_a_seed_arrives_read_only_and_tied_to_its_source(self) -> None:
        [transfer] = everything(plan(world(source={"disk": "a#"})))
        assert transfer.how == Seed()
        assert transfer.properties == {
            "readonly": "on",
            "atime": "off",
            "canmount": "noauto",
            LINEAGE: lineage_for("disk"),
            SOURCE_GUID: str(dataset_guid("disk")),
            STREAM: "Lec",
        }

    @pytest.mark.rule("Replica posture")
    def test_a_volume_arrives_out_of_sight_and_without_canmount(self) -> None:
        """`canmount` on a volume aborts the receive."""
        situation = world(source={"disk": "a#"}).with_source_dataset(
            "disk", kind=DatasetKind.VOLUME
        )
        [transfer] = everything(plan(situation))
        assert {k: v for k, v in transfer.properties.items() if ":" not in k} == {
            "readonly": "on",
            "volmode": "none",
        }

    def test_keeps_the_lineage_that_the_replica_has(self) -> None:
        """A source that was restored with its history has another GUID and the old lineage."""
        situation = world(source={"disk": "a# b#"}, target={"disk": "a"})
        restored = situation.with_source_dataset("disk", guid=Guid(1))
        [transfer] = everything(plan(restored))
        assert transfer.lineage == replica("a").properties[LINEAGE]


@pytest.mark.rule("Resume tokens are untrusted input")
def test_a_member_whose_token_is_useless_is_not_sent() -> None:
    assert everything(plan(world(source={"disk": "a# b#"}, target={"disk": "a >!"}))) == []


@pytest.mark.rule("Pure and total planner")
@pytest.mark.parametrize("member_state", ["in flight", "busy"])
def test_what_is_under_way_is_left_alone(member_state: str) -> None:
    situation = world(source={"disk": "a# b#"}, target={"disk": "a"})
    assert len(everything(plan(situation))) == 1
    rest = (
        situation.with_busy("disk") if member_state == "busy" else situation.with_in_flight("disk")
    )
    assert everything(plan(rest)) == []
