"""`survey`: complete, with a constant number of processes, immune to forged properties."""

from __future__ import annotations

import json

import pytest

from backstay_host import protocol
from backstay_host.zfs import argv
from unit.host.client import HostError
from unit.host.conftest import World

OURS = "backstay_20260101T00000{}.000Z_ab120001"


def _survey(*roots: tuple[str, bool], sync: bool = False) -> protocol.Survey:
    return protocol.Survey([protocol.SurveyRoot(*root) for root in roots], "ab12", sync)


def _facts(world: World, body: protocol.Survey) -> dict[str, dict[str, object]]:
    found = world.connect().request("survey", body)["datasets"]
    return {facts["name"]: facts for facts in found}


def test_absent_roots_are_named_and_do_not_fail_the_others(world: World) -> None:
    body = _survey(("tank/v", False), ("tank/nope", False), ("nopool/x", True), sync=True)
    found = world.connect().request("survey", body)
    assert [facts["name"] for facts in found["datasets"]] == ["tank/v"]
    assert found["absent"] == ["nopool/x", "tank/nope"]
    assert world.argvs("sync") == [["zpool", "sync", "tank"]]


def test_any_other_error_is_a_failure_by_name_never_absence(world: World) -> None:
    message = "cannot open 'tank/v': dataset does not exist\ncannot iterate filesystems: I/O error"
    world.trouble("zfs-list", err=message)
    with pytest.raises(HostError, match="I/O error"):
        world.connect().request("survey", _survey(("tank/v", False)))
    world.trouble("zfs-list", err="cannot open 'tank/v': pool I/O is currently suspended")
    with pytest.raises(HostError) as error:
        world.connect().request("survey", _survey(("tank/v", False)))
    assert error.value.reason == "PoolSuspended"


@pytest.mark.rule("O(hosts) planning")
def test_the_number_of_processes_does_not_grow_with_the_datasets(world: World) -> None:
    client = world.connect()
    client.request("survey", _survey(("tank", True), sync=True))
    few = len(world.log)
    for number in range(200):
        world.put(f"tank/d{number}")
        world.put(f"tank/d{number}@{OURS.format(1)}")
    found = client.request("survey", _survey(("tank", True), sync=True))
    assert len(found["datasets"]) == 202
    assert len(world.log) - few == few - 1  # the version is asked once a session
    assert few == 5


@pytest.mark.rule("O(hosts) planning")
@pytest.mark.fault("member list above 128 KiB")
def test_long_lists_of_names_are_cut_into_command_lines_by_bytes(world: World) -> None:
    names = [f"tank/{'x' * 200}{number:04}" for number in range(1500)]
    for name in names[:3]:
        world.put(name)
    found = world.connect().request("survey", _survey(*((name, False) for name in names)))
    assert [facts["name"] for facts in found["datasets"]] == names[:3]
    assert len(found["absent"]) == 1497
    calls = [*world.argvs("get"), *world.argvs("list")]
    assert max(sum(len(word) + 9 for word in call) for call in calls) < 110 * 1024
    assert sum(len(call) for call in calls) > 1500


@pytest.mark.rule("RPO truth")
def test_written_is_told_since_the_newest_snapshot_of_ours(world: World) -> None:
    first, second = OURS.format(1), OURS.format(2)
    world.put("tank/a", written=11)
    world.put(f"tank/a@{first}")
    world.put(f"tank/a@{second}")
    world.put("tank/b", written=0, since={first: 22})
    world.put(f"tank/b@{first}")
    world.put("tank/b@manual")
    world.put("tank/c", written=0)
    world.put("tank/c@manual")
    facts = _facts(world, _survey(("tank", True)))
    told = {name: (f["since"], f["written_since"]) for name, f in facts.items()}
    assert told["tank/a"] == (second, 11)
    assert told["tank/b"] == (first, 22)
    assert told["tank/c"] == ("", -1)


@pytest.mark.rule("RPO truth")
def test_a_snapshot_that_others_take_while_we_look_hides_nothing_that_was_written(
    world: World,
) -> None:
    """`written` counts from theirs then, which holds what ours does not."""
    ours = OURS.format(1)
    world.put("tank/a", written=4096, since={ours: 4096})
    world.put(f"tank/a@{ours}")
    theirs = {"guid": 7, "createtxg": 99, "props": {}}
    world.meanwhile({"tank/a@manual": theirs, "tank/a": {"written": 0}})
    facts = _facts(world, _survey(("tank/a", False)))["tank/a"]
    assert (facts["since"], facts["written_since"]) == (ours, 4096)
    datasets, points = [c for c in world.log if c["argv"][1] in ("get", "list")][1:3]
    assert datasets["argv"][1] == "get"
    assert "snapshot,bookmark" in points["argv"]
    assert str(datasets["pid"]) in points["after"]


@pytest.mark.rule("Negotiated capabilities")
@pytest.mark.fault("forged user property")
@pytest.mark.parametrize(("version", "as_json"), [("2.3.9-1", True), ("2.2.4", False)])
def test_a_property_with_tabs_and_newlines_forges_nothing(
    world: World, version: str, as_json: bool
) -> None:
    (world.home / "version").write_text(version)
    own = "dev.backstay:lineage\ttank/a"
    theirs = "tank/v\tdev.backstay:writer\t9:evil\tdev.backstay:writer\ttank/v"
    forged = f"x\t{own}\n{theirs}\ntank/a\tdev.backstay:lineage\ty"
    world.put("tank/a", props={"dev.backstay:lineage": forged})
    client = world.connect()
    if as_json:
        found = client.request("survey", _survey(("tank", True)))["datasets"]
        facts = {f["name"]: f["properties"] for f in found}
        assert facts["tank/v"] == {}
        assert facts["tank/a"] == {"dev.backstay:lineage": forged}
    else:
        with pytest.raises(HostError) as error:
            client.request("survey", _survey(("tank", True)))
        assert error.value.reason == "UnexpectedOutput"


