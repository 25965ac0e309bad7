"""Snapshots are listed anew whenever they may have changed, and only then."""

from __future__ import annotations

from typing import Any

import pytest

from backstay_host.points import MAX_AGE_S, KnownPoints, Listed, State
from unit.host.client import HostError
from unit.host.conftest import World

NOW = 1_000_000
STATE = State("7", "-", str(NOW - 2))
LISTED = Listed([("s", 8, 3)], [("b", 8, 3)])


def _kept(state: State = STATE) -> KnownPoints:
    known = KnownPoints()
    known.keep("tank/v", state, LISTED, wall_s=float(NOW), now=50.0)
    return known


def test_what_has_settled_is_known() -> None:
    assert _kept().find("tank/v", STATE, 51.0) == LISTED


@pytest.mark.parametrize(
    "state",
    [
        STATE._replace(changed=str(NOW)),
        STATE._replace(changed=str(NOW + 5)),
        STATE._replace(guid="9"),
        STATE._replace(origin="tank/w@x"),
    ],
    ids=["newer", "clock", "recreated", "promoted"],
)
def test_a_dataset_that_differs_is_listed(state: State) -> None:
    assert _kept().find("tank/v", state, 51.0) is None


@pytest.mark.rule("No wall clock")
def test_a_clock_that_went_back_is_another_state() -> None:
    earlier = STATE._replace(changed=str(NOW - 3600))
    assert _kept().find("tank/v", earlier, 51.0) is None


@pytest.mark.parametrize("changed", [str(NOW), str(NOW - 1), "-", "", "0x1"])
def test_what_may_change_again_unseen_is_not_kept(changed: str) -> None:
    state = STATE._replace(changed=changed)
    assert _kept(state).find("tank/v", state, 51.0) is None


def test_an_unsettled_listing_replaces_a_settled_one() -> None:
    known = _kept()
    newer = STATE._replace(changed=str(NOW))
    known.keep("tank/v", newer, LISTED, wall_s=float(NOW), now=60.0)
    assert known.find("tank/v", STATE, 61.0) is None


def test_a_listing_is_made_again_after_an_hour() -> None:
    known = _kept()
    assert known.find("tank/v", STATE, 50.0 + MAX_AGE_S - 1) == LISTED
    assert known.find("tank/v", STATE, 50.0 + MAX_AGE_S) is None


def test_what_nobody_asks_for_any_more_is_forgotten() -> None:
    known = _kept()
    later = 50.0 + MAX_AGE_S
    known.keep("tank/w", STATE, LISTED, wall_s=float(NOW), now=later)
    assert list(known._known) == ["tank/w"]


def test_what_was_written_is_known_since_one_snapshot_and_of_one_listing() -> None:
    known = _kept()
    assert known.find_written("tank/v", "s") is None
    known.keep_written("tank/v", "s", 7)
    assert known.find_written("tank/v", "s") == 7
    assert known.find_written("tank/v", "other") is None
    known.keep("tank/v", STATE._replace(guid="9"), LISTED, wall_s=float(NOW), now=60.0)
    assert known.find_written("tank/v", "s") is None
    known.keep_written("tank/w", "s", 7)
    assert known.find_written("tank/w", "s") is None


# --- the program ----------------------------------------------------------------------------------


def _settled(world: World, *names: str) -> None:
    for name in names:
        world.put(name, type="volume", snapshots_changed="1700000000")
        world.put(f"{name}@old")


def _survey(*names: str) -> dict[str, Any]:
    roots = [{"name": name, "recursive": False} for name in names]
    return {"roots": roots, "sync": False, "ours": "9f3a"}


def _points_lists(world: World) -> list[list[str]]:
    return [c for c in world.argvs("list") if "snapshot,bookmark" in c]


def _snapshots(found: dict[str, Any]) -> dict[str, list[str]]:
    return {d["name"]: [s[0] for s in d["snapshots"]] for d in found["datasets"]}


