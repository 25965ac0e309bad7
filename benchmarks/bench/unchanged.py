"""Many file systems with many snapshots of which none has changed, beside a bare `zfs list`."""

from __future__ import annotations

import argparse
import asyncio
import shlex
import time
from collections import Counter
from typing import Any

from backstay.domain.zfs import LINEAGE, SOURCE_GUID, Guid
from backstay.plan.naming import lineage_id
from bench import machine
from bench.core import BenchCore
from bench.grounds import LONG_S, Field, grounds
from bench.peers import pipe
from bench.results import Figure, Result, median, seconds
from worlds import progress

PAIR = "tree"
WARM = 2
"""Passes before those that count: one sends, one sees what was made by hand after it."""
PROXMOX = "zfs list -o name,volsize,origin,type,refquota -t volume,filesystem -d1 -Hp"
"""What Proxmox VE asks of a ZFS storage, and gives 10 s (PVE::Storage::ZFSPoolPlugin)."""
SNAPSHOT_ALL = """
args = ...
root, name = args["argv"][1], args["argv"][2]
all = {root}
for child in zfs.list.children(root) do table.insert(all, child) end
for _, each in ipairs(all) do assert(zfs.sync.snapshot(each .. "@" .. name) == 0) end
"""
LIMITS = "-t 100000000 -m 100000000"
"""Instructions and bytes that a channel program may use: the most, zfs-program(8)."""
LISTINGS = {"zfs list": "zfs list -r", "zfs list -o name": "zfs list -H -o name -r"}
"""The bare list as it is typed, and the one that prints no property."""
NOTES = (
    "The bare list is `zfs list -r` of the tree, at both hosts at once through connections that "
    "stay open, and its output is read to the end; with `-o name` it prints no property.",
    "backstay: a steady process whose connections are there, from the request of a pass to its "
    "status, after a pass that has seen all snapshots.",
    "The replicas were copied by `zfs send -R` and given the names of their lineage by hand, "
    "because a first seed of so many takes an hour on emulated hosts; one pass of backstay has "
    "sent its own point to all of them. Their other snapshots were made by hand on either side.",
)
BESIDE = (
    f"Beside `{PROXMOX}`, asked again and again at both hosts: a pass right after new connections, "
    "which reads every snapshot. The slowest of all is given."
)


async def measure(arguments: argparse.Namespace) -> Result:
    """Rounds of bare lists and a pass, in turns."""
    count, snapshots = arguments.datasets, arguments.snapshots
    with grounds(keep=arguments.keep) as ours:
        place = ours.field(PAIR, count)
        result = Result(
            scenario="unchanged",
            title="Many datasets, nothing changed",
            parameters={
                "file_systems": count,
                "snapshots_each": snapshots,
                "rounds": arguments.rounds,
            },
            machine=machine.describe([ours.source, ours.target]),
            notes=[*NOTES],
        )
        core = BenchCore(f"bench/{ours.name}")
        try:
            await _prepare(core, place, count, snapshots)
            for number in range(1, arguments.rounds + 1):
                result.rounds += [await _bare(tool, place, number) for tool in LISTINGS]
                result.rounds.append(await _pass(core, number))
            if arguments.proxmox:
                result.rounds.append(await _beside(core, place))
                result.notes.append(BESIDE)
        finally:
            await core.hang_up()
        _conclude(result)
        return result


async def _prepare(core: BenchCore, place: Field, count: int, snapshots: int) -> None:
    progress.say(f"making {count} file systems below {place.root}")
    names = " ".join(f"{place.root}/f{number}" for number in range(count))
    await _source(
        place,
        f"set -e; zfs create -p -o mountpoint=none {place.root}; "
        f"for name in {names}; do zfs create $name; done; zfs snapshot -r {place.root}@by-hand-0",
    )
    parent = place.replica_root.rpartition("/")[0]
    await _target(place, f"zfs create -p -o mountpoint=none -o canmount=off {parent}")
    progress.say("copying them by hand")
    posture = "-o readonly=on -o atime=off -x mountpoint"
    send, receive = f"zfs send -R {place.root}@by-hand-0", f"zfs receive -u {posture} "
    await asyncio.to_thread(pipe, place.source, send, place.target, receive + place.replica_root)
    await _name_lineages(place)
    core.sites(place.source, place.target, parent)
    core.policy()
    core.pair(PAIR, {PAIR: (place.root, place.replica_root)}, recursive=True)
    progress.say("a first point of all of them")
    await core.until_all_have_points([PAIR])
    await core.hang_up()  # what follows takes many minutes and is none of ours
    progress.say(f"making {snapshots - 2} snapshots of each by hand, on either side")
    await asyncio.gather(
        _source(place, _snapshots(place.root, snapshots - 2)),
        _target(place, _snapshots(place.replica_root, snapshots - 2)),
    )
    await core.connect()
    for number in range(WARM):
        core.request([PAIR], f"warm-{number}")
        await core.settle()


def _snapshots(root: str, count: int) -> str:
    """As `zfs snapshot -r` would, which takes 40 s for 500 on an emulated host."""
    pool = root.partition("/")[0]
    program = f"printf '%s' {shlex.quote(SNAPSHOT_ALL)} | zfs program {LIMITS} {pool} -"
    each = f"{program} {root} by-hand-$number > /dev/null; done"
    return f"set -e; for number in $(seq {count}); do {each}"


