"""Which replica is taken for that of a renamed dataset."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backstay.domain.pairs import Entry
from unit.plan.sides import dataset, pair, source_of, target_of, tree, world


@pytest.mark.parametrize("wanted", [True, False])
def test_what_another_member_has_in_its_place_is_not_misplaced(wanted: bool) -> None:
    entry = Entry(name="a", source=source_of("t/a"), target=target_of("t/extra"))
    lone = replace(pair(key="dr/lone"), entries=(entry,))
    situation = world(
        source={"t": "a#", "t/a": "a#"},
        target={"t": "a"},
        pairs=(tree("t"), lone) if wanted else (tree("t"),),
    )
    extra = dataset("a", name=target_of("t/extra"), member="t/a", at_source=False)
    found = {**situation.target.datasets, extra.name: extra}
    renames = situation.with_target(datasets=found).seen.renames
    assert [one.to for one in renames.ready] == ([] if wanted else [target_of("t/a")])
