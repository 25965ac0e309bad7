"""All worlds together: bring up what is missing, stop what was started."""

import os
import shutil

from worlds import (
    api,
    binaries,
    cache,
    hosts,
    image,
    install,
    kind,
    operator_process,
    progress,
)
from worlds.kubeapi import KubeApi
from worlds.processes import Process

LINKED = ("kubectl-backstay", "backstay-operator")
_PLANE, _KIND, _OPERATOR = "control plane", "kind cluster", "operator"
_WHICH = {
    kind.KIND: "a kind cluster",
    kind.BUILT: "etcd and kube-apiserver, built from Go modules",
}


def up(*, with_operator: bool = True) -> tuple[KubeApi, list[hosts.LabHost]]:
    """Hosts, control plane and operator run; what is missing is built first, side by side."""
    found: list[hosts.LabHost] = []
    wanted = os.environ.get(kind.VARIABLE, "")
    engine = None if wanted == kind.BUILT else kind.answering_engine()
    chosen = kind.choose(wanted, _running_controlplane(), engine)
    progress.say(f"control plane: {_WHICH[chosen]}")

    def bring_up_hosts() -> None:
        image.image_folder()
        found.extend(hosts.ensure_hosts()[0])

    def bring_up_controlplane() -> None:
        if chosen == kind.KIND:
            _ensure_kind(engine or "")
            return
        for name in ("etcd", "kube-apiserver", "kubectl"):
            binaries.binary(name)
        api.ensure_controlplane()

    progress.side_by_side(bring_up_hosts, bring_up_controlplane)
    _link_programs()
    plane = controlplane()
    if with_operator:
        operator_process.start(plane)
    return plane, found


def controlplane() -> KubeApi:
    """The one that `up` brought up: the kind cluster where there is one, else the built one."""
    cluster = kind_cluster()
    return cluster if cluster.is_ours() else api.controlplane()


def kind_cluster() -> kind.KindCluster:
    """The kind cluster of these worlds, there or not."""
    return kind.KindCluster(cache.run_folder() / "kind")


def running() -> set[str]:
    """The parts that run now: `operator`, `control plane`, `kind cluster`, the names of hosts."""
    parts = set()
    if operator_process.process().pid() is not None:
        parts.add(_OPERATOR)
    plane = api.controlplane()
    if plane.etcd.pid() is not None or plane.apiserver.pid() is not None:
        parts.add(_PLANE)
    if kind_cluster().is_ours():
        parts.add(_KIND)
    folder = cache.run_folder()
    names = [path.name for path in (folder / "hosts").glob("*")]
    return parts | {name for name in names if Process(name, folder).pid() is not None}


def stop(parts: set[str]) -> None:
    """Stop these parts, the operator first; disks and objects go with them, builds stay."""
    if _OPERATOR in parts:
        operator_process.process().stop(20.0)
    if _PLANE in parts:
        api.stop_controlplane()
    names = sorted(parts - {_OPERATOR, _PLANE, _KIND})
    if names:
        api.stop_hosts(names)
    if _KIND in parts:  # last, because it cannot be deleted while its engine is down
        with cache.locked("kind"):
            kind_cluster().stop()
    progress.say(f"stopped: {', '.join(sorted(parts)) or 'nothing ran'}")


def down() -> None:
    """Nothing runs, and no disk or object of the worlds is left."""
    try:
        stop(running())
    finally:
        api.stop_controlplane()
        api.stop_hosts()


def _running_controlplane() -> str | None:
    parts = running()
    if _KIND in parts:
        return kind.KIND
    return kind.BUILT if _PLANE in parts else None


def _ensure_kind(engine: str) -> None:
    """The kind cluster runs with our kinds and rights."""
    with cache.locked("kind"):
        for name in ("kind", "kubectl"):
            binaries.binary(name)
        cluster = kind_cluster()
        cluster.start(engine)
        install.install(cluster)


def _link_programs() -> None:
    folder = cache.run_folder() / "bin"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "kubectl").symlink_to(binaries.binary("kubectl"))
    for name in LINKED:
        program = cache.PROJECT / ".venv" / "bin" / name
        if program.exists():
            (folder / name).symlink_to(program)