@pytest.mark.rule("Negotiated capabilities")
@pytest.mark.parametrize("version", ["2.3.9-1", "2.1.11"])
def test_settings_are_listed_in_either_form_and_no_other_property(
    world: World, version: str
) -> None:
    (world.home / "version").write_text(version)
    world.put("tank/a", props={"compression": "zstd", "sharenfs": "on"})
    body = _survey(("tank", True))
    asked = protocol.Survey(body.roots, body.ours, settings=["compression", "recordsize"])
    facts = _facts(world, asked)
    assert facts["tank/a"]["settings"] == {"compression": "zstd"}
    assert facts["tank/v"]["settings"] == {}
    assert _facts(world, body)["tank/a"]["settings"] == {}
    with pytest.raises(HostError, match="sharenfs") as error:
        world.connect().request("survey", protocol.Survey([], "ab12", settings=["sharenfs"]))
    assert error.value.reason == "BadRequest"


TOLD = {key: {"value": "1", "source": {"type": "NONE"}} for key in argv.DATASET_COLUMNS[1:]}
NO_FACTS = [
    *(
        {"tank": {key: TOLD[key] for key in TOLD if key != lacking}}
        for lacking in ("guid", "written")
    ),
    {"tank": TOLD | {"guid": {"value": "-", "source": {"type": "NONE"}}}},
    {"tank": TOLD | {"receive_resume_token": {"value": "-R", "source": {"type": "NONE"}}}},
    {"tank": TOLD | {argv.CHANGED: {"value": "9" * 5000, "source": {"type": "NONE"}}}},
    *({name: TOLD} for name in ("-r", "tank/\0", "tank/\ud800", "")),
]
"""A column that was asked for is not there, or is nothing that it can be, or a name is none."""


def test_facts_that_are_no_answer_are_refused_as_such(world: World) -> None:
    client = world.connect()
    for facts in NO_FACTS:
        datasets = {name: {"properties": told} for name, told in facts.items()}
        world.trouble("zfs-get", status=0, out=json.dumps({"datasets": datasets}))
        with pytest.raises(HostError) as error:
            client.request("survey", _survey(("tank", False)))
        assert error.value.reason == "UnexpectedOutput", facts


@pytest.mark.rule("Raw lineage")
@pytest.mark.rule("O(hosts) planning")
def test_keys_and_iv_sets_are_asked_for_what_is_encrypted_at_once(world: World) -> None:
    for name in ("tank/a", "tank/b"):
        world.put(name, encryption="aes-256-gcm", keystatus="unavailable")
        for number in range(40):
            world.put(f"{name}@s{number}", ivsetguid=5_000 + number, keystatus="unavailable")
        world.put(f"{name}#m", ivsetguid=5_000, keystatus="-")
    world.put("tank/a#old", ivsetguid="-")
    world.put("tank/v@s")
    facts = _facts(world, _survey(("tank", True)))
    (asked,) = [c for c in world.argvs("list") if "name,guid,ivsetguid,keystatus" in c]
    assert not [word for word in asked if word.startswith("tank/v")]
    newest = {f"@s{number}": 5_000 + number for number in range(8, 40)}
    assert facts["tank/a"]["ivsets"] == facts["tank/b"]["ivsets"] == {**newest, "#m": 5_000}
    assert facts["tank/a"]["key_status"] == "unavailable"
    assert (facts["tank/v"]["key_status"], facts["tank/v"]["ivsets"]) == ("", {})


def test_a_dataset_that_vanishes_while_we_look_is_absent(world: World) -> None:
    world.put("tank/a", props={"dev.backstay:lineage": "4c1f"})
    world.put("tank/ghost", vanishes=True)
    body = _survey(("tank/a", False), ("tank/ghost", False))
    found = world.connect().request("survey", body)
    assert [f["name"] for f in found["datasets"]] == ["tank/a"]
    assert found["datasets"][0]["properties"] == {"dev.backstay:lineage": "4c1f"}
    assert found["absent"] == ["tank/ghost"]


def test_tokens_are_decoded_even_where_their_snapshot_is_not(world: World) -> None:
    told = b'{"name": "else/v@x", "guid": 77, "bytes": 4096}'.hex()
    world.put("backup/r/v", receive_resume_token=f"1-abc-def-{told}")
    world.put("backup/r/w", receive_resume_token="-")
    facts = _facts(world, _survey(("backup/r", True)))
    assert facts["backup/r/v"]["token"] == {
        "text": f"1-abc-def-{told}",
        "to_name": "else/v@x",
        "to_guid": 77,
        "from_guid": 0,
        "received_bytes": 4096,
        "raw": False,
    }
    assert facts["backup/r/w"]["token"] is None


def test_a_dataset_that_a_command_of_ours_uses_is_busy(world: World) -> None:
    world.put("tank/v@a")
    world.trouble("zfs-destroy", hang=True)
    first = world.connect(claim=3)
    doomed = [protocol.Doomed("tank/v@a", world.things["tank/v@a"]["guid"])]
    first.post("prune", protocol.Prune(doomed))
    second = world.connect()
    second.wait_for(lambda: bool(world.argvs("destroy")))
    assert second.request("survey", _survey(("tank", True)))["busy"] == ["tank/v"]
