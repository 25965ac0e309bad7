"""Every small pair of histories, against an oracle that only knows sets.

`BACKSTAY_HISTORY_LENGTH=7 pytest tests/property/test_basis.py` looks at longer ones, by hand: the
default is 5, and each set more makes it about ten times as long.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations, permutations, product

import pytest

from backstay.domain.pairs import Conflict
from backstay.domain.steps import Increment, Resume, Seed
from backstay.domain.zfs import Bookmark, Dataset, Guid, ResumeToken, Snapshot, WrittenSince
from backstay.plan.basis import AlreadyThere, Basis, DropToken, find_basis
from backstay.plan.naming import bookmark_name
from unit.plan.sides import SHORT, lineage_for, replica, set_name, source, source_of, target_of

LETTERS = "abcd"
LENGTH = int(os.environ.get("BACKSTAY_HISTORY_LENGTH", "5"))
LONG = "abcdefg"[:LENGTH]
ODDITIES = ("X", "b'", "d~")


@dataclass(frozen=True)
class Case:
    """Both sides as letters: at the source each is gone, a snapshot, a bookmark or both.

    `at_target` is in the order of arrival; a capital is a foreign snapshot, `~` one that another
    installation made, `'` another GUID under the name of a set.
    """

    at_source: tuple[str, ...]
    at_target: tuple[str, ...]
    written: int | None
    token: tuple[str, str | None] | None = None

    @property
    def source(self) -> Dataset:
        return _source(self.at_source)

    @property
    def target(self) -> Dataset:
        return _target(self.at_target, self.written, self.token)


def _guid(letter: str) -> Guid:
    return Guid(ord(letter[0]) + {"'": 1000, "~": 2000}.get(letter[1:], 0))


def _txg(letter: str) -> int:
    return 10 * ord(letter[0])


def _is_point(letter: str) -> bool:
    return letter[0].islower() and not letter.endswith("~")


SOURCE, TARGET = source(""), replica("")


@cache
def _source(states: tuple[str, ...]) -> Dataset:
    name = source_of("disk")
    snapshots = tuple(
        Snapshot(dataset=name, name=set_name(c), guid=_guid(c), createtxg=_txg(c))
        for c, state in zip(LONG, states, strict=False)
        if "s" in state
    )
    bookmarks = tuple(
        Bookmark(
            dataset=name,
            name=bookmark_name(lineage_for("disk"), _guid(c), _txg(c)),
            guid=_guid(c),
            createtxg=_txg(c),
        )
        for c, state in zip(LONG, states, strict=False)
        if "b" in state
    )
    return replace(SOURCE, snapshots=snapshots, bookmarks=bookmarks)


@cache
def _target(
    held: tuple[str, ...], written: int | None, token: tuple[str, str | None] | None
) -> Dataset:
    name = target_of("disk")
    snapshots = tuple(
        Snapshot(dataset=name, name=set_name(c.strip("'")), guid=_guid(c), createtxg=7 + i)
        for i, c in enumerate(held)
    )
    points = [s.name for c, s in zip(held, snapshots, strict=True) if _is_point(c)]
    since = WrittenSince(snapshot=points[-1], size_bytes=written) if points else None
    return replace(
        TARGET,
        snapshots=snapshots,
        written_bytes=0 if held and not _is_point(held[-1]) else written,
        written_since=since,
        token=token
        and ResumeToken(
            text="1-x",
            to_name=f"{source_of('disk')}@{set_name(token[0])}",
            to_guid=_guid(token[0]),
            from_guid=_guid(token[1]) if token[1] else None,
            received_bytes=1,
        ),
    )


def histories() -> Iterator[Case]:
    """All of up to four sets at the source, and up to three in any order at the target."""
    words = ["a", "b", "c", "X", "b'", "d~"]
    targets = [t for n in range(4) for t in permutations(words, n)]
    for at_source in product(("", "s", "b", "sb"), repeat=len(LETTERS)):
        for at_target in targets:
            for written in (0, 5, None) if len(at_target) == 2 else (0,):
                yield Case(at_source, at_target, written)


def long_histories() -> Iterator[Case]:
    """All of `LENGTH` sets at the source and, of those, any at the target in their order.

    Among these is at any place none or one of the snapshots that somebody else made.
    """
    targets = [t for n in range(LENGTH + 1) for t in combinations(LONG, n)]
    targets += [
        (*t[:place], odd, *t[place:])
        for t in targets
        for odd in ODDITIES
        for place in range(len(t) + 1)
    ]
    for at_source in product(("", "s", "b", "sb"), repeat=LENGTH):
        for at_target in targets:
            yield Case(at_source, at_target, 0)


def tokens() -> Iterator[Case]:
    """All tokens from anything to anything, on the shorter histories."""
    for at_source in product(("", "s", "b"), repeat=len(LETTERS)):
        for at_target in (t for n in range(3) for t in combinations([*LETTERS, "X"], n)):
            for to, start in product(LETTERS, (None, *LETTERS)):
                yield Case(at_source, at_target, 0, token=(to, start))


def known(case: Case) -> set[str]:
    """Letters whose GUID the source has."""
    return {c for c, state in zip(LONG, case.at_source, strict=False) if state}


def common(case: Case) -> str | None:
    """The newest at the target that the source knows."""
    return next((c for c in reversed(case.at_target) if c in known(case)), None)


def expected(case: Case, to: str) -> str:
    """What may come of it, by set arithmetic alone."""
    base = common(case)
    if base is None:
        return "Conflict"
    newer = case.at_target[case.at_target.index(base) + 1 :]
    if any(_is_point(c) for c in newer):
        return "Conflict"  # points that the source does not have
    if case.written != 0:
        return "Conflict"  # something was written since the base, or nobody knows
    if to in case.at_target:
        return "AlreadyThere"
    if any(_is_point(c) and c[0] == to for c in case.at_target):
        return "Conflict"  # another GUID under the same name
    return "Increment" if base < to else "Conflict"


def check_increment(case: Case, to: str, decided: Increment) -> None:
    """An increment starts from what both have, is newest, and goes forward."""
    base = common(case)
    assert base is not None
    assert decided.base.guid == _guid(base)
    assert _txg(base) < _txg(to)
    sign = "@" if "s" in case.at_source[LONG.index(base)] else "#"
    assert decided.base.full_name.startswith(f"{source_of('disk')}{sign}")


@pytest.mark.rule("Proven base")
@pytest.mark.rule("Pure and total planner")
@pytest.mark.timeout(0)
@pytest.mark.parametrize("cases", [histories, long_histories])
def test_every_small_history_is_decided_as_the_oracle_says(
    cases: Callable[[], Iterator[Case]],
) -> None:
    seen: Counter[str] = Counter()
    for case in cases():
        origin, target = case.source, case.target
        for to in origin.snapshots:
            letter = chr(to.guid)
            decided = find_basis(origin, target, to, SHORT)
            assert type(decided).__name__ == expected(case, letter), (case, letter, decided)
            if isinstance(decided, Increment):
                check_increment(case, letter, decided)
            seen[type(decided).__name__] += 1
    assert min(seen[word] for word in ("Conflict", "Increment", "AlreadyThere")) > 100, seen
    assert seen["Seed"] == 0


def may_resume(case: Case) -> bool:
    """Whether a token may go on: a point we have, from the common base, forward."""
    assert case.token is not None
    to, start = case.token
    if "s" not in case.at_source[LETTERS.index(to)]:
        return False
    if not case.at_target:
        return start is None
    return start is not None and start == common(case) and start < to


@pytest.mark.rule("Resume tokens are untrusted input")
@pytest.mark.rule("Pure and total planner")
def test_every_token_on_a_small_history_is_decided_as_the_oracle_says() -> None:
    seen: Counter[str] = Counter()
    for case in tokens():
        origin, target = case.source, case.target
        if not origin.snapshots:
            continue
        decided: Basis = find_basis(origin, target, origin.snapshots[-1], SHORT)
        seen[type(decided).__name__] += 1
        if isinstance(decided, Conflict):
            assert expected(replace(case, token=None), "d") == "Conflict"
            assert case.at_target
            continue
        assert isinstance(decided, Resume if may_resume(case) else DropToken), (case, decided)
        if isinstance(decided, Resume):
            assert decided.seed == (not case.at_target)
    assert min(seen[word] for word in ("Conflict", "Resume", "DropToken")) > 100, seen


@pytest.mark.rule("Seed only into nothing, and only what was planned")
def test_only_nothing_is_seeded() -> None:
    for at_source in product(("", "s", "sb"), repeat=len(LETTERS)):
        origin = _source(at_source)
        for to in origin.snapshots:
            assert find_basis(origin, None, to, SHORT) == Seed()
            decided = find_basis(origin, TARGET, to, SHORT)
            assert not isinstance(decided, Seed | AlreadyThere | Increment)
