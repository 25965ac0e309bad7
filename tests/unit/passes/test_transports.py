"""How bytes travel, from the policy to the streams: who shares a pipe, and what is in the way."""

from __future__ import annotations

import pytest
import structlog.testing

from backstay.api.kinds import DATA_KEY, PRIVATE_KEY
from backstay.domain.steps import RELAY, Transport
from fakes.lab import Lab

WITH_DATA_KEY = {PRIVATE_KEY: b"key", DATA_KEY: b"data"}
MIB = 1024 * 1024


def ways(lab: Lab) -> dict[Transport, list[str]]:
    """Members of the pipes that were begun since the last time, by their way."""
    found: dict[Transport, list[str]] = {}
    for pipe in lab.core.pipes:
        found.setdefault(pipe.transport, []).extend(t.member for t in pipe.transfers)
    lab.core.pipes.clear()
    return found


async def test_a_pair_travels_as_its_policy_says_from_the_seed_on(lab: Lab) -> None:
    lab.core.secrets["key"] = WITH_DATA_KEY
    lab.core.policy(transfer={"path": "Direct", "rateLimit": "50MiB"})
    lab.core.pair("erp", lab.volumes(2))
    await lab.core.settle()
    way = Transport(direct=True, rate_bytes_s=50 * MIB)
    assert ways(lab) == {way: ["d0", "d1"]}
    lab.a.write("tank/vm/d1", 4096)
    await lab.core.passing(150)
    assert ways(lab) == {way: ["d1"]}
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")


@pytest.mark.rule("O(hosts) planning")
async def test_two_ways_on_one_route_have_two_pipes_and_are_read_back_together(lab: Lab) -> None:
    lab.core.secrets["key"] = WITH_DATA_KEY
    lab.core.policy("direct", transfer={"path": "Direct"})
    members = lab.volumes(4)
    lab.core.pair("erp", {n: members[n] for n in ("d0", "d1")})
    lab.core.pair("web", {n: members[n] for n in ("d2", "d3")}, policyRef={"name": "direct"})
    await lab.core.settle()
    ways(lab)
    for name in members:
        lab.a.write(f"tank/vm/{name}", 4096)
    lab.world.advance(150)
    for host in (lab.a, lab.b):
        host.requests.clear()
    await lab.core.passing()
    assert ways(lab) == {RELAY: ["d0", "d1"], Transport(direct=True): ["d2", "d3"]}
    assert lab.equal(*members)
    assert lab.b.requests["survey"] == 2  # before, and after all of the pipes


async def test_without_a_data_key_every_member_says_so_and_pairs_that_relay_go_on(
    lab: Lab,
) -> None:
    lab.core.policy("direct", transfer={"path": "Direct"})
    members = lab.volumes(3)
    lab.core.pair("erp", {"d0": members["d0"]})
    lab.core.pair("web", {n: members[n] for n in ("d1", "d2")}, policyRef={"name": "direct"})
    await lab.core.live(60)
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")
    assert lab.core.condition("web", "Ready")[0] == "False"
    assert "data-privatekey" in lab.core.message("web", "Ready")
    lab.core.secrets["key"] = WITH_DATA_KEY
    await lab.core.live(900)
    assert lab.core.condition("web", "Ready") == ("True", "UpToDate")


async def test_a_lost_data_key_sets_no_member_apart(lab: Lab) -> None:
    lab.core.secrets["key"] = WITH_DATA_KEY
    lab.core.policy(transfer={"path": "Direct"})
    lab.core.pair("erp", lab.volumes(3))
    await lab.core.live(600)
    lab.core.secrets["key"] = {PRIVATE_KEY: b"key"}
    await lab.core.live(60)
    for name in ("d0", "d1", "d2"):
        lab.a.write(f"tank/vm/{name}", 4096)
    await lab.core.live(300)
    reasons = {m["reason"] for m in lab.core.status("erp")["worst"]}
    assert reasons == {"SecretMissing"}
    lab.core.secrets["key"] = WITH_DATA_KEY
    ways(lab)
    await lab.core.live(300)
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")
    assert [len(pipe.transfers) for pipe in lab.core.pipes if pipe.transfers][:1] == [3]


@pytest.mark.fault("no `mbuffer` or `zstd` on a host")
async def test_what_a_host_lacks_is_left_out_with_a_warning(lab: Lab) -> None:
    lab.b.tools = frozenset({"ssh"})
    lab.core.policy(transfer={"compression": "Zstd", "buffer": "64MiB"})
    lab.core.pair("erp", lab.volumes(1))
    with structlog.testing.capture_logs() as logs:
        await lab.core.settle()
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")
    said = [entry["why"] for entry in logs if entry["event"] == "transport-left-out"]
    assert len(said) == 2
    assert said[0].startswith("zstd is missing on muc/h: streams go without compression")
