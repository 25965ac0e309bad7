"""The API server goes, forgets its past, and loses everything; the replicas stay what they are."""

from __future__ import annotations

import pytest

from e2e import manifests, pools
from e2e.patience import eventually, throughout
from e2e.program import Operator
from e2e.scene import Scene
from worlds import install

pytestmark = pytest.mark.timeout(1800)

OUTAGE_S = 60.0
MUTATING = ("snapshot", "ticket", "prune", "claim", "create")


def await_leader(operator: Operator) -> float:
    """The term of the operator once it leads."""

    def leads() -> float:
        assert operator.is_leader(), operator.process.tail(5)
        return operator.total("backstay_leader_term")

    return eventually(leads)


def protect(scene: Scene, name: str) -> str:
    """A pair of a new volume has a recovery point; the GUID of its replica."""
    pools.make_volume(scene.a, f"{scene.source}/{name}", megabytes=1)
    apply_pair(scene, name)
    scene.await_ready(name)
    return pools.guid(scene.b, f"{scene.root}/{name}")


def apply_pair(scene: Scene, name: str) -> None:
    """The pair of a volume is applied."""
    member = manifests.member(name, f"{scene.source}/{name}", f"{scene.root}/{name}")
    scene.apply(manifests.pair(name, member))


def assert_idle_while_the_api_is_away(scene: Scene, operator: Operator) -> None:
    """Without its Lease the operator changes nothing, whatever is due."""

    def deposed() -> None:
        assert not operator.is_leader()

    eventually(deposed)
    before = pools.everything(scene.b, scene.root), pools.everything(scene.a, scene.source)
    asked = {word: _requests(operator, word) for word in MUTATING}

    def idle() -> None:
        assert not operator.is_leader()
        assert {word: _requests(operator, word) for word in MUTATING} == asked

    throughout(idle, for_s=OUTAGE_S)
    after = pools.everything(scene.b, scene.root), pools.everything(scene.a, scene.source)
    assert after == before


def _requests(operator: Operator, word: str) -> float:
    return operator.total("backstay_host_requests_total", request=word)


@pytest.mark.fault("API server down for a minute", "etcd compacted")
def test_an_api_server_that_goes_or_forgets_ends_no_replication(private_scene: Scene) -> None:
    scene, plane = private_scene, private_scene.plane
    scene.apply(manifests.policy(interval="15s"))
    operator = scene.operator(lease_seconds="8")
    operator.start()
    replica = protect(scene, "disk")
    term = await_leader(operator)

    plane.apiserver.kill()
    pools.write(scene.a, f"{scene.source}/disk")
    assert_idle_while_the_api_is_away(scene, operator)
    # Watches that go on from before this revision are told 410.
    plane.compact()
    plane.start_apiserver()
    assert await_leader(operator) > term
    pools.write(scene.a, f"{scene.source}/disk", at=1)
    scene.next_point("disk")
    protect(scene, "born-later")

    assert pools.guid(scene.b, f"{scene.root}/disk") == replica


@pytest.mark.fault("etcd emptied and manifests applied again")
def test_a_rebuilt_cluster_goes_on_with_the_replicas_of_the_lost_one(private_scene: Scene) -> None:
    scene = private_scene
    operator = scene.operator(lease_seconds="8")
    operator.start()
    replica = protect(scene, "disk")
    term = await_leader(operator)
    operator.kill()
    # The hosts know more terms than the new Lease counts from.
    operator.restart()
    lost_term = await_leader(operator)
    assert lost_term > term
    pools.write(scene.a, f"{scene.source}/disk")
    scene.next_point("disk")
    first = pools.snapshots(scene.b, f"{scene.root}/disk")
    operator.kill()

    scene.plane.empty_etcd()
    install.install(scene.plane)
    scene.install()
    scene.apply_sites()
    apply_pair(scene, "disk")
    pools.write(scene.a, f"{scene.source}/disk")
    operator.restart()
    scene.await_ready("disk")

    def arrived() -> None:
        points = pools.snapshots(scene.b, f"{scene.root}/disk")
        assert len(points) > len(first), points
        assert list(points.items())[: len(first)] == list(first.items())

    eventually(arrived)
    assert pools.guid(scene.b, f"{scene.root}/disk") == replica
    assert await_leader(operator) > lost_term
