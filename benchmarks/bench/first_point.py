"""From `kubectl apply` to the first confirmed recovery point, beside a seed typed by hand."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

from bench import machine
from bench.cluster import Cluster, cluster, kubectl_start_s, pair, surroundings
from bench.grounds import Field, Grounds, grounds
from bench.peers import pipe
from bench.results import Figure, Result, median, seconds
from worlds import progress

WITHIN_S = 600.0
NOTES = (
    "By hand: `zfs snapshot`, then `zfs send | zfs receive` through two new ssh connections, until "
    "both have ended; nobody reads back what arrived.",
    "backstay: from the start of `kubectl apply` of one pair to the end of `kubectl wait` for its "
    "recovery point; `new hosts` applies Secret, Sites and policy along with the pair, so that "
    "nothing is connected before. Both include kubectl's own start, given beside.",
    "What backstay adds does not grow with the volume's size, so a ratio would say nothing.",
)


def measure(arguments: argparse.Namespace) -> Result:
    """Rounds of three seeds each: by hand, with hosts that are new, with hosts that are known."""
    with grounds(keep=arguments.keep) as ours:
        result = Result(
            scenario="first-point",
            title="First recovery point",
            parameters={"volume_mib": arguments.volume_mib, "rounds": arguments.rounds},
            machine=machine.describe([ours.source, ours.target]),
            notes=[*NOTES],
        )
        for number in range(1, arguments.rounds + 1):
            result.rounds.append(_round(ours, arguments.volume_mib, number))
        _conclude(result)
        return result


def _round(ours: Grounds, size_mib: int, number: int) -> dict[str, Any]:
    """Volumes of this round only, and an operator that knows nothing yet."""
    place = ours.field(f"round-{number}", 3)
    place.make(size_mib)
    place.write(place.names, kib=size_mib * 1024)
    place.source.run("zpool sync tank")
    by_hand, with_hosts, alone = place.names
    note: dict[str, Any] = {"round": number, "load_before": machine.load()}
    with cluster(f"bench/{ours.name}-{number}") as backstay:
        note["kubectl_start"] = kubectl_start_s(backstay.plane)
        note["by_hand"] = _timed("by hand", lambda: _by_hand(place, by_hand))
        applied = [*surroundings(place), pair(place, "new-hosts", [with_hosts])]
        note["new_hosts"] = _timed("new hosts", lambda: _by_backstay(backstay, applied))
        only = [pair(place, "known-hosts", [alone])]
        note["known_hosts"] = _timed("known hosts", lambda: _by_backstay(backstay, only))
        note["by_hand_again"] = _timed("by hand", lambda: _by_hand(place, by_hand, again=True))
    note["load_after"] = machine.load()
    place.check([with_hosts, alone], [with_hosts, alone])
    return note


def _timed(what: str, work: Callable[[], None]) -> float:
    began = time.monotonic()
    work()
    took = time.monotonic() - began
    progress.say(f"{what}: {took:.1f} s")
    return round(took, 3)


def _by_hand(place: Field, volume: str, *, again: bool = False) -> None:
    """A seed of the volume, as it would be typed; `again` into another place."""
    snapshot = f"{place.root}/{volume}@by-hand{'-again' if again else ''}"
    target = f"{place.replica_root}/{volume}{'-again' if again else ''}"
    pipe(
        place.source,
        f"zfs snapshot {snapshot} && zfs send -Lec {snapshot}",
        place.target,
        f"zfs receive -u {target}",
        shared=False,
    )


def _by_backstay(backstay: Cluster, applied: list[dict[str, Any]]) -> None:
    backstay.apply(*applied)
    backstay.await_point(applied[-1]["metadata"]["name"], WITHIN_S)


def _conclude(result: Result) -> None:
    hand = [n[key] for n in result.rounds for key in ("by_hand", "by_hand_again")]
    for key, words in (("known_hosts", "hosts that are known"), ("new_hosts", "new hosts")):
        ours = [n[key] for n in result.rounds]
        above = [n[key] - (n["by_hand"] + n["by_hand_again"]) / 2 for n in result.rounds]
        result.figures.append(
            Figure(
                f"first recovery point with {words}, above a seed by hand",
                f"+ {median(above)} s",
                f"{seconds(ours)} to {seconds(hand)}",
            )
        )
    starts = [n["kubectl_start"] for n in result.rounds]
    result.figures.append(Figure("of which kubectl starts twice, each time", "–", seconds(starts)))
