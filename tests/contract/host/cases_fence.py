"""Contract of `HostPort`: one writer at any time."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable

import pytest

from backstay.domain.errors import Refused, Unreachable
from backstay.domain.steps import CreateParents, Prune, RestorePosture
from backstay.domain.zfs import LINEAGE, SnapshotRef
from contract.host.worlds import ContractWorld, Story

RULE = pytest.mark.rule("Single writer, fenced at the host")


@RULE
async def test_a_claim_names_what_it_found_on_each_root(world: ContractWorld) -> None:
    root = world.target.root
    await world.target.create(f"{root}/theirs")
    await world.target.create(f"{root}/ours")
    await world.target.set(f"{root}/theirs", "dev.backstay:writer", "3:other/installation")
    port = world.port(world.target, term=5, installation=world.own)
    states = await port.claim([f"{root}/ours", f"{root}/theirs", f"{root}/none"])
    assert [s.outcome for s in states] == ["Held", "Foreign", "Missing"]
    assert states[1].writer == "3:other/installation"
    assert await world.target.local(f"{root}/ours", "dev.backstay:writer") == f"5:{world.own}"
    assert await world.target.local(f"{root}/theirs", "dev.backstay:writer") == (
        "3:other/installation"
    )


@RULE
async def test_a_root_with_a_higher_term_of_ours_is_superseded(world: ContractWorld) -> None:
    root = world.target.root
    await world.target.set(root, "dev.backstay:writer", f"9:{world.own}")
    port = world.port(world.target, term=5, installation=world.own)
    (state,) = await port.claim([root])
    assert state.outcome == "Superseded"
    with pytest.raises(Refused) as error:
        await port.create_parents(CreateParents(root=root, datasets=(f"{root}/vm",)))
    assert error.value.reason == "Superseded"
    assert error.value.higher_term == 9


@RULE
async def test_a_mark_of_an_earlier_term_hides_no_root_above_it(world: ContractWorld) -> None:
    """As it is left below a receive root that was moved up."""
    root, mine = world.target.root, world.own
    replica = f"{root}/sub/vm"
    for name in (f"{root}/sub", replica):
        await world.target.create(name)
    await world.target.set(replica, LINEAGE, "feedfacefeedface")
    port = world.port(world.target, term=5, installation=mine)
    await port.claim([root])
    step = RestorePosture(
        dataset=replica, lineage="feedfacefeedface", properties={"readonly": "on"}
    )
    for writer, said in (
        (f"4:{mine}", None),
        (f"5:{mine}", None),
        ("4:other/installation", "ForeignWriter"),
        (f"6:{mine}", "Superseded"),
    ):
        await world.target.set(f"{root}/sub", "dev.backstay:writer", writer)
        if said is None:
            await port.restore_posture(step)
        else:
            assert (await refusal(lambda: port.restore_posture(step))).reason == said


@RULE
@pytest.mark.fault("two operators of one installation")
async def test_an_older_leader_is_refused_at_target_and_source(world: ContractWorld) -> None:
    story = Story(world)
    member = await story.member("d0")
    await world.source.snapshot(f"{member.source}@x")
    root, mine = world.target.root, world.own
    old_target = world.port(world.target, term=5, installation=mine)
    old_source = world.port(world.source, term=5, installation=mine)
    await old_target.claim([root])
    await old_source.claim([])
    new_target = world.port(world.target, term=6, installation=mine)
    new_source = world.port(world.source, term=6, installation=mine)
    await new_target.claim([root])
    await new_source.claim([])
    ref = SnapshotRef(
        dataset=member.source, name="x", guid=await world.source.guid(f"{member.source}@x")
    )
    parents = CreateParents(root=root, datasets=(f"{root}/vm",))
    for told in (
        await refusal(lambda: old_target.create_parents(parents)),
        await refusal(lambda: old_source.prune(Prune(snapshots=(ref,), bookmarks=()))),
        await refusal(lambda: old_target.claim([root])),
    ):
        assert (told.reason, told.higher_term) == ("Superseded", 6)
    assert not await world.target.exists(f"{root}/vm")
    assert await world.source.exists(ref.full_name)
    await new_target.create_parents(parents)


@RULE
async def test_a_term_belongs_to_the_process_that_came_with_it_first(world: ContractWorld) -> None:
    root, mine = world.target.root, world.own
    first = world.port(world.target, term=5, installation=mine)
    await first.claim([root])
    second = world.port(world.target, term=5, installation=mine, process="two")
    parents = CreateParents(root=root, datasets=(f"{root}/vm",))
    told = await refusal(lambda: second.claim([root]))
    assert (told.reason, told.higher_term) == ("Superseded", 5)
    assert (await refusal(lambda: second.create_parents(parents))).higher_term == 5
    assert not await world.target.exists(f"{root}/vm")
    await first.create_parents(parents)


@RULE
@pytest.mark.fault("another installation on the same hosts")
async def test_another_installation_touches_nothing_of_ours(world: ContractWorld) -> None:
    story = Story(world)
    await story.claim()
    root = world.target.root
    foreign = world.port(world.target, term=99, installation=f"{world.own}-foreign")
    (state,) = await foreign.claim([root])
    assert state.outcome == "Foreign"
    with pytest.raises(Refused) as error:
        await foreign.create_parents(CreateParents(root=root, datasets=(f"{root}/vm",)))
    assert error.value.reason == "ForeignWriter"
    assert not await world.target.exists(f"{root}/vm")
    await story.target.create_parents(CreateParents(root=root, datasets=(f"{root}/vm",)))


async def refusal(act: Callable[[], Awaitable[object]]) -> Refused:
    """How an act was refused; a leader that was locked out may lose its connection first."""
    with contextlib.suppress(Unreachable):
        with pytest.raises(Refused) as error:
            await act()
        return error.value
    with pytest.raises(Refused) as error:
        await act()
    return error.value
