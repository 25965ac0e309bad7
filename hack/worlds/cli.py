"""The words `up`, `down`, `env`, `operator-start`, `status` and `reset-pools` of the Makefile."""

import argparse
import os
import shutil
import sys

from worlds import api, binaries, cache, hosts, identity, image, install, operator_process, progress
from worlds.controlplane import ControlPlane
from worlds.processes import Process

PROGRAMS = ("kubectl", "kubectl-backstay", "backstay-operator")


def up(*, with_operator: bool = True) -> ControlPlane:
    """Hosts, control plane and operator run; what is missing is built first, side by side."""

    def bring_up_hosts() -> None:
        image.image_folder()
        hosts.ensure_hosts()

    def bring_up_controlplane() -> None:
        for name in ("etcd", "kube-apiserver", "kubectl"):
            binaries.binary(name)
        api.ensure_controlplane()

    progress.side_by_side(bring_up_hosts, bring_up_controlplane)
    _link_programs()
    plane = api.controlplane()
    if with_operator:
        operator_process.start(plane)
    return plane


def down() -> None:
    """Stop what runs; disks and objects of the worlds go, what was built stays."""
    stopped = ["operator"] if operator_process.process().stop(20.0) else []
    if api.stop_controlplane():
        stopped.append("control plane")
    stopped += api.stop_hosts()
    progress.say(f"stopped: {', '.join(stopped) or 'nothing ran'}")


def environment() -> str:
    """Shell exports for KUBECONFIG, PATH and LAB_SSH_CONFIG."""
    folder = cache.run_folder()
    return "\n".join(
        [
            f'export KUBECONFIG="{api.controlplane().kubeconfig}"',
            f'export LAB_SSH_CONFIG="{folder / "ssh_config"}"',
            f'export PATH="{folder / "bin"}:$PATH"',
        ]
    )


def running_hosts() -> list[Process]:
    """The hosts that run now."""
    folder = cache.run_folder()
    names = sorted(path.name for path in (folder / "hosts").glob("*"))
    found = [Process(name, folder) for name in names]
    return [process for process in found if process.pid() is not None]


def status() -> None:
    """Say which processes of the worlds run."""
    names = ["etcd", "apiserver", "operator", *identity.host_names()]
    for name in names:
        pid = Process(name, cache.run_folder()).pid()
        print(f"{name:<10} {'pid ' + str(pid) if pid else 'stopped'}")


def next_steps() -> str:
    """What one can type now."""
    return """
The lab runs. Next:
  eval "$(make -s env)"                     kubectl and the hosts from this shell
  kubectl get backstay                      what the operator looks after
  ssh -F "$LAB_SSH_CONFIG" zfs-a zfs list   the first host (zfs-b is the second)
  kill -9 $(cat {run}/operator.pid); make operator-start
  make demo                                 the whole path, from kubectl apply to a recovery point
  make down                                 stop it all
""".replace("{run}", str(cache.run_folder()))


def _link_programs() -> None:
    folder = cache.run_folder() / "bin"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "kubectl").symlink_to(binaries.binary("kubectl"))
    for name in PROGRAMS[1:]:
        program = cache.PROJECT / ".venv" / "bin" / name
        if program.exists():
            (folder / name).symlink_to(program)


def main() -> None:
    """Run one word."""
    parser = argparse.ArgumentParser(prog="worlds", description=__doc__)
    words = ("up", "down", "env", "operator-start", "status", "reset-pools", "chart-lint")
    parser.add_argument("word", choices=words)
    word = parser.parse_args().word
    try:
        if word == "up":
            up(with_operator=os.environ.get("LAB_OPERATOR", "1") != "0")
            print(next_steps())
        elif word == "down":
            down()
        elif word == "env":
            print(environment())
        elif word == "operator-start":
            operator_process.start(api.controlplane())
        elif word == "status":
            status()
        elif word == "chart-lint":
            print(install.lint_chart(install.CHART))
        else:
            for host in api.ensure_hosts()[0]:
                host.reset_pools()
    except RuntimeError as failure:
        sys.exit(f"{word}: {failure}")


if __name__ == "__main__":
    main()
