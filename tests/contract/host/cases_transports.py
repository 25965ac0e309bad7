"""Contract of `TransferPort`: the way changes how bytes travel, and not what arrives."""

from __future__ import annotations

import pytest

from backstay.domain.steps import RELAY, Transport
from backstay.domain.zfs import LINEAGE
from contract.host.cases_transfers import member_of, only_the_first_came, steps, three_with_news
from contract.host.worlds import MIB, ContractWorld, Story, reason, seed

WAYS = [
    RELAY,
    Transport(compressed=True, buffer_bytes=16 * MIB, rate_bytes_s=64 * MIB),
    Transport(direct=True),
    Transport(direct=True, compressed=True, buffer_bytes=16 * MIB, rate_bytes_s=64 * MIB),
]
NAMES = ["relay", "relay with all", "direct", "direct with all"]


@pytest.mark.parametrize("way", WAYS, ids=NAMES)
async def test_a_seed_and_increments_arrive_on_every_way(
    world: ContractWorld, way: Transport
) -> None:
    story = Story(world)
    await story.claim()
    member = await story.member("s0")
    (first,) = await story.point(member)
    outcome = await story.send(seed(member, first), transport=way)
    assert (reason(outcome), outcome.left_out) == (None, ())
    pairs, second = await three_with_news(story)
    outcome = await story.send(*steps(pairs, second), transport=way)
    assert (reason(outcome), outcome.completed) == (None, 3)
    assert outcome.sent_bytes > 0
    assert await story.replica_guids([member]) == [[first.guid]]
    assert await story.replica_guids([m for m, _ in pairs]) == [
        [before.guid, after.guid] for (_, before), after in zip(pairs, second, strict=True)
    ]


@pytest.mark.rule("A pipe cannot mix up members")
@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("way", WAYS[1:], ids=NAMES[1:])
async def test_both_ends_stop_at_the_first_failure_on_every_way(
    world: ContractWorld, way: Transport, side: str
) -> None:
    story = Story(world)
    pairs, second = await three_with_news(story)
    failing, _ = pairs[1]
    if side == "source":
        await world.source.destroy(f"{failing.source}@{second[1].name}")
    else:
        await world.target.set(failing.target, LINEAGE, "beef")
    outcome = await story.send(*steps(pairs, second), transport=way)
    assert (outcome.completed, member_of(outcome)) == (1, failing.name)
    if side == "target":
        assert reason(outcome) == "TargetHasForeignData"
    await only_the_first_came(story, pairs, second)


__all__ = [name for name in dir() if name.startswith("test_")]
