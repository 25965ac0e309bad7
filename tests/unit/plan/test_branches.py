"""How the seed of a clone travels, and where the seed of its origin stops first."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backstay.domain.pairs import Member
from backstay.domain.steps import Branch, Resume, Seed, Transfer
from backstay.domain.zfs import Guid
from backstay.plan.branches import Branches, find_branches, seed_of
from backstay.plan.replication import plan_snapshots
from backstay.plan.transfers import TransferPlan, plan_transfers
from unit.plan.sides import (
    NOW,
    PLENTY,
    ROOT,
    World,
    guid_of,
    pair,
    set_name,
    source_of,
    target_of,
    tree,
    world,
)


def cloned(target: str | None, *, base: str = "X# a#", guest: str = "a#") -> World:
    """`guest` is a clone of `base` at X; `target`: what there is of `base`."""
    replicas = {} if target is None else {"base": target}
    situation = world(source={"base": base, "guest": guest}, target=replicas)
    return of_origin(situation, "guest")


def of_origin(situation: World, clone: str, letter: str = "X") -> World:
    return situation.with_source_dataset(clone, origin=f"{source_of('base')}@{letter}")


def transfers(planned: TransferPlan) -> dict[str, Transfer]:
    pipes = [*planned.increments, *(pipe for lane in planned.lanes for pipe in lane.pipes)]
    return {t.member: t for pipe in pipes for t in pipe.transfers}


def sent(situation: World) -> dict[str, Transfer]:
    return transfers(plan_transfers(situation.seen))


def reasons(situation: World) -> dict[str, str]:
    found = plan_transfers(situation.seen).conflicts
    return {name: str(conflict.reason) for name, conflict in found.items()}


class TestAClone:
    def test_branches_off_what_the_target_has_by_guid(self) -> None:
        how = sent(cloned("X a"))["guest"].how
        assert isinstance(how, Branch)
        assert how.base.full_name == f"{source_of('base')}@X"
        assert how.origin.full_name == f"{target_of('base')}@X"
        assert how.base.guid == how.origin.guid == guid_of("base", "X")

    @pytest.mark.parametrize("other", ["no replica", "primary", "another GUID", "another pool"])
    def test_is_seeded_in_full_where_that_is_not_it(self, other: str) -> None:
        situation = cloned("X a")
        replica = situation.target.datasets[target_of("base")]
        match other:
            case "no replica":
                situation = situation.with_replica("base", properties={})
            case "primary":
                props = {**replica.properties, "dev.backstay:role": "primary"}
                situation = situation.with_replica("base", properties=props)
            case "another GUID":
                first = replace(replica.snapshots[0], guid=Guid(5))
                situation = situation.with_replica(
                    "base", snapshots=(first, *replica.snapshots[1:])
                )
            case "another pool":
                datasets = dict(situation.target.datasets)
                datasets["other/base"] = replace(datasets.pop(target_of("base")), name="other/base")
                situation = situation.with_target(datasets=datasets)
                situation = situation.with_pairs(pair("guest"))
        assert sent(situation)["guest"].how == Seed()

    def test_is_seeded_in_full_where_it_is_encrypted(self) -> None:
        """It would have to have the encryption root that its origin's replica has."""
        situation = cloned("X a").with_source_dataset("guest", encrypted=True)
        assert sent(situation)["guest"].how == Seed()

    def test_takes_the_space_of_what_differs(self) -> None:
        situation = cloned("X a").with_source_dataset(
            "guest", referenced_bytes=2 * PLENTY, used_bytes=4096
        )
        assert sent(situation)["guest"].size_bytes == 4096

    def test_waits_for_its_parent_like_any_seed(self) -> None:
        situation = world(
            source={"base": "X# a#", "t": "a#", "t/guest": "a#"}, target={"base": "X a"}
        )
        situation = of_origin(situation, "t/guest").with_in_flight("t")
        assert reasons(situation) == {target_of("t/guest"): "ParentMissing"}


