"""From any reachable state a bounded number of passes reaches the same fixpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from backstay.domain.pairs import Entry, Keep, Member, PairTask, Point
from backstay.domain.zfs import LINEAGE, Guid
from backstay.plan.naming import bookmark_tag, is_ours
from backstay.plan.points import Held, group_point
from backstay.plan.replication import Seen, decide_groups
from property.disks import Disk
from property.two_sides import Dead, Fate, TwoSides
from unit.plan.sides import ROOT, SHORT, pair, source_of, target_of

ENOUGH = 8
"""Passes to the fixpoint: land, drop a token, seed three levels, join, take the last set, prune."""

FATES: tuple[Fate, ...] = ("arrives", "arrives", "is cut", "does not start", "takes long")


def lone(keep: Keep) -> tuple[PairTask, ...]:
    return (pair("x", "y", "z", keep=keep),)


def group(keep: Keep) -> tuple[PairTask, ...]:
    return (pair("x", "y", "z", grouped=True, keep=keep),)


def tree_group(keep: Keep) -> tuple[PairTask, ...]:
    root = Entry(name="t", source=source_of("t"), target=target_of("t"), recursive=True)
    return (replace(pair(grouped=True, keep=keep), entries=(root,)),)


def deep(keep: Keep) -> tuple[PairTask, ...]:
    return (pair("p/q/x", "t/b", "t", keep=keep),)


def shared(keep: Keep) -> tuple[PairTask, ...]:
    """A group, and a lone pair of one of its sources with another target."""
    second = Entry(name="x", source=source_of("x"), target=f"{ROOT}/second")
    return (*group(keep), replace(pair(key="dr/second", keep=keep), entries=(second,)))


Shape: TypeAlias = Callable[[Keep], tuple[PairTask, ...]]
SHAPES: dict[str, Shape] = {f.__name__: f for f in (lone, group, tree_group, deep, shared)}
CHANGES = ("write", "write", "foreign at source", "foreign at target", "join")
HANDS = ("roll back target", "destroy at source")
"""What people destroy: then more than one point may be unsent for a while."""


def whole(sides: TwoSides, target: str) -> bool:
    """Whether a replica has a point."""
    return target in sides.vault and bool(sides.vault[target].snapshots)


def base_of(sides: TwoSides, member: Member) -> Guid | None:
    """The common base of a member, judged by sets of GUIDs."""
    target, known = sides.vault.get(member.target), known_guids(sides.tank[member.source])
    common = [s for s in (target.snapshots if target else ()) if s.guid in known]
    return max(common, key=lambda s: s.createtxg).guid if common else None


def change(sides: TwoSides, what: str, number: int) -> None:
    """Somebody does something; what would leave no base is left out."""
    members = sides.see().members
    member = members[number % len(members)]
    target = sides.vault.get(member.target)
    at_rest = target is not None and member.target not in sides.see().task.in_flight
    match what:
        case "write":
            sides.write(member.source)
        case "foreign at source":
            sides.foreign_snapshot(sides.tank[member.source])
        case "foreign at target" if target is not None and at_rest and target.snapshots:
            sides.foreign_snapshot(target)
        case "join":
            join(sides)
        case "roll back target" if target is not None and at_rest and len(target.snapshots) > 1:
            known = known_guids(sides.tank[member.source])
            if target.snapshots[-2].guid in known:  # else it is TargetAhead, for a human
                sides.roll_back_target(target)
        case "destroy at source":
            destroy_at_source(sides, sides.tank[member.source], number)


def known_guids(disk: Disk) -> set[Guid]:
    """What a source can prove."""
    return {s.guid for s in disk.snapshots} | {b.guid for b in disk.bookmarks}


def destroy_at_source(sides: TwoSides, source: Disk, number: int) -> None:
    """One snapshot is destroyed, unless a stream reads the dataset or a replica needs it."""
    reading = any(t.source_dataset == source.name for lane in sides.flying for t in lane)
    if reading or not source.snapshots:
        return
    before = list(source.snapshots)
    gone = source.snapshots.pop(number % len(before))
    sides.destroyed.add((source.name, gone.name))
    replicas = [m for m in sides.see().members if m.source == source.name]
    if any(
        whole(sides, m.target) and (base_of(sides, m) is None or is_ahead(sides, m))
        for m in replicas
    ):
        source.snapshots = before


def is_ahead(sides: TwoSides, member: Member) -> bool:
    """Whether the replica has a point of ours that the source lost altogether."""
    target = sides.vault[member.target]
    known = known_guids(sides.tank[member.source])
    base = target.point(base_of(sides, member) or Guid(0))
    return any(
        s.guid not in known and is_ours(s, SHORT) and base and s.createtxg > base.createtxg
        for s in target.snapshots
    )


def join(sides: TwoSides) -> None:
    """A new member: an entry of the first pair, or a child of its tree."""
    first, *others = sides.pairs
    if first.entries[0].recursive:
        name = f"{first.entries[0].source}/n{len(sides.tank)}"
        child = Entry(name=name, source=name, target=name)
        sides.make_sources(replace(first, entries=(child,)))
        return
    name = f"n{len(first.entries)}"
    entry = Entry(name=name, source=source_of(name), target=target_of(name))
    sides.pairs = (replace(first, entries=(*first.entries, entry)), *others)
    sides.make_sources(sides.pairs[0])


def unsent(sides: TwoSides, member: Member) -> int:
    """Our snapshots of a member that are newer than its base."""
    source = sides.tank[member.source]
    base = base_of(sides, member)
    known = {b.guid: b.createtxg for b in source.bookmarks}
    known |= {s.guid: s.createtxg for s in source.snapshots}
    since = known[base] if base is not None else 0
    return sum(is_ours(s, SHORT) and s.createtxg > since for s in source.snapshots)


def assert_always(sides: TwoSides, *, hands: bool) -> None:
    """What holds at any moment, whatever was killed."""
    seen = sides.see()
    assert {str(c.reason) for c in seen.conflicts.values()} == set()
    sources = [m.source for m in seen.members]
    for member in seen.members:
        if whole(sides, member.target):
            assert base_of(sides, member) is not None, "the chain is cut"
        if not hands and not sides.was_alone and sources.count(member.source) == 1:
            assert unsent(sides, member) <= 1
    for disk in sides.tank.values():
        tags = [(t.lineage, t.guid) for b in disk.bookmarks if (t := bookmark_tag(b))]
        assert len(tags) == len(set(tags))
    assert_as_of(sides, seen)


def assert_as_of(sides: TwoSides, seen: Seen) -> None:
    """Rule *RPO truth*: a group called unchanged is at the target as it is at the source."""
    for members, decision in decide_groups(seen):
        for member in members if decision.unchanged else ():
            if whole(sides, member.target):
                held = sides.vault[member.target]
                assert sides.tank[member.source].content in held.contents.values()


def held(seen: Seen, member: Member) -> Held:
    """What a member has, for judging points."""
    return Held(
        source=seen.source.datasets.get(member.source),
        source_seen=True,
        target=seen.target.datasets.get(member.target),
    )


def assert_points(sides: TwoSides) -> dict[str, int]:
    """Each grouped pair's point is a set that arrived whole; returns when it was taken."""
    seen = sides.see()
    found = {}
    for task in (p for p in sides.pairs if p.grouped):
        members = [m for m in seen.members if m.pair == task.key]
        point: Point | None = group_point([held(seen, m) for m in members], SHORT)
        if point is None:
            continue
        for member in members:
            frozen = sides.sets[point.snapshot].get(member.source)
            if frozen is not None and not was_destroyed(sides, member, point.snapshot):
                replica = sides.vault[member.target]
                [there] = [s for s in replica.snapshots if s.name == point.snapshot]
                assert replica.contents[there.guid] == frozen
        found[task.key] = sides.taken_at[point.snapshot]
    return found


