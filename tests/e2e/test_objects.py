"""Objects that are edited, deleted and made again while a stream runs."""

from __future__ import annotations

import pytest

from e2e import manifests, pools
from e2e.patience import eventually
from e2e.scene import Scene
from e2e.streams import held_stream, receives

pytestmark = pytest.mark.timeout(1800)


def make(scene: Scene, name: str, megabytes: int) -> manifests.Document:
    """The pair of a new volume."""
    pools.make_volume(scene.a, f"{scene.source}/{name}", megabytes=megabytes, size="128M")
    member = manifests.member(name, f"{scene.source}/{name}", f"{scene.root}/{name}")
    return manifests.pair(name, member)


def await_gone(scene: Scene, name: str) -> None:
    """The API server has no such pair any more."""

    def gone() -> None:
        left = scene.kubectl("get", "rpair", name, "--ignore-not-found", "-o", "json")
        assert left == ""

    eventually(gone)


@pytest.mark.fault("object deleted during a transfer")
def test_a_pair_deleted_within_its_seed_ends_and_goes_on_when_it_is_made_again(
    scene: Scene,
) -> None:
    (operator,) = scene.operators
    pair = make(scene, "early", megabytes=48)
    source, target = f"{scene.source}/early", f"{scene.root}/early"
    scene.apply(pair)
    with held_stream(operator):
        (first,) = pools.snapshots(scene.a, source).items()
        scene.kubectl("delete", "rpair", "early", "--wait=false")
        await_gone(scene, "early")
    assert not receives(scene.b, target)
    assert operator.streams() == []
    assert pools.bookmarks(scene.a, source) == {}
    assert list(pools.snapshots(scene.a, source).items()) == [first]
    begun = pools.guid(scene.b, target)
    scene.apply(pair)
    scene.await_ready("early")
    assert pools.guid(scene.b, target) == begun


def test_a_pair_deleted_when_it_is_whole_leaves_all_data(scene: Scene) -> None:
    pair = make(scene, "late", megabytes=1)
    source, target = f"{scene.source}/late", f"{scene.root}/late"
    scene.apply(pair)
    scene.await_ready("late")
    assert pools.bookmarks(scene.a, source)
    before = pools.everything(scene.b, target)
    scene.kubectl("delete", "rpair", "late", "--wait=false")
    await_gone(scene, "late")
    assert pools.bookmarks(scene.a, source) == {}
    assert pools.everything(scene.b, target) == before
    scene.apply(pair)
    scene.await_ready("late")
    pools.write(scene.a, source)
    scene.next_point("late")
    assert (
        pools.everything(scene.b, target).splitlines()[0].split()[1]
        == (before.splitlines()[0].split()[1])
    )


@pytest.mark.fault("object edited during a transfer")
def test_a_pair_suspended_within_its_seed_rests_and_goes_on(scene: Scene) -> None:
    (operator,) = scene.operators
    target = f"{scene.root}/rests"
    scene.apply(make(scene, "rests", megabytes=48))
    with held_stream(operator):
        begun = pools.guid(scene.b, target)
        suspend(scene, "rests", "true")
        scene.await_verdict("rpair", "rests", "Suspended", ("True", "Suspended"))

        def ended() -> None:
            assert operator.streams() == []

        eventually(ended)
    assert not receives(scene.b, target)
    suspend(scene, "rests", "false")
    scene.await_ready("rests")
    assert pools.guid(scene.b, target) == begun


def suspend(scene: Scene, name: str, value: str) -> None:
    """spec.suspend is set."""
    patch = f'{{"spec":{{"suspend":{value}}}}}'
    scene.kubectl("patch", "rpair", name, "--type=merge", "-p", patch)


def test_a_status_that_was_taken_away_comes_back(scene: Scene) -> None:
    scene.apply(make(scene, "bare", megabytes=1))
    (before,) = scene.await_ready("bare")
    patch = '[{"op":"remove","path":"/status"}]'
    scene.kubectl("patch", "rpair", "bare", "--subresource=status", "--type=json", "-p", patch)
    scene.request("bare")
    (after,) = scene.await_ready("bare")
    assert after.point["guid"] == before.point["guid"]
