"""`kill -9` at each moment of a pass, one by one; what was left at that moment is looked at first.

test_kills.py walks through every request of every scenario; here each moment has its name.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from backstay.domain.steps import Resume, Seed, Transfer
from fakes import truths
from fakes.faults import When
from fakes.lab import Lab

PLACES = {"tank/vm/d0": "backup/backstay/d0", "tank/vm/d1": "backup/backstay/d1"}
KEEP_ONE = {"source": {"last": 1}, "target": {"last": 1}}


class Killed(BaseException):
    """The operator died here."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A request of a pass, and what exists of its new point when that is hit."""

    side: str
    request: str
    nth: int
    when: When
    left: tuple[str, ...]


BEFORE_SNAPSHOT = Moment("a", "snapshot", 1, "before", ())
BEFORE_BOOKMARK = Moment("a", "snapshot", 1, "middle", ("snapshot",))
BEFORE_SEND = Moment("a", "snapshot", 1, "after", ("snapshot", "bookmark"))
# The second look of a pass at the target is the one that confirms.
BEFORE_STATUS = Moment("b", "survey", 2, "before", ("snapshot", "bookmark", "replica"))
AMID_PRUNING = Moment("a", "prune", 1, "middle", ("snapshot", "bookmark", "replica"))


async def changed(lab: Lab) -> None:
    """Two members have a point and new data; the next pass takes, sends and prunes."""
    lab.core.policy(retention=KEEP_ONE)
    lab.core.pair("erp", lab.volumes(2))
    await lab.core.live(100)
    for _ in range(2):
        for name in PLACES:
            lab.a.write(name, 5000)
        await lab.core.passing(151)
    for name in PLACES:
        lab.a.write(name, 5000)
    lab.core.sent()


def left(lab: Lab, before: set[int]) -> tuple[str, ...]:
    """What exists of a point of d0 that is newer than these."""
    source, replica = lab.a.dataset("tank/vm/d0"), lab.b.dataset("backup/backstay/d0")
    places = {
        "snapshot": {s.guid for s in source.snapshots},
        "bookmark": {b.guid for b in source.bookmarks},
        "replica": {s.guid for s in replica.snapshots},
    }
    return tuple(name for name, guids in places.items() if guids - before)


def known(lab: Lab) -> set[int]:
    """GUIDs of d0's points."""
    source = lab.a.dataset("tank/vm/d0")
    return {s.guid for s in source.snapshots} | {b.guid for b in source.bookmarks}


async def as_if_nothing_had_happened(lab: Lab) -> list[Transfer]:
    """Some passes later both are up to date, little is left over, all is quiet; what was sent."""
    await lab.core.live(400)
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")
    assert lab.core.condition("erp", "RPOMet") == ("True", "WithinRPO")
    truths.replicas_are_equal(lab.a, lab.b, PLACES)
    truths.little_is_left_over(lab.a, lab.b, PLACES)
    truths.bases_are_intact(lab.a, lab.b, PLACES)
    truths.nothing_destructive(lab.world)
    sent = lab.core.sent()
    assert not [t for t in sent if isinstance(t.how, Seed)]
    for host, names in ((lab.a, PLACES), (lab.b, PLACES.values())):
        assert [len(host.dataset(name).snapshots) for name in names] == [1, 1]
    before = list(lab.world.commands)
    await lab.core.passing(151)
    assert lab.world.commands == before
    return sent


@pytest.mark.rule("Fixpoint")
@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(
            BEFORE_SNAPSHOT,
            marks=pytest.mark.fault("kill -9 of the operator before the snapshot"),
        ),
        pytest.param(
            BEFORE_BOOKMARK,
            marks=pytest.mark.fault("kill -9 of the operator between snapshot and bookmark"),
        ),
        pytest.param(
            BEFORE_SEND, marks=pytest.mark.fault("kill -9 of the operator before the send")
        ),
        pytest.param(
            BEFORE_STATUS,
            marks=pytest.mark.fault("kill -9 of the operator after the receive, before its status"),
        ),
        pytest.param(AMID_PRUNING, marks=pytest.mark.fault("kill -9 of the operator amid pruning")),
    ],
    ids=lambda moment: f"{moment.request}-{moment.when}",
)
async def test_an_operator_killed_at_a_moment_is_gone_on_with(lab: Lab, moment: Moment) -> None:
    await changed(lab)
    before = known(lab)
    hit = lab.a if moment.side == "a" else lab.b
    hit.faults.fail(moment.request, nth=moment.nth, when=moment.when, error=Killed())  # type: ignore[arg-type]
    with pytest.raises(Killed):
        await lab.core.passing(151)
    assert left(lab, before) == moment.left
    await lab.core.kill()
    await as_if_nothing_had_happened(lab)


@pytest.mark.rule("Fixpoint")
@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(
            BEFORE_SNAPSHOT,
            marks=pytest.mark.fault("kill -9 of host program or ssh before the snapshot"),
        ),
        pytest.param(
            BEFORE_BOOKMARK,
            marks=pytest.mark.fault("kill -9 of host program or ssh between snapshot and bookmark"),
        ),
        pytest.param(
            BEFORE_SEND, marks=pytest.mark.fault("kill -9 of host program or ssh before the send")
        ),
        pytest.param(
            BEFORE_STATUS,
            marks=pytest.mark.fault(
                "kill -9 of host program or ssh after the receive, before its status"
            ),
        ),
        pytest.param(
            AMID_PRUNING, marks=pytest.mark.fault("kill -9 of host program or ssh amid pruning")
        ),
    ],
    ids=lambda moment: f"{moment.request}-{moment.when}",
)
async def test_a_session_killed_at_a_moment_is_gone_on_with(lab: Lab, moment: Moment) -> None:
    """ssh and the host program die as one: the request has no answer."""
    await changed(lab)
    before = known(lab)
    hit = lab.a if moment.side == "a" else lab.b
    hit.faults.fail(moment.request, nth=moment.nth, when=moment.when)
    lab.world.advance(151)
    (route,) = {route for _, route in lab.core.shares.book.states}
    await lab.core.run(route)
    assert hit.faults.planned == []
    assert left(lab, before) == moment.left
    await as_if_nothing_had_happened(lab)


@pytest.mark.rule("Fixpoint")
@pytest.mark.parametrize(
    "victim",
    [
        pytest.param("operator", marks=pytest.mark.fault("kill -9 of the operator mid-send")),
        pytest.param(
            "host program", marks=pytest.mark.fault("kill -9 of host program or ssh mid-send")
        ),
        pytest.param("zfs receive", marks=pytest.mark.fault("kill -9 of `zfs receive` mid-send")),
    ],
)
async def test_a_stream_whose_end_was_killed_goes_on_from_its_token(lab: Lab, victim: str) -> None:
    await changed(lab)
    reached, _ = lab.world.transfer_faults.pause(after_bytes=3000)
    task = asyncio.create_task(lab.core.passing(151))
    await reached.wait()
    if victim == "operator":
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await lab.core.kill()
    else:
        (lab.a if victim == "host program" else lab.b).kill_streams()
        await task
    sent = await as_if_nothing_had_happened(lab)
    assert [t.member for t in sent if isinstance(t.how, Resume)] == ["d0"]
