"""What an operator costs while nothing happens: many pairs, no writes."""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict
from typing import Any

from bench import machine
from bench.cluster import Cluster, Cost, cluster, cost, pair, surroundings
from bench.grounds import grounds
from bench.results import Figure, Result
from worlds import progress

SEED_S = 3600.0
SETTLE_S = 120.0
EVERY_S = 15.0
NOTES = (
    "Pairs of one small volume each on one route between two hosts, policy Gold (RPO 5 min), so "
    "that a pass runs every two and a half minutes: it flushes, lists both sides, and finds "
    "nothing to do. API server and hosts are not counted in.",
    "CPU is that of the operator process and, beside it, of its ssh processes; in percent of one "
    "core of this machine, which other work shared.",
)


def measure(arguments: argparse.Namespace) -> Result:
    """All pairs get their recovery point, then the operator is watched."""
    with grounds(keep=arguments.keep) as ours:
        result = Result(
            scenario="idle",
            title="An idle operator",
            parameters={"pairs": arguments.volumes, "minutes": arguments.minutes},
            machine=machine.describe([ours.source, ours.target]),
            notes=[*NOTES],
        )
        place = ours.field("idle", arguments.volumes)
        progress.say(f"making {arguments.volumes} volumes below {place.root}")
        place.make(16)
        with cluster(f"bench/{ours.name}") as backstay:
            bare = cost(backstay)
            backstay.apply(*surroundings(place))
            backstay.apply(*(pair(place, f"pair-{v}", [v]) for v in place.names))
            _await_points(backstay, arguments.volumes)
            progress.say(f"all pairs are in step; {SETTLE_S:.0f} s to settle")
            time.sleep(SETTLE_S)
            costs = _watch(backstay, arguments.minutes * 60)
        place.check([])
        _conclude(result, bare, costs)
        return result


def _await_points(backstay: Cluster, count: int) -> None:
    """Every pair is Ready with a recovery point."""
    began, said = time.monotonic(), -1
    while (ready := sum(_is_ready(found) for found in backstay.pairs())) < count:
        if ready != said:
            said = ready
            progress.say(f"{ready} of {count} pairs have their recovery point")
        if time.monotonic() - began > SEED_S:
            raise RuntimeError(f"{ready} of {count} pairs ready:\n{backstay.process.tail(25)}")
        time.sleep(EVERY_S)


def _is_ready(found: dict[str, Any]) -> bool:
    status = found.get("status", {})
    conditions = {c["type"]: c["status"] for c in status.get("conditions", [])}
    return bool(status.get("recoveryPoint")) and conditions.get("Ready") == "True"


def _watch(backstay: Cluster, for_s: float) -> list[Cost]:
    costs = [cost(backstay)]
    progress.say(f"watching for {for_s / 60:.0f} minutes")
    while costs[-1].at_s - costs[0].at_s < for_s:
        time.sleep(EVERY_S)
        costs.append(cost(backstay))
    return costs


def _conclude(result: Result, bare: Cost, costs: list[Cost]) -> None:
    first, last = costs[0], costs[-1]
    took = last.at_s - first.at_s
    cpu = 100 * (last.cpu_s - first.cpu_s) / took
    ssh = 100 * (last.children_cpu_s - first.children_cpu_s) / took
    writes, requests = _grown(first.writes, last.writes), _grown(first.requests, last.requests)
    minutes = took / 60
    rss = max(c.rss_mib for c in costs)
    result.figures = [
        Figure("CPU of the operator", f"{cpu:.1f} % of a core", f"{cpu * took / 100:.1f} s"),
        Figure("CPU of its ssh processes", f"{ssh:.1f} % of a core", f"{ssh * took / 100:.1f} s"),
        Figure("memory of the operator (RSS)", f"{rss:.0f} MiB", f"{bare.rss_mib:.0f} MiB empty"),
        Figure(
            "memory of its ssh processes (RSS)",
            f"{max(c.children_rss_mib for c in costs):.0f} MiB",
            "–",
        ),
        Figure("writes to the API server", f"{sum(writes.values()) / minutes:.1f} a minute", "–"),
        Figure("requests to hosts", f"{sum(requests.values()) / minutes:.1f} a minute", "–"),
    ]
    result.tables["Writes and requests in this time"] = [
        {"what": kind, "labels": labels, "count": count}
        for kind, counter in (("write", writes), ("request", requests))
        for labels, count in sorted(counter.items())
    ]
    result.rounds = [asdict(c) for c in costs]


def _grown(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    grown = {key: count - before.get(key, 0) for key, count in after.items()}
    return {key: count for key, count in grown.items() if count}
