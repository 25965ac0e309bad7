"""The machine's own clock."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime


class SystemClock:
    """The machine's time."""

    def now(self) -> datetime:
        """The wall clock's time, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic_s(self) -> float:
        """Seconds since boot.

        CLOCK_BOOTTIME, not CLOCK_MONOTONIC: the latter stands still while the machine is
        suspended, and a leader that wakes up would believe that its Lease still holds.
        """
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    async def sleep(self, seconds: float) -> None:
        """At least so many seconds have passed."""
        await asyncio.sleep(max(0.0, seconds))
