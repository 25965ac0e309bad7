"""What is wrong in a frame is named with its place."""

from __future__ import annotations

import dataclasses
import json
import typing
from typing import Any

import pytest

from backstay_host.protocol import (
    REQUESTS,
    HostFacts,
    PoolFacts,
    ProtocolError,
    Surveyed,
    from_json,
    to_json,
)
from fakes.facts import FACTS


def surveyed() -> dict[str, Any]:
    said = Surveyed([FACTS], [PoolFacts("tank", 1, "ONLINE", 2, 1)], [], [], [])
    data: dict[str, Any] = json.loads(json.dumps(to_json(said)))
    assert from_json(Surveyed, data) == said
    return data


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (
            ("snapshots", 1),
            ["t", 2, "3"],
            r"\.snapshots\[1\]\[2\]: expected <class 'int'>, got str",
        ),
        (
            ("snapshots", 1),
            ["t", 2],
            r"\.snapshots\[1\]: expected tuple\[str, int, int\], got list",
        ),
        (("snapshots",), "none", r"\.snapshots: expected list\[.*\], got str"),
        (("guid",), 1 << 64, r"\.guid: expected <class 'int'>, got a number beyond 64 bits"),
        (("guid",), True, r"\.guid: expected <class 'int'>, got bool"),
        (("name",), None, r"\.name: expected <class 'str'>, got NoneType"),
        (("readonly",), 1, r"\.readonly: expected <class 'bool'>, got int"),
        (("properties", "dev.backstay:role"), 1, r"\.properties\.dev\.backstay:role: expected"),
        (("ivsets",), [], r"\.ivsets: expected dict\[str, int\], got list"),
        (("token", "raw"), "no", r"\.token\.raw: expected <class 'bool'>, got str"),
        (("token",), [], r"\.token: expected an object, got list"),
        (("colour",), "red", r": unknown field 'colour'"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(
    place: tuple[Any, ...], value: object, said: str
) -> None:
    data = surveyed()
    inner: Any = data["datasets"][0]
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    with pytest.raises(ProtocolError, match=rf"^Surveyed\.datasets\[0\]{said}"):
        from_json(Surveyed, data)


def test_a_missing_field_is_named() -> None:
    data = surveyed()
    del data["datasets"][0]["guid"]
    with pytest.raises(ProtocolError, match=r"^Surveyed\.datasets\[0\]: field 'guid' is missing$"):
        from_json(Surveyed, data)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), 10**400, True, "1"])
def test_no_number_is_taken_that_cannot_be_reckoned_with(wrong: object) -> None:
    facts = HostFacts("a", "6.12", "2.3.9", "3.13.5", 0, 1.5, [])
    data = to_json(facts) | {"now": wrong}
    with pytest.raises(ProtocolError, match=r"^HostFacts\.now: "):
        from_json(HostFacts, data)
    assert from_json(HostFacts, data | {"now": 2}) == HostFacts(
        "a", "6.12", "2.3.9", "3.13.5", 0, 2.0, []
    )


def _kinds(kind: Any) -> set[Any]:
    """The type, and all that its values are made of."""
    inner = typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        inner = tuple(typing.get_type_hints(kind).values())
    return {kind}.union(*(_kinds(each) for each in inner))


def test_only_lists_and_fields_hold_values_of_their_own() -> None:
    everything = set().union(*(_kinds(kind) for pair in REQUESTS.values() for kind in pair))
    assert FACTS.__class__ in everything
    for kind in everything:
        if typing.get_origin(kind) in (dict, tuple):
            inner = set().union(*(_kinds(each) for each in typing.get_args(kind)))
            assert not [each for each in inner if dataclasses.is_dataclass(each)], kind
