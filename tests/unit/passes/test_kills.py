"""Whatever is killed or lost, and when: the next passes reach the same fixpoint (rule *Fixpoint*).

Every scenario is walked once without a fault to learn which requests its passes make. Then it is
walked once for each of them and each moment in it, either with a lost answer or with a killed
operator. Nothing in here says what must be sent; the world at the end says it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from backstay.domain.steps import Seed
from fakes import truths
from fakes.faults import When
from fakes.lab import Lab

ROWS = (
    "kill -9 of the operator before the snapshot",
    "kill -9 of the operator between snapshot and bookmark",
    "kill -9 of the operator before the send",
    "kill -9 of the operator after the receive, before its status",
    "kill -9 of the operator amid pruning",
    "kill -9 of host program or ssh before the snapshot",
    "kill -9 of host program or ssh between snapshot and bookmark",
    "kill -9 of host program or ssh before the send",
    "kill -9 of host program or ssh after the receive, before its status",
    "kill -9 of host program or ssh amid pruning",
)
"""Each moment of each request of each scenario: these are among them."""
KEEP = {"source": {"last": 50}, "target": {"last": 50}}
Places = dict[str, str]
WHENS: tuple[When, ...] = ("before", "middle", "after")


class Killed(BaseException):
    """The operator died here."""


async def _first_seed(lab: Lab) -> Places:
    return _pair(lab, 2)


async def _group_seed(lab: Lab) -> Places:
    return _pair(lab, 3, group=True)


async def _deep_seed(lab: Lab) -> Places:
    lab.volumes(1)
    lab.core.pair("erp", {"d0": ("tank/vm/d0", "backup/backstay/fra/rack/d0")})
    return {"tank/vm/d0": "backup/backstay/fra/rack/d0"}


async def _increments(lab: Lab) -> Places:
    return await _changed(lab, _pair(lab, 3))


async def _group_increments(lab: Lab) -> Places:
    return await _changed(lab, _pair(lab, 3, group=True))


async def _a_new_child(lab: Lab) -> Places:
    for name in ("tank/vm/t", "tank/vm/t/a"):
        lab.a.create(name)
        lab.a.write(name, 5000)
    lab.core.pair("erp", {"t": ("tank/vm/t", "backup/backstay/t")}, recursive=True)
    await lab.core.live(100)
    lab.a.create("tank/vm/t/b")
    lab.a.write("tank/vm/t/b", 5000)
    lab.a.write("tank/vm/t/a", 5000)
    return {f"tank/vm/{n}": f"backup/backstay/{n}" for n in ("t", "t/a", "t/b")}


async def _old_points(lab: Lab) -> Places:
    """Something is to be pruned on both sides."""
    lab.core.policy(retention={"source": {"last": 1}, "target": {"last": 1}})
    places = _pair(lab, 2)
    await lab.core.live(100)
    for name in places:
        lab.a.write(name, 3000)
    await lab.core.passing(150)
    return await _changed(lab, places)


async def _a_useless_token(lab: Lab) -> Places:
    """The next pass has to drop a partial receive whose snapshot is gone."""
    places = await _changed(lab, _pair(lab, 2))
    lab.world.transfer_faults.cut(after_bytes=1000)
    await lab.core.passing(151)
    partial = lab.b.dataset("backup/backstay/d0").partial
    assert partial is not None
    lab.a.destroy(f"tank/vm/d0@{partial.stream.snapshot}")
    return places


async def _a_writable_replica(lab: Lab) -> Places:
    lab.a.create("tank/vm/fs")
    lab.a.write("tank/vm/fs", 4096)
    members = {**lab.volumes(1), "fs": ("tank/vm/fs", "backup/backstay/fs")}
    lab.core.pair("erp", members)
    places = await _changed(lab, dict(members.values()))
    lab.b.dataset("backup/backstay/fs").properties["readonly"] = "off"
    return places


SCENARIOS: dict[str, Callable[[Lab], Awaitable[Places]]] = {
    "first seed": _first_seed,
    "group seed": _group_seed,
    "deep seed": _deep_seed,
    "increments": _increments,
    "group increments": _group_increments,
    "new child": _a_new_child,
    "old points": _old_points,
    "useless token": _a_useless_token,
    "writable replica": _a_writable_replica,
}


def _pair(lab: Lab, count: int, *, group: bool = False) -> Places:
    members = lab.volumes(count)
    lab.core.pair("erp", members, group=group)
    return dict(members.values())


async def _changed(lab: Lab, places: Places) -> Places:
    await lab.core.live(100)
    for name in list(places)[:2]:
        lab.a.write(name, 5000)
    return places


async def prepared(scenario: str) -> tuple[Lab, Places]:
    lab = Lab.make()
    lab.core.policy(retention=KEEP)
    places = await SCENARIOS[scenario](lab)
    lab.core.sent()
    return lab, places


def requests_of(scenario: str) -> list[tuple[str, str, int]]:
    """(host, request, which of them) of one undisturbed pass of the scenario."""

    async def walk() -> list[tuple[str, str, int]]:
        lab, _ = await prepared(scenario)
        before = {h.name: h.requests.copy() for h in (lab.a, lab.b)}
        await lab.core.passing(151)
        await lab.core.passing(1)
        return [
            (side, request, number)
            for side, host in (("a", lab.a), ("b", lab.b))
            for request, count in (host.requests - before[host.name]).items()
            if request not in ("ticket", "hello")
            for number in range(1, count + 1)
        ]

    return asyncio.run(walk())


CASES = [
    pytest.param(scenario, request, id=f"{scenario}-{'-'.join(map(str, request))}")
    for scenario in SCENARIOS
    for request in requests_of(scenario)
]


async def fixpoint(lab: Lab, places: Places, points: set[Any], seeds: int) -> None:
    """Some passes later all is as if nothing had happened."""
    await lab.core.live(400)
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")
    assert lab.core.condition("erp", "RPOMet") == ("True", "WithinRPO")
    truths.replicas_are_equal(lab.a, lab.b, places)
    truths.little_is_left_over(lab.a, lab.b, places)
    truths.bases_are_intact(lab.a, lab.b, places)
    truths.nothing_destructive(lab.world)
    assert points <= truths.points_of(lab.b, places.values())
    assert lab.core.unmarked == []
    assert len([t for t in lab.core.sent() if isinstance(t.how, Seed)]) <= seeds
    before = list(lab.world.commands)
    await lab.core.passing(151)
    assert lab.world.commands == before


@pytest.mark.rule("Fixpoint")
@pytest.mark.rule("Bookmark with snapshot")
@pytest.mark.fault(*ROWS)
@pytest.mark.parametrize("died", ["answer lost", "operator killed"])
@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize(("scenario", "victim"), CASES)
async def test_a_request_that_dies_changes_nothing_in_the_end(
    scenario: str, victim: tuple[str, str, int], when: When, died: str
) -> None:
    side, request_name, number = victim
    lab, places = await prepared(scenario)
    keeps = scenario != "old points"
    points = truths.points_of(lab.b, places.values()) if keeps else set()
    unborn = sum(not lab.b.exists(target) for target in places.values())
    host = lab.a if side == "a" else lab.b
    host.faults.fail(
        request_name,
        nth=number,
        when=when,
        error=Killed() if died == "operator killed" else None,  # type: ignore[arg-type]
    )
    try:
        await lab.core.passing(151)
        await lab.core.passing(1)
    except Killed:
        await lab.core.kill()
    assert host.faults.planned == []
    await fixpoint(lab, places, points, seeds=unborn)


SEED_CUTS = (0, 1, 2360, 4719, 4720)
"""Of a seed's 4096 + 624 bytes: none, the first, the middle, all but the last, all."""
INCREMENT_CUTS = (0, 1, 2812, 5623, 5624)
"""Of an increment's 5000 + 624 bytes."""


