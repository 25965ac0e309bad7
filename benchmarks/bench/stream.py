"""One large increment on each way, beside the pipe that a shell would make of it; and a cut one."""

from __future__ import annotations

import argparse
import asyncio
import shlex
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from backstay.adapters.host.endpoint import SshLauncher
from backstay.adapters.host.hosts import Setup
from backstay.ports.host import Endpoint
from bench import machine
from bench.core import BenchCore, site_spec
from bench.grounds import Field, Grounds, grounds
from bench.peers import pipe
from bench.results import Figure, Result, median, seconds
from contract.host.keys import admitted, data_line, new_key
from contract.host.real_world import Breaker, BreakingLauncher
from worlds import progress
from worlds.api import LabHost

TRIES = 20
WAYS = ("relay", "direct")
KEY = "/run/bench-key"
"""The hosts' key at the source while the pipe by hand goes from host to host."""
NOTES = (
    "By hand: `zfs send -Lec -i` into `zfs receive -u` of the same amount of new data, over "
    "connections that stay open through this machine (relay), or over a new one from host to host "
    "(direct); nobody looks before or reads back.",
    "backstay: the time of its transfer, from the first ticket to the end of both processes. What "
    "its pass does before and after (survey, snapshot, read-back, pruning) does not grow with "
    "the stream; the whole pass is in the table.",
    "The cut: the stream's first half reaches the target, then ssh ends; the next passes go on by "
    "the token. Counted are the bytes that leave the source's ssh, by `tee`.",
)


@dataclass(slots=True)
class Bench:
    """The core, its volumes and what is measured."""

    core: BenchCore
    grounds: Grounds
    place: Field
    breaker: Breaker
    mib: int
    result: Result

    @property
    def kib(self) -> int:
        """New data of an increment."""
        return self.mib * 1024

    async def write(self, name: str, kib: int) -> None:
        """New data, and no debt of it left."""
        await asyncio.to_thread(self.place.write, [name], kib=kib)
        await asyncio.to_thread(self.place.source.run, "zpool sync tank", timeout_s=900.0)

    async def reach(self, pair: str, mark: str, name: str) -> None:
        """Passes until the newest snapshot of the volume is at the target.

        What goes on by its token outlasts the pass that begins it.
        """
        for number in range(1, TRIES + 1):
            self.core.request([pair], f"{mark}-{number}")
            await self.core.settle()
            try:
                await asyncio.to_thread(self.place.check, [name], [name])
            except RuntimeError:
                continue
            return
        raise RuntimeError(f"{pair}: {self.core.message(pair, 'Ready')}")


