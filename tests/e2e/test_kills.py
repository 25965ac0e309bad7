"""`kill -9` of anything at any moment leads to the same end, without another seed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from e2e import manifests, pools
from e2e.patience import eventually
from e2e.scene import Scene
from e2e.streams import Held, held_stream, kill_host_program, kill_receive

pytestmark = pytest.mark.timeout(1800)

SEED_MIB = 48
Kill = Callable[[Scene, Held, str], None]


def kill_the_operator(_scene: Scene, held: Held, _target: str) -> None:
    held.operator.kill()
    held.operator.restart()


KILLS: dict[str, Kill] = {
    "operator": kill_the_operator,
    "receive": lambda scene, _held, target: kill_receive(scene.b, target),
    "ssh": lambda _scene, held, _target: held.kill_ssh(),
    "host-program": lambda scene, _held, target: kill_host_program(scene.b, target),
}


def assert_in_order(scene: Scene, name: str, unsent: int = 0) -> None:
    """The newest points are at both sides, and at most so many of ours wait to be sent."""
    source, target = f"{scene.source}/{name}", f"{scene.root}/{name}"
    at_source, at_target = pools.snapshots(scene.a, source), pools.snapshots(scene.b, target)
    waiting = [n for n, guid in at_source.items() if guid not in at_target.values()]
    assert len(waiting) <= unsent, (at_source, at_target)
    marks = list(pools.bookmarks(scene.a, source).values())
    assert len(marks) == len(set(marks)), marks
    assert set(at_target.values()) & set(at_source.values())


@pytest.mark.rule("Fixpoint")
@pytest.mark.fault(
    "kill -9 of the operator mid-send",
    "kill -9 of host program or ssh mid-send",
    "kill -9 of `zfs receive` mid-send",
)
@pytest.mark.parametrize("victim", KILLS)
def test_a_seed_that_was_cut_off_goes_on_from_its_token(scene: Scene, victim: str) -> None:
    (operator,) = scene.operators
    name = f"seed-{victim}"
    source, target = f"{scene.source}/{name}", f"{scene.root}/{name}"
    pools.make_volume(scene.a, source, megabytes=SEED_MIB, size="128M")
    scene.apply(manifests.pair(name, manifests.member(name, source, target)))
    with held_stream(operator) as held:
        (first,) = pools.snapshots(scene.a, source).items()
        begun = pools.guid(scene.b, target)
        KILLS[victim](scene, held, target)
    scene.await_ready(name)
    # A dataset that was received anew would have another GUID.
    assert pools.guid(scene.b, target) == begun
    assert list(pools.snapshots(scene.a, source).items()) == [first]
    assert list(pools.snapshots(scene.b, target).items()) == [first]
    assert_in_order(scene, name)


@pytest.fixture(scope="module")
def seeded(scene: Scene) -> str:
    """Name of a pair that has a recovery point."""
    pools.make_volume(scene.a, f"{scene.source}/inc", megabytes=1)
    member = manifests.member("inc", f"{scene.source}/inc", f"{scene.root}/inc")
    scene.apply(manifests.pair("inc", member))
    scene.await_ready("inc")
    return "inc"


@pytest.mark.rule("Fixpoint")
@pytest.mark.parametrize("moment", ["snapshot", "ticket", "survey"])
def test_an_operator_killed_within_a_pass_loses_nothing(
    scene: Scene, seeded: str, moment: str
) -> None:
    (operator,) = scene.operators
    begun = pools.guid(scene.b, f"{scene.root}/{seeded}")
    before = scene.get("rpair", seeded)
    pools.write(scene.a, f"{scene.source}/{seeded}", megabytes=2)

    def requests() -> float:
        return operator.total("backstay_host_requests_total", request=moment)

    sent = requests()
    scene.request(seeded)

    def at_the_moment() -> None:
        assert requests() > sent, f"no {moment} yet"

    eventually(at_the_moment, every_s=0.02)
    operator.kill()
    assert_in_order(scene, seeded, unsent=1)
    operator.restart()
    scene.await_next_point(seeded, before)
    scene.await_ready(seeded)
    assert pools.guid(scene.b, f"{scene.root}/{seeded}") == begun
    assert_in_order(scene, seeded)