@pytest.mark.rule("Commit truth")
@pytest.mark.fault(
    "stream cut before its first byte",
    "full stream cut after its first byte",
    "full stream cut in the middle",
    "full stream cut in its last record",
    "incremental stream cut after its first byte",
    "incremental stream cut in the middle",
    "incremental stream cut in its last record",
)
@pytest.mark.parametrize(
    "died",
    [
        "pipe cut",
        pytest.param(
            "operator killed", marks=pytest.mark.fault("kill -9 of the operator mid-send")
        ),
        pytest.param(
            "receive killed", marks=pytest.mark.fault("kill -9 of `zfs receive` mid-send")
        ),
        pytest.param("reboot", marks=pytest.mark.fault("target reboots amid a receive")),
    ],
)
@pytest.mark.parametrize(
    ("scenario", "after", "member"),
    [("first seed", cut, 0) for cut in SEED_CUTS]
    + [("group seed", cut, 0) for cut in SEED_CUTS]
    + [("increments", cut, member) for cut in INCREMENT_CUTS for member in (0, 1)]
    + [("group increments", cut, member) for cut in INCREMENT_CUTS for member in (0, 1)],
)
async def test_a_stream_that_breaks_is_gone_on_with_and_never_begun_again(
    scenario: str, after: int, member: int, died: str
) -> None:
    """A re-seed of terabytes for one lost connection is what users leave tools for."""
    lab, places = await prepared(scenario)
    points = truths.points_of(lab.b, places.values())
    unborn = sum(not lab.b.exists(target) for target in places.values())
    if died == "pipe cut":
        lab.world.transfer_faults.cut(member=member, after_bytes=after)
        await lab.core.passing(151)
    else:
        await _die_in_transfer(lab, member, after, died)
    # Nothing had arrived: that stream leaves no trace, so a seed begins a second time.
    seeds = unborn + (1 if after == 0 and unborn else 0)
    await fixpoint(lab, places, points, seeds=seeds)


async def _die_in_transfer(lab: Lab, member: int, after: int, died: str) -> None:
    reached, _ = lab.world.transfer_faults.pause(member=member, after_bytes=after)
    task = asyncio.create_task(lab.core.passing(151))
    await reached.wait()
    if died == "operator killed":
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await lab.core.kill()
        return
    if died == "reboot":
        lab.b.reboot()
    else:
        lab.b.kill_streams()
    await task


