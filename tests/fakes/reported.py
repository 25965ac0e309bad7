"""Objects with the statuses that an operator would have written, as of a moment."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from fakes import objects
from fakes.clock import START

NOW = START + timedelta(hours=1)


def condition(kind: str, status: str, reason: str, message: str) -> dict[str, Any]:
    """A condition at generation 1."""
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": "2030-01-01T00:00:00Z",
        "observedGeneration": 1,
    }


def pair(
    name: str,
    *,
    lag_s: float | None = 87,
    met: str = "True",
    ready: tuple[str, str, str] = ("True", "UpToDate", "1 members, newest common point x"),
    more: tuple[dict[str, Any], ...] = (),
    **status: Any,
) -> dict[str, Any]:
    """A pair with an RPO of 5m whose point is `lag_s` old at NOW; None is without a point."""
    body = objects.pair(name)
    reasons = {"True": "WithinRPO", "False": "RPOBreached", "Unknown": "NeverObserved"}
    numbers = "no point" if lag_s is None else f"lag {lag_s} s of 300 s"
    body["status"] = {
        "observedGeneration": 1,
        "conditions": [
            condition("RPOMet", met, reasons[met], numbers),
            condition("Ready", *ready),
            *more,
        ],
        "activeSite": "a",
        "rpo": "5m",
        "members": {"total": 1, "confirmed": 0 if lag_s is None else 1},
        **({} if lag_s is None else {"recoveryPoint": point(NOW - timedelta(seconds=lag_s))}),
        **status,
    }
    return body


def point(time: datetime) -> dict[str, Any]:
    """A recovery point of that time: 12 MiB that took 4 s."""
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "snapshot": "backstay_20300101T000000.123Z_0badcafe1f2e",
        "guid": "42",
        "transferSeconds": 4,
        "bytes": 12 * 1024 * 1024,
    }


def site(name: str, *, skew_s: int = 0, trouble: tuple[str, str] | None = None) -> dict[str, Any]:
    """A Site whose only host answered, or did not for the given reason and message."""
    body = objects.site(name)
    host: dict[str, Any] = {"name": "h1", "reason": "Reachable"}
    ready = ("True", "Reachable", "1 of 1 hosts answered")
    if trouble is not None:
        host, ready = (
            {"name": "h1", "reason": trouble[0], "message": trouble[1]},
            ("False", *trouble),
        )
    else:
        pool = {"name": "tank", "health": "ONLINE", "sizeBytes": 1 << 40, "freeBytes": 1 << 39}
        host |= {"zfsVersion": "2.3.2", "pythonVersion": "3.11.2", "pools": [pool]}
        host["clockSkewSeconds"] = skew_s
    body["status"] = {
        "observedGeneration": 1,
        "conditions": [condition("Ready", *ready)],
        "hosts": [host],
    }
    return body


def policy(name: str = "gold", *, ready: tuple[str, str, str] | None = None) -> dict[str, Any]:
    """A Gold policy that can be kept as written, unless `ready` says something else."""
    body = objects.policy(name)
    said = ready or ("True", "Valid", "the policy can be kept as written")
    body["status"] = {"observedGeneration": 1, "conditions": [condition("Ready", *said)]}
    return body
