"""Output of `zfs` and `zpool` as values; a row of an unexpected shape is refused, never guessed."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from backstay_host.refusal import Refused
from backstay_host.values import PoolFacts, TokenFacts
from backstay_host.zfs import names
from backstay_host.zfs.argv import (
    DATASET_COLUMNS,
    ENCRYPTION_COLUMNS,
    LOCAL_COLUMNS,
    MADE_COLUMNS,
    POINT_COLUMNS,
    POOL_COLUMNS,
)

Version = tuple[int, int, int]
JSON_SINCE: Version = (2, 3, 0)
"""OpenZFS release that brought `zfs get -j`."""


_NUMBER = re.compile("-?[0-9]{1,20}")
"""What ZFS prints; longer ones, and digits of other scripts, are not of ZFS."""


def rows(text: str, columns: int) -> list[list[str]]:
    """The rows of `-H` output; `UnexpectedOutput` when one has another number of columns."""
    found = [line.split("\t") for line in text.split("\n") if line]
    for row in found:
        if len(row) != columns:
            raise Refused(
                "UnexpectedOutput",
                f"expected {columns} columns, got {len(row)}: {' | '.join(row)[:200]!r}",
            )
    return found


def number(text: str) -> int:
    """A number of `-p` output; -1 for `-` and for what a property does not have."""
    if text in ("-", "", "none"):
        return -1
    if not _NUMBER.fullmatch(text) or int(text) >= 1 << 64:
        raise Refused("UnexpectedOutput", f"expected a number, got {text[:80]!r}")
    return int(text)


def whole(text: str) -> int:
    """A number that everything of its kind has: a GUID, a createtxg."""
    if (found := number(text)) < 0:
        raise Refused("UnexpectedOutput", f"expected a number, got {text[:80]!r}")
    return found


_NAME = re.compile("[A-Za-z][ -~]*")


def _named(name: str, marks: str = "") -> str:
    """The name, if it may stand in a command line again: one line of ASCII, and no option."""
    if not _NAME.fullmatch(name) or (marks and not set(marks) & set(name)):
        raise Refused("UnexpectedOutput", f"expected a name, got {name[:80]!r}")
    return name


def token(text: str) -> str:
    """The resume token, empty where ZFS prints `-`."""
    try:
        return "" if text == "-" else names.token(text)
    except Refused as error:
        raise Refused("UnexpectedOutput", error.message) from error


def blank(text: str) -> str:
    """The text, empty where ZFS prints `-`."""
    return "" if text == "-" else text


def pools(text: str) -> list[PoolFacts]:
    """Output of `zpool list`."""
    return [
        PoolFacts(name, number(guid), health, number(size), number(free))
        for name, guid, health, size, free in rows(text, len(POOL_COLUMNS))
    ]


def points(text: str) -> dict[str, tuple[int, int]]:
    """Full name → (guid, createtxg), in the order of the output."""
    return {
        _named(name, "@#"): (whole(guid), whole(txg))
        for name, guid, txg in rows(text, len(POINT_COLUMNS))
    }


def made(text: str) -> dict[str, tuple[int, int, int]]:
    """Full name → (guid, createtxg, ivsetguid or -1)."""
    return {
        name: (whole(guid), whole(txg), number(ivset))
        for name, guid, txg, ivset in rows(text, len(MADE_COLUMNS))
    }


def identities(text: str) -> dict[str, tuple[int, str]]:
    """Full name → (guid, resume token or '')."""
    return {name: (whole(guid), blank(token)) for name, guid, token in rows(text, 3)}


def encryption(text: str) -> dict[str, tuple[int, int, str]]:
    """Full name → (guid, ivsetguid or -1, key status or '')."""
    return {
        name: (number(guid), number(ivset), blank(status))
        for name, guid, ivset, status in rows(text, len(ENCRYPTION_COLUMNS))
    }


_MISSING = re.compile(r"cannot open '([^'\n]+)': (?:dataset does not exist|no such pool)")


def missing(stderr: str) -> tuple[set[str], str]:
    """Names that do not exist, and what else stderr says (empty: nothing else went wrong)."""
    absent: set[str] = set()
    rest: list[str] = []
    for line in stderr.splitlines():
        match = _MISSING.fullmatch(line.strip())
        if match:
            absent.add(match.group(1))
        elif line.strip():
            rest.append(line.strip())
    return absent, "\n".join(rest)


_VERSION = re.compile(r"zfs-(\S*?([0-9]{1,6})\.([0-9]{1,6})(?:\.([0-9]{1,6}))?\S*)")
_MAX_VERSION_CHARS = 256


def version(text: str) -> tuple[str, Version]:
    """The version of the tools as printed and as numbers, from `zfs version`."""
    match = _VERSION.match(text[:_MAX_VERSION_CHARS])
    if match is None:
        raise Refused("UnexpectedOutput", f"zfs version printed {text[:80]!r}")
    full, major, minor, patch = match.groups()
    return full, (int(major), int(minor), int(patch or 0))


def local_properties_json(text: str) -> dict[str, dict[str, str]]:
    """Dataset → property → value, from `zfs get -j -s local`; other sources are dropped."""
    return {name: local for name, (_, local) in facts_json(text).items()}


def facts_table(text: str) -> dict[str, dict[str, str]]:
    """Dataset → property → value, from `zfs list` with the columns `DATASET_COLUMNS`."""
    return {
        _named(row[0]): dict(zip(DATASET_COLUMNS, row, strict=True))
        for row in rows(text, len(DATASET_COLUMNS))
    }


def facts_json(
    text: str, asked: Collection[str] = ()
) -> dict[str, tuple[dict[str, str], dict[str, str]]]:
    """Dataset → (all properties, those set on the dataset itself), from `zfs get -j`.

    Each dataset has what was asked for. User properties cannot be: a dataset may not have them.
    """
    try:
        datasets: Mapping[str, Any] = json.loads(text)["datasets"] if text.strip() else {}
        found = {
            _named(name): (
                {key: item["value"] for key, item in entry["properties"].items()},
                {
                    key: item["value"]
                    for key, item in entry["properties"].items()
                    if item["source"]["type"] == "LOCAL"
                },
            )
            for name, entry in datasets.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Refused("UnexpectedOutput", f"zfs get -j: {repr(error)[:200]}") from error
    if not all(isinstance(value, str) for values, _ in found.values() for value in values.values()):
        raise Refused("UnexpectedOutput", "zfs get -j: a value that is no text")
    for name, (values, _) in found.items():
        if lacking := set(asked) - values.keys():
            raise Refused("UnexpectedOutput", f"zfs get -j: {name} without {sorted(lacking)}")
    return found


def local_properties_table(text: str, asked: Iterable[str]) -> dict[str, dict[str, str]]:
    """Dataset → property → value, from `zfs get -Hp -s local` with the columns `LOCAL_COLUMNS`.

    A value with tabs or newlines can forge rows, but not unseen. The first line of such a value
    begins with the dataset and property that it is of, its last line ends with them; as each row
    must begin as it ends, both tell of the same property, and what comes twice is refused.
    """
    wanted = set(asked)
    found: dict[str, dict[str, str]] = {}
    for name, key, value, same_key, same_name in rows(text, len(LOCAL_COLUMNS)):
        known = found.setdefault(name, {})
        is_mirrored = (same_key, same_name) == (key, name)
        if key not in wanted or key in known or not is_mirrored:
            raise Refused("UnexpectedOutput", f"unexpected row for {name[:80]!r} {key[:80]!r}")
        known[key] = value
    return found


_CONTENT = re.compile(r"^[ \t]+(\w+) = (.*)$", re.MULTILINE)
_HEX = re.compile("(?:0x)?[0-9a-f]{1,16}")


def token_facts(token: str, text: str) -> TokenFacts:
    """Contents of a resume token from `zfs send -nvt`; `to_guid` 0 when they were not printed."""
    content = dict(_CONTENT.findall(text)) if "resume token contents:" in text else {}
    return TokenFacts(
        text=token,
        to_name=content.get("toname", ""),
        to_guid=_hex(content.get("toguid", "0")),
        from_guid=_hex(content.get("fromguid", "0")),
        received_bytes=_hex(content.get("bytes", "0")),
        raw="rawok" in content,
    )


def _hex(text: str) -> int:
    return int(text, 16) if _HEX.fullmatch(text) else 0


def sent_bytes(line: str) -> int | None:
    """Bytes sent so far, from a line that `zfs send -vP` prints each second; else None."""
    match = re.fullmatch(r"\d\d:\d\d:\d\d\t([0-9]{1,19})\t\S.*", line.rstrip("\n"))
    return int(match.group(1)) if match else None


class Marked(NamedTuple):
    """What the program `MARK` found and made."""

    found: dict[str, tuple[int, int, int, int]]
    """Snapshot → GUID of its dataset, GUID, createtxg, IV set or -1."""
    made: set[str]
    """Full names of bookmarks."""


_FOUND = re.compile("([0-9a-f]{16}) ([0-9a-f]{16}) ([0-9a-f]{1,16}) ([0-9a-f]{16}|-)")


def returned(text: str) -> object:
    """What a channel program returned, from `zfs program -j`; None where nothing can be read."""
    try:
        found: object = json.loads(text)["return"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return found


def marked(said: object, asked: Collection[str]) -> Marked | None:
    """What `MARK` returned about these snapshots; None where it has another shape."""
    table = _table(said) or {}
    found, made = _table(table.get("found")), _done(table.get("made"))
    if found is None or made is None or not found.keys() <= set(asked):
        return None
    facts: dict[str, tuple[int, int, int, int]] = {}
    for name, text in found.items():
        match = _FOUND.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            return None
        whose, guid, txg, ivset = (-1 if word == "-" else int(word, 16) for word in match.groups())
        facts[name] = (whose, guid, txg, ivset)
    return Marked(facts, made)


def destroyed(said: object, asked: Collection[str]) -> set[str] | None:
    """Which of these snapshots `DESTROY` destroyed; None where it returned another shape."""
    gone = _done((_table(said) or {}).get("gone"))
    return gone if gone is not None and gone <= set(asked) else None


def differing(said: object) -> dict[str, Any] | None:
    """Member → why not, as `SWAP_ROLES` returned it; None where it has another shape."""
    return _table(said)


def _table(value: object) -> dict[str, Any] | None:
    """A table of Lua, of which an empty one may be printed as a list."""
    if value == []:
        return {}
    return value if isinstance(value, dict) else None


def _done(value: object) -> set[str] | None:
    """The names of a table name → errno that have no error."""
    table = _table(value)
    if table is None or any(type(errno) is not int for errno in table.values()):
        return None
    return {name for name, errno in table.items() if errno == 0}


def storage_paths(text: str) -> list[str]:
    """The `pool` of each zfspool storage in Proxmox' storage.cfg."""
    paths: list[str] = []
    kind = ""
    for line in text.splitlines():
        header = re.match(r"([a-z]+):\s*\S", line)
        if header:
            kind = header.group(1)
        elif kind == "zfspool":
            match = re.match(r"\s+pool\s+(\S+)", line)
            if match:
                paths.append(match.group(1))
    return sorted(set(paths))