@pytest.mark.rule("Commit truth")
@pytest.mark.fault("acknowledgement lost (receive done, ssh dies)")
@pytest.mark.parametrize("scenario", ["first seed", "increments", "group increments"])
async def test_a_lost_acknowledgement_sends_nothing_again(scenario: str) -> None:
    lab, places = await prepared(scenario)
    lab.world.transfer_faults.lose_acknowledgement(member=0)
    await lab.core.live(400)
    sent = [(t.member, t.guid) for t in lab.core.sent()]
    assert sent.count(sent[0]) == 1
    await fixpoint(lab, places, set(), seeds=0)


@pytest.mark.fault("one garbled byte in the stream")
@pytest.mark.parametrize("scenario", ["first seed", "increments", "group increments"])
async def test_a_garbled_stream_commits_nothing_and_is_sent_again(scenario: str) -> None:
    lab, places = await prepared(scenario)
    lab.world.transfer_faults.garble(member=0)
    await fixpoint(lab, places, set(), seeds=3)


@pytest.mark.rule("Atomic groups")
@pytest.mark.fault("member of a group interrupted again and again")
@pytest.mark.parametrize("member", [0, 1])
async def test_a_group_stays_at_its_set_until_it_is_whole(lab: Lab, member: int) -> None:
    """Members that drift apart never have a newer set in common again."""
    lab.core.policy(retention=KEEP)
    places = _pair(lab, 3, group=True)
    await lab.core.live(100)
    lab.core.sent()
    point = lab.core.status("erp")["recoveryPoint"]["snapshot"]
    for round_number in range(6):
        for name in places:
            lab.a.write(name, 5000)
        lab.world.transfer_faults.cut(
            member=member if round_number == 0 else 0, after_bytes=100 * (round_number + 1)
        )
        await lab.core.passing(151)
        assert lab.core.status("erp")["recoveryPoint"]["snapshot"] == point
        truths.nothing_destructive(lab.world)
    newest = {s.name for n in places for s in lab.a.dataset(n).snapshots if s.name > point}
    assert len(newest) == 1, "no newer set is taken before this one is whole"
    await fixpoint(lab, places, truths.points_of(lab.b, places.values()), seeds=0)
    assert lab.core.status("erp")["recoveryPoint"]["snapshot"] > max(newest)


@pytest.mark.rule("A pipe cannot mix up members")
@pytest.mark.fault("member of a shared pipe vanishes before its send")
async def test_a_member_that_vanishes_mid_pass_costs_the_others_one_pass(lab: Lab) -> None:
    places = _pair(lab, 5)
    await lab.core.live(100)
    for name in places:
        lab.a.write(name, 5000)
    reached, go_on = lab.world.transfer_faults.pause(member=0, after_bytes=10)
    task = asyncio.create_task(lab.core.passing(151))
    await reached.wait()
    lab.a.destroy("tank/vm/d1")
    go_on.set()
    await task
    await lab.core.live(100)
    del places["tank/vm/d1"]
    truths.replicas_are_equal(lab.a, lab.b, places)
    assert lab.core.condition("erp", "Ready") == ("False", "SourceMissing")
    assert lab.b.dataset("backup/backstay/d1").snapshots


@pytest.mark.rule("Resume tokens are untrusted input")
@pytest.mark.fault("token's source snapshot destroyed")
@pytest.mark.parametrize("scenario", ["first seed", "increments"])
async def test_a_token_whose_snapshot_is_gone_is_dropped_and_planned_anew(scenario: str) -> None:
    lab, places = await prepared(scenario)
    points = truths.points_of(lab.b, places.values())
    lab.world.transfer_faults.cut(after_bytes=1000)
    await lab.core.passing(151)
    partial = lab.b.dataset("backup/backstay/d0").partial
    assert partial is not None
    lab.a.destroy(f"tank/vm/d0@{partial.stream.snapshot}")
    await fixpoint(lab, places, points, seeds=3)


@pytest.mark.fault("pool exported and imported amid a receive")
@pytest.mark.parametrize("scenario", ["first seed", "increments", "group increments"])
async def test_an_export_amid_a_transfer_is_gone_on_with_after_the_import(scenario: str) -> None:
    lab, places = await prepared(scenario)
    points = truths.points_of(lab.b, places.values())
    reached, _ = lab.world.transfer_faults.pause(after_bytes=1000)
    task = asyncio.create_task(lab.core.passing(151))
    await reached.wait()
    lab.b.export_pool("backup")
    await task
    await lab.core.live(100)
    lab.b.import_pool("backup")
    await fixpoint(lab, places, points, seeds=len(places) if scenario == "first seed" else 0)


@pytest.mark.fault("dataset is busy (udev, clone, hold)")
@pytest.mark.parametrize("scenario", list(SCENARIOS))
async def test_a_busy_dataset_is_tried_again(scenario: str) -> None:
    lab, places = await prepared(scenario)
    for source, target in places.items():
        lab.a.busy_for[source] = lab.b.busy_for[target] = 2
    await lab.core.live(300)
    await fixpoint(lab, places, set(), seeds=3)
