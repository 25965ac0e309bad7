"""Recovery points: what the target's listing says, and nothing more."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backstay.domain.pairs import Point
from backstay.plan.points import Held, group_point, newest_point
from unit.plan.sides import SHORT, guid_of, letters, replica, set_time, source


def held(name: str, at_source: str | None, at_target: str | None, *, created: int = 1) -> Held:
    """One member; None: absent. `created` orders the replicas by age; sets arrive in order."""
    target = None if at_target is None else replace(replica(at_target, name), createtxg=created)
    if target is not None:
        points = (replace(s, createtxg=100 * ord(letters([s])[0])) for s in target.snapshots)
        target = replace(target, snapshots=tuple(points))
    return Held(
        source=None if at_source is None else source(at_source, name),
        source_seen=True,
        target=target,
    )


def unseen(name: str, at_target: str | None) -> Held:
    """One member whose source could not be asked."""
    return replace(held(name, None, at_target), source_seen=False)


def found(point: Point | None) -> str | None:
    """The letter of a point's set."""
    return None if point is None else letters([point])


@pytest.mark.rule("Commit truth")
class TestNewestPoint:
    def test_is_what_the_target_holds_not_what_the_source_took(self) -> None:
        point = newest_point(replica("a b"), SHORT)
        assert point == Point(
            snapshot=replica("a b").snapshots[-1].name,
            guid=guid_of("disk", "b"),
            at=set_time("b"),
        )

    @pytest.mark.parametrize("at_target", [None, "", "X", ">a"])
    def test_is_none_while_the_target_holds_none(self, at_target: str | None) -> None:
        assert newest_point(None if at_target is None else replica(at_target), SHORT) is None

    def test_is_not_what_somebody_else_snapshot(self) -> None:
        assert found(newest_point(replica("a X"), SHORT)) == "a"
        assert newest_point(replica("a"), "ffffffff") is None

    @pytest.mark.rule("No wall clock")
    def test_is_the_newest_by_txg_when_the_clock_stepped_back(self) -> None:
        assert found(newest_point(replica("c b"), SHORT)) == "b"


