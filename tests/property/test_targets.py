"""Retention × targets × histories: one source with up to three replicas, each with its policy.

Every route prunes by a pass of its own, in any order. Whatever the policies are, no target loses
what it needs, and in the end nothing stays that nobody wants.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from backstay.domain.pairs import Keep, PairTask
from backstay.domain.steps import Prune
from backstay.domain.zfs import LINEAGE, Bookmark, Dataset, Guid, Pool, Snapshot
from backstay.plan.naming import bookmark_name, bookmark_tag, is_ours, lineage_id
from backstay.plan.pruning import plan_pruning
from backstay.plan.retention import judge_points
from unit.plan.sides import (
    PLENTY,
    ROOT,
    SHORT,
    VAULT_GUID,
    World,
    dataset_guid,
    guid_of,
    pair,
    replica,
    source,
    source_of,
    target_of,
    world,
)

SETS = "abcdefgh"
DISK = "disk"
KEEPS = st.builds(
    Keep,
    last=st.integers(1, 4),
    hourly=st.integers(0, 2),
    daily=st.integers(0, 2),
    yearly=st.integers(0, 1),
)


def pool_guid(number: int) -> Guid:
    """The GUID of the pool of a target."""
    return Guid(VAULT_GUID + 10 * number)


def lineage_of(number: int) -> str:
    """The lineage that ties the source to a target."""
    return lineage_id(dataset_guid(DISK), pool_guid(number), target_of(DISK))


def points_of(dataset: Dataset) -> tuple[Snapshot | Bookmark, ...]:
    """Its snapshots and bookmarks."""
    return (*dataset.snapshots, *dataset.bookmarks)


@dataclass
class Fan:
    """A source with its replicas, by number, and the pair of each."""

    source: Dataset
    replicas: list[Dataset]
    pairs: list[PairTask]

    def seen_by(self, number: int) -> World:
        """What a pass of one route sees; the others' pairs are its neighbours."""
        base = world(source={DISK: ""})
        pool = Pool(
            name="vault",
            guid=pool_guid(number),
            health="ONLINE",
            size_bytes=PLENTY,
            free_bytes=PLENTY,
        )
        datasets = {ROOT: base.target.datasets[ROOT], target_of(DISK): self.replicas[number]}
        neighbours = tuple(p for i, p in enumerate(self.pairs) if i != number)
        return (
            base.with_source(datasets={source_of(DISK): self.source})
            .with_target(datasets=datasets, pools=(pool,))
            .with_task(pairs=(self.pairs[number],), neighbours=neighbours)
        )

    def prune(self, number: int) -> int:
        """One route prunes both of its sides; returns how much went."""
        plan = plan_pruning(self.seen_by(number).seen)
        self.source = without(self.source, plan.source)
        self.replicas[number] = without(self.replicas[number], plan.target)
        steps = (plan.source, plan.target)
        return sum(len(step.snapshots) + len(step.bookmarks) for step in steps)

    def proven(self, number: int) -> list[Guid]:
        """What a replica can go on from, oldest first."""
        known = {p.guid for p in points_of(self.source)}
        return [s.guid for s in self.replicas[number].snapshots if s.guid in known]

    def shared(self, number: int) -> list[Guid]:
        """What both have as a snapshot, oldest first."""
        known = {s.guid for s in self.source.snapshots}
        return [s.guid for s in self.replicas[number].snapshots if s.guid in known]


def without(dataset: Dataset, step: Prune) -> Dataset:
    """The dataset without what was pruned; only what is ours may go."""
    gone = {(r.name, r.guid) for r in step.snapshots}
    assert all(is_ours(s, SHORT) for s in dataset.snapshots if (s.name, s.guid) in gone)
    marks = {r.name for r in step.bookmarks}
    return replace(
        dataset,
        snapshots=tuple(s for s in dataset.snapshots if (s.name, s.guid) not in gone),
        bookmarks=tuple(b for b in dataset.bookmarks if b.name not in marks),
    )


