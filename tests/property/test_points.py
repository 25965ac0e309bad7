"""A group's recovery point, against an oracle that knows who was in which set."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from backstay.plan.points import Held, group_point
from unit.plan.sides import SHORT, letters, replica, source

SETS = "acegikmo"
"""What lies between two sets is what a member was given alone."""


@dataclass(frozen=True)
class History:
    """Who was in which set, and what arrived. All by number of the set.

    `joined`: member → its first set (0 for founders); `arrived`: member → sets at its target;
    `alone`: what the older joiner `o` took before it joined, each after the set of that number.
    """

    joined: dict[str, int]
    arrived: dict[str, set[int]]
    destroyed: dict[str, set[int]]
    pruned_source: int
    pruned_target: int
    alone: frozenset[int] = frozenset()

    def point(self) -> str | None:
        """The newest set that all who were in it have: the oracle.

        With an older joiner, whose replica looks like a founder's, only sets that it is in count.
        """
        for number in range(len(SETS) - 1, self.joined.get("o", 0) - 1, -1):
            required = [m for m, first in self.joined.items() if first <= number]
            if required and all(number in self.arrived[m] for m in required):
                return SETS[number]
        return None


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Founders and joiners; sets arrive in order, one may be abandoned, the last may be partial."""
    founders = ["w", "x"][: draw(st.integers(1, 2))]
    joiners = ["y", "z"][: draw(st.integers(0, 2))]
    last = draw(st.integers(0, len(SETS) - 1))
    joined = dict.fromkeys(founders, 0)
    joined |= {name: draw(st.integers(1, last + 2)) for name in joiners}
    alone: set[int] = set()
    if last > 0 and draw(st.booleans()):  # whoever is seeded after it joins it, not it them
        joined["o"] = draw(st.integers(1, last + 2))
        alone = draw(st.sets(st.integers(0, joined["o"] - 1), min_size=1))
    abandoned = draw(st.sets(st.integers(1, last), max_size=2)) if last > 0 else set()
    arrived = {
        name: {n for n in range(first, last + 1) if n not in abandoned}
        for name, first in joined.items()
    }
    destroyed: dict[str, set[int]] = {name: set() for name in joined}
    for number in sorted(abandoned):
        inside = [m for m, first in joined.items() if first <= number]
        # A joiner counts from its first whole set: nothing tells of one destroyed before that.
        lost = draw(st.sampled_from([m for m in inside if joined[m] < number]))
        destroyed[lost].add(number)
        for name in inside:
            if name != lost and draw(st.booleans()):
                arrived[name].add(number)
    for name in joined:
        if draw(st.integers(0, 3)) == 0:
            arrived[name].discard(last)  # frozen: the newest set is still on its way to it
    whole = max(
        (n for n in range(last + 1) if all(n in arrived[m] for m in joined if joined[m] <= n)),
        default=0,
    )
    # While the others hold nothing as old as a point of `o` alone, they look like its joiners.
    oldest = min({whole, *alone})
    return History(
        joined=joined,
        arrived=arrived,
        destroyed=destroyed,
        pruned_source=draw(st.integers(0, whole)),
        pruned_target=draw(st.integers(0, oldest)),
        alone=frozenset(alone),
    )


def held(history: History, name: str, last: int) -> Held:
    """What a member shows; a joiner was seeded with a snapshot of its own."""
    first = history.joined[name]
    at_source = [
        SETS[n]
        for n in range(max(first, history.pruned_source), last + 1)
        if n not in history.destroyed[name]
    ]
    at_target = [SETS[n] for n in sorted(history.arrived[name]) if n >= history.pruned_target]
    created = 100 * ord(SETS[0]) - (2 if name == "o" else 1)
    if name == "o":
        own = [_after(n) for n in sorted(history.alone)]
        at_source, at_target = [*own, *at_source], [*own, *at_target]
    elif name in "yz":
        # It joined while the set before its first one was the newest, and was seeded with its own.
        seed = _after(first - 1)
        at_target.insert(0, seed)
        created = 100 * ord(seed) - 1
    target = replace(replica(" ".join(at_target), name), createtxg=created)
    arrived = [replace(s, createtxg=100 * ord(letters([s])[0])) for s in target.snapshots]
    target = replace(target, snapshots=tuple(arrived))
    return Held(source=source(" ".join(at_source), name), source_seen=True, target=target)


def _after(number: int) -> str:
    """The letter of what was taken between two sets."""
    return chr(ord("a") + 2 * number + 1)


@pytest.mark.rule("Atomic groups")
@pytest.mark.rule("Commit truth")
@given(history=histories(), order=st.randoms(use_true_random=False))
def test_the_point_of_a_group_is_the_newest_set_that_is_whole(
    history: History, order: object
) -> None:
    last = max(max(a, default=0) for a in history.arrived.values())
    members = [held(history, name, last) for name in history.joined]
    order.shuffle(members)  # type: ignore[attr-defined]
    found = group_point(members, SHORT)
    event(f"joiners: {len(history.joined)}, point: {found is not None}")
    assert (found and letters([found])) == history.point()
