"""Frames and dataclass values as JSON: strict when reading, so that a wrong field has a name."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

MAX_FRAME_BYTES = 64 * 1024 * 1024
LEAST, MOST = -(1 << 63), (1 << 64) - 1
"""Bounds of a whole number: GUIDs have no sign."""

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
    """A dataclass value as plain JSON data, to be written at once; nested ones included.

    It shares the lists and dicts that hold no such values: a survey has points by the ten thousand,
    and a copy of each takes a slow host longer than ZFS takes to tell of them.
    """
    return {spec.name: _plain(getattr(value, spec.name)) for spec in dataclasses.fields(value)}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_json(value)
    if isinstance(value, list) and value and dataclasses.is_dataclass(value[0]):
        return [to_json(item) for item in value]
    return value


def from_json(kind: type[T], data: Any) -> T:
    """The value of a dataclass from JSON data: every field known, present and of its type.

    Raises `ProtocolError` with the path of the first wrong field.
    """
    try:
        return typing.cast(T, _reader(typing.cast(Any, kind))(data))
    except _Wrong as wrong:
        path = kind.__name__ + "".join(reversed(wrong.steps))
        raise ProtocolError(f"{path}: {wrong.what}") from None


class _Wrong(Exception):
    """What is wrong; `steps` lead from the innermost value outwards, and cost nothing till then."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what
        self.steps: list[str] = []


Reader = Callable[[Any], Any]


@functools.cache
def _reader(kind: Any) -> Reader:
    """What makes values of this type of JSON data; built once, as a survey holds thousands."""
    if dataclasses.is_dataclass(kind):
        return _dataclass_reader(kind)
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        (inner,) = [a for a in args if a is not type(None)]
        read = _reader(inner)
        return lambda data: None if data is None else read(data)
    if origin is list:
        return _list_reader(kind, _reader(args[0]))
    if origin is tuple:
        return _tuple_reader(kind, [_reader(a) for a in args])
    if origin is dict:
        return _dict_reader(kind, _reader(args[1]))
    plain = {str: _text, int: _integer, float: _number}
    return plain.get(kind) or functools.partial(_scalar, kind)


def _list_reader(kind: Any, read: Reader) -> Reader:
    def read_list(data: Any) -> Any:
        found: list[Any] = []
        items = _expect(kind, data, list)
        try:
            for item in items:
                found.append(read(item))
        except _Wrong as wrong:
            wrong.steps.append(f"[{len(found)}]")
            raise
        return found

    return read_list


def _tuple_reader(kind: Any, reads: Sequence[Reader]) -> Reader:
    def read_tuple(data: Any) -> Any:
        if not isinstance(data, (list, tuple)) or len(data) != len(reads):
            raise _unexpected(kind, data)
        found: list[Any] = []
        try:
            for read, item in zip(reads, data, strict=True):
                found.append(read(item))
        except _Wrong as wrong:
            wrong.steps.append(f"[{len(found)}]")
            raise
        return tuple(found)

    return read_tuple


def _dict_reader(kind: Any, read: Reader) -> Reader:
    def read_dict(data: Any) -> Any:
        found = {}
        for key, item in _expect(kind, data, dict).items():
            try:
                found[key] = read(item)
            except _Wrong as wrong:
                wrong.steps.append(f".{key}")
                raise
        return found

    return read_dict


def _dataclass_reader(kind: Any) -> Reader:
    hints = typing.get_type_hints(kind)
    reads = {spec.name: _reader(hints[spec.name]) for spec in dataclasses.fields(kind)}
    needed = {
        spec.name
        for spec in dataclasses.fields(kind)
        if spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING
    }

    def read_dataclass(data: Any) -> Any:
        if not isinstance(data, dict):
            raise _Wrong(f"expected an object, got {type(data).__name__}")
        if unknown := data.keys() - reads.keys():
            raise _Wrong(f"unknown field {sorted(unknown)[0]!r}")
        if missing := needed - data.keys():
            raise _Wrong(f"field {sorted(missing)[0]!r} is missing")
        values = {}
        for name, item in data.items():
            try:
                values[name] = reads[name](item)
            except _Wrong as wrong:
                wrong.steps.append(f".{name}")
                raise
        return kind(**values)

    return read_dataclass


def _expect(kind: Any, data: Any, wanted: type) -> Any:
    if not isinstance(data, wanted):
        raise _unexpected(kind, data)
    return data


def _scalar(kind: type, data: Any) -> Any:
    if type(data) is not kind:
        raise _unexpected(kind, data)
    return data


def _text(data: Any) -> str:
    if type(data) is not str:
        raise _unexpected(str, data)
    return data


def _integer(data: Any) -> int:
    if type(data) is not int or not LEAST <= data <= MOST:
        raise _unexpected(int, data)
    return data


def _number(data: Any) -> float:
    """The number, if it is one that can be reckoned with: no NaN would ever be too large."""
    if not isinstance(data, (int, float)) or isinstance(data, bool):
        raise _unexpected(float, data)
    try:
        if math.isfinite(data):
            return float(data)
    except OverflowError:
        pass
    raise _Wrong("not a finite number")


def _unexpected(kind: Any, data: Any) -> _Wrong:
    too_large = type(data) is int and not LEAST <= data <= MOST
    got = "a number beyond 64 bits" if too_large else type(data).__name__
    return _Wrong(f"expected {kind}, got {got}")
