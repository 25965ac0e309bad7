"""Rule *Atomic groups*: which set each member is sent, and when a new one is taken."""

from __future__ import annotations

import pytest

from backstay.plan.replication import decide_groups
from backstay.plan.sets import GroupDecision
from unit.plan.sides import World, guid_of, letters, pair, point, world

pytestmark = pytest.mark.rule("Atomic groups")


def decide(situation: World) -> GroupDecision:
    """The decision for the only group of a world."""
    [(_, decision)] = decide_groups(situation.seen)
    return decision


def sent(decision: GroupDecision) -> dict[str, str]:
    """Member → letter of the set that it is sent."""
    return {name: letters([s]) for name, s in decision.send.items()}


def taken(decision: GroupDecision) -> list[list[str]]:
    """The new sets, by the names of their members."""
    return [[m.name for m in members] for members in decision.take]


class TestLoneMember:
    @pytest.mark.parametrize(
        ("at_source", "at_target", "send", "take"),
        [
            pytest.param("", None, "", True, id="nothing yet: take the first"),
            pytest.param("a#", None, "a", False, id="taken and never sent: send it"),
            pytest.param("a# +", None, "a", False, id="changed meanwhile: the taken one first"),
            pytest.param("a#", "a", "", False, id="confirmed and unchanged: nothing"),
            pytest.param("a# +", "a", "", True, id="confirmed and changed: take the next"),
            pytest.param("a# b#", "a", "b", False, id="one behind: send it"),
            pytest.param("a# b# c#", "a", "c", False, id="two behind: the newest only"),
            pytest.param("a# ?", "a", "", True, id="written is unknown: never taken as unchanged"),
            pytest.param("a# X", "a", "", False, id="a foreign snapshot of nothing: nothing"),
            pytest.param("a# + X", "a", "", True, id="a foreign snapshot of a change: take"),
            pytest.param("X", None, "", True, id="only foreign snapshots: take our first"),
        ],
    )
    def test_is_a_group_of_one(
        self, at_source: str, at_target: str | None, send: str, take: bool
    ) -> None:
        situation = world(
            source={"disk": at_source}, target={} if at_target is None else {"disk": at_target}
        )
        decision = decide(situation)
        assert (" ".join(sent(decision).values()), bool(decision.take)) == (send, take)

    def test_is_sent_nothing_older_than_its_base(self) -> None:
        """Somebody destroyed our newest snapshot; its bookmark is the base of the next one."""
        decision = decide(world(source={"disk": "a #b"}, target={"disk": "b"}))
        assert sent(decision) == {}
        assert taken(decision) == [["disk"]]

    def test_with_a_live_token_goes_on_with_the_tokens_snapshot(self) -> None:
        decision = decide(world(source={"disk": "a# b# c#"}, target={"disk": "a >b"}))
        assert sent(decision) == {"disk": "b"}
        assert taken(decision) == []

    def test_seed_with_a_live_token_goes_on_with_the_tokens_snapshot(self) -> None:
        decision = decide(world(source={"disk": "a# b#"}, target={"disk": ">a"}))
        assert sent(decision) == {"disk": "a"}
        assert taken(decision) == []


