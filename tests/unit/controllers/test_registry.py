"""The registry: what counts as news, what is kept, and how a LIST heals it."""

from __future__ import annotations

from typing import Any

import pytest

from backstay.controllers.keys import ObjectKey, routes_of
from backstay.controllers.registry import Invalid, Registry, parse
from backstay.domain.pairs import HostKey, Route
from fakes.objects import body, changed, pair, policy, site

PAIR = ObjectKey("ReplicationPair", "ns", "p")


def test_a_new_object_is_news_and_is_found() -> None:
    registry = Registry()
    assert registry.put("Site", site("a"))
    assert registry.put("ProtectionPolicy", policy())
    assert registry.put("ReplicationPair", pair("p"))
    assert registry.site("ns", "a") is not None
    assert registry.site("other", "a") is None
    assert registry.policy("ns", "gold") is not None
    found = registry.pair("ns", "p")
    assert found is not None
    assert registry.pairs() == (found,)
    assert routes_of(found) == (Route(HostKey("ns", "a", "h1"), HostKey("ns", "b", "h1")),)


def test_an_echo_of_a_status_write_is_no_news() -> None:
    registry, old = Registry(), pair("p")
    registry.put("ReplicationPair", old)
    echo = {**changed(old, resourceVersion="2"), "status": {"activeSite": "a"}}
    assert not registry.put("ReplicationPair", echo)
    assert registry.status(parse("ReplicationPair", old).ref) == {"activeSite": "a"}


def test_a_version_that_is_known_is_not_parsed_again_and_another_one_is() -> None:
    registry, first = Registry(), changed(pair("p"), resourceVersion="7")
    registry.put("ReplicationPair", first)
    known = registry.read("ReplicationPair", first)
    assert known is registry.entry(PAIR)
    registry.put("ReplicationPair", first)
    assert registry.entry(PAIR) is known
    newer = changed(first, resourceVersion="8", spec={"suspend": True})
    assert registry.put(
        "ReplicationPair", {**newer, "metadata": {**newer["metadata"], "generation": 2}}
    )
    found = registry.pair("ns", "p")
    assert found is not None
    assert found.spec.suspend
    namesake = changed(pair("p"), resourceVersion="8")
    assert registry.read("ReplicationPair", namesake).ref.uid == namesake["metadata"]["uid"]


