"""A token bucket: a steady rate with room for a burst."""

from __future__ import annotations

from backstay.ports.clock import Clock


class Budget:
    """At most `burst` at once and `rate_per_s` in the long run."""

    def __init__(self, clock: Clock, *, rate_per_s: float, burst: int) -> None:
        self._clock = clock
        self._rate = rate_per_s
        self._burst = float(burst)
        self._tokens = float(burst)
        self._at = clock.monotonic_s()

    def wait_s(self) -> float:
        """Seconds until one may be spent; 0 when one may be now."""
        self._refill()
        return max(0.0, (1.0 - self._tokens) / self._rate)

    def spend(self) -> None:
        """One is spent; it may run into debt, which is paid by waiting."""
        self._refill()
        self._tokens -= 1.0

    def _refill(self) -> None:
        now = self._clock.monotonic_s()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
