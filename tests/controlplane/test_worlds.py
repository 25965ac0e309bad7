"""A control plane of one's own survives what the fault tests do to it."""

from worlds.api import ControlPlane

CONFIG_MAP = ("create", "configmap", "kept", "-n", "backstay", "--from-literal=a=b")


def test_objects_outlive_a_killed_api_server_and_a_killed_etcd(
    private_controlplane: ControlPlane,
) -> None:
    private_controlplane.kubectl(*CONFIG_MAP)
    private_controlplane.apiserver.kill()
    assert not private_controlplane.is_ready()
    private_controlplane.etcd.kill()
    private_controlplane.start()
    assert private_controlplane.kubectl("get", "configmap", "kept", "-n", "backstay", "-o", "name")


def test_an_emptied_etcd_knows_no_object_and_compaction_moves_on(
    private_controlplane: ControlPlane,
) -> None:
    private_controlplane.kubectl(*CONFIG_MAP)
    assert private_controlplane.compact() > 1
    private_controlplane.empty_etcd()
    names = private_controlplane.kubectl("get", "configmap", "-A", "-o", "name").split()
    assert "configmap/kept" not in names


def test_the_operators_kubeconfig_reaches_the_api(controlplane: ControlPlane) -> None:
    answer = controlplane.kubectl(
        *("--kubeconfig", str(controlplane.operator_kubeconfig), "auth", "whoami", "-o", "name")
    )
    assert answer
