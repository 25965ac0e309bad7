"""The fence on a real host: kills, stops, stale heartbeats, other leaders and installations."""

from __future__ import annotations

import pytest

from backstay_host import protocol
from lab.host.conftest import Connect
from lab.host.scene import LINEAGE, Scene
from unit.host.client import HostError


def _receive_slowly(scene: Scene) -> str:
    """A seed is under way that takes longer than any test; the ticket of its receiver."""
    scene.write(32)
    scene.snapshot(1)
    _, send_command = scene.ticket(scene.send_order(1))
    received, receive_command = scene.ticket(scene.receive_order(seed=True))
    scene.start(f"{send_command} | pv -qL 1m | {receive_command}")
    scene.wait_for_bytes(received, 3_000_000)
    return received


def _left(scene: Scene) -> list[str]:
    """Processes that work on the scene's datasets, other than the shell that looks."""
    out = scene.host.attempt(f"pgrep -af '^zfs (send|receive).*{scene.source[5:]}'").stdout
    return out.splitlines()


def _token(scene: Scene) -> str:
    return scene.host.run(f"zfs get -Hp -o value receive_resume_token {scene.replica}").strip()


@pytest.mark.rule("Single writer, fenced at the host")
@pytest.mark.fault("kill -9 of host program or ssh mid-send")
def test_killing_serve_ends_its_streams_without_late_effects(
    scene: Scene, connect: Connect
) -> None:
    _receive_slowly(scene)
    nonce = scene.client.greeting["nonce"]
    scene.host.run(
        f"kill -9 $(pgrep -f 'python3 -I -c' | while read p; do "
        f"ls -l /proc/$p/fd /proc/$p/map_files 2>/dev/null | grep -q {nonce} && echo $p; done; "
        f"fuser /run/backstay/{nonce}.sock 2>/dev/null; "
        f"ss -xlpH | grep {nonce} | grep -o 'pid=[0-9]*' | cut -d= -f2)"
    )
    scene.client.closed.wait(20)
    second = connect(scene.host)
    scene.client = second
    assert scene.claim(2)["outcome"] == "Held"
    # From here on nothing of the old line may happen: its processes are gone …
    assert _left(scene) == []
    token = _token(scene)
    assert token not in ("-", "")
    # … its files were swept, the lock is free, and the state stands still.
    assert scene.host.attempt(f"ls /run/backstay/{nonce}.sock").returncode != 0
    assert (
        second.request("survey", protocol.Survey([protocol.SurveyRoot(scene.root, True)], "ab12"))[
            "busy"
        ]
        == []
    )
    assert _token(scene) == token


@pytest.mark.rule("Single writer, fenced at the host")
@pytest.mark.fault("leader stopped for a minute and woken")
def test_a_claim_kills_stopped_holders_and_the_woken_leader_changes_nothing(
    scene: Scene, connect: Connect
) -> None:
    received = _receive_slowly(scene)
    scene.host.run(
        f"pkill -STOP -f 'zfs (receive|send).*{scene.source[5:]}'; "
        f"pkill -STOP -f '^[^ ]*python3 -I .*stream {received}'"
    )
    old, new = scene.client, connect(scene.host)
    assert scene.claim(2, new)["outcome"] == "Held"
    assert _left(scene) == []
    body = protocol.Claim(scene.installation, [scene.root], "one")
    with pytest.raises(HostError) as refused:
        old.request("claim", body)
    assert (refused.value.reason, refused.value.higher_term) == ("HigherTerm", 2)
    with pytest.raises(HostError) as refused:
        old.request("posture", protocol.Posture(scene.replica, LINEAGE, {"readonly": "on"}))
    assert (refused.value.reason, refused.value.higher_term) == ("HigherTerm", 2)
    writer = scene.host.run(f"zfs get -H -o value dev.backstay:writer {scene.root}").strip()
    assert writer == f"2:{scene.installation}"


@pytest.mark.rule("Single writer, fenced at the host")
def test_a_stale_heartbeat_ends_everything_and_a_late_answer_revives_nothing(
    scene: Scene,
) -> None:
    _receive_slowly(scene)
    client = scene.client
    client.answers_beats = False
    first = len(client.beats)
    client.wait_for(lambda: len(client.beats) > first)
    nonce = client.beats[-1]
    client.beat(nonce, 2.0)  # a Lease that ends in two seconds …
    client.beat("0" * 16, 600.0)  # … is not extended by a nonce that nobody asked with
    client.beat(nonce, 600.0)  # … nor by the same one again
    assert client.closed.wait(20)
    assert client.process.wait(20) == 0
    assert _left(scene) == []
    assert scene.host.attempt(f"ls /run/backstay/{client.greeting['nonce']}.zip").returncode != 0


@pytest.mark.rule("Single writer, fenced at the host")
@pytest.mark.fault("another installation on the same hosts")
def test_another_installation_is_refused_and_touches_nothing(
    scene: Scene, connect: Connect
) -> None:
    other = connect(scene.host)
    body = protocol.Claim("other/cluster", [scene.root, f"{scene.root}/nope"], "one")
    found = other.request("claim", body)["roots"]
    assert [r["outcome"] for r in found] == ["Foreign", "Missing"]
    assert found[0]["writer"] == f"1:{scene.installation}"
    create = protocol.CreateParents(scene.root, [f"{scene.root}/a", f"{scene.root}/a/b"])
    with pytest.raises(HostError, match="ForeignWriter"):
        other.request("create", create)
    scene.client.request("create", create)
    assert scene.host.run(f"zfs get -H -o value mounted,canmount {scene.root}/a/b").split() == [
        *("no", "off")
    ]
    seen = {scene.root: found[0]["writer"]}
    takeover = protocol.Claim("other/cluster", [scene.root], "one", takeover=True, replaces=seen)
    seized = other.request("claim", takeover)["roots"]
    assert seized[0]["outcome"] == "Held"
    with pytest.raises(HostError, match="ForeignWriter"):
        scene.client.request("create", protocol.CreateParents(scene.root, [f"{scene.root}/c"]))
