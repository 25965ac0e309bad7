"""From every state that a few steps can reach, the same fixpoint: looked at one by one.

`BACKSTAY_REACH=4 pytest tests/property/test_reachable.py` goes further, by hand; the default is 2
steps for a group, a lone member and a tree, each step being anything that people do, or a pass that
is killed after any of its actions, with any fate of its streams.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import product

import pytest

from backstay.domain.pairs import Keep
from property.test_convergence import (
    Shape,
    assert_always,
    assert_fixpoint,
    assert_points,
    change,
    deep,
    group,
    settle,
    tree_group,
)
from property.two_sides import Dead, Fate, TwoSides

REACH = int(os.environ.get("BACKSTAY_REACH", "2"))
CHANGES = ("write", "foreign at source", "foreign at target", "join", "roll back target")
FUSES = (0, 1, 2, 3, 4, 5, 6, 8, 10, 13, None)
FATES: tuple[Fate, ...] = ("arrives", "is cut", "does not start", "takes long")


def steps() -> Iterator[tuple[str, object]]:
    """Everything that may happen next."""
    yield from (("change", what) for what in CHANGES)
    yield from (("pass", kind) for kind in product(FUSES, FATES))
    yield from (("alone", fuse) for fuse in (0, 1, None))
    yield ("land", None)


def take(sides: TwoSides, step: tuple[str, object]) -> None:
    """The step is done; a pass that is killed leaves what it did."""
    what, how = step
    sides.tick(5)
    if what == "change":
        change(sides, str(how), 1)
    elif what == "land":
        sides.land()
    else:
        fuse, fate = how if isinstance(how, tuple) else (how, "arrives")
        sides.fuse, sides.fates = fuse, iter((fate,) * 2)
        with suppress(Dead):
            sides.run_alone() if what == "alone" else sides.run_pass()
        sides.fuse, sides.fates = None, iter(())


def fingerprint(sides: TwoSides) -> str:
    """Equal for states that differ in nothing that a pass can see but the time."""
    order: dict[object, int] = {}

    def short(value: object) -> int:
        return order.setdefault(value, len(order))

    parts = []
    for side in (sides.tank, sides.vault):
        for name, disk in sorted(side.items()):
            partial = disk.partial and (short(disk.partial.to.guid), short(disk.partial.from_guid))
            points = [(short(s.name), short(s.guid)) for s in disk.snapshots]
            marks = [(b.name.split("_")[1], short(b.guid)) for b in disk.bookmarks]
            parts.append((name, points, marks, short(("content", disk.content)), partial))
    flying = [[(t.target_dataset, short(t.guid)) for t in lane] for lane in sides.flying]
    return repr((parts, flying, sorted(sides.quarantined)))


def reachable(sides: TwoSides, reach: int) -> Iterator[TwoSides]:
    """Every state within so many steps, each once."""
    seen, edge = {fingerprint(sides)}, [sides]
    yield sides
    for _ in range(reach):
        fresh = []
        for state, step in product(edge, list(steps())):
            after = copy.deepcopy(state)
            take(after, step)
            if (found := fingerprint(after)) not in seen:
                seen.add(found)
                fresh.append(after)
                yield after
        edge = fresh


@pytest.mark.timeout(0)
@pytest.mark.rule("Fixpoint")
@pytest.mark.parametrize("seeded", [False, True], ids=["new", "seeded"])
@pytest.mark.parametrize("shape", [group, tree_group, deep])
def test_every_state_within_reach_ends_at_the_fixpoint(shape: Shape, seeded: bool) -> None:
    sides = TwoSides(shape(Keep(last=1)))
    if seeded:
        settle(sides)
    count = 0
    for state in reachable(sides, REACH):
        count += 1
        work = copy.deepcopy(state)
        assert_always(work, hands=False)
        settle(work)
        assert_always(work, hands=False)
        assert_fixpoint(work)
        assert_points(work)
        assert work.run_pass() == 0
    assert count > 20
