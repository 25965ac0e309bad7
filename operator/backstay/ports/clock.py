"""Time, as the core needs it."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """One source of time. The wall clock is for people; durations and deadlines never use it."""

    def now(self) -> datetime:
        """The wall clock's time, aware, in UTC; it may jump in either direction."""
        ...

    def monotonic_s(self) -> float:
        """Seconds since some moment; it never goes back and counts on while the machine sleeps."""
        ...

    async def sleep(self, seconds: float) -> None:
        """At least so many monotonic seconds have passed; at once when not positive."""
        ...