class TestGroup:
    def test_takes_its_first_set_of_all_members_at_once(self) -> None:
        decision = decide(world(source={"x": "", "y": "", "z": ""}, grouped=True))
        assert taken(decision) == [["x", "y", "z"]]

    def test_is_frozen_at_its_set_while_a_member_lacks_it(self) -> None:
        situation = world(
            source={"x": "a# b# +", "y": "a# b# +"}, target={"x": "a b", "y": "a"}, grouped=True
        )
        assert sent(decide(situation)) == {"y": "b"}
        assert taken(decide(situation)) == []

    @pytest.mark.fault("member of a group interrupted again and again")
    def test_stays_frozen_while_a_member_is_interrupted_again_and_again(self) -> None:
        for at_target in ("a", "a >b"):
            situation = world(
                source={"x": "a# b# +", "y": "a# b# +"},
                target={"x": "a b", "y": at_target},
                grouped=True,
            )
            assert sent(decide(situation)) == {"y": "b"}
            assert taken(decide(situation)) == []

    def test_takes_the_next_set_of_all_when_one_member_changed(self) -> None:
        situation = world(
            source={"x": "a#", "y": "a# +"}, target={"x": "a", "y": "a"}, grouped=True
        )
        assert taken(decide(situation)) == [["x", "y"]]

    def test_that_did_not_change_is_good_as_of_the_sync(self) -> None:
        situation = world(source={"x": "a#", "y": "a#"}, target={"x": "a", "y": "a"}, grouped=True)
        assert decide(situation) == GroupDecision(send={}, take=(), unchanged=True)

    def test_abandons_for_all_a_set_that_a_member_can_no_longer_be_sent(self) -> None:
        situation = world(
            source={"x": "a# b#", "y": "a# #b"}, target={"x": "a b", "y": "a"}, grouped=True
        )
        assert sent(decide(situation)) == {}
        assert taken(decide(situation)) == [["x", "y"]]

    def test_sends_nobody_a_set_that_cannot_become_whole(self) -> None:
        situation = world(
            source={"x": "a# b#", "y": "a# #b"}, target={"x": "a", "y": "a"}, grouped=True
        )
        assert sent(decide(situation)) == {}
        assert taken(decide(situation)) == [["x", "y"]]

    @pytest.mark.rule("Resume tokens are untrusted input")
    def test_takes_no_set_while_a_member_has_a_live_token_even_of_an_abandoned_one(self) -> None:
        situation = world(
            source={"x": "a# b#", "y": "a# #b"}, target={"x": "a >b", "y": "a"}, grouped=True
        )
        assert sent(decide(situation)) == {"x": "b"}
        assert taken(decide(situation)) == []

    def test_is_held_at_its_set_by_a_member_in_flight(self) -> None:
        situation = world(
            source={"x": "a# b# +", "y": "a# b# +"}, target={"x": "a b", "y": "a"}, grouped=True
        )
        assert decide(situation.with_in_flight("y")) == GroupDecision(
            send={}, take=(), unchanged=False
        )

    @pytest.mark.rule("RPO truth")
    def test_with_a_member_left_alone_is_not_good_as_of_the_sync(self) -> None:
        situation = world(source={"x": "a#", "y": "a#"}, target={"x": "a", "y": "a"}, grouped=True)
        assert decide(situation).unchanged
        assert not decide(situation.with_busy("y")).unchanged

    def test_takes_no_set_without_a_member_whose_source_is_gone(self) -> None:
        situation = world(source={"x": "a# +"}, target={"x": "a", "y": "a"}, grouped=True)
        assert situation.conflict("y") == "SourceMissing"
        assert decide(situation) == GroupDecision(send={}, take=(), unchanged=False)

    def test_is_sent_the_newest_of_the_sets_that_were_taken_while_its_target_was_away(self) -> None:
        situation = world(source=dict.fromkeys("xy", "a# b c"), target=dict.fromkeys("xy", "a"))
        grouped = situation.with_pairs(pair("x", "y", grouped=True))
        assert sent(decide(grouped)) == {"x": "c", "y": "c"}
        assert taken(decide(grouped)) == []

    def test_is_not_disturbed_by_local_points_of_another_pair(self) -> None:
        """Its target is away, so that no bookmark tells whose they are: `b` is of `x` alone."""
        situation = world(source={"x": "a# b", "y": "a#"}, target=dict.fromkeys("xy", "a"))
        decision = decide(situation.with_pairs(pair("x", "y", grouped=True)))
        assert sent(decision) == {}
        assert taken(decision) == [["x", "y"]]

    def test_is_not_disturbed_by_snapshots_that_another_pair_took_of_one_member(self) -> None:
        """`c` is of x alone: no set of this group, neither sent nor waited for."""
        frozen = world(
            source={"x": "a# b# c*", "y": "a# b#"}, target={"x": "a b", "y": "a"}, grouped=True
        )
        assert sent(decide(frozen)) == {"y": "b"}
        assert taken(decide(frozen)) == []
        first = world(source={"x": "a# c*", "y": "a#"}, grouped=True)
        assert sent(decide(first)) == {"x": "a", "y": "a"}
        whole = world(
            source={"x": "a# b# c*", "y": "a# b#"}, target={"x": "a b", "y": "a b"}, grouped=True
        )
        assert sent(decide(whole)) == {}
        assert taken(decide(whole)) == [["x", "y"]]