async def measure(arguments: argparse.Namespace) -> Result:
    """Rounds of four streams, in turns; then one that is cut in the middle."""
    mib = arguments.stream_mib
    with grounds(keep=arguments.keep) as ours, _keys(ours) as keys:
        place = ours.field("backstay", 3)
        by_hand = ours.field("by-hand", 2)
        for each in (place, by_hand):
            await asyncio.to_thread(each.make, mib + mib // 4)
        breaker = Breaker()
        core = StreamCore(f"bench/{ours.name}", ours.source, breaker)
        bench = Bench(core, ours, place, breaker, mib, _new_result(arguments, ours))
        try:
            await _protect(bench, keys)
            hands = {way: ByHand(by_hand, number, way) for number, way in enumerate(WAYS)}
            for hand in hands.values():
                await asyncio.to_thread(hand.send, "seed", None)
            for number in range(1, arguments.rounds + 1):
                for way in WAYS:
                    await _backstay(bench, way, number)
                    await _by_hand(bench, hands[way], number)
            await _cut(bench)
        finally:
            await core.hang_up()
        _conclude(bench.result)
        return bench.result


class StreamCore(BenchCore):
    """The core whose streams from the source can be tapped."""

    def __init__(self, installation: str, source: LabHost, breaker: Breaker) -> None:
        """Nothing is connected yet."""
        self._source, self._breaker = source, breaker
        super().__init__(installation)

    def _setup(self, term: int) -> Setup:
        return replace(super()._setup(term), launcher=self._launcher)

    def _launcher(self, wanted: Endpoint) -> SshLauncher:
        if wanted.port == self._source.port:
            return BreakingLauncher(wanted, self._breaker)
        return SshLauncher(wanted)


def _new_result(arguments: argparse.Namespace, ours: Grounds) -> Result:
    return Result(
        scenario="stream",
        title="One large stream",
        parameters={"increment_mib": arguments.stream_mib, "rounds": arguments.rounds},
        machine=machine.describe([ours.source, ours.target]),
        notes=[*NOTES],
    )


@contextmanager
def _keys(ours: Grounds) -> Iterator[bytes]:
    """The data key is admitted at the target; the key of the hosts lies at the source."""
    with tempfile.TemporaryDirectory() as folder:
        private, public = new_key(Path(folder))
    source, lines = ours.source, {ours.target: data_line(ours.target, public)}
    with admitted(lines, public):
        source.run(f"umask 077; cat > {KEY}", given=source.key_path.read_text(encoding="ascii"))
        try:
            yield private
        finally:
            source.attempt(f"rm -f {KEY} {KEY}-known")


# --- backstay -------------------------------------------------------------------------------------


async def _protect(bench: Bench, data_key: bytes) -> None:
    """A pair of one volume on each way, and one to be cut; all have their first recovery point."""
    core, place = bench.core, bench.place
    target = place.target
    core.secrets["key"] = {
        "ssh-privatekey": place.source.key_path.read_bytes(),
        "data-privatekey": data_key,
    }
    core.apply("Site", "fra", site_spec(place.source, []))
    muc = site_spec(target, [place.replica_root])
    muc["hosts"][0] |= {
        "replicationAddress": target.address_from_hosts,
        "replicationPort": target.port,
    }
    core.apply("Site", "muc", muc)
    for way in WAYS:
        core.policy(way, transfer={"path": way.title()})
    for name, way in zip(place.names, (*WAYS, "relay"), strict=True):
        members = {name: (f"{place.root}/{name}", f"{place.replica_root}/{name}")}
        core.pair(f"{way}-{name}", members, policyRef={"name": way})
    await core.until_all_have_points([f"{w}-v{n}" for n, w in enumerate((*WAYS, "relay"))])


async def _backstay(bench: Bench, way: str, number: int) -> None:
    name = f"v{WAYS.index(way)}"
    await bench.write(name, bench.kib)
    load = machine.load()
    with bench.core.noting() as record:
        began = time.monotonic()
        bench.core.request([f"{way}-{name}"], f"r{number}")
        await bench.core.settle()
        whole = time.monotonic() - began
    (transfer,) = [span for span in record.spans if span.request == "transfer"]
    took = transfer.ended_s - transfer.began_s
    await asyncio.to_thread(bench.place.check, [name], [name])
    _note(bench, "backstay", way, number, took, whole=round(whole, 2), load_before=load)


def _note(bench: Bench, tool: str, way: str, number: int, took_s: float, **more: Any) -> None:
    note = {"tool": tool, "way": way, "round": number, "seconds": round(took_s, 2), **more}
    bench.result.rounds.append(note)
    progress.say(f"{tool}, {way}, round {number}: {took_s:.1f} s, {bench.mib / took_s:.2f} MiB/s")


async def _cut(bench: Bench) -> None:
    """A full run is counted, then one whose first stream ends at its half; then what that cost."""
    name, pair = "v2", "relay-v2"
    with tempfile.TemporaryDirectory() as folder:
        sent = Path(folder) / "sent"
        await bench.write(name, bench.kib)
        bench.breaker.through = f"tee {sent}-full"
        await bench.reach(pair, "full", name)
        full = _size(f"{sent}-full")
        await bench.write(name, bench.kib)
        bench.breaker.through = f"head -c {full // 2}"
        bench.core.request([pair], "cut")
        await bench.core.settle()
        bench.breaker.through = f"tee -a {sent}-rest"  # however many streams it takes
        await bench.reach(pair, "rest", name)
        rest = _size(f"{sent}-rest")
    bench.result.rounds.append({"tool": "backstay", "way": "cut", "full": full, "retried": rest})


def _size(path: str) -> int:
    return Path(path).stat().st_size


# --- by hand --------------------------------------------------------------------------------------


@dataclass(slots=True)
class ByHand:
    """The pipe that a person types, on one way."""

    place: Field
    number: int
    way: str
    last: str = ""

    def send(self, mark: str, kib: int | None) -> float:
        """New data was written and sent; the seconds that the pipe took."""
        place, name = self.place, f"v{self.number}"
        here, there = f"{place.root}/{name}", f"{place.replica_root}/{name}"
        if kib is not None:
            place.write([name], kib=kib)
        place.source.run(f"zfs snapshot {here}@{mark}; zpool sync tank", timeout_s=900.0)
        base = f"-i @{self.last} " if self.last else ""
        send, receive = f"zfs send -Lec {base}{here}@{mark}", f"zfs receive -u {there}"
        began = time.monotonic()
        if self.way == "relay":
            pipe(place.source, send, place.target, receive)
        else:
            place.source.run(f"set -o pipefail; {send} | {self._ssh()} {receive}", timeout_s=3600.0)
        took = time.monotonic() - began
        self.last = mark
        place.check([name], [name])
        return took

    def _ssh(self) -> str:
        target = self.place.target
        known = f"{KEY}-known"
        line = f"[{target.address_from_hosts}]:{target.port} {target.host_keys[0]}"
        self.place.source.run(f"echo {shlex.quote(line)} > {known}")
        options = f"-F none -i {KEY} -o UserKnownHostsFile={known} -o BatchMode=yes"
        return f"ssh {options} -p {target.port} root@{target.address_from_hosts}"


async def _by_hand(bench: Bench, hand: ByHand, number: int) -> None:
    took = await asyncio.to_thread(hand.send, f"r{number}", bench.kib)
    _note(bench, "by hand", hand.way, number, took)


# --- what it means --------------------------------------------------------------------------------


def _conclude(result: Result) -> None:
    mib = result.parameters["increment_mib"]
    rows = []
    for way in WAYS:
        ours, theirs = (_seconds(result, tool, way) for tool in ("backstay", "by hand"))
        whole = [n["whole"] for n in result.rounds if n["tool"] == "backstay" and n["way"] == way]
        percent = 100 * median(theirs) / median(ours)
        what = f"{way.title()}, to the pipe by hand on the same way: its rate"
        result.figures.append(
            Figure(what, f"{percent:.0f} %", f"{seconds(ours)} to {seconds(theirs)}")
        )
        rows.append(
            {
                "way": way.title(),
                "backstay, MiB/s": round(mib / median(ours), 2),
                "by hand, MiB/s": round(mib / median(theirs), 2),
                "backstay's whole pass, seconds": median(whole),
            }
        )
    result.tables["Rates (medians)"] = rows
    (cut,) = [n for n in result.rounds if n["way"] == "cut"]
    result.figures.append(
        Figure(
            "cut at 50 %: bytes that all retries sent, of those of a full run",
            f"{100 * cut['retried'] / cut['full']:.1f} %",
            f"{cut['retried']} of {cut['full']} bytes",
        )
    )


def _seconds(result: Result, tool: str, way: str) -> list[float]:
    return [n["seconds"] for n in result.rounds if n["tool"] == tool and n["way"] == way]
