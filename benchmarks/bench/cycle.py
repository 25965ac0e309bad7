"""One full cycle of many volumes of which few have changed, and one in which nothing has."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from bench import machine
from bench.core import BenchCore
from bench.grounds import Field, Grounds, grounds
from bench.peers import Bzfs, Syncoid, Tree
from bench.results import Figure, Result, median, one_in, seconds
from bench.spans import PHASES, breakdown, confirmed_s
from worlds import progress

TOOLS = ("backstay", "raw", "bzfs", "syncoid")
MEANINGS = {
    "raw": "`zfs snapshot -r` and one `zfs send -R -I | zfs receive` of all volumes by hand",
    "bzfs": "bzfs, one call: snapshots of all volumes, replicated",
    "syncoid": "`zfs snapshot -r` and one call of syncoid",
}

PAIRS = 10
NOTES = (
    "backstay is measured as its operator runs: a steady process whose connections are there and "
    "that has made a pass before, so that it lists snapshots only of what has new ones. It is the "
    "operator's code from the registry to the hosts; statuses go to memory, not to an API "
    "server. Until confirmed: from the request to the end of the read-back of GUIDs; the whole "
    "pass also prunes and reports.",
    "Each tool has volumes of its own with the same writes, so that none sees the snapshots of "
    "another. Writes are flushed before the clock starts.",
    "No other tool here tells unchanged volumes from changed ones: they snapshot and send them "
    "all. Where many volumes change instead of few, the ratios shrink. None of them prunes or "
    "reads back in the time measured.",
    "bzfs has the flags that its job template gives for frequent runs; some of them leave out "
    "checks (resume token, second receiver) that backstay keeps. Its connections stay open. "
    "syncoid has the flags with which it does least; its volumes were seeded by hand.",
    "Where hosts are emulated, starting a process costs many times what it costs on hardware, so "
    "ratios between tools that start many processes and few are larger than on hardware. There is "
    "no network latency, which favours tools with many round trips.",
)


@dataclass(slots=True)
class Run:
    """What one run has measured, by (tool, kind of cycle)."""

    arguments: argparse.Namespace
    grounds: Grounds
    rounds: list[dict[str, Any]] = field(default_factory=list)
    looking: int = 0
    """Processes at the hosts that a look at their number costs."""

    def __post_init__(self) -> None:
        """A look opens the connection, the next two tell what a look costs."""
        looks = [self.grounds.started() for _ in range(3)]
        self.looking = looks[2] - looks[1]

    @contextmanager
    def measured(self, tool: str, kind: str, number: int) -> Iterator[dict[str, Any]]:
        """The time inside is noted with the load around it; the caller may add to the note."""
        note: dict[str, Any] = {"tool": tool, "kind": kind, "round": number}
        note["load_before"] = machine.load()
        before = self.grounds.started()
        began = time.monotonic()
        yield note
        note["seconds"] = round(time.monotonic() - began, 3)
        note["processes"] = self.grounds.started() - before - self.looking
        note["load_after"] = machine.load()
        self.rounds.append(note)
        progress.say(f"{kind} {number}: {tool} took {note['seconds']:.1f} s")

    def seconds(self, tool: str, kind: str, key: str = "seconds") -> list[float]:
        """All that was noted under this key."""
        return [n[key] for n in self.rounds if n["tool"] == tool and n["kind"] == kind and key in n]

    def changed(self, number: int) -> list[str]:
        """The volumes that change in a round: others in each."""
        count, of = self.arguments.changed, self.arguments.volumes
        return [f"v{(number * count + index) % of}" for index in range(count)]


@dataclass(slots=True)
class Peer:
    """A tool that is no steady process: what it does in each kind of cycle."""

    name: str
    field: Field
    seed: Callable[[], None]
    cycle: Callable[[str], None]
    """Under a mark that no other cycle has."""
    nothing: Callable[[], None] | None = None
    """A call that finds nothing to send, and knows it from its last one."""


async def measure(arguments: argparse.Namespace) -> Result:
    """All rounds, in turns: each tool writes to its own volumes, then runs one cycle."""
    with grounds(keep=arguments.keep) as ours:
        run = Run(arguments, ours)
        result = _new_result(arguments, ours)
        core = BenchCore(f"bench/{ours.name}")
        tools: list[Bzfs | Syncoid] = []
        try:
            peers = [_peer(name, run, tools) for name in arguments.tools if name != "backstay"]
            pairs, place = await _seed(core, peers, run)
            for number in range(1, arguments.rounds + 1):
                await _backstay(core, run, place, pairs, number)
                for peer in peers:
                    await _peer_cycle(peer, run, number)
            for number in range(1, arguments.rounds + 1):
                await _backstay_nothing(core, run, pairs, number)
                for peer in peers:
                    await _peer_nothing(peer, run, number)
        finally:
            await core.hang_up()
            for tool in tools:
                if isinstance(tool, Bzfs):
                    tool.close()
        _conclude(result, run, tools)
        return result


def _pairs(arguments: argparse.Namespace) -> int:
    return int((arguments.pairs or [PAIRS])[0])


def _new_result(arguments: argparse.Namespace, ours: Grounds) -> Result:
    return Result(
        scenario="cycle",
        title="One cycle of many volumes",
        parameters={
            "volumes": arguments.volumes,
            "changed": arguments.changed,
            "written_kib_each": arguments.write_kib,
            "rounds": arguments.rounds,
            "backstay_pairs": min(_pairs(arguments), arguments.volumes),
        },
        machine=machine.describe([ours.source, ours.target]),
    )


def _peer(name: str, run: Run, tools: list[Bzfs | Syncoid]) -> Peer:
    place = run.grounds.field(name, run.arguments.volumes)
    if name == "raw":
        raw = Tree(place)
        return Peer(name, place, raw.seed, raw.cycle)
    if name == "syncoid":
        syncoid = Syncoid(place)
        tools.append(syncoid)
        return Peer(name, place, syncoid.seed, syncoid.cycle)
    bzfs = Bzfs(place, rounds=run.arguments.rounds)
    tools.append(bzfs)
    return Peer(name, place, bzfs.cycle, lambda _mark: bzfs.cycle(), bzfs.replicate)


# --- one cycle each -------------------------------------------------------------------------------


async def _seed(core: BenchCore, peers: list[Peer], run: Run) -> tuple[list[str], Field]:
    """Every tool has its volumes at the target, and its connections to both hosts."""
    arguments = run.arguments
    place = run.grounds.field("backstay", arguments.volumes)
    for each in [place, *(peer.field for peer in peers)]:
        progress.say(f"making {arguments.volumes} volumes below {each.root}")
        await asyncio.to_thread(each.make, arguments.volume_mib)
    core.sites(place.source, place.target, place.replica_root)
    core.policy()
    with run.measured("backstay", "seed", 0):
        pairs = core.pairs(place, _pairs(arguments))
        await core.until_all_have_points(pairs)
    await asyncio.to_thread(place.check, [])
    await core.hang_up()
    for peer in peers:
        with run.measured(peer.name, "seed", 0):
            await asyncio.to_thread(peer.seed)
        await asyncio.to_thread(peer.field.check, [])
    return pairs, place


async def _backstay(core: BenchCore, run: Run, place: Field, pairs: list[str], number: int) -> None:
    """One cycle of the steady process."""
    changed = run.changed(number)
    await _warm(core, run, pairs, "cycle", number)
    await asyncio.to_thread(_write, place, changed, run.arguments.write_kib)
    await _backstay_pass(core, run, pairs, "cycle", number)
    await core.hang_up()  # so that nothing of ours runs at the hosts while others are measured
    await asyncio.to_thread(place.check, changed)


async def _backstay_nothing(core: BenchCore, run: Run, pairs: list[str], number: int) -> None:
    await _warm(core, run, pairs, "nothing-changed", number)
    await _backstay_pass(core, run, pairs, "nothing-changed", number)
    await core.hang_up()


async def _warm(core: BenchCore, run: Run, pairs: list[str], kind: str, number: int) -> None:
    """Connected, and one pass after another's; the operator comes here once, not at each cycle."""
    with run.measured("backstay", f"connect-for-{kind}", number):
        await core.connect()
        core.request(pairs, f"warm-{kind}-{number}")
        await core.settle()