async def _name_lineages(place: Field) -> None:
    """Every replica says of which source it is, as its seed would have made it say."""
    guids = "zfs list -Hp -t filesystem -o guid,name -r"
    sources = (await _source(place, f"{guids} {place.root}")).splitlines()
    pool = Guid(int(await _target(place, "zpool get -Hp -o value guid backup")))
    commands = ["set -e"]
    for line in sources:
        guid, name = line.split("\t")
        replica = place.replica_root + name.removeprefix(place.root)
        lineage = lineage_id(Guid(int(guid)), pool, replica)
        values = f"{LINEAGE}={lineage} {SOURCE_GUID}={guid} canmount=noauto"
        commands.append(f"zfs set {values} {replica}")
    await asyncio.to_thread(
        place.target.run, "sh", given="\n".join(commands) + "\n", timeout_s=LONG_S
    )


async def _source(place: Field, command: str) -> str:
    return await asyncio.to_thread(place.source.run, command, timeout_s=LONG_S)


async def _target(place: Field, command: str) -> str:
    return await asyncio.to_thread(place.target.run, command, timeout_s=LONG_S)


async def _bare(tool: str, place: Field, number: int) -> dict[str, object]:
    load, began = machine.load(), time.monotonic()
    listed = await asyncio.gather(
        _source(place, f"{LISTINGS[tool]} {place.root}"),
        _target(place, f"{LISTINGS[tool]} {place.replica_root}"),
    )
    took = time.monotonic() - began
    lines = [len(text.splitlines()) for text in listed]
    progress.say(f"{tool} {number}: {took:.1f} s, {lines} lines")
    return {
        "tool": tool,
        "round": number,
        "seconds": round(took, 3),
        "lines": lines,
        "load_before": load,
    }


async def _pass(core: BenchCore, number: int) -> dict[str, object]:
    load = machine.load()
    with core.noting() as record:
        began = time.monotonic()
        core.request([PAIR], f"r{number}")
        await core.settle()
        took = core.published[f"ReplicationPair/{PAIR}"] - began
    _expect_up_to_date(core)
    if record.changing_commands:
        raise RuntimeError(f"nothing was to change, but {record.changing_commands}")
    progress.say(f"pass {number}: {took:.1f} s, {len(record.sent)} requests")
    return {
        "tool": "backstay",
        "round": number,
        "seconds": round(took, 3),
        "hosts": {f"{s.host} {s.request}": round(s.ended_s - s.began_s, 3) for s in record.spans},
        "requests": dict(Counter(request for _, request in record.sent)),
        "commands": sum(len(span.commands) for span in record.spans),
        "load_before": load,
    }


def _expect_up_to_date(core: BenchCore) -> None:
    if core.condition(PAIR, "Ready") != ("True", "UpToDate"):
        raise RuntimeError(core.message(PAIR, "Ready"))


async def _beside(core: BenchCore, place: Field) -> dict[str, object]:
    """What Proxmox waits for its list, alone and beside a pass that reads all snapshots."""
    alone = [await _proxmox(place) for _ in range(3)]
    await core.hang_up()
    await core.connect()
    over = asyncio.Event()
    listing = asyncio.create_task(_until(over, place))
    began = time.monotonic()
    core.request([PAIR], "beside")
    await core.settle()
    took = core.published[f"ReplicationPair/{PAIR}"] - began
    _expect_up_to_date(core)
    over.set()
    beside = await listing
    progress.say(f"a pass that reads all snapshots: {took:.1f} s; Proxmox waits {max(beside)} s")
    return {"tool": "proxmox", "alone": alone, "beside": beside, "pass": round(took, 3)}


async def _until(over: asyncio.Event, place: Field) -> list[float]:
    waited = []
    while not over.is_set():
        waited.append(await _proxmox(place))
    return waited


async def _proxmox(place: Field) -> float:
    """Seconds until both hosts have answered."""
    began = time.monotonic()
    await asyncio.gather(
        _source(place, f"{PROXMOX} {place.root}"), _target(place, f"{PROXMOX} {place.replica_root}")
    )
    return round(time.monotonic() - began, 3)


def _conclude(result: Result) -> None:
    ours = [n for n in result.rounds if n["tool"] == "backstay"]
    took = [n["seconds"] for n in ours]
    requests = max(sum(n["requests"].values()) for n in ours)
    for tool in LISTINGS:
        theirs = [n["seconds"] for n in result.rounds if n["tool"] == tool]
        result.figures.append(
            Figure(
                f"a pass ({requests} host requests, 0 changing commands), to `{tool} -r`",
                f"{median(took) / median(theirs):.2f} ×",
                f"{seconds(took)} to {seconds(theirs)}",
            )
        )
    result.figures += [_of_proxmox(n) for n in result.rounds if n["tool"] == "proxmox"]
    surveys = {name for n in ours for name in n["hosts"]}
    result.tables["Where a pass spends its time (medians, both hosts at once)"] = [
        {
            **{name: median([n["hosts"].get(name, 0.0) for n in ours]) for name in sorted(surveys)},
            "own": median([n["seconds"] - max(n["hosts"].values()) for n in ours]),
        }
    ]


def _of_proxmox(told: dict[str, Any]) -> Figure:
    alone, worst = told["alone"], max(told["beside"])
    return Figure(
        "`zfs list` of Proxmox, beside a pass that reads all snapshots "
        f"({told['pass']:.0f} s), to alone; it gives up after 10 s",
        f"{worst / median(alone):.2f} ×",
        f"{worst:.1f} s to {seconds(alone)}",
    )
