"""What may stand in an argument vector; checked where a request enters the program.

Sources: zfs(8) *Description* (characters of a name), `zfs_namecheck.c` (`MAXNAMELEN` 256).
"""

from __future__ import annotations

import re

from backstay_host.refusal import Refused

MAX_NAME_CHARS = 255
_PART = r"[A-Za-z0-9_.: -]+"
_DATASET = re.compile(rf"[A-Za-z]{_PART[:-1]}*(?:/{_PART})*")
_SHORT = re.compile(_PART)
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,62}")
_INSTALLATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,254}")
_TOKEN = re.compile(r"[0-9]{1,4}-[0-9a-f]{1,16}-[0-9a-f]{1,16}-[0-9a-f]{1,16384}")
_USER_PROPERTY = re.compile(r"dev\.backstay:[a-z][a-z0-9-]{0,62}")
_VALUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/+ -]{0,1023}")
POSTURE_PROPERTIES = frozenset(
    {"readonly", "atime", "canmount", "mountpoint", "volmode", "snapdev", "exec", "setuid",
     "devices"}
)  # fmt: skip
"""Native properties that a receive or `posture` may set: none of them touches data."""
SETTINGS = frozenset(
    {"acltype", "aclinherit", "aclmode", "compression", "dnodesize", "logbias", "primarycache",
     "recordsize", "redundant_metadata", "secondarycache", "snapdir", "xattr"}
)  # fmt: skip
"""Native properties of a source that `survey` lists, and `posture` may set on its replica."""


def _checked(pattern: re.Pattern[str], text: str, what: str) -> str:
    if not pattern.fullmatch(text):
        raise Refused("BadRequest", f"{text[:80]!r} is not {what}")
    return text


def dataset(name: str) -> str:
    """The name, if it can only be a pool, file system or volume."""
    _checked(_DATASET, name, "the name of a dataset")
    parts = name.split("/")
    if len(name) > MAX_NAME_CHARS or "." in parts or ".." in parts:
        raise Refused("BadRequest", f"{name[:80]!r} is not the name of a dataset")
    return name


def short(name: str) -> str:
    """The name, if it can stand behind `@` or `#`."""
    return _checked(_SHORT, name, "the name of a snapshot or bookmark")


def snapshot(name: str) -> str:
    """The name, if it is `dataset@snapshot`."""
    return _pointed(name, "@")


def bookmark(name: str) -> str:
    """The name, if it is `dataset#bookmark`."""
    return _pointed(name, "#")


def point(name: str) -> str:
    """The name, if it is `dataset@snapshot` or `dataset#bookmark`, never a dataset or pool."""
    return _pointed(name, "#" if "#" in name else "@")


def _pointed(name: str, mark: str) -> str:
    head, found, tail = name.partition(mark)
    if not found or len(name) > MAX_NAME_CHARS:
        raise Refused("BadRequest", f"{name[:80]!r} is not a name with {mark!r}")
    dataset(head)
    short(tail)
    return name


def dataset_of(name: str) -> str:
    """The dataset of a snapshot or bookmark name."""
    return re.split("[@#]", name, maxsplit=1)[0]


def lineage(text: str) -> str:
    """The text, if it can be a lineage id."""
    return _checked(_ID, text, "a lineage id")


def installation(text: str) -> str:
    """The text, if it can be an installation id."""
    return _checked(_INSTALLATION, text, "an installation id")


def leader(text: str) -> str:
    """The text, if it can tell one leader from another."""
    return _checked(_ID, text, "a leader's id")


def token(text: str) -> str:
    """The text, if it has the shape of a resume token."""
    return _checked(_TOKEN, text, "a resume token")


def properties(wanted: dict[str, str]) -> dict[str, str]:
    """The properties, if each is ours, belongs to the posture of a replica, or is a setting."""
    for name, value in wanted.items():
        if name not in POSTURE_PROPERTIES | SETTINGS and not _USER_PROPERTY.fullmatch(name):
            raise Refused("BadRequest", f"property {name[:80]!r} may not be set")
        if name == "dev.backstay:writer":
            raise Refused("BadRequest", "the writer is set by `claim` only")
        _checked(_VALUE, value, f"a value of {name}")
    return wanted


def settings(wanted: list[str]) -> list[str]:
    """The names, if each is that of a setting."""
    for name in wanted:
        if name not in SETTINGS:
            raise Refused("BadRequest", f"property {name[:80]!r} is not listed")
    return wanted


def parents(name: str) -> list[str]:
    """Every dataset above this one, nearest first."""
    above = []
    while "/" in name:
        name = name.rpartition("/")[0]
        above.append(name)
    return above
