"""Which points stay, which go, and why (rule *Pruning keeps the chain*).

A point goes only when the policy lets it go *and* nothing needs it. Foreign snapshots and those
of other installations are never considered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from backstay.domain.pairs import Keep
from backstay.plan.naming import snapshot_time


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What becomes of each name: kept with its reasons, or removed."""

    keep: Mapping[str, tuple[str, ...]]
    remove: tuple[str, ...]


def judge_points(names: Sequence[str], keep: Keep, needed: Mapping[str, str]) -> Verdict:
    """Judge our snapshot names, oldest first by createtxg.

    `needed` maps names that must stay to the reason. Hours and days are UTC by the time in the
    name; the newest point of each counts. `last` counts from the newest.
    """
    reasons: dict[str, list[str]] = {}
    for name, why in needed.items():
        reasons.setdefault(name, []).append(why)
    newest_first = list(reversed(names))
    for name in newest_first[: keep.last]:
        reasons.setdefault(name, []).append(f"last {keep.last}")
    for label, count, bucket in (
        ("hourly", keep.hourly, "%Y%m%d%H"),
        ("daily", keep.daily, "%Y%m%d"),
    ):
        for name in _newest_per_bucket(newest_first, count, bucket):
            reasons.setdefault(name, []).append(f"{label} {count}")
    kept = {n: tuple(reasons[n]) for n in names if n in reasons}
    return Verdict(keep=kept, remove=tuple(n for n in names if n not in kept))


def _newest_per_bucket(newest_first: Iterable[str], count: int, bucket: str) -> list[str]:
    """The newest name in each of the newest `count` buckets that hold a point."""
    chosen: dict[str, str] = {}
    for name in newest_first:
        at = snapshot_time(name)
        if at is None:
            continue
        key = _key(at, bucket)
        if key not in chosen:
            if len(chosen) == count:
                break
            chosen[key] = name
    return list(chosen.values())


def _key(at: datetime, bucket: str) -> str:
    return at.strftime(bucket)
