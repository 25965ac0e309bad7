"""A stand-in for `zfs` and `zpool` that keeps its pool in a JSON file beside itself.

Run as a program named `zfs` or `zpool`. It knows the argument vectors of `argv.py` and answers
with the words of OpenZFS 2.3.9; anything else is a usage error, as it would be there. Every call
is written to the log with the environment that it got.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

HOME = Path(sys.argv[0]).resolve().parent.parent
NATIVE = {
    "written": 0, "referenced": 24576, "available": 1 << 30, "volsize": "-", "readonly": "off",
    "mounted": "no", "encryption": "off", "origin": "-", "receive_resume_token": "-", "used": 24576,
}  # fmt: skip
State = dict[str, Any]


@contextlib.contextmanager
def pool() -> Iterator[State]:
    """The state, alone; what was changed is kept."""
    with (HOME / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        path = HOME / "state.json"
        state: State = json.loads(path.read_text()) if path.exists() else {"txg": 10, "things": {}}
        before = json.dumps(state)
        yield state
        if json.dumps(state) != before:
            path.with_suffix(".new").write_text(json.dumps(state))
            path.with_suffix(".new").replace(path)


def fail(message: str, status: int = 1) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.write(message + "\n")
    sys.stderr.flush()
    os._exit(status)


def new(state: State, name: str, **facts: Any) -> None:
    state["txg"] += 1
    guid = int.from_bytes(os.urandom(8), "big") >> 1
    state["things"][name] = {"guid": guid, "createtxg": state["txg"], "props": {}, **facts}


def value(thing: State, name: str, column: str) -> str:
    if column == "name":
        return name
    if column.startswith("written@"):
        return str(thing.get("since", {}).get(column[8:], "-"))
    if column == "type":
        return str(thing.get("type", "filesystem"))
    return str(thing.get(column, NATIVE.get(column, "-")))


def parse(words: list[str], with_value: str) -> tuple[dict[str, list[str]], list[str]]:
    """Options (each with its values) and operands."""
    options: dict[str, list[str]] = {}
    operands: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        if word.startswith("-") and len(word) > 1:
            for letter in word[1:]:
                values = options.setdefault(letter, [])
                if letter in with_value:
                    values.append(left.pop(0))
        else:
            operands.append(word)
    return options, operands


def kind_of(name: str) -> str:
    return "snapshot" if "@" in name else "bookmark" if "#" in name else "filesystem"


def wanted(state: State, options: dict[str, list[str]], operands: list[str]) -> list[str]:
    kinds = options["t"][0].split(",")
    depth = 99 if "r" in options else int(options.get("d", ["0"])[0])
    found = []
    for name, thing in state["things"].items():
        kind = thing.get("type", kind_of(name))
        for operand in operands:
            tail = name[len(operand) :]
            level = sum(tail.count(mark) for mark in "/@#")
            below = tail[:1] in ("/", "@", "#") and level <= depth
            if kind in kinds and (name == operand or (name.startswith(operand) and below)):
                found.append(name)
                break
    return found


def missing(state: State, operands: list[str]) -> list[str]:
    return [name for name in operands if name not in state["things"]]


def zfs_list(words: list[str]) -> int:
    options, operands = parse(words, "tods")
    with pool() as state:
        for name in missing(state, operands):
            sys.stderr.write(f"cannot open '{name}': dataset does not exist\n")
        names = wanted(state, options, operands)
        if "s" in options:
            names.sort(key=lambda n: state["things"][n]["createtxg"])
        for name in names:
            cells = [value(state["things"][name], name, c) for c in options["o"][0].split(",")]
            print("\t".join(cells))
        gone = missing(state, operands)
        for name in [n for n in names if state["things"][n].get("vanishes")]:
            del state["things"][name]
        meanwhile = state.pop("meanwhile", {})
        for name, facts in meanwhile.items():
            state["things"].setdefault(name, {}).update(facts)
    if meanwhile:
        let_others_begin()
    return 1 if gone else 0


def let_others_begin() -> None:
    """Whoever runs beside this call has begun, if anybody does."""
    until = time.monotonic() + 0.5
    size = (HOME / "log").stat().st_size
    while (HOME / "log").stat().st_size == size and time.monotonic() < until:
        os.sched_yield()


def zfs_get(words: list[str]) -> int:
    options, operands = parse(words, "ots")
    properties, names = operands[0].split(","), operands[1:]
    with pool() as state:
        gone = missing(state, names)
        for name in gone:
            sys.stderr.write(f"cannot open '{name}': dataset does not exist\n")
        if "j" in options and gone:
            return 1  # as OpenZFS 2.3.9 does: nothing at all is printed
        found = {
            name: {p: v for p, v in state["things"][name]["props"].items() if p in properties}
            for name in wanted(state, options, names)
        }
        native = {
            name: {p: value(state["things"][name], name, p) for p in properties if ":" not in p}
            for name in found
        }
        for name in [n for n in found if state["things"][n].get("vanishes")]:
            del state["things"][name]
        meanwhile = state.pop("meanwhile", {})
        for name, facts in meanwhile.items():
            state["things"].setdefault(name, {}).update(facts)
    if "j" in options:
        none, local = ({"type": kind, "data": "-"} for kind in ("NONE", "LOCAL"))
        datasets = {
            n: {
                "properties": {p: {"value": v, "source": none} for p, v in native[n].items()}
                | {p: {"value": v, "source": local} for p, v in props.items()}
            }
            for n, props in found.items()
            if props or native[n]
        }
        print(json.dumps({"datasets": datasets}))
    else:
        for name, props in found.items():
            for key, text in props.items():
                cells = {"name": name, "property": key, "value": text}
                print("\t".join(cells[column] for column in options["o"][0].split(",")))
    return 1 if gone else 0


def zfs_set(words: list[str]) -> int:
    pairs = dict(word.split("=", 1) for word in words if "=" in word)
    with pool() as state:
        for name in (word for word in words if "=" not in word):
            for key, text in pairs.items():
                target = state["things"][name]
                (target["props"] if ":" in key else target)[key] = text
    return 0


def zfs_snapshot(words: list[str]) -> int:
    with pool() as state:
        for name in words:
            if name.partition("@")[0] not in state["things"]:
                fail(f"cannot open '{name.partition('@')[0]}': dataset does not exist")
            if name in state["things"]:
                fail(
                    f"cannot create snapshot '{name}': dataset already exists\n"
                    "no snapshots were created"
                )
        for name in words:
            new(state, name)
            state["txg"] -= 1
        state["txg"] += 1
    return 0


def zfs_bookmark(words: list[str]) -> int:
    with pool() as state:
        if words[1] in state["things"]:
            fail(f"cannot create bookmark '{words[1]}': bookmark exists")
        if words[0] not in state["things"]:
            fail(f"cannot create bookmark '{words[1]}': dataset does not exist")
        state["things"][words[1]] = dict(state["things"][words[0]])
    return 0


def zfs_create(words: list[str]) -> int:
    _, operands = parse(words, "o")
    with pool() as state:
        if operands[0].rpartition("/")[0] not in state["things"]:
            fail(f"cannot create '{operands[0]}': parent does not exist")
        new(state, operands[0])
    return 0


def zfs_destroy(words: list[str]) -> int:
    (operand,) = words
    head, mark, tail = operand.partition("@")
    names = [f"{head}@{short}" for short in tail.split(",")] if mark else [operand]
    with pool() as state:
        for name in names:
            if state["things"].get(name, {}).get("held"):
                fail(
                    f"cannot destroy snapshot {name}: it's being held. Run 'zfs holds -r {name}' "
                    "to see holders."
                )
        for name in names:
            if state["things"].pop(name, None) is None:
                fail(f"could not find any snapshots to destroy; check snapshot names.\n{name}")
    return 0


def zfs_send(words: list[str]) -> int:
    options, operands = parse(words, "it")
    with pool() as state:
        if "n" in options:
            partial = json.loads(bytes.fromhex(options["t"][0].split("-")[3]))
            print("resume token contents:\nnvlist version: 0\n\tobject = 0x1")
            print(f"\tbytes = {partial['bytes']:#x}\n\ttoguid = {partial['guid']:#x}")
            print(f"\ttoname = {partial['name']}", flush=True)
            if partial["name"] not in state["things"]:
                used = "used in the initial send no longer exists"
                fail(f"cannot resume send: '{partial['name']}' {used}", 255)
            return 0
        name = operands[0] if operands else ""
        if "t" in options:
            name = json.loads(bytes.fromhex(options["t"][0].split("-")[3]))["name"]
        thing = state["things"].get(name)
        if thing is None:
            fail(f"cannot open '{name}': dataset does not exist")
    size = thing.get("size", 1000)
    sys.stderr.write(f"full\t{name}\t{size}\nsize\t{size}\n")
    sys.stderr.flush()
    header = json.dumps({"name": name, "guid": thing["guid"], "size": size}).encode()
    os.write(1, header.ljust(512))
    left = size
    while left:
        left -= os.write(1, b"x" * min(left, 65536))
        sys.stderr.write(f"00:00:01\t{size - left}\t{name}\n")
        sys.stderr.flush()
    return 0


def _read(size: int) -> bytes:
    data = b""
    while len(data) < size and (got := os.read(0, min(65536, size - len(data)))):
        data += got
    return data


def zfs_receive(words: list[str]) -> int:
    options, (target,) = parse(words, "o")
    if "A" in options:
        with pool() as state:
            if state["things"].get(target, {}).get("receive_resume_token", "-") == "-":
                fail(f"'{target}' does not have any resumable receive state to abort")
            del state["things"][target]
        return 0
    header = _read(512)
    if len(header) < 512:
        fail("cannot receive: failed to read from stream")
    stream = json.loads(header)
    with pool() as state:
        if target not in state["things"]:
            if target.rpartition("/")[0] not in state["things"]:
                fail(f"cannot receive new filesystem stream: destination '{target}' does not exist")
            new(state, target)
            for pair in options.get("o", []):
                key, text = pair.split("=", 1)
                (state["things"][target]["props"] if ":" in key else state["things"][target])[
                    key
                ] = text
    got = len(_read(stream["size"]))
    with pool() as state:
        if got < stream["size"]:
            told = {"name": stream["name"], "guid": stream["guid"], "bytes": got}
            token = f"1-abc-def-{json.dumps(told).encode().hex()}"
            state["things"][target]["receive_resume_token"] = token
        else:
            state["things"][target]["receive_resume_token"] = "-"
            short = stream["name"].partition("@")[2]
            new(state, f"{target}@{short}")
            state["things"][f"{target}@{short}"]["guid"] = stream["guid"]
    if got < stream["size"]:
        fail(
            "cannot receive new filesystem stream: checksum mismatch or incomplete stream.\n"
            "Partially received snapshot is saved."
        )
    return 0


def zfs_version(_: list[str]) -> int:
    version = (HOME / "version").read_text() if (HOME / "version").exists() else "2.3.9-fake"
    print(f"zfs-{version}\nzfs-kmod-{version}")
    return 0


def zpool_list(_: list[str]) -> int:
    with pool() as state:
        for name in sorted({n.split("/")[0].split("@")[0] for n in state["things"]}):
            print(f"{name}\t77\tONLINE\t1000\t900")
    return 0


def zpool_sync(_: list[str]) -> int:
    return 0


def main() -> int:
    tool, verb, words = Path(sys.argv[0]).name, sys.argv[1], sys.argv[2:]
    ended = HOME / "ended"
    with (HOME / "log").open("a") as log:
        call = {"argv": [tool, *sys.argv[1:]], "env": dict(os.environ), "pid": os.getpid()}
        call |= {"group": os.getpgid(0), "parent": os.getppid()}
        call["after"] = ended.read_text().split() if ended.exists() else []
        log.write(json.dumps(call) + "\n")
    trouble = HOME / f"{tool}-{verb}"
    if trouble.exists():  # what this verb is to say, and do, instead
        said = json.loads(trouble.read_text())
        if said.get("hang"):
            signal.pause()
        sys.stdout.write(said.get("out", ""))
        fail(said.get("err", ""), said.get("status", 1))
    act = globals().get(f"{tool}_{verb}")
    if act is None:
        fail(f"unrecognized command '{verb}'\nusage: {tool} command args ...", 2)
    status = act(words)
    sys.stdout.flush()
    with ended.open("a") as said_by:
        said_by.write(f"{os.getpid()}\n")
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
