"""How long this session may still act: the heartbeat's arithmetic, without threads."""

from __future__ import annotations

import math
import threading

FIRST_BEAT_S = 30.0
"""A session whose first heartbeat is not answered within this time ends."""
_MAX_OPEN = 32


class Lease:
    """The deadline that answered heartbeats set.

    The host asks with a nonce at its own time t0; the answer says how long the leader's Lease was
    still valid when it was written. Since that was after t0, t0 + remaining is never too late, no
    matter how long the answer took: a late answer cannot extend a dead Lease.
    """

    def __init__(self, now: float) -> None:
        """Nothing was asked yet."""
        self._lock = threading.Lock()
        self._deadline = now + FIRST_BEAT_S
        self._asked: dict[str, float] = {}
        self._answered = threading.Event()

    def ask(self, nonce: str, now: float) -> None:
        """The nonce was asked at this time."""
        with self._lock:
            self._asked[nonce] = now
            while len(self._asked) > _MAX_OPEN:
                del self._asked[next(iter(self._asked))]

    def answer(self, nonce: str, remaining_s: float) -> None:
        """The deadline is what this answer allows; unknown and overtaken nonces change nothing."""
        with self._lock:
            asked = self._asked.get(nonce)
            if asked is None or not math.isfinite(remaining_s):
                return
            self._asked = {n: t0 for n, t0 in self._asked.items() if t0 > asked}
            self._deadline = asked + remaining_s
            self._answered.set()

    def remaining_s(self, now: float) -> float:
        """Seconds until this session must have stopped; not positive: it must stop now."""
        with self._lock:
            return self._deadline - now

    def wait_for_first(self, patience_s: float) -> bool:
        """Whether a heartbeat was answered within the time."""
        return self._answered.wait(patience_s)