@pytest.mark.rule("O(hosts) planning")
def test_only_what_has_changed_is_listed_again(world: World) -> None:
    _settled(world, "tank/a", "tank/b")
    client = world.connect()
    first = client.request("survey", _survey("tank/a", "tank/b"))
    assert len(_points_lists(world)) == 1
    assert client.request("survey", _survey("tank/a", "tank/b")) == first
    assert len(_points_lists(world)) == 1

    world.put("tank/b", type="volume", snapshots_changed="1700000009")
    world.put("tank/b@new")
    found = client.request("survey", _survey("tank/a", "tank/b"))
    assert _snapshots(found) == {"tank/a": ["old"], "tank/b": ["old", "new"]}
    assert [c[-1] for c in _points_lists(world)[1:]] == ["tank/b"]


def test_bookmarks_that_we_make_are_seen(world: World) -> None:
    _settled(world, "tank/a")
    client = world.connect()
    world.claim(client, 1, ())
    client.request("survey", _survey("tank/a"))
    marks = [{"dataset": "tank/a", "snapshot": "old", "lineage": "4c1f"}]
    client.request("snapshot", {"targets": [], "snapshot": "old", "bookmarks": marks})
    (found,) = client.request("survey", _survey("tank/a"))["datasets"]
    assert len(found["bookmarks"]) == 1


def test_bookmarks_that_we_destroy_are_gone(world: World) -> None:
    _settled(world, "tank/a")
    world.put("tank/a#mark", guid=77)
    client = world.connect()
    world.claim(client, 1, ())
    (found,) = client.request("survey", _survey("tank/a"))["datasets"]
    assert len(found["bookmarks"]) == 1
    client.request("prune", {"items": [{"name": "tank/a#mark", "guid": 77}]})
    (found,) = client.request("survey", _survey("tank/a"))["datasets"]
    assert found["bookmarks"] == []


def test_after_a_refusal_all_is_listed_anew(world: World) -> None:
    _settled(world, "tank/a")
    client = world.connect()
    world.claim(client, 1, ())
    client.request("survey", _survey("tank/a"))
    with pytest.raises(HostError):
        client.request("snapshot", {"targets": [], "snapshot": "x", "bookmarks": []})
    client.request("survey", _survey("tank/a"))
    assert len(_points_lists(world)) == 2


def _written_lists(world: World) -> list[list[str]]:
    return [c for c in world.argvs("list") if any("written@" in word for word in c)]


@pytest.mark.rule("RPO truth")
def test_what_lies_below_the_snapshots_of_others_is_asked_for_once(world: World) -> None:
    """Where others take them every quarter of an hour, ours is seldom the newest."""
    ours, settled = "backstay_20300101T000001.000Z_9f3a0000", "1700000000"

    def put(name: str, written: int, below: int, changed: str = settled) -> None:
        facts = {"guid": ord(name[-1]), "written": written, "since": {ours: below + written}}
        world.put(name, type="volume", snapshots_changed=changed, **facts)

    for name, written, below in (("tank/a", 0, 0), ("tank/b", 0, 22), ("tank/c", 5, 0)):
        put(name, written, below)
        world.put(f"{name}@{ours}")
        world.put(f"{name}@theirs")
    client = world.connect()

    def told() -> dict[str, int]:
        found = client.request("survey", _survey("tank/a", "tank/b", "tank/c"))
        assert {d["since"] for d in found["datasets"]} == {ours}
        return {d["name"]: d["written_since"] for d in found["datasets"]}

    assert told() == {"tank/a": 0, "tank/b": 22, "tank/c": 5}
    assert told() == {"tank/a": 0, "tank/b": 22, "tank/c": 5}
    asked = [c[-3:] for c in _written_lists(world)]
    assert [set(c) & {"tank/a", "tank/b", "tank/c"} for c in asked] == [
        {"tank/a", "tank/b", "tank/c"},
        {"tank/c"},
    ]
    put("tank/a", 7, 0)
    assert told() == {"tank/a": 7, "tank/b": 22, "tank/c": 5}
    put("tank/b", 0, 23, changed="1700000009")
    world.put("tank/b@newer")
    assert told() == {"tank/a": 7, "tank/b": 23, "tank/c": 5}
