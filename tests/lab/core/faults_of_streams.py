"""Streams and requests that break on real pools: each is gone on from, nothing is seeded anew."""

from __future__ import annotations

import shlex

import pytest

from backstay.domain.steps import Increment, Resume, Seed
from lab.core.real import RealLab, kill_ssh

KIB = 1024
GARBLE = """
import sys
data = sys.stdin.buffer.read()
at = len(data) * 2 // 3
sys.stdout.buffer.write(data[:at] + bytes([data[at] ^ 255]) + data[at + 1:])
"""


async def recovers(lab: RealLab) -> None:
    """The next passes reach what an undisturbed pass would have reached."""
    for _ in range(3):
        await lab.core.passing(151)
    await lab.expect_fresh()
    await lab.expect_little_left()


@pytest.mark.parametrize(
    "through",
    [
        pytest.param("head -c 0", marks=pytest.mark.fault("stream cut before its first byte")),
        pytest.param("head -c 1", marks=pytest.mark.fault("full stream cut after its first byte")),
    ],
)
async def test_a_seed_of_which_nothing_came_is_sent_again(lab: RealLab, through: str) -> None:
    lab.core.pair("erp", await lab.volumes(1))
    lab.core.breaker.through = through
    await lab.core.passing()
    await recovers(lab)


@pytest.mark.parametrize(
    "through",
    [
        pytest.param("head -c 150000", marks=pytest.mark.fault("full stream cut in the middle")),
        pytest.param("head -c -100", marks=pytest.mark.fault("full stream cut in its last record")),
    ],
)
async def test_a_seed_that_is_cut_is_gone_on_with(lab: RealLab, through: str) -> None:
    lab.core.pair("erp", await lab.volumes(1))
    lab.core.breaker.through = through
    await lab.core.passing()
    await recovers(lab)
    assert [type(t.how) for t in lab.core.sent()][:2] == [Seed, Resume]


@pytest.mark.parametrize(
    "through",
    [
        pytest.param(
            "head -c 1", marks=pytest.mark.fault("incremental stream cut after its first byte")
        ),
        pytest.param(
            "head -c 40000", marks=pytest.mark.fault("incremental stream cut in the middle")
        ),
        pytest.param(
            "head -c -100", marks=pytest.mark.fault("incremental stream cut in its last record")
        ),
    ],
)
async def test_an_increment_that_is_cut_is_gone_on_with(lab: RealLab, through: str) -> None:
    await lab.protected()
    lab.core.breaker.through = through
    await lab.next_point()
    await recovers(lab)
    assert all(isinstance(t.how, Increment | Resume) for t in lab.core.sent())


@pytest.mark.fault("one garbled byte in the stream")
async def test_a_garbled_stream_commits_nothing_and_is_sent_again(lab: RealLab) -> None:
    await lab.protected()
    before = await lab.b.guids("d0")
    lab.core.breaker.through = f"python3 -c {shlex.quote(GARBLE)}"
    await lab.write()
    await lab.core.run_once(151)
    assert await lab.b.guids("d0") == before
    await recovers(lab)


@pytest.mark.fault("acknowledgement lost (receive done, ssh dies)")
async def test_a_lost_acknowledgement_sends_nothing_again(lab: RealLab) -> None:
    await lab.protected()
    lab.core.lose_next_acknowledgement = True
    await lab.write()
    await lab.core.run_once(151)
    lab.core.sent()
    for _ in range(2):
        await lab.core.passing()
    await lab.expect_fresh()
    assert lab.core.sent() == []


@pytest.mark.fault("member of a shared pipe fails in the middle")
async def test_members_behind_a_cut_are_sent_by_the_next_pass(lab: RealLab) -> None:
    await lab.protected(3)
    lab.core.breaker.through = "head -c 110000"
    await lab.next_point()
    await recovers(lab)
    assert all(isinstance(t.how, Increment | Resume) for t in lab.core.sent())