class TestAnOrigin:
    def test_is_seeded_up_to_what_its_clone_waits_for(self) -> None:
        situation = cloned(None)
        assert {m: t.snapshot for m, t in sent(situation).items()} == {"base": "X"}
        assert reasons(situation) == {target_of("guest"): "OriginMissing"}

    def test_gets_a_bookmark_there_before_anything_is_sent(self) -> None:
        situation = cloned(None, base="X a#")
        assert sent(situation) == {}
        [step] = plan_snapshots(situation.seen, NOW, "beef")
        assert (step.snapshot, [b.dataset for b in step.bookmarks]) == ("X", [source_of("base")])

    def test_under_way_keeps_its_clone_waiting(self) -> None:
        assert reasons(cloned(None).with_in_flight("base"))[target_of("guest")] == "OriginMissing"
        assert reasons(cloned("").with_in_flight("base"))[target_of("guest")] == "OriginMissing"

    def test_does_not_stop_for_a_clone_that_is_partly_there(self) -> None:
        situation = world(source={"base": "X# a#", "guest": "a#"}, target={"guest": ">a"})
        assert sent(of_origin(situation, "guest"))["base"].snapshot == set_name("a")

    def test_does_not_stop_for_an_encrypted_clone(self) -> None:
        situation = cloned(None).with_source_dataset("guest", encrypted=True)
        assert sent(situation)["base"].snapshot == set_name("a")

    def test_goes_to_its_point_where_that_is_older(self) -> None:
        """What is older than the newest that the target has cannot be sent any more."""
        assert sent(cloned(None, base="a# X#"))["base"].snapshot == set_name("a")

    def test_that_is_partly_there_goes_on_to_where_it_was_sent(self) -> None:
        found = sent(cloned(">a"))["base"]
        assert isinstance(found.how, Resume)
        assert found.snapshot == set_name("a")

    @pytest.mark.parametrize(("of_y", "stop"), [(2, "Y"), (1, "Y"), (0, "X")])
    def test_stops_where_most_clones_wait_and_at_the_newest_of_these(
        self, of_y: int, stop: str
    ) -> None:
        guests = {f"g{n}": "a#" for n in range(1 + of_y)}
        situation = of_origin(world(source={"base": "X# Y# a#", **guests}), "g0")
        for number in range(of_y):
            situation = of_origin(situation, f"g{number + 1}", "Y")
        assert sent(situation)["base"].snapshot == stop

    def test_stops_where_most_wait_though_others_wait_for_a_newer_one(self) -> None:
        guests = dict.fromkeys(("g0", "g1", "g2"), "a#")
        situation = world(source={"base": "X# Y# a#", **guests})
        for name, letter in (("g0", "X"), ("g1", "X"), ("g2", "Y")):
            situation = of_origin(situation, name, letter)
        assert sent(situation)["base"].snapshot == "X"


def test_pools_of_one_host_have_nothing_in_common() -> None:
    """A clone cannot have its origin in another pool."""
    situation = cloned(None)
    here, there = (
        Member(pair="p", name=name, source=source_of(name), target=target, group="g")
        for name, target in (("base", target_of("base")), ("guest", "other/guest"))
    )
    found = find_branches([here, there], situation.source, situation.target)
    assert found == Branches(stops={}, waits={})
    beside = replace(there, target=f"{ROOT}/guest")
    found = find_branches([here, there, beside], situation.source, situation.target)
    assert found.waits == {beside.target: here.target}
    assert seed_of(there, found, situation.source, situation.target) == Seed()


def test_a_clone_does_not_wait_for_itself() -> None:
    """Its origin is below it, and so waits for it; by hand and by renames that can be had."""
    situation = world(source={"t": "a#", "t/base": "X# a#"}, pairs=(tree("t"),))
    situation = situation.with_source_dataset("t", origin=f"{source_of('t/base')}@X")
    assert sent(situation)["t"].how == Seed()


def test_clones_do_not_wait_for_each_other() -> None:
    """Each is above the other's origin."""
    situation = world(
        source=dict.fromkeys(("t", "u", "t/base", "u/base"), "X# a#"),
        pairs=(tree("t"), tree("u", key="dr/other")),
    )
    for clone, base in (("t", "u/base"), ("u", "t/base")):
        situation = situation.with_source_dataset(clone, origin=f"{source_of(base)}@X")
    assert {sent(situation)[name].how for name in ("t", "u")} == {Seed()}
