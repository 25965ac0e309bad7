"""Measured numbers that change all the time: a small change means nothing to anybody."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# What is full is judged in per cent, and a clock's skew in seconds.
_SHARE = 0.01
_SECONDS = 2


def without_drift(old: Any, new: Any) -> Any:
    """The old value, with each measured number that is near to the new one replaced by that."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return {name: _near(name, value, old, new) for name, value in old.items()}
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [without_drift(before, after) for before, after in zip(old, new, strict=True)]
    return old


def _near(name: str, value: Any, old: Mapping[str, Any], new: Mapping[str, Any]) -> Any:
    other = new.get(name)
    if not isinstance(value, int | float) or not isinstance(other, int | float):
        return without_drift(value, other)
    if name == "freeBytes":
        slack = _SHARE * float(old.get("sizeBytes") or value)
        return other if abs(value - other) < slack else value
    if name == "clockSkewSeconds":
        return other if abs(value - other) < _SECONDS else value
    return value
