"""What the listing tells of datasets that were set aside."""

from __future__ import annotations

import pytest

from backstay.domain.moves import ASIDE_OF, BRANCHED_AT
from backstay.domain.zfs import LINEAGE, Dataset, DatasetKind, Guid
from backstay.plan.asides import asides_in, waiting_conflict

ROOT = "backup/backstay-aside"
CLONE = {ASIDE_OF: "backup/r/x", LINEAGE: "4c", BRANCHED_AT: "7"}
SEED = {ASIDE_OF: "backup/r/x", LINEAGE: "4c"}
KEPT = {ASIDE_OF: "backup/r/x"}


def listing(**properties: dict[str, str]) -> dict[str, Dataset]:
    """Datasets by name, with `__` for `/`, below the aside root."""
    names = {f"{ROOT}/{name.replace('__', '/')}": found for name, found in properties.items()}
    return {
        name: Dataset(
            name=name,
            kind=DatasetKind.FILESYSTEM,
            guid=Guid(n + 1),
            createtxg=1,
            properties=found,
        )
        for n, (name, found) in enumerate(names.items())
    }


@pytest.mark.parametrize(
    ("properties", "child", "waiting"),
    [
        (CLONE, False, {"backup/r/x"}),
        (CLONE, True, {"backup/r/x", "backup/r/x/c", "backup/r/x/c/d"}),
        (SEED, False, set[str]()),
        (SEED, True, {"backup/r/x/c", "backup/r/x/c/d"}),
        (KEPT, True, set[str]()),
    ],
)
def test_only_what_is_not_back_yet_waits(
    properties: dict[str, str], child: bool, waiting: set[str]
) -> None:
    below = {"one__c": dict[str, str]()} if child else {}
    asides = asides_in(listing(one=properties, **below))
    places = ("backup/r/x", "backup/r/x/c", "backup/r/x/c/d", "backup/r/x/new", "backup/r/xy")
    assert {p for p in places if waiting_conflict(p, asides)} == waiting


def test_what_lies_there_without_our_mark_is_none_of_ours() -> None:
    found = listing(one={}, two__c=CLONE)
    assert asides_in(found) == ()
    assert asides_in({"backup/r/x": found[f"{ROOT}/one"]}) == ()


@pytest.mark.parametrize("mark", ["", "x", "-1", "²", "7 "])
def test_a_mark_that_is_no_guid_names_no_branch(mark: str) -> None:
    (aside,) = asides_in(listing(one={**CLONE, BRANCHED_AT: mark}))
    assert aside.branch is None
