"""A control plane and an operator of one's own for a measurement, and kubectl as a user has it."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.core import site_spec
from bench.grounds import Field
from worlds import api, binaries, operator_process, progress
from worlds.processes import Process, free_port, wait_until

API_VERSION = "backstay.dev/v1alpha1"
READY_S = 180.0
FIRST_PORT = 27480
POLICY = {
    "class": "Gold",
    "replication": {"retention": {"source": {"last": 4}, "target": {"last": 4, "hourly": 24}}},
    "backup": {"external": {"statement": "none: datasets of a benchmark"}},
}


@dataclass(slots=True)
class Cluster:
    """A private API server with the operator at work; `pid` is the operator's."""

    plane: api.ControlPlane
    process: Process
    port: int

    @property
    def pid(self) -> int:
        """The operator's process id; RuntimeError with its last words when it has ended."""
        pid = self.process.pid()
        if pid is None:
            raise RuntimeError(f"the operator ended:\n{self.process.tail(25)}")
        return pid

    def metrics(self) -> str:
        """The text of /metrics."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
            return str(answer.read().decode())

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """`kubectl apply -f` of these objects."""
        listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        self.plane.kubectl("apply", "-f", "-", given=listed, timeout_s=600)

    def await_point(self, pair: str, within_s: float) -> None:
        """`kubectl wait` until the pair has a recovery point."""
        condition = "--for=jsonpath={.status.recoveryPoint.snapshot}"
        flags = ("-n", api.NAMESPACE, f"--timeout={within_s:.0f}s")
        try:
            self.plane.kubectl("wait", condition, *flags, f"rpair/{pair}", timeout_s=within_s + 30)
        except RuntimeError as late:
            found = self.plane.kubectl("get", "rpair", pair, "-n", api.NAMESPACE, "-o", "yaml")
            raise RuntimeError(f"{late}\n{found}\n{self.process.tail(15)}") from late

    def pairs(self) -> list[dict[str, Any]]:
        """All ReplicationPairs as they are now."""
        text = self.plane.kubectl("get", "rpair", "-n", api.NAMESPACE, "-o", "json")
        found: list[dict[str, Any]] = json.loads(text)["items"]
        return found


@contextlib.contextmanager
def cluster(installation: str) -> Iterator[Cluster]:
    """A control plane of one's own with this checkout's operator; both gone afterwards."""
    with api.private_controlplane() as plane, tempfile.TemporaryDirectory() as folder:
        ours = Cluster(plane, Process("operator", Path(folder)), free_port(FIRST_PORT))
        try:
            start(ours, installation)
            yield ours
        finally:
            ours.process.stop(20.0)


def start(ours: Cluster, installation: str, **more: str) -> None:
    """This checkout's operator runs and leads, with more in its environment."""
    settings = {
        **operator_process.settings(ours.plane),
        "BACKSTAY_HTTP_PORT": str(ours.port),
        "BACKSTAY_INSTALLATION_ID": installation,
        **more,
    }
    ours.process.start([str(operator_process.PROGRAM)], {**os.environ, **settings})
    if not wait_until(lambda: _leads(ours) or ours.process.pid() is None, READY_S, 0.5):
        raise RuntimeError(f"the operator does not lead:\n{ours.process.tail(25)}")
    progress.say(f"operator leads (pid {ours.pid})")


def _leads(ours: Cluster) -> bool:
    with contextlib.suppress(OSError):
        return "backstay_leader 1" in ours.metrics()
    return False


# --- manifests ------------------------------------------------------------------------------------


def surroundings(place: Field) -> list[dict[str, Any]]:
    """Secret, Sites and policy for the pairs of a field."""
    key = base64.b64encode(place.source.key_path.read_bytes()).decode()
    secret: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/ssh-auth",
        "metadata": _metadata("key"),
        "data": {"ssh-privatekey": key},
    }
    return [
        secret,
        _object("Site", "fra", site_spec(place.source, [])),
        _object("Site", "muc", site_spec(place.target, [place.replica_root])),
        _object("ProtectionPolicy", "gold", POLICY),
    ]


def pair(place: Field, name: str, volumes: Sequence[str]) -> dict[str, Any]:
    """A pair of these volumes, each for itself."""
    datasets = [
        {
            "name": volume,
            "at": {
                "fra": {"host": "h", "dataset": f"{place.root}/{volume}"},
                "muc": {"host": "h", "dataset": f"{place.replica_root}/{volume}"},
            },
        }
        for volume in volumes
    ]
    spec = {
        "policyRef": {"name": "gold"},
        "sites": ["fra", "muc"],
        "preferredSite": "fra",
        "datasets": datasets,
    }
    return _object("ReplicationPair", name, spec)


def _object(kind: str, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": _metadata(name), "spec": spec}


def _metadata(name: str) -> dict[str, str]:
    return {"name": name, "namespace": api.NAMESPACE}


# --- what the operator costs ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cost:
    """What the operator had used up at one moment."""

    at_s: float
    cpu_s: float
    children_cpu_s: float
    """Of its ssh processes that run, and of all that have ended."""
    rss_mib: float
    children_rss_mib: float
    loop_lag_s: float
    """The worst of its event loop since it was asked last."""
    writes: dict[str, int]
    requests: dict[str, int]


def cost(ours: Cluster) -> Cost:
    """CPU and memory from /proc, writes and requests from the operator's own metrics."""
    text = ours.metrics()
    children = [pid for pid in _pids() if _stat(pid)[1] == str(ours.pid)]
    times = [_stat(pid) for pid in children]
    own = _stat(ours.pid)
    return Cost(
        at_s=time.monotonic(),
        cpu_s=_ticks_s(own[11], own[12]),
        children_cpu_s=_ticks_s(own[13], own[14]) + sum(_ticks_s(t[11], t[12]) for t in times),
        rss_mib=_rss_mib(ours.pid),
        children_rss_mib=sum(_rss_mib(pid) for pid in children),
        loop_lag_s=_gauge(text, "backstay_event_loop_lag_seconds"),
        writes=_counters(text, "backstay_kube_writes_total"),
        requests=_counters(text, "backstay_host_requests_total"),
    )


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _stat(pid: int) -> list[str]:
    """Fields of proc(5) stat from `state` on; empty-handed zeros for a process that has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ["0"] * 50


def _ticks_s(*ticks: str) -> float:
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def _rss_mib(pid: int) -> float:
    return int(_stat(pid)[21]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def _counters(text: str, name: str) -> dict[str, int]:
    """Values of a counter by its labels, as the text format of Prometheus has them."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        if line.startswith((f"{name}{{", f"{name} ")):
            labels, _, value = line.removeprefix(name).rpartition(" ")
            found[labels] = int(float(value))
    return found


def _gauge(text: str, name: str) -> float:
    lines = (line for line in text.splitlines() if line.startswith(f"{name} "))
    return float(next(lines).partition(" ")[2])


def kubectl_start_s(plane: api.ControlPlane) -> float:
    """What it takes to start kubectl and get one answer."""
    began = time.monotonic()
    argv = [str(binaries.binary("kubectl")), "--kubeconfig", str(plane.kubeconfig)]
    subprocess.run([*argv, "get", "--raw", "/readyz"], capture_output=True, check=True)
    return time.monotonic() - began
