"""Demotion, and the way there and back: what was promoted becomes the source."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from backstay.controllers.roles import demote, promote, undo_demotion
from backstay.domain.moves import Mark
from backstay.domain.pairs import Conflict
from backstay.domain.roles import (
    SECONDARY,
    Demoted,
    DemotionTask,
    Promoted,
    PromotionTask,
    RoleState,
    role_state,
)
from backstay.domain.steps import MadeSnapshot, Pipe, PipeOutcome
from backstay.domain.zfs import LINEAGE, SOURCE_GUID, Guid
from backstay.ports.roles import RolePort
from contract.host.failovers import CLOCK, Pairs, failover, news
from contract.host.worlds import (
    MIB,
    ContractWorld,
    Hands,
    Member,
    Story,
    increment,
    seed,
)

RULE = pytest.mark.rule("Promotion clones the point, never the head")
# --- demotion and the whole cycle ---------------------------------------------------------------


def demotion(pairs: Pairs, *, epoch: int = 0) -> DemotionTask:
    """The demotion of the sources, each at its last point."""
    return DemotionTask(
        host="lab/source",
        expected_epoch=epoch,
        members=tuple(
            Demoted(name=m.name, dataset=m.source, guid=m.guid, point=made.guid)
            for m, made in pairs
        ),
    )


@RULE
async def test_a_source_is_demoted_at_its_last_point_only(world: ContractWorld) -> None:
    async with failover(world, "d0") as over:
        source = over.story.source
        await source.claim([])
        await world.source.write(over.pairs[0][0].source, MIB)
        said = await demote(source, demotion(over.pairs), CLOCK)
        assert isinstance(said, Conflict)
        assert said.reason == "SourceModified"
        (closed,) = await over.story.look(source, over.pairs[0][0].source)
        assert closed is not None
        assert (closed.readonly, role_state(closed)) == (True, RoleState("", 0))
        assert await undo_demotion(source, demotion(over.pairs), CLOCK) is None
        over.pairs = await news(over.story, over.pairs)
        assert (why := await demote(source, demotion(over.pairs), CLOCK)) is None, why
        (found,) = await over.story.look(source, over.pairs[0][0].source)
        assert found is not None
        assert (found.readonly, role_state(found)) == (True, RoleState(SECONDARY, 1))
        said = await undo_demotion(source, demotion(over.pairs), CLOCK)
        assert isinstance(said, Conflict)
        assert said.reason == "RoleChanged"
        assert (why := await demote(source, demotion(over.pairs), CLOCK)) is None, why


@RULE
@pytest.mark.parametrize("volume", [True, False])
async def test_a_full_cycle_moves_only_deltas(world: ContractWorld, volume: bool) -> None:
    """a → b → a → b: each way back is an increment from the point where the role moved."""
    size = 8 * MIB
    story = Story(world)
    await story.claim()
    await story.source.claim([world.source.root])
    ends = [_End(world.source, story.source), _End(world.target, story.target)]
    member = await story.member("d0", volume=volume, size=size)
    here = _Leg(story, volume, 0, member.source, member.guid, f"{world.target.root}/r0")
    made = await here.point(ends)
    seeded = await here.seed(ends, made)
    assert seeded.sent_bytes > size // 2
    for epoch in range(1, 4):
        source, target = ends
        await source.hands.write(here.source, MIB)
        final = await here.point(ends)
        moved = await here.increment(ends, final, made)
        assert moved.failure is None
        assert MIB // 2 < moved.sent_bytes < 3 * MIB  # what was written, never the disk
        # The planned way: the source is closed, then the target opened.
        task = DemotionTask(
            host="source",
            expected_epoch=epoch - 1,
            members=(Demoted(name="d0", dataset=here.source, guid=here.guid, point=final.guid),),
        )
        assert (why := await demote(source.port, task, CLOCK)) is None, why
        name = f"{target.hands.root}/p{epoch}"
        guid = await target.hands.guid(here.target)
        promoted = Promoted(name="d0", replica=here.target, guid=guid, point=final.guid, final=name)
        key = f"{world.own.replace('/', '-')}-{epoch}"
        whole = PromotionTask(host="target", key=key, members=(promoted,), expected_epoch=epoch - 1)
        assert (why := await promote(target.port, whole, CLOCK)) is None, why
        # The old primary becomes the replica of the new one, as it is: nothing is seeded.
        back = _Leg(story, volume, epoch, name, await target.hands.guid(name), here.source)
        await back.adopt(source, here.guid)
        ends, here, made = [target, source], back, replace(final, dataset=name)


@dataclass(slots=True)
class _End:
    """One of the two hosts."""

    hands: Hands
    port: RolePort


@dataclass(slots=True)
class _Leg:
    """One way that data goes: from a primary to its replica at the other host."""

    story: Story
    volume: bool
    epoch: int
    source: str
    guid: Guid
    target: str

    @property
    def member(self) -> Member:
        lineage = hashlib.sha256(f"{self.guid}".encode()).hexdigest()[:16]
        return Member("d0", self.source, self.target, self.guid, lineage)

    async def point(self, ends: Sequence[_End]) -> MadeSnapshot:
        step = self.story.points(self.member)
        (made,) = await ends[0].port.snapshot(step)
        return made

    async def seed(self, ends: Sequence[_End], made: MadeSnapshot) -> PipeOutcome:
        return await self._send(
            ends, Pipe(transfers=(seed(self.member, made, volume=self.volume),))
        )

    async def increment(
        self, ends: Sequence[_End], made: MadeSnapshot, base: MadeSnapshot
    ) -> PipeOutcome:
        return await self._send(ends, Pipe(transfers=(increment(self.member, made, base),)))

    async def _send(self, ends: Sequence[_End], pipe: Pipe) -> PipeOutcome:
        transfers = self.story.world.transfers
        return await transfers.transfer(ends[0].port, ends[1].port, pipe, lambda index, moved: None)

    async def adopt(self, end: _End, guid: Guid) -> None:
        """What was the source is a replica of ours."""
        posture = {"volmode": "none"} if self.volume else {"atime": "off", "canmount": "noauto"}
        ours = {LINEAGE: self.member.lineage, SOURCE_GUID: str(self.guid)}
        mark = Mark(dataset=self.target, guid=guid, properties={**ours, **posture})
        assert await end.port.label([mark]) == ()
