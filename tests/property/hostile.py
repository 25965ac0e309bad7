"""Hostile input for the host program: JSON, names, requests, and what broken tools print."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from backstay_host import protocol
from backstay_host.children import Command, Finished
from backstay_host.codec import ProtocolError
from backstay_host.refusal import Refused
from backstay_host.zfs.argv import LINEAGE, ROLE, ROLE_EPOCH

HUGE = [10**19, 2**64, 2**64 - 1, 10**4000, -(10**400), 0, -1, 1]
TEXT = st.text(max_size=40)
ANY_TEXT = st.one_of(
    TEXT,
    st.text(st.characters(exclude_categories=()), max_size=20),  # lone surrogates, too
    st.sampled_from(["", "\0", "\n", "../..", "%s%n", "-F", "--", "$(id)", "²", "١", "\u202e"]),
)
JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.sampled_from(HUGE),
        st.floats(),
        ANY_TEXT,
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(ANY_TEXT, inner, max_size=4)
    ),
    max_leaves=12,
)
POOLS = ("tank", "backup")
WELL_FORMED = (
    *("tank", "tank/v", "tank/v/d", "tank/v/d/e", "tank/v2", "tank/w", "tank/w/v", "tank/V"),
    *("backup", "backup/r", "backup/r/x", "backup/r/x/y", "backup/r2", "backup/r2/x", "backup/s"),
    *("backup/backstay-aside", "backup/backstay-aside/1", "tank/backstay-aside/1"),
)
DATASETS = (
    *WELL_FORMED,
    *("backup/r-1", "tank/v ", "tank/v."),
    *("tank/v/../w", "tank/v/./d", "tank/v/..", "tank/v//w", "tank/v/", "/tank/v", "tank/*"),
    *("tank/v@a", "tank/v/d@a", "tank/v#b", "tank/w@tank/v", "tank/w#tank/v/d", "tank/v\n"),
    *("tank/v\0", "tank/v%", "-r", "", "tаnk/v", "tank/v,tank/w", "x" * 300),
)
POINTS = tuple(f"{name}{mark}b" for name in DATASETS for mark in "@#")
_FIELDS: dict[str, st.SearchStrategy[str]] = {
    "dataset": st.sampled_from(DATASETS),
    "datasets": st.sampled_from(DATASETS),
    "root": st.sampled_from(DATASETS),
    "roots": st.sampled_from(DATASETS),
    "name": st.sampled_from(DATASETS + POINTS),
    "base": st.sampled_from(DATASETS + POINTS),
    "snapshot": st.sampled_from(["b", "b,c", "b@c", "-r", "%"]),
    "lineage": st.sampled_from(["4c1f", "../x", ""]),
    "properties": st.sampled_from(["readonly", "on", "dev.backstay:lineage", "4c1f", "exec"]),
    "token": st.sampled_from(["1-a-b-c", "-R", "1-a-b-" + "c" * 99]),
    "ours": st.sampled_from(["ab12", "*", "["]),
}
"""What fields of these names hold; most of it is well formed, so that much gets far."""


def values(kind: Any, name: str = "") -> st.SearchStrategy[Any]:
    """Values of a type of the protocol, hostile where a field allows it."""
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return st.builds(kind, **{key: values(hint, key) for key, hint in hints.items()})
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return st.one_of(st.none(), values(args[0], name))
    if origin is list:
        return st.lists(values(args[0], name), max_size=3)
    if origin is dict:
        return st.dictionaries(values(str, name), values(str, name), max_size=2)
    return {
        str: st.one_of(_FIELDS.get(name, ANY_TEXT), _FIELDS.get(name, ANY_TEXT), ANY_TEXT),
        int: st.sampled_from([1, 1, 2, 0, -1, 2**63, 2**64 - 1]),
        bool: st.booleans(),
        float: st.sampled_from([60.0, 0.0, -1.0]),
    }[kind]


REQUESTS = st.one_of([values(body) for body, _ in protocol.REQUESTS.values()])

_NAME = st.sampled_from(WELL_FORMED)
_PLACE = st.one_of(_NAME, _NAME, _NAME, st.sampled_from(DATASETS))
_POINT = st.builds("{}{}b".format, _PLACE, st.sampled_from("@#"))
_SNAPSHOT = _PLACE.map("{}@b".format)
_ONE, _LINEAGE, _PROPERTIES = st.just(1), st.just("4c1f"), st.just({"readonly": "on"})
_SEED = st.just({"dev.backstay:lineage": "4c1f", "canmount": "noauto"})
_NONE: st.SearchStrategy[list[Any]] = st.just([])


def _some(one: st.SearchStrategy[Any], least: int = 1, most: int = 2) -> st.SearchStrategy[Any]:
    return st.lists(one, min_size=least, max_size=most)


_SENDS = _some(st.builds(protocol.SendOrder, _PLACE, _ONE, st.just("b"), _ONE), most=1)
_RECEIVES = _some(
    st.builds(protocol.ReceiveOrder, _PLACE, _LINEAGE, st.just(True), st.just(False), _SEED),
    most=1,
)
TICKETS = st.one_of(
    st.builds(protocol.Ticket, _SENDS, _NONE), st.builds(protocol.Ticket, _NONE, _RECEIVES)
)
FITTING = st.one_of(
    st.builds(
        protocol.Survey,
        _some(st.builds(protocol.SurveyRoot, _PLACE, st.booleans())),
        st.just("ab12"),
        st.booleans(),
    ),
    st.builds(
        protocol.TakeSnapshot,
        _some(st.builds(protocol.Target, _PLACE, _ONE), 0),
        st.just("b"),
        _some(st.builds(protocol.NewBookmark, _PLACE, st.just("b"), _LINEAGE), 0),
    ),
    st.builds(protocol.Prune, _some(st.builds(protocol.Doomed, _POINT, _ONE))),
    st.builds(protocol.Claim, st.just("test/one"), _some(_PLACE), st.just("one"), st.booleans()),
    st.builds(protocol.CreateParents, _PLACE, _some(_PLACE)),
    _PLACE.map(lambda root: protocol.CreateParents(root, [f"{root}/new"])),
    st.builds(protocol.AbortReceive, _PLACE, _LINEAGE, st.just("1-a-b-c")),
    st.builds(protocol.Posture, _PLACE, _LINEAGE, _PROPERTIES),
    st.builds(
        protocol.Rename, _some(st.builds(protocol.Move, _PLACE, _ONE, _PLACE, st.booleans()))
    ),
    _PLACE.map(lambda name: protocol.Rename([protocol.Move(name, 1, f"{name}2", True)])),
    st.builds(protocol.Clone, _some(st.builds(protocol.NewClone, _SNAPSHOT, _ONE, _PLACE, _SEED))),
    st.builds(
        protocol.Promote, _some(st.builds(protocol.Promotion, _PLACE, _ONE, _SNAPSHOT, _ONE))
    ),
    st.builds(
        protocol.Rollback,
        _some(
            st.builds(
                protocol.Rewind,
                dataset=_PLACE,
                guid=_ONE,
                snapshot=st.just("b"),
                snapshot_guid=_ONE,
                lose=_NONE,
                written=st.just(-1),
                properties=st.just({"dev.backstay:resolvedby": "x"}),
            )
        ),
    ),
    st.builds(protocol.Label, _some(st.builds(protocol.Mark, _PLACE, _ONE, _PROPERTIES, _NONE))),
    TICKETS,
    TICKETS,
)
"""Requests that are right in all but where their datasets lie: they would be carried out."""
NAMES = {body: name for name, (body, _) in protocol.REQUESTS.items()}

CELL = st.one_of(
    st.sampled_from(["tank/v", "-", "1", "on", "none", "", "²", "1_0", "9" * 5000, "0x1f", "1e9"]),
    TEXT,
)


def _dumped(value: Any) -> str:
    return json.dumps({"datasets": value})


_TABLE = st.lists(st.lists(CELL, max_size=14).map("\t".join), max_size=6).map("\n".join)
_WORDS = st.lists(
    st.one_of(
        TEXT,
        st.sampled_from(
            [
                *("cannot open '", "'", ": dataset does not exist", "destination '", "' exists"),
                *("incremental source (", ") does not exist", "contains", "\n", "\t", " ", "\0"),
                *("resume token contents:\n", "\ttoguid = 0x", "f" * 5000, "\ttoname = tank/v@b\n"),
                *("zfs-", "2.3.9", "1" * 5000, "12:00:00\t", "zfspool: x\n", "\tpool tank\n"),
                *('{"datasets": ', '{"tank": ', "null", "[" * 3000, "}", "quota", "\u2028"),
            ]
        ),
    ),
    max_size=8,
).map("".join)
OUTPUT = st.one_of(_TABLE, _WORDS, ANY_TEXT, JSON.map(_dumped))
"""What a broken tool may print: tables of the wrong shape, its own words in any order, noise."""


LOCAL = {LINEAGE: "4c1f", ROLE: "secondary", ROLE_EPOCH: "1"}
OURS = "backstay_20260101T000000.000Z_ab120001"


class Recorder:
    """Stands for the children: every dataset but `new` is there; what was run is kept.

    Each has a snapshot of `OURS` and a newer one, `b`, and a bookmark of that
    name, and is a replica.
    """

    def __init__(self) -> None:
        self.ran: list[list[str]] = []

    def run(self, command: Command, _deadline: float) -> Finished:
        """The output of one command."""
        self.ran.append(command.argv)
        return Finished(command.argv, 0, _printed(command.argv), "")

    def run_all(self, commands: Sequence[Command], deadline: float) -> list[Finished]:
        """The outputs of several."""
        return [self.run(command, deadline) for command in commands]

    def stop(self, _why: str) -> None:
        """Nothing runs."""


def _printed(argv: list[str]) -> str:
    if argv == ["zfs", "version"]:
        return "zfs-2.3.9\n"
    operands = [word for word in argv[6:] if word.startswith(POOLS) and not word.endswith("/new")]
    cells = {
        "guid": "1",
        "createtxg": "1",
        "encryption": "aes-256-gcm",
        "receive_resume_token": "1-a-b-c",
    }
    if argv[1] == "get" and "-j" not in argv:
        rows = [[n, key, text, key, n] for n in operands for key, text in LOCAL.items()]
        return "".join("\t".join(row) + "\n" for row in rows)
    if argv[1] == "get":
        asked = next(word for word in argv if LINEAGE in word).split(",")
        told = {key: _told((cells | LOCAL).get(key, "-"), key in LOCAL) for key in asked}
        return json.dumps({"datasets": {name: {"properties": told} for name in operands}})
    if argv[1] != "list":
        return ""
    columns = argv[argv.index("-o") + 1].split(",")
    named = ["tank", "backup"] if argv[0] == "zpool" else operands
    if "snapshot,bookmark" in argv:
        named = [f"{name}{point}" for name in named for point in (f"@{OURS}", "@b", "#b")]
    rows = [
        [name if column == "name" else cells.get(column, "-") for column in columns]
        for name in named
    ]
    return "".join("\t".join(row) + "\n" for row in rows)


def _told(value: str, is_local: bool) -> dict[str, Any]:
    return {"value": value, "source": {"type": "LOCAL" if is_local else "NONE"}}


def framed(data: bytes) -> bytes:
    """The bytes with their length before them."""
    return len(data).to_bytes(4, "big") + data


many = settings(max_examples=max(300, settings().max_examples))
"""A few hundred inputs, or as many as the profile wants."""


def refused(act: Callable[[], object]) -> Refused | ProtocolError | None:
    """How it was refused by name, if it was; whatever else is raised fails the test."""
    try:
        act()
    except (Refused, ProtocolError) as error:
        return error
    return None
