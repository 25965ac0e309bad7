"""Retention × targets × histories: nothing that something needs ever goes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from backstay.domain.pairs import Keep
from backstay.domain.zfs import BookmarkRef, Dataset, HostListing, SnapshotRef
from backstay.plan.local import Alone, plan_local_pruning
from backstay.plan.naming import bookmark_tag, is_ours
from backstay.plan.pruning import PruningPlan, plan_pruning
from unit.plan.sides import (
    OTHER_LINEAGE,
    SHORT,
    World,
    lineage_for,
    source_of,
    target_of,
    world,
)

SETS = "abcdefgh"
KEEPS = st.builds(Keep, last=st.integers(0, 4), hourly=st.integers(0, 2), daily=st.integers(0, 2))


@dataclass(frozen=True)
class Side:
    """What the source and the replica of one member hold, as texts of the tiny language."""

    at_source: str
    at_target: str


@st.composite
def members(draw: st.DrawFn) -> Side:
    """A member with any holes in its histories, foreign snapshots, bookmarks and a token."""
    at_source, at_target = [], []
    arrived = draw(st.integers(0, len(SETS)))
    for number, letter in enumerate(SETS):
        marks = draw(st.sampled_from(("", "", "#", "*", "#*")))
        shape = draw(st.sampled_from(("snapshot", "snapshot", "bookmark", "gone")))
        if shape == "snapshot":
            at_source.append(f"{letter}{marks}")
        elif shape == "bookmark" and marks:
            at_source.append(f"{marks[0]}{letter}")
        if number < arrived and draw(st.booleans()):
            at_target.append(letter)
        if draw(st.integers(0, 7)) == 0:
            at_source.append(letter.upper())
        if draw(st.integers(0, 7)) == 0:
            at_target.append(letter.upper())
    tail = draw(st.sampled_from(("", "", "", "", ">h", "+")))
    return Side(" ".join(at_source), f"{' '.join(at_target)} {tail}".strip())


@st.composite
def worlds(draw: st.DrawFn, *, grouped: bool) -> World:
    """One to three members, lone or a group; some without replica, some in flight."""
    names = ["x", "y", "z"][: draw(st.integers(1, 3))]
    sides = {name: draw(members()) for name in names}
    absent = draw(st.sets(st.sampled_from(names)))
    flying = draw(st.sets(st.sampled_from(names), max_size=1))
    made = world(
        source={n: s.at_source for n, s in sides.items()},
        target={n: s.at_target for n, s in sides.items() if n not in absent},
        grouped=grouped,
        keep=draw(KEEPS),
    )
    return made.with_in_flight(*flying)


def remains(dataset: Dataset, gone: tuple[SnapshotRef, ...]) -> set[int]:
    """GUIDs of the snapshots that a dataset still has."""
    doomed = {(r.dataset, r.guid) for r in gone}
    return {s.guid for s in dataset.snapshots if (dataset.name, s.guid) not in doomed}


def marks_left(dataset: Dataset, gone: tuple[BookmarkRef, ...], lineage: str) -> list[int]:
    """GUIDs of the bookmarks of a lineage that a dataset still has."""
    doomed = {(r.dataset, r.name) for r in gone}
    return [
        b.guid
        for b in dataset.bookmarks
        if (dataset.name, b.name) not in doomed
        and (tag := bookmark_tag(b)) is not None
        and tag.lineage == lineage
    ]


def assert_member_safe(situation: World, plan: PruningPlan, name: str) -> None:
    """The chain of one member holds on both sides."""
    source = situation.source.datasets[source_of(name)]
    before_marks = marks_left(source, (), lineage_for(name))
    after = remains(source, plan.source.snapshots)
    marks = marks_left(source, plan.source.bookmarks, lineage_for(name))
    assert marks_left(source, plan.source.bookmarks, OTHER_LINEAGE) == marks_left(
        source, (), OTHER_LINEAGE
    )
    assert set(marks_left(source, (), OTHER_LINEAGE)) & {s.guid for s in source.snapshots} <= after
    assert before_marks[-1:] == marks[-1:], "the last attempted"
    at_rest = target_of(name) in {*situation.task.in_flight, *situation.seen.conflicts}
    target = situation.target.datasets.get(target_of(name))
    if target is None:
        assert after == {s.guid for s in source.snapshots}
        ends = before_marks if len(before_marks) < 2 else [before_marks[0], before_marks[-1]]
        assert marks == (before_marks if at_rest else ends), (
            "of seeds in vain the oldest and the newest stay"
        )
        return
    there = remains(target, plan.target.snapshots)
    at_source = [s.guid for s in source.snapshots]
    shared = [s.guid for s in target.snapshots if s.guid in at_source]
    bookmarked = {b.guid for b in source.bookmarks}
    proven = [s.guid for s in target.snapshots if s.guid in {*at_source, *bookmarked}]
    if shared:
        assert shared[-1] in after & there, "a failback needs a snapshot"
    if proven:
        assert proven[-1] in there
        assert proven[-1] in {*after, *marks, *marks_left(source, (), OTHER_LINEAGE)}
        txgs = {b.guid: b.createtxg for b in source.bookmarks}
        txgs |= {s.guid: s.createtxg for s in source.snapshots}
        unsent = {s.guid for s in source.snapshots if s.createtxg > txgs[proven[-1]]}
        assert unsent <= after, "it was not sent yet"
    if at_rest or target.token is not None:
        assert after == {s.guid for s in source.snapshots}
        assert there == {s.guid for s in target.snapshots}


def sets_left(side: HostListing, gone: tuple[SnapshotRef, ...]) -> dict[str, int]:
    """Name of each of our sets → how many members still have it."""
    left = (
        s.name
        for dataset in side.datasets.values()
        for s in dataset.snapshots
        if is_ours(s, SHORT) and s.guid in remains(dataset, gone)
    )
    return dict(Counter(left))


@pytest.mark.rule("Pruning keeps the chain")
@given(situation=st.booleans().flatmap(lambda grouped: worlds(grouped=grouped)))
def test_nothing_that_is_needed_goes(situation: World) -> None:
    plan = plan_pruning(situation.seen)
    event(f"prunes: {bool(plan.source.snapshots)} {bool(plan.target.snapshots)}")
    for side, gone in ((situation.source, plan.source), (situation.target, plan.target)):
        assert len(set(gone.snapshots)) == len(gone.snapshots)
        for ref in gone.snapshots:
            found = side.datasets[ref.dataset].snapshot_by_guid(ref.guid)
            assert found is not None
            assert is_ours(found, SHORT), "a foreign snapshot"
    for entry in situation.task.pairs[0].entries:
        assert_member_safe(situation, plan, entry.name)


@pytest.mark.rule("Atomic groups")
@given(situation=worlds(grouped=True))
def test_a_set_of_a_group_goes_whole_or_stays_whole(situation: World) -> None:
    plan = plan_pruning(situation.seen)
    for side, gone in (
        (situation.source, plan.source.snapshots),
        (situation.target, plan.target.snapshots),
    ):
        before, after = sets_left(side, ()), sets_left(side, gone)
        assert after == {name: before[name] for name in after}, "half a set"


@pytest.mark.rule("Pruning keeps the chain")
@given(situation=st.booleans().flatmap(lambda grouped: worlds(grouped=grouped)))
def test_nothing_that_could_be_a_base_goes_while_the_target_is_away(situation: World) -> None:
    view = Alone(task=situation.task, source=situation.source, due=frozenset())
    plan = plan_local_pruning(view)
    event(f"prunes: {bool(plan.snapshots)}")
    assert plan.bookmarks == ()
    for ref in plan.snapshots:
        dataset = situation.source.datasets[ref.dataset]
        found = dataset.snapshot_by_guid(ref.guid)
        assert found is not None
        assert is_ours(found, SHORT), "a foreign snapshot"
        assert found != [s for s in dataset.snapshots if is_ours(s, SHORT)][-1], "the newest"
        assert all(b.createtxg < found.createtxg for b in dataset.bookmarks), "it may be a base"
        assert dataset.bookmarks
    if situation.task.pairs[0].grouped:
        before = sets_left(situation.source, ())
        after = sets_left(situation.source, plan.snapshots)
        assert after == {name: before[name] for name in after}, "half a set"