@st.composite
def fans(draw: st.DrawFn) -> Fan:
    """Any holes on either side, foreign snapshots, and each target's bookmarks of what it got."""
    words, replicas, marks = [], [], []
    count = draw(st.integers(1, 3))
    for letter in SETS:
        words.append(draw(st.sampled_from((letter, letter, letter, ""))))
        words.append(draw(st.sampled_from(("", "", "", letter.upper()))))
    for number in range(count):
        arrived = [c for c in SETS[: draw(st.integers(0, 8))] if draw(st.booleans())]
        foreign = draw(st.sampled_from(("", "X")))
        found = replica(" ".join([*arrived, foreign]), DISK)
        properties = {**found.properties, LINEAGE: lineage_of(number)}
        replicas.append(replace(found, properties=properties))
        marked = draw(st.sets(st.sampled_from([*arrived, *SETS]), max_size=3))
        # What it needs was never without its bookmark: nothing else tells other routes of it.
        needed = {*arrived[-1:], *[c for c in arrived if c in words][-1:]}
        marks += [mark(number, letter) for letter in sorted(marked | needed)]
    marks.sort(key=lambda b: b.createtxg)
    pairs = [
        replace(pair(DISK, key=f"dr/{n}"), keep_source=draw(KEEPS), keep_target=draw(KEEPS))
        for n in range(count)
    ]
    origin = replace(source(" ".join(words), DISK), bookmarks=tuple(marks))
    return Fan(origin, replicas, pairs)


def mark(number: int, letter: str) -> Bookmark:
    """The bookmark of a set for a target."""
    guid, txg = guid_of(DISK, letter), 100 * (ord(letter) - ord("a") + 1)
    name = bookmark_name(lineage_of(number), guid, txg)
    return Bookmark(dataset=source_of(DISK), name=name, guid=guid, createtxg=txg)


@pytest.mark.rule("Pruning keeps the chain")
@given(fan=fans(), order=st.lists(st.integers(0, 2), min_size=3, max_size=8))
def test_no_target_loses_its_base_to_the_policy_of_another(fan: Fan, order: list[int]) -> None:
    everybody = range(len(fan.replicas))
    gone = 0
    for turn in order:
        before = [(fan.proven(i)[-1:], fan.shared(i)[-1:]) for i in everybody]
        gone += fan.prune(turn % len(fan.replicas))
        after = [(fan.proven(i)[-1:], fan.shared(i)[-1:]) for i in everybody]
        assert after == before, "each goes on from where it was, and could be failed back to"
    event(f"prunes: {gone > 0}, targets: {len(fan.replicas)}")


@pytest.mark.rule("Pruning keeps the chain")
@given(fan=fans(), order=st.permutations([0, 1, 2]))
def test_nothing_stays_at_the_source_that_nobody_wants(fan: Fan, order: list[int]) -> None:
    everybody = range(len(fan.replicas))
    turns = [i for i in order if i in everybody]
    while sum([fan.prune(i) for i in turns]):
        pass
    event(f"left at the source: {len(fan.source.snapshots)}")
    wanted = {name for i in everybody for name in wanted_by(fan, i)}
    marked = {t.guid for b in fan.source.bookmarks if (t := bookmark_tag(b)) is not None}
    for snapshot in fan.source.snapshots:
        if is_ours(snapshot, SHORT):
            assert snapshot.name in wanted or snapshot.guid in marked


def wanted_by(fan: Fan, number: int) -> set[str]:
    """Names of the points that a target's pair wants at the source, for whatever reason."""
    ours = [s for s in fan.source.snapshots if is_ours(s, SHORT)]
    wanted = set(judge_points([s.name for s in ours], fan.pairs[number].keep_source, {}).keep)
    proven = fan.proven(number)
    if not proven:
        return {s.name for s in ours}  # nobody knows what it may need
    txgs = {p.guid: p.createtxg for p in points_of(fan.source)}
    wanted |= {s.name for s in ours if s.createtxg > txgs[proven[-1]]}
    return wanted | {s.name for s in ours if s.guid in fan.shared(number)[-1:]}


@pytest.mark.rule("Pruning keeps the chain")
@given(fan=fans())
def test_the_order_in_which_routes_prune_makes_no_difference_to_what_policies_want(
    fan: Fan,
) -> None:
    """Whoever comes first: what the policy of any pair wants is still there in the end."""
    ours = [s.name for s in fan.source.snapshots if is_ours(s, SHORT)]
    wanted = {n for p in fan.pairs for n in judge_points(ours, p.keep_source, {}).keep}
    for number in reversed(range(len(fan.replicas))):
        fan.prune(number)
    assert wanted <= {s.name for s in fan.source.snapshots}
