"""One writer at any time, of one installation and of two."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e import manifests, pools
from e2e.patience import eventually, throughout
from e2e.program import Operator
from e2e.scene import Scene

pytestmark = pytest.mark.timeout(1800)

LEASE_S = "10"


def leaders(*operators: Operator) -> list[Operator]:
    """Those that say that they lead."""
    return [each for each in operators if each.is_leader()]


@pytest.fixture(scope="module")
def led(bare_scene: Scene) -> tuple[Operator, Operator]:
    """The leader and the other operator of the installation, with a protected pair."""
    first = bare_scene.operator("one", lease_seconds=LEASE_S)
    second = bare_scene.operator("two", lease_seconds=LEASE_S)
    first.start()
    second.start()
    pools.make_volume(bare_scene.a, f"{bare_scene.source}/disk", megabytes=1)
    disk = manifests.member("disk", f"{bare_scene.source}/disk", f"{bare_scene.root}/disk")
    bare_scene.apply(manifests.pair("disk", disk))
    bare_scene.await_ready("disk")
    (leader,) = leaders(first, second)
    return leader, second if leader is first else first


@pytest.mark.fault("two operators of one installation")
def test_exactly_one_of_two_leads(led: tuple[Operator, Operator]) -> None:
    throughout(lambda: _assert_only(led[0], *led), for_s=12)
    assert led[1].total("backstay_host_requests_total") == 0


def _assert_only(leader: Operator, *operators: Operator) -> None:
    assert leaders(*operators) == [leader]


@pytest.mark.rule("Single writer, fenced at the host")
@pytest.mark.fault("leader stopped for a minute and woken")
def test_a_leader_that_was_frozen_changes_nothing_when_it_wakes(
    bare_scene: Scene, led: tuple[Operator, Operator]
) -> None:
    leader, other = led
    leader.freeze()

    def taken_over() -> None:
        assert other.is_leader()

    eventually(taken_over)
    pools.write(bare_scene.a, f"{bare_scene.source}/disk")
    bare_scene.next_point("disk")
    bare_scene.await_ready("disk")
    before = everything(bare_scene)
    # The woken one finds it due, and would send it.
    pools.write(bare_scene.a, f"{bare_scene.source}/disk", at=1)
    writes = leader_writes(other)
    leader.thaw()

    def stepped_down() -> None:
        assert leaders(leader, other) == [other], leader.process.tail(3)
        assert "leadership-lost" in leader.process.tail(200)

    eventually(stepped_down)
    throughout(stepped_down, for_s=12)
    assert everything(bare_scene) == before
    assert leader_writes(other) == writes


def leader_writes(operator: Operator) -> float:
    """How many requests that change something the operator has made of hosts."""
    words = ("snapshot", "ticket", "prune", "create")
    return sum(operator.total("backstay_host_requests_total", request=word) for word in words)


def everything(scene: Scene) -> tuple[list[str], list[str]]:
    """Names and GUIDs of all datasets, snapshots and bookmarks on both sides."""
    sides = ((scene.a, scene.source), (scene.b, scene.root))
    source, target = (
        host.run(f"zfs list -Hp -r -t all -o name,guid {root}").splitlines() for host, root in sides
    )
    return source, target


@pytest.fixture
def stranger(bare_scene: Scene, led: tuple[Operator, Operator], tmp_path: Path) -> Iterator[Scene]:
    """Another installation, with the receive root of the first one."""
    assert led
    made = Scene(bare_scene.plane, tmp_path, bare_scene.hosts)
    made.install()
    made.a.run(f"zfs create {made.source}")
    made.apply(
        manifests.secret(made.a.key_path.read_bytes()),
        manifests.policy(),
        manifests.site("fra", manifests.host_entry(made.a)),
        manifests.site("muc", manifests.host_entry(made.b, bare_scene.root)),
    )
    yield made
    made.tear_down()


@pytest.mark.rule("Single writer, fenced at the host")
@pytest.mark.fault("another installation on the same hosts")
def test_the_receive_root_of_another_installation_is_left_alone(
    bare_scene: Scene, stranger: Scene
) -> None:
    pools.make_volume(stranger.a, f"{stranger.source}/theirs", megabytes=1)
    theirs = manifests.member("theirs", f"{stranger.source}/theirs", f"{bare_scene.root}/theirs")
    before = everything(bare_scene)
    stranger.apply(manifests.pair("theirs", theirs))
    stranger.operator().start()
    seen = stranger.await_verdict("rpair", "theirs", "ForeignWriter", ("True", "ForeignWriter"))
    assert bare_scene.installation in seen.condition("ForeignWriter")["message"]
    assert seen.verdict("Ready") == ("False", "ForeignWriter")
    assert everything(bare_scene) == before
    assert pools.snapshots(stranger.a, f"{stranger.source}/theirs") == {}