def was_destroyed(sides: TwoSides, member: Member, name: str) -> bool:
    """Whether somebody destroyed a member's snapshot before its first common set was whole.

    Nothing tells then that it ever was in that set: it joins as a new member.
    """
    target = sides.vault.get(member.target)
    common = [s.name for s in (target.snapshots if target else ()) if s.name in sides.sets]
    joined = any(
        len(sides.sets[one]) > 1 and sides.taken_at[one] < sides.taken_at[name] for one in common
    )
    return (member.source, name) in sides.destroyed and not joined


def shared_snapshot(seen: Seen, member: Member) -> bool:
    """Whether both sides have a snapshot in common, not only a bookmark."""
    source, target = seen.source.datasets[member.source], seen.target.datasets.get(member.target)
    return bool(target and {s.guid for s in source.snapshots} & {s.guid for s in target.snapshots})


def assert_fixpoint(sides: TwoSides) -> None:
    """Everything is at the target, and nothing is left to do or lying about."""
    seen = sides.see()
    for member in seen.members:
        source, target = sides.tank[member.source], sides.vault[member.target]
        assert target.content == source.content
        assert target.partial is None
        assert unsent(sides, member) == 0
        lineage = target.properties[LINEAGE]
        tags = [t for b in source.bookmarks if (t := bookmark_tag(b)) and t.lineage == lineage]
        assert 1 <= len(tags) <= 3
    for members, decision in decide_groups(seen):
        assert decision.unchanged, members
        assert not decision.send
        assert not decision.take


def settle(sides: TwoSides) -> int:
    """Passes without faults until one does nothing; their number."""
    sides.fuse, sides.fates = None, iter(())
    for number in range(ENOUGH + 1):
        sides.land()
        sides.tick(1)
        if sides.run_pass() == 0:
            sides.was_alone = False
            return number
    raise AssertionError(f"no fixpoint after {ENOUGH} passes")


