"""Which points stay, which go, and why (rule *Pruning keeps the chain*).

A point goes only when the policy lets it go *and* nothing needs it. Foreign snapshots and those
of other installations are never considered.

    rule      its bucket is                             of 25 October 2026, 02:30, in Berlin
    hourly    a clock hour; a repeated one is two       10-25 02h +02:00, 10-25 02h +01:00
    daily     a calendar day, of 23 to 25 hours         10-25
    weekly    an ISO week, Monday to Sunday             2026-W43
    monthly   a calendar month                          2026-10
    yearly    a calendar year                           2026

The times are those in the names, so that a zone whose rules change moves no more than the borders.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias
from zoneinfo import ZoneInfo

from backstay.domain.pairs import Keep
from backstay.plan.naming import snapshot_time

Bucket: TypeAlias = tuple[object, ...]

_BUCKETS: Mapping[str, Callable[[datetime], Bucket]] = {
    "hourly": lambda at: (at.date(), at.hour, at.utcoffset()),
    "daily": lambda at: (at.date(),),
    "weekly": lambda at: at.isocalendar()[:2],
    "monthly": lambda at: (at.year, at.month),
    "yearly": lambda at: (at.year,),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What becomes of each name: kept with its reasons, or removed."""

    keep: Mapping[str, tuple[str, ...]]
    remove: tuple[str, ...]


def judge_points(names: Sequence[str], keep: Keep, needed: Mapping[str, str]) -> Verdict:
    """Judge our snapshot names, oldest first by createtxg.

    `needed` maps names that must stay to the reason. `last` counts from the newest; of each
    bucket of the other rules the newest point stays, in the newest buckets that hold one.
    """
    reasons: dict[str, list[str]] = {}
    for name, why in needed.items():
        reasons.setdefault(name, []).append(why)
    newest_first = list(reversed(names))
    for name in newest_first[: keep.last]:
        reasons.setdefault(name, []).append(f"last {keep.last}")
    local = _local_times(newest_first, ZoneInfo(keep.time_zone))
    for rule, bucket_of in _BUCKETS.items():
        count: int = getattr(keep, rule)
        for name in _newest_per_bucket(local, count, bucket_of):
            reasons.setdefault(name, []).append(f"{rule} {count}")
    kept = {n: tuple(reasons[n]) for n in names if n in reasons}
    return Verdict(keep=kept, remove=tuple(n for n in names if n not in kept))


def _local_times(names: Sequence[str], zone: ZoneInfo) -> dict[str, datetime]:
    """The site's clock at each name's time, in the order of the names."""
    times = ((name, snapshot_time(name)) for name in names)
    return {name: _local(at, zone) for name, at in times if at is not None}


def _local(at: datetime, zone: ZoneInfo) -> datetime:
    try:
        return at.astimezone(zone)
    except OverflowError:
        return at  # a name of the year 1 or 9999: no such moment elsewhere


def _newest_per_bucket(
    local: Mapping[str, datetime], count: int, bucket_of: Callable[[datetime], Bucket]
) -> list[str]:
    """The newest name in each of the newest `count` buckets that hold a point."""
    chosen: dict[Bucket, str] = {}
    for name, at in local.items():
        bucket = bucket_of(at)
        if bucket in chosen:
            continue
        if len(chosen) == count:
            break
        chosen[bucket] = name
    return list(chosen.values())