@pytest.mark.parametrize(
    "change",
    [
        {"annotations": {"backstay.dev/resolve": "{}"}},
        {"annotations": {"backstay.dev/requested-at": "now"}},
        {"finalizers": ["backstay.dev/bookmarks"]},
        {"deletionTimestamp": "2030-01-01T00:00:00Z"},
        {"spec": {"suspend": True}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_of_an_echo_only_the_status_is_read_and_of_anything_else_all(
    change: dict[str, Any],
) -> None:
    registry, first = Registry(), changed(pair("p"), resourceVersion="7")
    registry.put("ReplicationPair", first)
    known = registry.entry(PAIR)
    assert known is not None
    echo = {**changed(first, resourceVersion="8"), "status": {"activeSite": "a"}}
    found = registry.read("ReplicationPair", echo)
    assert found.value is known.value
    assert (found.version, found.status) == ("8", {"activeSite": "a"})
    news = registry.read("ReplicationPair", changed(echo, resourceVersion="9", **change))
    assert news == parse("ReplicationPair", changed(echo, resourceVersion="9", **change))
    assert news.value is not known.value


def test_an_older_echo_of_a_known_version_takes_no_status_back() -> None:
    registry, body = Registry(), changed(pair("p"), resourceVersion="7")
    registry.put("ReplicationPair", body)
    ref = parse("ReplicationPair", body).ref
    registry.observe_status(ref, {"activeSite": "b"})
    registry.put("ReplicationPair", body)
    assert registry.status(ref) == {"activeSite": "b"}


def test_what_asks_for_work_is_news() -> None:
    for change in (
        changed(pair("p"), generation=2),
        changed(pair("p"), deletionTimestamp="2030-01-01T00:00:00Z"),
        changed(pair("p"), annotations={"backstay.dev/requested-at": "now"}),
        pair("p", uid="another"),
    ):
        registry = Registry()
        registry.put("ReplicationPair", pair("p", uid=change["metadata"]["uid"]))
        if change["metadata"]["uid"] == "another":
            registry = Registry()
            registry.put("ReplicationPair", pair("p"))
        assert registry.put("ReplicationPair", change)
        assert not registry.put("ReplicationPair", change)


def test_other_annotations_and_finalizers_are_no_news() -> None:
    registry, old = Registry(), pair("p")
    registry.put("ReplicationPair", old)
    assert not registry.put("ReplicationPair", changed(old, annotations={"note": "x"}))
    assert not registry.put("ReplicationPair", changed(old, finalizers=["backstay.dev/x"]))
    entry = registry.entry(PAIR)
    assert entry is not None
    assert entry.finalizers == ("backstay.dev/x",)


def test_a_body_that_its_model_refuses_is_kept_with_the_paths_of_its_faults() -> None:
    registry = Registry()
    bad = pair("p")
    bad["spec"]["datasets"][0]["at"]["a"]["dataset"] = "tank/a@b"
    assert registry.put("ReplicationPair", bad)
    entry = registry.entry(PAIR)
    assert entry is not None
    assert isinstance(entry.value, Invalid)
    assert entry.value.generation == 1
    assert "spec.datasets.0.at.a.dataset" in entry.value.errors[0]
    assert registry.pairs() == ()
    assert registry.pair("ns", "p") is None


def test_a_body_without_a_spec_is_invalid_and_no_exception() -> None:
    registry = Registry()
    empty = body("Site", "a", {})
    del empty["spec"]
    assert registry.put("Site", empty)
    assert registry.site("ns", "a") is None


def test_a_status_of_another_version_does_not_make_an_object_invalid() -> None:
    registry = Registry()
    registry.put("ReplicationPair", {**pair("p"), "status": {"conditions": "none", "members": 7}})
    assert registry.pair("ns", "p") is not None


def test_a_re_created_object_replaces_the_old_one_and_its_late_deletion_does_not_remove_it() -> (
    None
):
    registry, old, new = Registry(), pair("p"), pair("p")
    registry.put("ReplicationPair", old)
    registry.put("ReplicationPair", new)
    assert not registry.drop(parse("ReplicationPair", old).ref)
    assert registry.pair("ns", "p") is not None
    assert registry.drop(parse("ReplicationPair", new).ref)
    assert registry.pair("ns", "p") is None


def test_a_status_of_an_object_that_was_re_created_is_not_remembered() -> None:
    registry, old, new = Registry(), pair("p"), pair("p")
    registry.put("ReplicationPair", old)
    registry.put("ReplicationPair", new)
    registry.observe_status(parse("ReplicationPair", old).ref, {"activeSite": "a"})
    assert registry.status(parse("ReplicationPair", new).ref) == {}
    assert registry.status(parse("ReplicationPair", old).ref) is None


def test_a_list_drops_ghosts_of_its_kind_and_tells_what_it_found() -> None:
    registry, kept, ghost = Registry(), pair("p"), pair("ghost")
    for known in (kept, ghost):
        registry.put("ReplicationPair", known)
    registry.put("Site", site("a"))
    with registry.healing("ReplicationPair") as heal:
        missed = pair("missed")
    news, ghosts = registry.heal(heal, [parse("ReplicationPair", body) for body in (kept, missed)])
    assert [entry.ref.name for entry in news] == ["missed"]
    assert [entry.ref.name for entry in ghosts] == ["ghost"]
    assert {p.metadata.name for p in registry.pairs()} == {"p", "missed"}
    assert registry.site("ns", "a") is not None


def test_what_an_event_said_during_a_list_is_newer_than_the_list() -> None:
    registry, edited, deleted = Registry(), pair("edited"), pair("deleted")
    for known in (edited, deleted):
        registry.put("ReplicationPair", known)
    with registry.healing("ReplicationPair") as heal:
        registry.put("ReplicationPair", changed(edited, spec={"suspend": True}))
        registry.drop(parse("ReplicationPair", deleted).ref)
        registry.put("ReplicationPair", pair("created"))
    news, ghosts = registry.heal(
        heal, [parse("ReplicationPair", body) for body in (edited, deleted)]
    )
    assert news == []
    assert ghosts == []
    assert {p.metadata.name for p in registry.pairs()} == {"edited", "created"}
    found = registry.pair("ns", "edited")
    assert found is not None
    assert found.spec.suspend


def test_what_changed_is_told_once_each_without_a_look_at_the_rest() -> None:
    registry = Registry()
    for name in ("p", "q", "r"):
        registry.put("ReplicationPair", pair(name))
    assert [key.name for key in registry.changed_since(-1)] == ["p", "q", "r"]
    before = registry.revision
    assert registry.changed_since(before) == []
    edited = changed(pair("p"), spec={"suspend": True})
    registry.put("ReplicationPair", edited)
    registry.observe_status(parse("ReplicationPair", edited).ref, {"activeSite": "a"})
    registry.put("ReplicationPair", changed(edited, spec={"suspend": False}))
    gone = registry.entry(parse("ReplicationPair", pair("q")).key)
    assert gone is not None
    registry.drop(gone.ref)
    assert [key.name for key in registry.changed_since(before)] == ["p", "q"]
    assert [key.name for key in registry.changed_since(before + 2)] == ["q"]
