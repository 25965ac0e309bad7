"""The host's clocks."""

from __future__ import annotations

import time


def now_s() -> float:
    """Seconds on a clock that only goes forward, also while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def wall_s() -> float:
    """Seconds since the epoch, as this host believes; told as a fact, decides nothing here."""
    return time.time()  # noqa: TID251 - the fact itself is asked for
