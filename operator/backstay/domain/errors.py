"""Failures, named by what the loop must do next.

* `Waiting`      changes by itself; look again after `retry_after_s`
* `Unreachable`  nothing was learnt; back off, never conclude "absent"
* `Stalled`      only a human or a new specification helps
* `Refused`      the host declined under its fence: another writer holds the term
"""

from __future__ import annotations


class BackstayError(Exception):
    """Base of all failures that cross rooms; `reason` is a word of `api.words.Reason`."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Waiting(BackstayError):
    """Changes by itself: busy dataset, full session table, a request past its deadline."""

    def __init__(self, reason: str, message: str, *, retry_after_s: float = 30.0) -> None:
        super().__init__(reason, message)
        self.retry_after_s = retry_after_s


class Unreachable(BackstayError):
    """Nothing was learnt about the other side."""


class Stalled(BackstayError):
    """Only a human or a new specification helps."""


class Refused(BackstayError):
    """The fence at a host declined; `higher_term` is set when our own id has a newer term."""

    def __init__(self, reason: str, message: str, *, higher_term: int | None = None) -> None:
        super().__init__(reason, message)
        self.higher_term = higher_term