async def _backstay_pass(
    core: BenchCore, run: Run, pairs: list[str], kind: str, number: int
) -> None:
    with core.noting() as record, run.measured("backstay", kind, number) as note:
        began = time.monotonic()
        core.request(pairs, f"{kind}-{number}")
        await core.settle()
        ended = max(core.published[f"ReplicationPair/{pair}"] for pair in pairs)
    confirmed = confirmed_s(record.spans) or ended
    note |= {
        "confirmed": round(confirmed - began, 3),
        "phases": {k: round(v, 3) for k, v in breakdown(record.spans, began, ended).items()},
        "requests": len(record.sent),
        "requests_by_name": dict(Counter(request for _, request in record.sent)),
        "commands": sum(len(span.commands) for span in record.spans),
        "changing_commands": len(record.changing_commands),
        "flushes": record.flushes,
    }


async def _peer_cycle(peer: Peer, run: Run, number: int) -> None:
    changed = run.changed(number)
    await asyncio.to_thread(_write, peer.field, changed, run.arguments.write_kib)
    await _timed(peer, run, "cycle", number, partial(peer.cycle, f"r{number}"))
    await asyncio.to_thread(peer.field.check, changed)


async def _peer_nothing(peer: Peer, run: Run, number: int) -> None:
    if peer.nothing is None:
        return
    if number == 1:
        await asyncio.to_thread(peer.nothing)  # its cache is there from now on
    await _timed(peer, run, "nothing-to-send", number, peer.nothing)