class TestJoiner:
    def test_is_seeded_alone(self) -> None:
        situation = world(
            source={"x": "a#", "y": "a#", "new": ""}, target={"x": "a", "y": "a"}, grouped=True
        )
        assert taken(decide(situation)) == [["new"]]

    @pytest.mark.parametrize("state", ["free", "in flight", "in conflict"])
    def test_holds_nobody_up_while_it_is_seeded(self, state: str) -> None:
        situation = world(
            source={"x": "a# +", "y": "a#", "new": "b#"},
            target={"x": "a", "y": "a", "new": ">b"},
            grouped=True,
        )
        if state == "in flight":
            situation = situation.with_in_flight("new")
        if state == "in conflict":
            situation = situation.with_replica("new", properties={})
            assert situation.conflict("new") == "TargetHasForeignData"
        assert taken(decide(situation)) == [["x", "y"]]

    def test_does_not_end_a_frozen_set_when_it_is_there(self) -> None:
        situation = world(
            source={"x": "a# b#", "y": "a# b#", "new": "c#"},
            target={"x": "a b", "y": "a", "new": "c"},
            grouped=True,
        )
        assert sent(decide(situation)) == {"y": "b"}
        assert taken(decide(situation)) == []

    @pytest.mark.parametrize("names", [("x", "y", "new"), ("new", "x", "y")])
    def test_that_is_there_before_a_frozen_set_is_whole_does_not_end_it(
        self, names: tuple[str, ...]
    ) -> None:
        """Its own first snapshot is older than the set that was taken while it was seeded."""
        at_source = {"x": "a# c#", "y": "a# c#", "new": "b#"}
        situation = world(
            source={name: at_source[name] for name in names},
            target={"x": "a c", "y": "a", "new": "b"},
            grouped=True,
        )
        assert sent(decide(situation)) == {"y": "c"}
        assert taken(decide(situation)) == []

    def test_is_in_the_next_set_once_it_is_there(self) -> None:
        situation = world(
            source={"x": "a#", "y": "a#", "new": "b#"},
            target={"x": "a", "y": "a", "new": "b"},
            grouped=True,
        )
        assert taken(decide(situation)) == [["x", "y", "new"]]

    def test_while_it_is_seeded_leaves_the_others_good_as_of_the_sync(self) -> None:
        situation = world(
            source={"x": "a#", "y": "a#", "new": "b#"}, target={"x": "a", "y": "a"}, grouped=True
        )
        decision = decide(situation)
        assert sent(decision) == {"new": "b"}
        assert decision.unchanged

    def test_before_anybody_is_seeded_does_not_end_the_first_set(self) -> None:
        situation = world(
            source={"x": "a#", "y": "a#", "new": ""}, target={"x": ">a"}, grouped=True
        )
        assert sent(decide(situation)) == {"x": "a", "y": "a"}
        assert taken(decide(situation)) == [["new"]]

    def test_that_was_in_the_set_is_no_joiner(self) -> None:
        """A member that failed in the first seed holds the set: it is sent that very set."""
        situation = world(source={"x": "a# +", "y": "a# +"}, target={"x": "a"}, grouped=True)
        assert sent(decide(situation)) == {"y": "a"}
        assert taken(decide(situation)) == []


def test_groups_and_lone_members_do_not_wait_for_each_other() -> None:
    situation = world(
        source={"x": "a# b#", "y": "a# b#", "lone": "a# +"},
        target={"x": "a b", "y": "a", "lone": "a"},
        pairs=(pair("x", "y", key="dr/group", grouped=True), pair("lone", key="dr/lone")),
    )
    by_group = {members[0].pair: decision for members, decision in decide_groups(situation.seen)}
    assert sent(by_group["dr/group"]) == {"y": "b"}
    assert taken(by_group["dr/lone"]) == [["lone"]]


@pytest.mark.rule("RPO truth")
def test_unchanged_needs_the_very_guid_at_the_target() -> None:
    same_name = world(source={"disk": "a# b#"}, target={"disk": "a"})
    assert not decide(same_name).unchanged
    assert guid_of("disk", "b") == point("a# b#", "b").guid
    there = world(source={"disk": "a# b#"}, target={"disk": "a b"})
    assert decide(there).unchanged
