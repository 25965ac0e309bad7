"""From entries to members."""

from __future__ import annotations

import pytest

from backstay.plan.members import expand_members, known_members
from unit.plan.sides import pair, source_of, target_of, tree, world


def test_a_tree_is_all_that_is_below_it_parents_first() -> None:
    listing = world(source={"t": "", "t/b/c": "", "t/b": "", "tt": "", "t-x": ""}).source
    members = expand_members(tree("t"), listing)
    assert [m.name for m in members] == ["t", "t/b", "t/b/c"]
    assert [m.source for m in members] == [source_of(n) for n in ("t", "t/b", "t/b/c")]
    assert [m.target for m in members] == [target_of(n) for n in ("t", "t/b", "t/b/c")]


def test_an_entry_is_a_member_even_when_its_source_is_missing() -> None:
    assert [m.name for m in expand_members(pair("gone"), world(source={}).source)] == ["gone"]


@pytest.mark.rule("Atomic groups")
def test_members_of_a_group_share_it_and_lone_ones_do_not() -> None:
    listing = world(source={"x": "", "y": ""}).source
    assert len({m.group for m in expand_members(pair("x", "y", grouped=True), listing)}) == 1
    assert len({m.group for m in expand_members(pair("x", "y"), listing)}) == 2


def test_without_the_source_the_target_tells_the_tree() -> None:
    listing = world(source={}, target={"t": "a", "t/b": "a"}).target
    assert [m.name for m in known_members(tree("t"), listing)] == ["t", "t/b"]
    sighted = expand_members(tree("t"), world(source={"t": "a", "t/b": "a"}).source)
    assert known_members(tree("t"), listing) == sighted