@pytest.mark.fault("member of a group interrupted again and again")
async def test_a_group_stays_at_its_set_until_it_is_whole(lab: RealLab) -> None:
    await lab.protected(2, consistencyGroup=True)
    await lab.write()
    lab.core.breaker.through = "head -c 30000"
    await lab.core.run_once(151)
    wanted = {t.guid for t in lab.core.sent()}
    await lab.write()
    lab.core.breaker.through = "head -c 100"
    await lab.core.run_once(151)
    assert {t.guid for t in lab.core.sent()} <= wanted
    await recovers(lab)
    for name in ("d0", "d1"):
        assert wanted & set(await lab.b.guids(name))


@pytest.mark.fault(
    "kill -9 of the operator before the snapshot",
    "kill -9 of the operator before the send",
    "kill -9 of the operator after the receive, before its status",
    "kill -9 of the operator amid pruning",
    "kill -9 of host program or ssh before the snapshot",
    "kill -9 of host program or ssh before the send",
    "kill -9 of host program or ssh after the receive, before its status",
    "kill -9 of host program or ssh amid pruning",
)
@pytest.mark.parametrize("who", ["operator", "ssh"])
@pytest.mark.parametrize(
    "trap",
    [("before", "snapshot"), ("after", "snapshot"), ("before", "prune"), ("after", "prune")],
    ids=" ".join,
)
async def test_a_kill_around_a_request_changes_nothing_in_the_end(
    lab: RealLab, who: str, trap: tuple[str, str]
) -> None:
    lab.core.policy(retention={"source": {"last": 1}, "target": {"last": 1}})
    await lab.protected()
    await lab.next_point()
    points = await lab.b.guids("d0")
    lab.core.trap = trap
    await lab.write()
    await lab.core.run_once(151)
    assert lab.core.trap is None, "the request was never made"
    held = await lab.b.guids("d0")
    assert points[-1] in held or held[-1] not in points, "a newer point may have taken its place"
    if who == "operator":
        await lab.core.kill()
    await recovers(lab)
    assert all(isinstance(t.how, Increment | Resume) for t in lab.core.sent())


@pytest.mark.fault("kill -9 of the operator mid-send")
@pytest.mark.fault("kill -9 of host program or ssh mid-send")
@pytest.mark.parametrize("who", ["operator", "ssh"])
async def test_a_kill_mid_send_is_gone_on_from(lab: RealLab, who: str) -> None:
    await lab.protected()
    await lab.write(size=512 * KIB)
    async with lab.amid_a_stream(300_000):
        kill_ssh()
    if who == "operator":
        await lab.core.kill()
    await recovers(lab)
    assert all(isinstance(t.how, Increment | Resume) for t in lab.core.sent())


@pytest.mark.fault("target reboots amid a receive")
async def test_a_reboot_of_the_target_is_gone_on_from(lab: RealLab) -> None:
    await lab.protected()
    await lab.write(size=512 * KIB)
    async with lab.amid_a_stream(300_000):
        lab.b.host.power_cycle()
    await recovers(lab)
    assert all(isinstance(t.how, Increment | Resume) for t in lab.core.sent())


@pytest.mark.fault("pool exported and imported amid a receive")
async def test_a_pool_that_was_away_is_gone_on_with(lab: RealLab) -> None:
    await lab.protected()
    await lab.write(size=512 * KIB)
    pool = lab.b.root.split("/")[0]
    async with lab.amid_a_stream(300_000):
        kill_ssh()
        await lab.b.run(
            f"for n in $(seq 60); do zpool export {pool} && break; sleep 1; done; "
            f"! zpool list {pool} 2>/dev/null"
        )
        await lab.core.run_once(151)
        assert lab.core.condition("erp", "Ready")[0] != "True"
        await lab.b.run(f"zpool import -d /dev/disk/by-id {pool}")
    await recovers(lab)
    assert all(isinstance(t.how, Increment | Resume) for t in lab.core.sent())
