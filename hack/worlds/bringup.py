"""All worlds together: bring up what is missing, stop what was started."""

import shutil

from worlds import api, binaries, cache, hosts, image, operator_process, progress
from worlds.controlplane import ControlPlane
from worlds.processes import Process

LINKED = ("kubectl-backstay", "backstay-operator")
_PLANE, _OPERATOR = "control plane", "operator"


def up(*, with_operator: bool = True) -> tuple[ControlPlane, list[hosts.LabHost]]:
    """Hosts, control plane and operator run; what is missing is built first, side by side."""
    found: list[hosts.LabHost] = []

    def bring_up_hosts() -> None:
        image.image_folder()
        found.extend(hosts.ensure_hosts()[0])

    def bring_up_controlplane() -> None:
        for name in ("etcd", "kube-apiserver", "kubectl"):
            binaries.binary(name)
        api.ensure_controlplane()

    progress.side_by_side(bring_up_hosts, bring_up_controlplane)
    _link_programs()
    plane = api.controlplane()
    if with_operator:
        operator_process.start(plane)
    return plane, found


def running() -> set[str]:
    """The parts that run now: `operator`, `control plane`, and the names of hosts."""
    parts = set()
    if operator_process.process().pid() is not None:
        parts.add(_OPERATOR)
    plane = api.controlplane()
    if plane.etcd.pid() is not None or plane.apiserver.pid() is not None:
        parts.add(_PLANE)
    folder = cache.run_folder()
    names = [path.name for path in (folder / "hosts").glob("*")]
    return parts | {name for name in names if Process(name, folder).pid() is not None}


def stop(parts: set[str]) -> None:
    """Stop these parts, the operator first; disks and objects go with them, builds stay."""
    if _OPERATOR in parts:
        operator_process.process().stop(20.0)
    if _PLANE in parts:
        api.stop_controlplane()
    names = sorted(parts - {_OPERATOR, _PLANE})
    if names:
        api.stop_hosts(names)
    progress.say(f"stopped: {', '.join(sorted(parts)) or 'nothing ran'}")


def down() -> None:
    """Nothing runs, and no disk or object of the worlds is left."""
    stop(running())
    api.stop_controlplane()
    api.stop_hosts()


def _link_programs() -> None:
    folder = cache.run_folder() / "bin"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "kubectl").symlink_to(binaries.binary("kubectl"))
    for name in LINKED:
        program = cache.PROJECT / ".venv" / "bin" / name
        if program.exists():
            (folder / name).symlink_to(program)