@pytest.mark.rule("Atomic groups")
class TestGroupPoint:
    def test_is_the_newest_set_that_every_member_has(self) -> None:
        members = [held("x", "b c", "a b c"), held("y", "b c", "a b")]
        assert found(group_point(members, SHORT)) == "b"

    def test_is_none_before_the_first_set_is_whole(self) -> None:
        assert group_point([held("x", "a", "a"), held("y", "a", None)], SHORT) is None
        assert group_point([held("x", "a", "a"), held("y", "a", ">a")], SHORT) is None
        assert group_point([], SHORT) is None

    def test_does_not_wait_for_a_member_that_has_not_joined(self) -> None:
        members = [held("x", "a", "a"), held("new", "b", None, created=9)]
        assert found(group_point(members, SHORT)) == "a"

    @pytest.mark.parametrize("order", [1, -1])
    def test_is_no_set_of_a_joiner_alone(self, order: int) -> None:
        """Between its own seed and the first common set, a joiner's point is not the group's."""
        members = [held("x", "a", "a"), held("new", "b", "b", created=9)][::order]
        assert found(group_point(members, SHORT)) == "a"

    def test_waits_for_a_founder_that_is_slower_than_a_joiner(self) -> None:
        members = [held("x", "a", ">a"), held("new", "b", "b", created=9)]
        assert group_point(members, SHORT) is None

    def test_does_not_wait_for_a_member_whose_target_is_somebody_elses(self) -> None:
        foreign = replace(replica("X", "y"), properties={}, createtxg=0)
        other = Held(source=source("", "y"), source_seen=True, target=foreign)
        assert found(group_point([held("x", "a", "a"), other], SHORT)) == "a"

    def test_counts_a_joiner_from_its_first_whole_set(self) -> None:
        members = [held("x", "a c", "a c"), held("new", "b c", "b", created=9)]
        assert found(group_point(members, SHORT)) == "a"
        members = [held("x", "a c", "a c"), held("new", "b c", "b c", created=9)]
        assert found(group_point(members, SHORT)) == "c"

    def test_is_no_longer_history_of_a_joiner_alone(self) -> None:
        members = [held("x", "a f", "a"), held("new", "c d e f", "c d e f", created=9)]
        assert found(group_point(members, SHORT)) == "a"

    @pytest.mark.parametrize("order", [1, -1])
    @pytest.mark.parametrize("alone", ["c", "b d", "f"])
    def test_is_no_point_of_an_older_joiner(self, alone: str, order: int) -> None:
        """It was a pair of its own: its replica is the oldest, and its points prove nothing."""
        members = [held("x", "a e", "a e", created=5), held("old", alone, alone)][::order]
        assert group_point(members, SHORT) is None

    def test_counts_an_older_joiner_from_its_first_whole_set(self) -> None:
        members = [held("x", "a e g", "a e g", created=5), held("old", "d g", "d g")]
        assert found(group_point(members, SHORT)) == "g"
        members = [held("x", "a e g i", "a e g i", created=5), held("old", "d g i", "d g")]
        assert found(group_point(members, SHORT)) == "g"

    def test_does_not_wait_for_the_seed_of_a_joiner(self) -> None:
        """Its snapshot is older than the sets that are taken while it is on its way."""
        members = [held("x", "a c d", "a c d"), held("new", "b", None, created=9)]
        assert found(group_point(members, SHORT)) == "d"
        members = [held("x", "a c d", "a c d"), held("new", "b", ">b", created=9)]
        assert found(group_point(members, SHORT)) == "d"

    def test_of_a_joiner_in_another_pool_goes_by_the_times_in_the_names(self) -> None:
        def elsewhere(at_target: str) -> Held:
            one = held("new", at_target, at_target, created=9)
            assert one.target is not None
            moved = [replace(s, dataset="other/new", createtxg=1) for s in one.target.snapshots]
            return replace(one, target=replace(one.target, snapshots=tuple(moved)))

        assert found(group_point([held("x", "a", "a"), elsewhere("b")], SHORT)) == "a"
        assert group_point([held("x", "b", "b"), elsewhere("a")], SHORT) is None

    def test_requires_a_member_that_is_seeded_again(self) -> None:
        """Its replica was renamed away: the sets that its source still has are sets of it."""
        members = [held("x", "a b", "a b"), held("y", "a b", None)]
        assert group_point(members, SHORT) is None

    def test_of_an_abandoned_set_is_the_one_before_until_the_next_is_whole(self) -> None:
        members = [held("x", "a b c", "a b"), held("y", "a #b c", "a")]
        assert found(group_point(members, SHORT)) == "a"
        members = [held("x", "a b c", "a b c"), held("y", "a #b c", "a c")]
        assert found(group_point(members, SHORT)) == "c"

    def test_survives_pruning_at_the_source(self) -> None:
        members = [held("x", "#c", "a b c"), held("y", "#c", "a b c")]
        assert found(group_point(members, SHORT)) == "c"

    def test_without_the_source_counts_what_every_replica_has(self) -> None:
        assert found(group_point([unseen("x", "a b"), unseen("y", "a b")], SHORT)) == "b"
        assert found(group_point([unseen("x", "a b"), unseen("y", "a")], SHORT)) == "a"

    def test_without_the_source_is_none_beside_a_replica_without_points(self) -> None:
        assert group_point([unseen("x", "a"), unseen("y", None)], SHORT) is None

    @pytest.mark.rule("Proven base")
    def test_is_not_proven_by_a_name(self) -> None:
        members = [held("x", "a b", "a b"), held("y", "a b", "a b'")]
        assert found(group_point(members, SHORT)) == "a"
