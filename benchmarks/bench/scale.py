"""What the operator costs with many pairs: the real process and API server, hosts in memory."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from backstay.adapters.kube.client import Call, KubeClient
from backstay.controllers.objects import FINALIZER
from bench import fleet, machine
from bench.cluster import API_VERSION, POLICY, Cluster, Cost, cost, start
from bench.results import Figure, Result
from bench.watching import Watching
from fakes.ssh_keys import host_key, openssh
from worlds import api, progress
from worlds.processes import Process, free_port, wait_until

INSTALLATION = "bench/scale"
HOSTS_A_SITE = 25
FIRST_PORT = 28480
RPO_S = 300.0
SETTLE_S = 310.0
"""By then each route has had three passes, which is what `Achievable` is measured from: its turn is
the last that a start causes."""
EVERY_S = 30.0
"""So often the metrics are scraped, as a Prometheus would; what that costs is counted in."""
KINDS = {
    "Site": "sites",
    "ProtectionPolicy": "protectionpolicies",
    "ReplicationPair": "replicationpairs",
}
NOTES = (
    "Real: the operator's process as it is installed, a Kubernetes API server with etcd, one child "
    "process and one session of the host program's protocol a host, pipes between streams. Not "
    "real: `ssh` is a program that hands its pipes to a process with all hosts in memory (those of "
    "tests/fakes, which the contract suite holds against ZFS); streams carry a line each instead "
    "of data; a host answers after 0.1 s. Network, cryptography and ZFS are not measured.",
    "CPU is user and system time of the operator's process alone: neither the API server nor the "
    "hosts are in it. What its `ssh` children use is not shown, for they are not ssh. One OpenSSH "
    "client takes about 10 MB beside the operator for each host, and as much for its streams.",
    "Half of the hosts replicate to the other half, each to one. Policy Gold: RPO 5 min, a pass "
    "over each route every two and a half minutes. A tenth of the volumes is written to every "
    "20 s, the others never. The metrics are scraped every 30 s, which is counted in.",
    "Start to first pass: from the start of a process that finds all pairs at the API server as a "
    "predecessor left them, to the first answered survey of a pool.",
    "Writes a pair are counted by a watch of the benchmark's own, each pair's most in any minute "
    "(any five minutes where nothing changes).",
)


async def measure(arguments: argparse.Namespace) -> Result:
    """Each size is measured from an empty cluster to the end of the steady minutes."""
    return await asyncio.to_thread(_measure, arguments)


def _measure(arguments: argparse.Namespace) -> Result:
    sizes = arguments.pairs or [1000, 10000]
    result = Result(
        scenario="scale",
        title="Many pairs on fake hosts",
        parameters={
            "pairs": ", ".join(map(str, sizes)),
            "hosts": arguments.hosts,
            "changing": arguments.changing,
        },
        machine=machine.describe([]),
        notes=[*NOTES],
    )
    for pairs in sizes:
        result.rounds.append(asdict(_one(pairs, arguments)))
    _conclude(result)
    return result


@dataclass(slots=True)
class Run:
    """What was measured with so many pairs."""

    pairs: int
    load_before: float = 0.0
    load_after: float = 0.0
    new_s: float = 0.0
    """From the start of the operator until each of the pairs had its first status."""
    new_cpu_s: float = 0.0
    first_pass_s: float = 0.0
    all_routes_s: float = 0.0
    costs: list[Cost] = field(default_factory=list)
    late: dict[str, dict[str, float]] = field(default_factory=dict)
    """`route` and `object` → upper bound in seconds → runs in the steady time that began in it."""
    worst_changing: int = 0
    worst_quiet: int = 0
    status_writes: int = 0
    hosts: dict[str, Any] = field(default_factory=dict)


# --- one size -------------------------------------------------------------------------------------


def _one(pairs: int, arguments: argparse.Namespace) -> Run:
    run = Run(pairs, load_before=machine.load())
    with tempfile.TemporaryDirectory() as folder, api.private_controlplane() as plane:
        place = Path(folder)
        plan = fleet.Plan(
            socket=str(place / "fleet"),
            installation=INSTALLATION,
            pairs=pairs,
            hosts=arguments.hosts,
            changing=arguments.changing,
        )
        with _fleet(plan, place):
            progress.say(f"{pairs} pairs: creating the objects")
            asyncio.run(_create(plane, plan))
            operator = Cluster(plane, Process("operator", place), free_port(FIRST_PORT))
            try:
                _from_nothing(run, operator, place, plan)
                _again(run, operator, place, plan)
                _watch(run, operator, plan, arguments.minutes * 60)
            except Exception:
                print(operator.process.tail(40))
                raise
            finally:
                operator.process.stop(20.0)
            run.hosts = fleet.ask(plan.socket)
            del run.hosts["first_looks"]  # moments of this machine's clock: used above
            _check(run, plan)
    run.load_after = machine.load()
    return run


@contextlib.contextmanager
def _fleet(plan: fleet.Plan, folder: Path) -> Iterator[None]:
    hosts = Process("fleet", folder)
    here = Path(__file__).resolve().parents[1]
    paths = [here, here.parent / "hack", here.parent / "tests"]
    env = {**os.environ, "PYTHONPATH": ":".join(map(str, paths))}
    hosts.start([sys.executable, "-m", "bench.fleet", json.dumps(asdict(plan))], env)
    try:
        if not wait_until(lambda: Path(plan.socket).exists() or hosts.pid() is None, 600.0):
            raise RuntimeError("the fleet takes too long")
        if hosts.pid() is None:
            raise RuntimeError(f"the fleet ended:\n{hosts.tail()}")
        fleet.install_ssh(folder, plan.socket)
        yield
    finally:
        hosts.stop(1.0)


def _start(operator: Cluster, folder: Path) -> None:
    start(operator, INSTALLATION, PATH=f"{folder}:{os.environ['PATH']}")


def _from_nothing(run: Run, operator: Cluster, folder: Path, plan: fleet.Plan) -> None:
    """The first operator has begun all pairs, and the API server knows how they are."""
    began = time.monotonic()
    _start(operator, folder)
    with Watching(operator.plane) as watching:
        progress.say(f"{run.pairs} pairs: the operator begins them")
        limit_s = 120 + run.pairs / 4
        if not wait_until(lambda: watching.ready() >= run.pairs, limit_s, 1.0):
            raise RuntimeError(f"{watching.ready()} of {run.pairs} pairs are Ready")
    run.new_s = round(time.monotonic() - began, 1)
    run.new_cpu_s = cost(operator).cpu_s
    progress.say(f"{run.pairs} pairs are Ready after {run.new_s} s, {run.new_cpu_s} s of CPU")
    operator.process.stop(20.0)


def _again(run: Run, operator: Cluster, folder: Path, plan: fleet.Plan) -> None:
    """A successor has looked at every route."""
    fleet.ask(plan.socket, "reset")
    began = time.monotonic()
    _start(operator, folder)

    def looked() -> bool:
        return len(fleet.ask(plan.socket)["first_looks"]) >= 2 * plan.routes

    if not wait_until(looked, 600.0, 1.0):
        raise RuntimeError("some route had no pass")
    looks = fleet.ask(plan.socket)["first_looks"]
    run.first_pass_s = round(looks[0] - began, 1)
    run.all_routes_s = round(looks[-1] - began, 1)
    progress.say(f"first pass after {run.first_pass_s} s, all after {run.all_routes_s} s")


def _watch(run: Run, operator: Cluster, plan: fleet.Plan, for_s: float) -> None:
    """The steady minutes."""
    progress.say(f"{SETTLE_S:.0f} s to settle, then {for_s / 60:.0f} minutes")
    time.sleep(SETTLE_S)
    before = operator.metrics()
    with Watching(operator.plane) as watching:
        run.costs.append(cost(operator))
        while run.costs[-1].at_s - run.costs[0].at_s < for_s:
            time.sleep(EVERY_S)
            run.costs.append(cost(operator))
        after = operator.metrics()
        changing = {f"p{n}" for n in range(run.pairs) if plan.is_changing(f"p{n}")}
        run.status_writes = watching.count()
        run.worst_changing = watching.most(changing.__contains__, 60.0)
        run.worst_quiet = watching.most(lambda pair: pair not in changing, RPO_S)
    run.late = {of: _late(before, after, of) for of in ("route", "object")}


def _check(run: Run, plan: fleet.Plan) -> None:
    """An operator that leaves something out must not get a figure."""
    late = run.hosts["lag_worst_s"] > RPO_S
    if run.hosts["errors"] or run.hosts["unreplicated"] or late:
        raise RuntimeError(f"not all was well: {run.hosts}")


# --- objects --------------------------------------------------------------------------------------


async def _create(plane: api.ControlPlane, plan: fleet.Plan) -> None:
    client = KubeClient(str(plane.kubeconfig))
    room = asyncio.Semaphore(16)

    async def post(path: str, body: dict[str, Any]) -> None:
        async with room:
            await client.request(Call(method="POST", path=path, body=body))

    metadata = {"name": "key", "namespace": api.NAMESPACE}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/ssh-auth",
        "metadata": metadata,
        "stringData": {"ssh-privatekey": openssh().decode()},
    }
    try:
        await post(f"/api/v1/namespaces/{api.NAMESPACE}/secrets", secret)
        for kind in KINDS:
            await asyncio.gather(*(post(_path(kind), body) for body in _objects(kind, plan)))
    finally:
        await client.close()


def _path(kind: str) -> str:
    return f"/apis/{API_VERSION}/namespaces/{api.NAMESPACE}/{KINDS[kind]}"


def _objects(kind: str, plan: fleet.Plan) -> Iterator[dict[str, Any]]:
    match kind:
        case "Site":
            for first in range(0, plan.routes, HOSTS_A_SITE):
                routes = range(first, min(first + HOSTS_A_SITE, plan.routes))
                for role in (0, 1):
                    name = _site(first, role)
                    yield _object(kind, name, {"ssh": _SSH, "hosts": _hosts(routes, role)})
        case "ProtectionPolicy":
            yield _object(kind, "gold", POLICY)
        case _:
            for route in range(plan.routes):
                for volume in plan.volumes(route):
                    yield _object(kind, volume, _pair(route, volume))


_SSH = {"secretRef": {"name": "key"}}


def _site(route: int, role: int) -> str:
    return f"{'source' if role == 0 else 'target'}-{route // HOSTS_A_SITE}"


def _hosts(routes: range, role: int) -> list[dict[str, Any]]:
    return [
        {
            "name": f"h{route}",
            "address": fleet.address(2 * route + role),
            "hostKeys": [host_key("ssh-ed25519")],
            "receiveRoots": [fleet.RECEIVE_ROOT] if role else [],
        }
        for route in routes
    ]


def _pair(route: int, volume: str) -> dict[str, Any]:
    sites = [_site(route, 0), _site(route, 1)]
    datasets = [f"tank/{volume}", f"{fleet.RECEIVE_ROOT}/{volume}"]
    places = zip(sites, datasets, strict=True)
    at = {site: {"host": f"h{route}", "dataset": dataset} for site, dataset in places}
    return {
        "policyRef": {"name": "gold"},
        "sites": sites,
        "preferredSite": sites[0],
        "datasets": [{"name": volume, "at": at}],
    }


def _object(kind: str, name: str, spec: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": api.NAMESPACE}
    if kind == "ReplicationPair":
        metadata["finalizers"] = [FINALIZER]  # else the first operator would have to set them all
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


# --- figures --------------------------------------------------------------------------------------


def _late(before: str, after: str, of: str) -> dict[str, float]:
    """Runs in this time by how late they began: cumulative, by upper bound in seconds."""
    first, last = (_buckets(text, of) for text in (before, after))
    return {bound: count - first.get(bound, 0.0) for bound, count in last.items()}


def _buckets(text: str, of: str) -> dict[str, float]:
    found = {}
    for line in text.splitlines():
        name, _, rest = line.partition("{")
        if name == "backstay_pass_lateness_seconds_bucket" and f'of="{of}"' in rest:
            found[rest.partition('le="')[2].partition('"')[0]] = float(rest.rpartition(" ")[2])
    return found


def _p99(buckets: dict[str, float]) -> str:
    """The bucket that holds the 99th percentile."""
    whole = buckets.get("+Inf", 0.0)
    bound = next((b for b, count in buckets.items() if count >= 0.99 * whole), "+Inf")
    return f"≤ {float(bound):g} s"


def _run(found: dict[str, Any]) -> Run:
    """A run as it was written down."""
    return Run(**{**found, "costs": [Cost(**each) for each in found["costs"]]})


def _row(run: Run) -> dict[str, Any]:
    first, last = run.costs[0], run.costs[-1]
    took = last.at_s - first.at_s
    requests = sum(last.requests.values()) - sum(first.requests.values())
    return {
        "pairs": run.pairs,
        "steady minutes": f"{took / 60:.0f}",
        "cores": f"{(last.cpu_s - first.cpu_s) / took:.3f}",
        "RSS, MiB": f"{max(c.rss_mib for c in run.costs):.0f}",
        "host requests a minute": f"{60 * requests / took:.0f}",
        "status writes a minute": f"{60 * run.status_writes / took:.0f}",
        "most of a changing pair in a minute": run.worst_changing,
        "most of a quiet pair in 5 min": run.worst_quiet,
        "passes late, p99": _p99(run.late["route"]),
        "objects late, p99": _p99(run.late["object"]),
        "worst loop lag, s": f"{max(c.loop_lag_s for c in run.costs[1:]):.2f}",
        "start to first pass, s": run.first_pass_s,
        "to the last route's, s": run.all_routes_s,
        "to all first statuses, s": run.new_s,
        "worst age of unreplicated data, s": f"{run.hosts['lag_worst_s']:.0f}",
    }


def _conclude(result: Result) -> None:
    rows = [_row(_run(found)) for found in sorted(result.rounds, key=lambda r: r["pairs"])]
    result.tables["Growth"] = rows
    row = rows[-1]
    pairs = row["pairs"]
    result.figures = [
        Figure(f"{pairs} pairs: CPU of the operator (goal: 0.5)", f"{row['cores']} cores", "–"),
        Figure(f"{pairs} pairs: memory (goal: 512 MiB)", f"{row['RSS, MiB']} MiB", "–"),
        Figure(
            "status writes of a changing pair in any minute (goal: 1)",
            str(row["most of a changing pair in a minute"]),
            "–",
        ),
        Figure(
            "status writes of a quiet pair in any RPO (goal: 1)",
            str(row["most of a quiet pair in 5 min"]),
            "–",
        ),
        Figure("lateness of passes, p99 (goal: 5 s)", row["passes late, p99"], "–"),
        Figure("start to first pass (goal: 30 s)", "–", f"{row['start to first pass, s']} s"),
    ]
    first = rows[0]
    if first is not row:
        grown = float(row["cores"]) / float(first["cores"])
        words = f"CPU from {first['pairs']} to {pairs} pairs ({pairs / first['pairs']:.0f} times)"
        result.figures.append(Figure(words, f"{grown:.1f} times", "–"))
