"""Whether an operator leads, judged from its Lease as a reader sees it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from backstay.report.ages import age_text

SKEW_S = 2.0
"""Clocks that differ by more are worth a word: the lag is a difference of two clocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseSeen:
    """A Lease as read; `place` is its namespace and name."""

    place: str
    holder: str
    term: int
    duration_s: int
    renewed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseUnseen:
    """No Lease was read, and why."""

    place: str
    why: str


Lease: TypeAlias = LeaseSeen | LeaseUnseen


@dataclass(frozen=True, slots=True, kw_only=True)
class Leader:
    """Whether an operator leads; None when that is not known.

    `ahead_s` is by how much the operator's clock is ahead of the reader's; never less than 0,
    since an old renewal looks like a clock that is behind.
    """

    leads: bool | None
    says: str
    next_step: str = ""
    ahead_s: float = 0.0


def judge_leader(lease: Lease, now: datetime) -> Leader:
    """Who leads, as of the reader's now.

    | Lease                                   | leads |
    |-----------------------------------------|-------|
    | not read, or never renewed              | None  |
    | released, or not renewed in time        | False |
    | renewed within its duration             | True  |
    | renewed in the reader's future          | True, unless by more than its duration: None |
    """
    if isinstance(lease, LeaseUnseen):
        told = "say where the operator's Lease is with --lease NAMESPACE/NAME, or read it as "
        told += "somebody who may"
        return Leader(leads=None, says=f"Lease {lease.place}: {lease.why}", next_step=told)
    # The chart gives the Lease and the Deployment one name.
    namespace, _, name = lease.place.partition("/")
    logs = f"`kubectl -n {namespace} logs deployment/{name}`"
    look = f"see why its Pod does not run, or does not get the Lease: {logs}"
    if not lease.holder:
        says = f"Lease {lease.place} has no holder: no operator leads (last term {lease.term})"
        return Leader(leads=False, says=says, next_step=look)
    named = f"Lease {lease.place} of {lease.holder}, term {lease.term}"
    if lease.renewed_at is None:
        return Leader(leads=None, says=f"{named}, was never renewed", next_step=look)
    age_s = (now - lease.renewed_at).total_seconds()
    if age_s > lease.duration_s:
        says = f"{named}, was not renewed for {age_text(age_s)}; it lasts {lease.duration_s}s"
        return Leader(leads=False, says=says, next_step=look)
    ahead_s = max(0.0, -age_s)
    if ahead_s > lease.duration_s:
        says = f"{named}, was renewed {age_text(ahead_s)} in this machine's future"
        return Leader(leads=None, says=says, next_step="set this machine's clock", ahead_s=ahead_s)
    says = f"{named}, was renewed {age_text(age_s)} ago"
    return Leader(leads=True, says=says, ahead_s=ahead_s)
