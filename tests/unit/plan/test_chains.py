"""Replicas as sources: what is planned for them, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backstay.domain.pairs import Chained
from backstay.domain.zfs import LINEAGE, ROLE
from backstay.plan.direction import replicas_alone
from backstay.plan.local import Alone, plan_local_pruning, plan_local_snapshots
from backstay.plan.pruning import plan_pruning
from backstay.plan.replication import plan_snapshots
from unit.plan.sides import NOW, PAIR, World, source_of, world


def chain(*members: str, **sides: str) -> World:
    """A world whose sources, or only those named, are replicas."""
    situation = world(source=sides, target={})
    for name in members or sides:
        situation = situation.with_source_dataset(name, properties={LINEAGE: "feed"})
    return situation


def test_a_replica_that_another_installation_keeps_is_refused() -> None:
    assert chain(disk="a~ X").conflict() == "SourceIsReplica"
    assert chain(disk="a~ a").conflict() is None
    assert chain(disk="").conflict() is None
    assert world(source={"disk": "a~ X"}).conflict() is None


def test_what_was_promoted_is_a_source_like_any_other() -> None:
    promoted = world(source={"disk": "a +"}, target={"disk": "a"}).with_source_dataset(
        "disk", properties={LINEAGE: "feed", ROLE: "primary"}
    )
    assert promoted.conflict() is None
    assert plan_snapshots(promoted.seen, NOW, "0abc")


@pytest.mark.rule("Atomic groups")
def test_a_group_of_replicas_and_others_is_refused() -> None:
    situation = world(source={"x": "a", "y": "a"}, grouped=True)
    mixed = situation.with_source_dataset("x", properties={LINEAGE: "feed"})
    assert mixed.conflict("x") == mixed.conflict("y") == "SourceIsReplica"
    whole = mixed.with_source_dataset("y", properties={LINEAGE: "beef"})
    assert whole.conflict("x") is None


@pytest.mark.rule("Pruning keeps the chain")
def test_no_snapshot_is_taken_of_a_replica_nor_pruned_from_it() -> None:
    held = world(source={"disk": "a b# c +"}, target={"disk": "a b c"})
    situation = held.with_source_dataset("disk", properties={LINEAGE: "feed"})
    assert [s for s in plan_snapshots(situation.seen, NOW, "0abc") if s.datasets] == []
    assert plan_pruning(situation.seen).source.snapshots == ()
    assert plan_pruning(held.seen).source.snapshots != ()
    alone = Alone(task=situation.task, source=situation.source, due=frozenset({PAIR}))
    assert plan_local_snapshots(alone, NOW, "0abc") == ()
    assert plan_local_pruning(alone).snapshots == ()


@pytest.mark.rule("Pruning keeps the chain")
def test_the_base_of_the_next_replica_is_kept_on_this_one() -> None:
    held = world(source={"disk": "a b c d# "}, target={"disk": "a b* c d"})
    gone = [ref.name for ref in plan_pruning(held.seen).target.snapshots]
    free = world(source={"disk": "a b c d#"}, target={"disk": "a b c d"})
    names = [s.name for s in held.target.datasets["vault/recv/disk"].snapshots]
    assert gone == [names[0], names[2]]
    assert [ref.name for ref in plan_pruning(free.seen).target.snapshots] == names[:3]


def test_a_chain_is_not_taken_for_a_pair_that_was_turned_round() -> None:
    situation = chain(disk="a b")
    assert replicas_alone(situation.task, situation.source) == {PAIR}
    fed = situation.with_task(chained=Chained(fed=frozenset({source_of("disk")})))
    assert replicas_alone(fed.task, fed.source) == frozenset()


def test_is_replica_reads_the_property_of_the_dataset_itself() -> None:
    found = chain(disk="a").source.datasets["tank/disk"]
    assert found.is_replica
    assert not replace(found, properties={}).is_replica
