"""The words `up`, `down`, `env`, `operator-start`, `status` and `reset-pools` of the Makefile."""

import argparse
import os
import sys

from worlds import api, bringup, cache, identity, install, operator_process
from worlds.processes import Process


def environment() -> str:
    """Shell exports for KUBECONFIG, PATH and LAB_SSH_CONFIG; says so if nothing runs yet."""
    folder = cache.run_folder()
    if not bringup.controlplane().kubeconfig.exists():
        print("no control plane runs yet: make up", file=sys.stderr)
    return "\n".join(
        [
            f'export KUBECONFIG="{bringup.controlplane().kubeconfig}"',
            f'export LAB_SSH_CONFIG="{folder / "ssh_config"}"',
            f'export PATH="{folder / "bin"}:$PATH"',
        ]
    )


def status() -> None:
    """Say which processes of the worlds run."""
    names = ["etcd", "apiserver", "operator", *identity.host_names()]
    for name in names:
        pid = Process(name, cache.run_folder()).pid()
        print(f"{name:<10} {'pid ' + str(pid) if pid else 'stopped'}")
    cluster = bringup.kind_cluster()
    if cluster.is_ours():
        print(f"{'kind':<10} {cluster.name}, {'ready' if cluster.is_ready() else 'not ready'}")


def next_steps() -> str:
    """What one can type now."""
    return """
The lab runs. Next:
  eval "$(make -s env)"                     kubectl and the hosts from this shell
  kubectl get backstay                      what the operator looks after (at first nothing)
  ssh -F "$LAB_SSH_CONFIG" zfs-a zfs list   the first host (zfs-b is the second)
  kill -9 $(cat {run}/operator.pid); make operator-start
  make demo                                 the whole path, from kubectl apply to a recovery point
  make down                                 stop it all
""".replace("{run}", str(cache.run_folder()))


def main() -> None:
    """Run one word."""
    parser = argparse.ArgumentParser(prog="worlds", description=__doc__)
    words = ("up", "down", "env", "operator-start", "status", "reset-pools", "chart-lint")
    parser.add_argument("word", choices=words)
    word = parser.parse_args().word
    try:
        if word == "up":
            bringup.up(with_operator=os.environ.get("LAB_OPERATOR", "1") != "0")
            print(next_steps())
        elif word == "down":
            bringup.down()
        elif word == "env":
            print(environment())
        elif word == "operator-start":
            operator_process.start(bringup.controlplane())
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
