"""The small languages of the API: durations, backup schedules, dataset names.

Each pattern is written in the subset that Python's `re` and the API server's RE2 read alike,
without anchors: Python uses `fullmatch`, CEL gets `^(?:…)$`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

DURATION = "[1-9][0-9]{0,5}(s|m|h)"
SCHEDULE = "[1-9][0-9]?x-[1-9][0-9]{0,3}d(-[1-9][0-9]{0,2}w)?(-[1-9][0-9]{0,2}m)?(-[1-9][0-9]?y)?"
# A component of dots only would be `.` or `..`, which ZFS refuses.
_COMPONENT = r"\.*[A-Za-z0-9_:-][A-Za-z0-9_.:-]*"
DATASET = f"[A-Za-z][A-Za-z0-9_.:-]*(/{_COMPONENT})*"

RATE = "[1-9][0-9]{0,3}(MiB|GiB)"
BUFFER = "[1-9][0-9]{0,3}MiB|[1-9]GiB"

SECONDS_A_DAY = 86_400
_UNIT_BYTES = {"MiB": 1 << 20, "GiB": 1 << 30}
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600}
_SCHEDULE_PARTS = re.compile(
    r"(?P<runs>\d+)x-(?P<daily>\d+)d(-(?P<weekly>\d+)w)?(-(?P<monthly>\d+)m)?(-(?P<yearly>\d+)y)?"
)


def duration_seconds(text: str) -> int:
    """Return the seconds of a duration such as `30s`, `5m` or `24h`.

    Raises ValueError for anything else; the models have refused it before.
    """
    if not re.fullmatch(DURATION, text):
        raise ValueError(f"{text!r} is no duration: write a number and s, m or h, as in 5m")
    return int(text[:-1]) * _UNIT_SECONDS[text[-1]]


def size_bytes(text: str) -> int:
    """Return the bytes of a size such as `50MiB` or `1GiB`.

    Raises ValueError for anything else; the models have refused it before.
    """
    if not re.fullmatch(RATE, text):
        raise ValueError(f"{text!r} is no size: write a number and MiB or GiB, as in 50MiB")
    return int(text[:-3]) * _UNIT_BYTES[text[-3:]]


def duration_text(seconds: int) -> str:
    """Return the shortest duration in one unit that means exactly so many seconds: 300 → `5m`."""
    for unit in ("h", "m"):
        if seconds and seconds % _UNIT_SECONDS[unit] == 0:
            return f"{seconds // _UNIT_SECONDS[unit]}{unit}"
    return f"{seconds}s"


@dataclass(frozen=True, slots=True)
class Schedule:
    """A backup schedule `Nx-Dd[-Ww][-Mm][-Yy]`: N runs a day and how many points are kept."""

    runs_a_day: int
    daily: int
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0


def parse_schedule(text: str) -> Schedule:
    """Return the meaning of a schedule; ValueError when it is not of the grammar."""
    parts = _SCHEDULE_PARTS.fullmatch(text)
    if not parts or not re.fullmatch(SCHEDULE, text):
        raise ValueError(f"{text!r} is no schedule: write Nx-Dd[-Ww][-Mm][-Yy], as in 1x-7d-4w-6m")
    return Schedule(
        runs_a_day=int(parts["runs"]),
        daily=int(parts["daily"]),
        weekly=int(parts["weekly"] or 0),
        monthly=int(parts["monthly"] or 0),
        yearly=int(parts["yearly"] or 0),
    )


def pool_of(dataset: str) -> str:
    """Return the pool that a dataset lies in."""
    return dataset.partition("/")[0]


def is_below(dataset: str, root: str) -> bool:
    """Say whether a dataset lies strictly below another one."""
    return dataset.startswith(f"{root}/")