TURN = st.fixed_dictionaries(
    {
        "changes": st.lists(st.tuples(st.sampled_from(CHANGES), st.integers(0, 5)), max_size=3),
        "hands": st.lists(st.tuples(st.sampled_from(HANDS), st.integers(0, 5)), max_size=1),
        "minutes": st.sampled_from((-90, -1, 0, 1, 90)),
        "fuse": st.one_of(st.none(), st.integers(0, 14)),
        "fates": st.lists(st.sampled_from(FATES), max_size=6),
        "lands": st.booleans(),
        "alone": st.sampled_from((False, False, True)),
    }
)


def play(sides: TwoSides, turn: dict[str, object], *, hands: bool) -> None:
    """One turn: people change things, then a pass that may be cut short."""
    # Who destroys a snapshot that was never sent leaves no trace of who was in its set, so that a
    # member that joins meanwhile may count as a founder: the two are not mixed here.
    events = [e for e in turn["changes"] if not (hands and e[0] == "join")]  # type: ignore[attr-defined]
    for what, number in [*events, *(turn["hands"] if hands else ())]:  # type: ignore[misc]
        change(sides, what, number)
    if turn["lands"]:
        sides.land()
    sides.tick(turn["minutes"])  # type: ignore[arg-type]
    sides.fuse, sides.fates = turn["fuse"], iter(turn["fates"])  # type: ignore[assignment, call-overload]
    try:
        sides.run_alone() if turn["alone"] else sides.run_pass()
    except Dead:
        event("killed")


@pytest.mark.rule("Fixpoint")
@pytest.mark.rule("Bookmark with snapshot")
@pytest.mark.rule("Seed only into nothing, and only what was planned")
@pytest.mark.parametrize("shape", SHAPES)
@given(
    turns=st.lists(TURN, max_size=7),
    keep=st.builds(Keep, last=st.integers(1, 3), hourly=st.integers(0, 2)),
    hands=st.booleans(),
)
def test_any_history_of_faults_ends_at_the_fixpoint(
    shape: str, turns: list[dict[str, object]], keep: Keep, hands: bool
) -> None:
    sides = TwoSides(SHAPES[shape](keep))
    points: dict[str, int] = {}
    for turn in turns:
        had_common = {m.target for m in sides.see().members if shared_snapshot(sides.see(), m)}
        play(sides, turn, hands=hands)
        assert_always(sides, hands=hands)
        newer = assert_points(sides)
        if not hands:
            seen = sides.see()
            now_common = {m.target for m in seen.members if shared_snapshot(seen, m)}
            assert had_common <= now_common, "a failback needs a common snapshot"
            assert all(newer[key] >= at for key, at in points.items()), "a point went back"
        points = newer
    event(f"passes to the fixpoint: {settle(sides)}")
    assert_always(sides, hands=hands)
    assert_fixpoint(sides)
    assert_points(sides)
    assert sides.run_pass() == 0


@pytest.mark.rule("Atomic groups")
@pytest.mark.fault("member of a group interrupted again and again")
def test_a_member_interrupted_again_and_again_holds_the_group_until_its_set_is_whole() -> None:
    sides = TwoSides(group(Keep()))
    settle(sides)
    for dataset in sides.tank:
        sides.write(dataset)
    sides.cursed = frozenset({"y"})
    sides.run_pass()
    frozen = set(sides.taken_at)
    for _ in range(20):
        sides.write(source_of("x"))
        sides.tick(5)
        sides.run_pass()
        assert set(sides.taken_at) == frozen
        assert_always(sides, hands=False)
    assert_points(sides)
    sides.cursed = frozenset()
    settle(sides)
    assert_fixpoint(sides)


@pytest.mark.rule("Isolation")
@pytest.mark.parametrize("shape", [lone, deep])
def test_a_member_that_always_fails_costs_the_others_one_pass(shape: Shape) -> None:
    sides = TwoSides(shape(Keep()))
    settle(sides)
    names = [e.name for e in sides.pairs[0].entries]
    sides.cursed = frozenset(names[:1])
    written: list[dict[str, int]] = []
    for turn in range(5):
        for dataset in sides.tank:
            sides.write(dataset)
        written.append({name: disk.content for name, disk in sides.tank.items()})
        sides.tick(5)
        sides.run_pass()
        # They were behind it in the pipe of the first pass; that point is sent in the second.
        expected = written[0 if turn == 1 else turn]
        for entry in sides.pairs[0].entries[1:] if turn else ():
            assert sides.vault[entry.target].content == expected[entry.source]


@pytest.mark.rule("Isolation")
def test_a_long_seed_of_a_joiner_does_not_hold_its_group_up() -> None:
    sides = TwoSides(group(Keep()))
    settle(sides)
    join(sides)
    fate: Fate = "takes long"
    sides.fates = iter((fate,))
    sides.run_pass()
    assert len(sides.flying) == 1
    before = len(sides.taken_at)
    for _ in range(5):
        sides.write(source_of("x"))
        sides.tick(5)
        sides.run_pass()
        assert sides.vault[target_of("x")].content == sides.tank[source_of("x")].content
    assert len(sides.taken_at) == before + 5
    settle(sides)
    assert_fixpoint(sides)
