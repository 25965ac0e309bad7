"""Streams between two pools of a real host: seed, increment, resume, and what breaks them."""

from __future__ import annotations

import pytest

from backstay_host import protocol
from lab.host.scene import LINEAGE, Scene, stamp
from unit.host.client import HostError


@pytest.mark.rule("Bookmark with snapshot")
@pytest.mark.rule("Commit truth")
def test_a_seed_and_an_increment_arrive_with_their_guids(scene: Scene) -> None:
    scene.write(8)
    first = scene.snapshot(1)
    assert first["bookmarks"] == [f"backstay_{LINEAGE}_{first['guid']:016x}_{first['createtxg']}"]
    scene.seed(1)
    scene.write(2, at=8)
    second = scene.snapshot(2)
    outcomes = scene.transfer(scene.send_order(2, base=1), scene.receive_order())
    assert [o["reason"] for o in outcomes] == ["", ""]

    facts = scene.facts()
    source, replica = facts[scene.volume], facts[scene.replica]
    assert [guid for _, guid, _ in replica["snapshots"]] == [first["guid"], second["guid"]]
    assert [guid for _, guid, _ in source["bookmarks"]] == [first["guid"], second["guid"]]
    assert replica["properties"] == {"dev.backstay:lineage": LINEAGE}
    assert replica["readonly"]
    assert (replica["since"], replica["written_since"]) == (stamp(2), 0)
    assert (source["since"], source["written_since"]) == (stamp(2), 0)
    moved = {(p["index"], p["bytes"] > 2_000_000) for p in scene.client.progress}
    assert (0, True) in moved


@pytest.mark.rule("Resume tokens are untrusted input")
@pytest.mark.fault("kill -9 of `zfs receive` mid-send")
def test_a_killed_seed_resumes_from_its_token_and_keeps_its_properties(scene: Scene) -> None:
    scene.write(24)
    made = scene.snapshot(1)
    sent, send_command = scene.ticket(scene.send_order(1))
    received, receive_command = scene.ticket(scene.receive_order(seed=True))
    scene.start(f"{send_command} | pv -qL 3m | {receive_command}")
    scene.wait_for_bytes(received, 9_000_000)
    scene.host.run(f"pkill -9 -f 'zfs receive.*{scene.replica}'")
    assert scene.client.ended(received)[-1]["reason"] == "CommandFailed"
    assert scene.client.ended(sent)[-1]["reason"] in ("PeerEnded", "CommandFailed")

    partial = scene.facts()[scene.replica]
    # Local properties of `receive -o` are there before the data is (OpenZFS 2.3.9).
    assert partial["properties"] == {"dev.backstay:lineage": LINEAGE}
    token = partial["token"]
    assert (token["to_guid"], token["from_guid"]) == (made["guid"], 0)
    assert token["to_name"] == f"{scene.volume}@{stamp(1)}"
    assert token["received_bytes"] > 1_000_000

    wrong = token["text"][:-1] + "x".translate({120: "10"[token["text"][-1] == "1"]})
    with pytest.raises(HostError, match="StaleReceiveState"):
        scene.client.request("abort", protocol.AbortReceive(scene.replica, LINEAGE, wrong))
    again = scene.resumed(scene.send_order(1), token["text"])
    outcomes = scene.transfer(again, scene.receive_order(seed=True, resumed=True))
    assert [o["reason"] for o in outcomes] == ["", ""]
    whole = scene.facts()[scene.replica]
    assert [guid for _, guid, _ in whole["snapshots"]] == [made["guid"]]
    assert whole["token"] is None
    # … and a resumed receive keeps them without `-o`.
    assert whole["properties"] == {"dev.backstay:lineage": LINEAGE}
    assert scene.host.run(f"zfs get -H -o value volmode {scene.replica}").strip() == "none"
    sent_again = sum(p["bytes"] for p in scene.client.progress[-1:])
    assert sent_again < 24 * 1024 * 1024 - token["received_bytes"] + 4_000_000


@pytest.mark.fault("token's source snapshot destroyed")
def test_a_token_is_decoded_without_its_snapshot_and_aborted_by_lineage(scene: Scene) -> None:
    scene.write(8)
    made = scene.snapshot(1)
    outcomes = scene.transfer(
        scene.send_order(1), scene.receive_order(seed=True), through="head -c 4000000"
    )
    assert outcomes[1]["reason"] == "BadStream"
    scene.host.run(f"zfs destroy {scene.volume}@{stamp(1)}")
    token = scene.facts()[scene.replica]["token"]
    assert token["to_guid"] == made["guid"]

    with pytest.raises(HostError, match="LineageMismatch"):
        scene.client.request("abort", protocol.AbortReceive(scene.replica, "beef", token["text"]))
    scene.client.request("abort", protocol.AbortReceive(scene.replica, LINEAGE, token["text"]))
    assert scene.client.commands == [["zfs", "receive", "-A", scene.replica]]
    assert scene.replica not in scene.facts()


@pytest.mark.rule("Seed only into nothing, and only what was planned")
def test_nothing_is_sent_or_received_that_was_not_planned(scene: Scene) -> None:
    scene.write(1)
    scene.snapshot(1)
    order = scene.send_order(1)
    scene.host.run(
        f"zfs rename {scene.volume} {scene.source}/old && zfs create -V 8M {scene.volume}"
    )
    scene.host.run(f"zfs snapshot {scene.volume}@{stamp(1)}; zfs create -V 8M {scene.replica}")
    outcomes = scene.transfer(order, scene.receive_order(seed=True))
    assert outcomes[0]["reason"] == "SourceChanged"
    assert outcomes[1]["reason"] == "TargetHasForeignData"
    ticket, command = scene.ticket(scene.receive_order())
    scene.start(command)
    assert scene.client.ended(ticket)[-1]["reason"] == "LineageMismatch"
