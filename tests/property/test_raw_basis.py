"""Every small pair of histories of an encrypted source: what a plain one may do, and less."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from backstay.domain.steps import Increment
from backstay.domain.zfs import STREAM, Dataset
from backstay.plan.basis import find_basis
from property.test_basis import Case, common, expected, histories
from unit.plan.sides import SHORT


def encrypted(dataset: Dataset, odd: str | None = None) -> Dataset:
    """The dataset with an IV set for each point; that of `odd` is another than elsewhere."""
    properties = {**dataset.properties, STREAM: "Lecw"} if dataset.properties else {}
    return replace(
        dataset,
        encrypted=True,
        properties=properties,
        snapshots=tuple(
            replace(s, ivset=s.guid + 10_000 * (odd is not None and s.guid == ord(odd)))
            for s in dataset.snapshots
        ),
        bookmarks=tuple(replace(b, ivset=int(b.guid)) for b in dataset.bookmarks),
    )


def expected_raw(case: Case, to: str, odd: str | None) -> str:
    """As of a plain source, but only from the newest at the target, with its own IV set."""
    base = common(case)
    if base is None or base != case.at_target[-1] or base == odd:
        return "Conflict"
    return expected(case, to)


@pytest.mark.rule("Raw lineage")
@pytest.mark.rule("Pure and total planner")
def test_every_small_raw_history_is_decided_as_the_oracle_says() -> None:
    seen: Counter[str] = Counter()
    for case in histories():
        origin = encrypted(case.source)
        for odd in {None, common(case), *case.at_target[-1:]}:
            target = encrypted(case.target, odd[0] if odd else None)
            for to in origin.snapshots:
                decided = find_basis(origin, target, to, SHORT)
                word = type(decided).__name__
                assert word == expected_raw(case, chr(to.guid), odd), (case, odd, decided)
                if isinstance(decided, Increment):
                    assert decided.base.guid == ord(case.at_target[-1])
                seen[word] += 1
    assert min(seen[word] for word in ("Conflict", "Increment", "AlreadyThere")) > 100, seen
