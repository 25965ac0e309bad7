"""Waiting for what becomes true by itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# Hosts are emulated and share two cores with everything else: deadlines are for hangs only.
PATIENCE_S = 420.0
_POLL_S = 0.5


def eventually(check: Callable[[], T], within_s: float = PATIENCE_S, every_s: float = _POLL_S) -> T:
    """What `check` returns once it raises neither AssertionError nor RuntimeError any more.

    At the deadline its last complaint, which shows the last state, is the failure.
    """
    until = time.monotonic() + within_s
    while True:
        try:
            return check()
        except (AssertionError, RuntimeError) as complaint:
            if time.monotonic() >= until:
                raise AssertionError(f"not within {within_s:.0f} s: {complaint}") from complaint
            threading.Event().wait(every_s)


def throughout(check: Callable[[], object], for_s: float, every_s: float = _POLL_S) -> None:
    """`check` holds at each look for so long."""
    until = time.monotonic() + for_s
    while time.monotonic() < until:
        check()
        threading.Event().wait(every_s)
