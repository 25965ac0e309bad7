"""From `kubectl apply` to recovery points that both sides have, and what is said of them."""

from __future__ import annotations

import pytest

from e2e import pools
from e2e.manifests import TREE, VOLUMES
from e2e.patience import eventually
from e2e.scene import Scene

pytestmark = pytest.mark.timeout(1800)


def assert_same_points(scene: Scene, *names: str) -> None:
    """The newest point of each dataset is at both sides, by GUID."""
    for name in names:
        at_source = pools.snapshots(scene.a, f"{scene.source}/{name}")
        assert at_source, f"{name} has no snapshot yet"
        newest, guid = list(at_source.items())[-1]
        at_target = pools.snapshots(scene.b, f"{scene.root}/{name}")
        assert at_target.get(newest) == guid, (name, at_source, at_target)


@pytest.mark.rule("Commit truth")
def test_the_first_points_are_at_both_sides(protected: Scene) -> None:
    assert_same_points(protected, *TREE, *VOLUMES)


@pytest.mark.rule("Atomic groups")
def test_every_point_of_a_group_is_one_moment(protected: Scene) -> None:
    taken = [list(pools.snapshots(protected.a, f"{protected.source}/{v}")) for v in VOLUMES]
    assert taken[0] == taken[1]
    assert protected.get("rpair", "vm").point["snapshot"] in taken[0]


def test_new_data_arrives_when_a_pass_is_asked_for(protected: Scene) -> None:
    before = {name: protected.get("rpair", name) for name in ("tree", "vm")}
    pools.add_file(protected.a, f"{protected.source}/tree/home/ada")
    for name in VOLUMES:
        pools.write(protected.a, f"{protected.source}/{name}")
    protected.request("tree", "vm")
    vm = protected.await_next_point("vm", before["vm"])

    def acknowledged() -> None:
        tree = protected.get("rpair", "tree")
        asked = tree.body["metadata"]["annotations"]["backstay.dev/requested-at"]
        assert tree.status["lastHandledRequest"] == asked, tree

    eventually(acknowledged)
    assert vm.point["time"] > before["vm"].point["time"]
    assert_same_points(protected, "tree/home/ada", *VOLUMES)


def test_a_file_system_that_is_created_later_comes_along(protected: Scene) -> None:
    pools.make_tree(protected.a, f"{protected.source}/tree/later")
    protected.request("tree")

    def arrived() -> None:
        assert_same_points(protected, "tree/later")

    eventually(arrived, every_s=2)
    protected.await_ready("tree")


def test_kubectl_get_tells_the_truth_in_columns(protected: Scene) -> None:
    columns = ["NAME", "ACTIVE", "RPO", "RECOVERY-POINT", "RPO-MET", "READY", "AGE"]

    def told() -> None:  # the pass that has sent a new child may not have reported yet
        head, *rows = protected.kubectl("get", "rpair").splitlines()
        assert head.split() == columns
        for row in (row.split() for row in rows):
            assert (row[1], row[2], row[4], row[5]) == ("fra", "20m", "True", "True"), rows

    eventually(told, every_s=2)
    sites = [row.split() for row in protected.kubectl("get", "bsite", "--no-headers").splitlines()]
    assert [row[:3] for row in sites] == [["fra", "1/1", "True"], ["muc", "1/1", "True"]]

    def counted() -> None:
        policies = protected.kubectl("get", "ppol", "--no-headers").split()
        assert policies[:6] == ["gold", "Gold", "20m", "15m", "2", "True"]

    eventually(counted, within_s=30)


def test_a_beginning_warns_of_nothing(protected: Scene) -> None:
    said = protected.kubectl("get", "events", "--field-selector=type=Warning", "-o", "wide")
    assert said == "", said


def test_becoming_ready_is_an_event(protected: Scene) -> None:
    said = protected.kubectl("get", "events", "--field-selector=reason=UpToDate")
    assert {line.split()[3] for line in said.splitlines()[1:]} == {
        "replicationpair/tree",
        "replicationpair/vm",
    }


@pytest.mark.rule("RPO truth")
def test_lag_and_target_are_metrics(protected: Scene) -> None:
    (operator,) = protected.operators
    labels = {"namespace": protected.namespace, "pair": "vm"}
    assert operator.total("backstay_rpo_target_seconds", **labels) == 20 * 60
    assert 0 < operator.total("backstay_recovery_point_lag_seconds", **labels) < 20 * 60
    ready = {"kind": "ReplicationPair", "name": "vm", "type": "Ready", "status": "True"}
    assert operator.total("backstay_condition", **ready) == 1
