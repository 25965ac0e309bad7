"""Times, ages and sizes for people, as short as they can be read."""

from __future__ import annotations

import math
from datetime import UTC, datetime

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")


def stamp(time: datetime) -> str:
    """A time as Kubernetes writes it."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def age_text(seconds: float) -> str:
    """Return an age as `kubectl get` writes it: 87s, 2m11s, 45m, 3h5m, 20h, 2d3h, 12d."""
    whole = max(0, int(seconds))
    if whole < 2 * _MINUTE:
        return f"{whole}s"
    if whole < 10 * _MINUTE:
        return _two(whole, _MINUTE, "m", 1, "s")
    if whole < 3 * _HOUR:
        return f"{whole // _MINUTE}m"
    if whole < 8 * _HOUR:
        return _two(whole, _HOUR, "h", _MINUTE, "m")
    if whole < 2 * _DAY:
        return f"{whole // _HOUR}h"
    if whole < 8 * _DAY:
        return _two(whole, _DAY, "d", _HOUR, "h")
    return f"{whole // _DAY}d"


def bytes_text(count: float) -> str:
    """Return a size in the largest unit that leaves a digit before the point: 512 B, 1.5 MiB."""
    if count < 1024:
        return f"{int(count)} B"
    power = min(len(_UNITS), int(math.log(count, 1024)))
    return f"{count / 1024**power:.1f} {_UNITS[power - 1]}"


def _two(seconds: int, unit: int, name: str, part: int, part_name: str) -> str:
    rest = seconds % unit // part
    return f"{seconds // unit}{name}" + (f"{rest}{part_name}" if rest else "")