async def _timed(peer: Peer, run: Run, kind: str, number: int, work: Callable[[], None]) -> None:
    with run.measured(peer.name, kind, number):
        await asyncio.to_thread(work)


def _write(place: Field, changed: list[str], kib: int) -> None:
    """New data, and no debt of it left that the next tool would have to pay."""
    place.write(changed, kib=kib)
    place.source.run("zpool sync tank")


# --- what it means --------------------------------------------------------------------------------


def _conclude(result: Result, run: Run, tools: list[Bzfs | Syncoid]) -> None:
    result.rounds = run.rounds
    whole = run.seconds("backstay", "cycle")
    confirmed = run.seconds("backstay", "cycle", "confirmed")
    for name, meaning in MEANINGS.items():
        theirs = run.seconds(name, "cycle")
        if theirs:
            result.figures += [
                Figure(
                    f"{what}, to {meaning}",
                    one_in(ours, theirs),
                    f"{seconds(ours)} to {seconds(theirs)}",
                )
                for what, ours in (("backstay until confirmed", confirmed), ("whole pass", whole))
            ]
    _conclude_nothing(result, run)
    result.tables["A cycle of each tool (medians)"] = [
        {
            "tool": name,
            "seconds": median(run.seconds(name, "cycle")),
            "processes started at both hosts": median(run.seconds(name, "cycle", "processes")),
        }
        for name in TOOLS
        if run.seconds(name, "cycle")
    ]
    result.tables["Where backstay's cycle spends its time (medians)"] = [_phases(run)]
    result.tables["Seeding all volumes once (one run, no ratio)"] = [
        {"tool": n["tool"], "seconds": n["seconds"]} for n in run.rounds if n["kind"] == "seed"
    ]
    result.notes += _notes(tools)


def _conclude_nothing(result: Result, run: Run) -> None:
    kind = "nothing-changed"
    notes = [n for n in run.rounds if n["tool"] == "backstay" and n["kind"] == kind]
    ours = run.seconds("backstay", kind)
    worst = max(n["requests"] for n in notes)
    changing = max(n["changing_commands"] for n in notes)
    result.figures.append(
        Figure(
            f"nothing changed, backstay: {worst} host requests, {changing} changing commands",
            "–",
            seconds(ours),
        )
    )
    theirs = run.seconds("bzfs", "nothing-to-send")
    if theirs:
        result.figures.append(
            Figure(
                "nothing changed, to bzfs without new snapshots, with its cache "
                "(--cache-snapshots)",
                one_in(ours, theirs),
                f"{seconds(ours)} to {seconds(theirs)}",
            )
        )


def _phases(run: Run) -> dict[str, Any]:
    notes = [n for n in run.rounds if n["tool"] == "backstay" and n["kind"] == "cycle"]
    row: dict[str, Any] = {p: median([n["phases"][p] for n in notes]) for p in (*PHASES, "own")}
    row["requests"] = median([n["requests"] for n in notes])
    row["commands at the hosts"] = median([n["commands"] for n in notes])
    row["connecting anew (not in it)"] = median(run.seconds("backstay", "connect-for-cycle"))
    return row


def _notes(tools: list[Bzfs | Syncoid]) -> list[str]:
    called = [
        f"{type(t).__name__.lower()} {t.version}, as it was called: `{t.shown()}`" for t in tools
    ]
    return [*NOTES, *called]
