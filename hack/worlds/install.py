"""What a cluster administrator would install: the CRDs, the namespace, the chart's rights."""

import subprocess
from pathlib import Path
from typing import Any

import yaml

from worlds import binaries, cache, progress
from worlds.kubeapi import NAMESPACE, KubeApi

CRDS = cache.PROJECT / "crds"
CHART = cache.PROJECT / "charts" / "backstay"
_RIGHTS = ("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")


def install(plane: KubeApi) -> None:
    """The API knows our kinds; the operator's kubeconfig is the chart's service account's."""
    install_crds(plane)
    plane.kubectl("apply", "--server-side", "-f", "-", given=_namespace(NAMESPACE))
    install_rights(plane)


def install_crds(plane: KubeApi) -> None:
    """Every CRD of crds/ is applied and established."""
    files = sorted(CRDS.glob("*.yaml"))
    if not files:
        progress.say("crds/ is empty: no kinds are installed")
        return
    plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRDS))
    plane.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", str(CRDS))
    progress.say(f"{len(files)} CRDs are installed")


def install_rights(plane: KubeApi) -> None:
    """The chart's service account exists with the chart's rights; its token is the operator's."""
    documents = chart_rights()
    accounts = [item["metadata"]["name"] for item in documents if item["kind"] == "ServiceAccount"]
    if not accounts:
        progress.say(
            "charts/backstay has no service account: the operator gets the administrator's"
        )
        plane.operator_kubeconfig.write_bytes(plane.kubeconfig.read_bytes())
        return
    plane.kubectl(
        "apply",
        "--server-side",
        "--force-conflicts",
        "-f",
        "-",
        given=yaml.safe_dump_all(documents),
    )
    arguments = ("create", "token", accounts[0], "-n", NAMESPACE, "--duration=24h")
    token = plane.kubectl(*arguments).strip()
    plane.write_kubeconfig(plane.operator_kubeconfig, accounts[0], token, NAMESPACE)
    progress.say(f"the chart's rights are installed for service account {accounts[0]}")


def chart_rights() -> list[dict[str, Any]]:
    """The accounts, roles and bindings that the chart renders, for the lab's namespace."""
    if not (CHART / "Chart.yaml").exists():
        return []
    documents = yaml.safe_load_all(render_chart(CHART))
    rights = [item for item in documents if item and item["kind"] in _RIGHTS]
    for item in rights:
        if not item["kind"].startswith("Cluster"):
            item["metadata"].setdefault("namespace", NAMESPACE)
    return rights


def render_chart(chart: Path, *more: str) -> str:
    """What `helm template` prints for a release `backstay` in the lab's namespace."""
    return _helm("template", "backstay", str(chart), "--namespace", NAMESPACE, *more)


def lint_chart(chart: Path) -> str:
    """The answer of `helm lint --strict`; a finding is a RuntimeError."""
    return _helm("lint", "--strict", str(chart))


def _helm(*arguments: str) -> str:
    argv = [str(binaries.binary("helm")), *arguments]
    done = subprocess.run(
        argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        said = f"{done.stdout}{done.stderr}".strip()
        raise RuntimeError(f"helm {' '.join(arguments)}: {said}")
    return done.stdout


def _namespace(name: str) -> str:
    return yaml.safe_dump({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
