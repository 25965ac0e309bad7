"""What the metrics say of objects, computed when they are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from backstay.report.conditions import conditions_of
from backstay.report.pair import CLOCK_SLACK_S

_OF_TRANSFER = {
    "bytes": "transfer_moved_bytes",
    "expectedBytes": "transfer_expected_bytes",
    "bytesPerSecond": "transfer_bytes_per_second",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """An object as last judged. `rpo_s` and `point_time` are of pairs only."""

    kind: str
    namespace: str
    name: str
    conditions: tuple[tuple[str, str], ...]
    """(type, status)."""
    rpo_s: float | None = None
    point_time: datetime | None = None
    transfer: Mapping[str, float] = field(default_factory=dict)
    """Names of series → their values, of the streams that are under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One value of one metric."""

    name: str
    labels: tuple[str, ...]
    value: float


def view_of(
    kind: str, place: tuple[str, str], status: Mapping[str, Any], rpo_s: float | None
) -> View:
    """The view of the object at (namespace, name) with this status."""
    time = (status.get("recoveryPoint") or {}).get("time")
    return View(
        kind=kind,
        namespace=place[0],
        name=place[1],
        conditions=tuple((c["type"], c["status"]) for c in conditions_of(status)),
        rpo_s=rpo_s,
        point_time=datetime.fromisoformat(time) if isinstance(time, str) else None,
        transfer=_transfer(status.get("transfer") or {}),
    )


def _transfer(told: Mapping[str, Any]) -> Mapping[str, float]:
    """The numbers of `status.transfer`; one that is not known has no series."""
    return {
        series: float(told[name])
        for name, series in _OF_TRANSFER.items()
        if isinstance(told.get(name), int | float)
    }


def samples(views: Iterable[View], now: datetime) -> list[Sample]:
    """The series of all objects: an unknown lag has none, a condition always has one."""
    found = []
    for view in views:
        pair = (view.namespace, view.name)
        lag_s = None if view.point_time is None else (now - view.point_time).total_seconds()
        if lag_s is not None and lag_s >= -CLOCK_SLACK_S:
            lag_s = max(0.0, lag_s)
            found.append(Sample(name="recovery_point_lag_seconds", labels=pair, value=lag_s))
        if view.rpo_s is not None:
            found.append(Sample(name="rpo_target_seconds", labels=pair, value=view.rpo_s))
        found += [Sample(name=n, labels=pair, value=value) for n, value in view.transfer.items()]
        found += [
            Sample(name="condition", labels=(view.kind, *pair, kind, status), value=1.0)
            for kind, status in view.conditions
        ]
    return found
