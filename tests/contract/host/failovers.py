"""Words of the cases in which a role moves: members to promote, and a leader that is stopped."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

from backstay.adapters.clock import SystemClock
from backstay.domain.roles import (
    Promoted,
    PromotionTask,
)
from backstay.domain.steps import MadeSnapshot
from backstay.domain.zfs import Dataset, Guid
from backstay.plan.promotion import aside_name
from backstay.ports.roles import RolePort
from contract.host.worlds import (
    MIB,
    ContractWorld,
    Hands,
    Member,
    Story,
    increment,
)

Pairs = list[tuple[Member, MadeSnapshot]]


CLOCK = SystemClock()


@dataclass(slots=True)
class Failover:
    """Members that are to be promoted below `vm` of the target's root."""

    story: Story
    pairs: Pairs
    key: str = ""
    epoch: int = 0
    port: RolePort = field(init=False)

    def __post_init__(self) -> None:
        self.port = self.story.target
        self.key = self.key or self.story.world.own.replace("/", "-")

    @property
    def root(self) -> str:
        """Where finals lie."""
        return f"{self.story.world.target.root}/vm"

    async def task(self, points: Sequence[MadeSnapshot] | None = None) -> PromotionTask:
        """The promotion of these points, of the newest ones of `pairs` without."""
        chosen = points or [made for _, made in self.pairs]
        return PromotionTask(
            host="lab/target",
            key=self.key,
            expected_epoch=self.epoch,
            members=tuple(
                [
                    Promoted(
                        name=member.name,
                        replica=member.target,
                        guid=await self.story.world.target.guid(member.target),
                        point=made.guid,
                        final=f"{self.root}/{member.name}",
                    )
                    for (member, _), made in zip(self.pairs, chosen, strict=True)
                ]
            ),
        )

    async def finals(self, task: PromotionTask) -> list[Dataset]:
        """The promoted datasets."""
        found = await self.story.look(self.port, *(m.final for m in task.members))
        assert None not in found
        return [f for f in found if f is not None]


@asynccontextmanager
async def failover(
    world: ContractWorld, *names: str, volume: bool = True, encrypted: bool = False
) -> AsyncIterator[Failover]:
    """Members with a point at the target, and what was set aside is gone afterwards."""
    story = Story(world)
    pairs = await story.seeded(*names, volume=volume, encrypted=encrypted)
    made = Failover(story, pairs)
    await world.target.create(made.root)
    asides = {
        aside_name(
            PromotionTask(host="", key=made.key, members=(), expected_epoch=0),
            Promoted(name="", replica=m.target, guid=Guid(0), point=Guid(0), final=""),
        )
        for m, _ in made.pairs
    }
    try:
        yield made
    finally:
        for name in (*asides, made.root, *asides):  # whichever is the clone of the other
            if await world.target.exists(name):
                await _gone(world.target, name)


async def _gone(hands: Hands, name: str) -> None:
    """Destroyed, unless something else still hangs on it; its root goes with the test."""
    try:
        await hands.destroy(name)
    except Exception:  # noqa: BLE001 - a leftover hurts nobody
        return


async def news(story: Story, pairs: Pairs, *, send: bool = True) -> Pairs:
    """Another point of all members, with fresh data, sent or not."""
    members = [member for member, _ in pairs]
    for member in members:
        await story.world.source.write(member.source, MIB // 2)
    made = await story.point(*members)
    if send:
        steps = [increment(m, n, o) for (m, o), n in zip(pairs, made, strict=True)]
        assert (await story.send(*steps)).failure is None
    return list(zip(members, made, strict=True))


class Stopped(Exception):
    """The leader was stopped here."""


def stopping(port: RolePort, *, before: str) -> RolePort:
    """The port of a leader that is stopped right before one request."""
    return cast(RolePort, _Stopping(port, before=before))


class _Stopping:
    def __init__(self, port: RolePort, *, before: str) -> None:
        self._port = port
        self._before = before

    def __getattr__(self, name: str) -> object:
        if name == self._before:
            raise Stopped(name)
        return getattr(self._port, name)
