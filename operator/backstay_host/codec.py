"""Frames and dataclass values as JSON: strict when reading, so that a wrong field has a name."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

MAX_FRAME_BYTES = 64 * 1024 * 1024

T = TypeVar("T")


class ProtocolError(Exception):
    """The other side broke the protocol; the connection is of no further use."""


def decode_message(data: bytes) -> dict[str, Any]:
    """The object in a frame's bytes; `ProtocolError` when they are none."""
    try:
        message = json.loads(data)
    except (ValueError, RecursionError) as error:  # RecursionError: a thousand brackets
        raise ProtocolError(f"not JSON: {str(error)[:200]}") from error
    if not isinstance(message, dict):
        raise ProtocolError("a frame holds an object")
    return message


def encode_frame(message: Mapping[str, Any]) -> bytes:
    """The frame of a message; `ProtocolError` when it is too large to be read."""
    data = json.dumps(message, separators=(",", ":")).encode()
    if len(data) > MAX_FRAME_BYTES:
        raise ProtocolError(f"frame of {len(data)} bytes exceeds {MAX_FRAME_BYTES}")
    return len(data).to_bytes(4, "big") + data


def to_json(value: Any) -> Any:
    """A dataclass value as plain JSON data; nested ones included."""
    return dataclasses.asdict(value)


def from_json(kind: type[T], data: Any) -> T:
    """The value of a dataclass from JSON data: every field known, present and of its type.

    Raises `ProtocolError` with the path of the first wrong field.
    """
    return typing.cast(T, _convert(kind, data, kind.__name__))


def _convert(kind: Any, data: Any, path: str) -> Any:
    if dataclasses.is_dataclass(kind):
        return _convert_dataclass(kind, data, path)
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if data is None and type(None) in args:
            return None
        (inner,) = [a for a in args if a is not type(None)]
        return _convert(inner, data, path)
    if origin is list and isinstance(data, list):
        return [_convert(args[0], item, f"{path}[{i}]") for i, item in enumerate(data)]
    if origin is tuple and isinstance(data, (list, tuple)) and len(data) == len(args):
        return tuple(
            _convert(a, d, f"{path}[{i}]") for i, (a, d) in enumerate(zip(args, data, strict=True))
        )
    if origin is dict and isinstance(data, dict):
        return {
            _convert(str, k, path): _convert(args[1], v, f"{path}.{k}") for k, v in data.items()
        }
    if kind is float and isinstance(data, (int, float)) and not isinstance(data, bool):
        return _number(data, path)
    if isinstance(kind, type) and type(data) is kind and not _is_too_large(data):
        return data
    got = "a number beyond 64 bits" if _is_too_large(data) else type(data).__name__
    raise ProtocolError(f"{path}: expected {kind}, got {got}")


@functools.cache
def _shape(kind: Any) -> tuple[dict[str, Any], tuple[dataclasses.Field[Any], ...]]:
    """Types and fields of a dataclass, looked up once: a survey holds thousands of values."""
    return typing.get_type_hints(kind), dataclasses.fields(kind)


def _is_too_large(data: Any) -> bool:
    return type(data) is int and not -(1 << 63) <= data < 1 << 64


def _number(data: int | float, path: str) -> float:
    """The number, if it is one that can be reckoned with: no NaN would ever be too large."""
    try:
        if math.isfinite(data):
            return float(data)
    except OverflowError:
        pass
    raise ProtocolError(f"{path}: not a finite number")


def _convert_dataclass(kind: Any, data: Any, path: str) -> Any:
    if not isinstance(data, dict):
        raise ProtocolError(f"{path}: expected an object, got {type(data).__name__}")
    hints, fields = _shape(kind)
    unknown = set(data) - set(hints)
    if unknown:
        raise ProtocolError(f"{path}: unknown field {sorted(unknown)[0]!r}")
    values = {}
    for spec in fields:
        if spec.name in data:
            values[spec.name] = _convert(hints[spec.name], data[spec.name], f"{path}.{spec.name}")
        elif spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING:
            raise ProtocolError(f"{path}: field {spec.name!r} is missing")
    return kind(**values)
