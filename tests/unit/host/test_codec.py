"""What is wrong in a frame is named with its place."""

from __future__ import annotations

from typing import Any

import pytest

from backstay_host.protocol import (
    DatasetFacts,
    HostFacts,
    PoolFacts,
    ProtocolError,
    Surveyed,
    TokenFacts,
    from_json,
    to_json,
)


def surveyed() -> dict[str, Any]:
    dataset = DatasetFacts(
        name="tank/a",
        kind="volume",
        guid=1,
        createtxg=1,
        written=0,
        since="",
        written_since=-1,
        referenced=0,
        available=0,
        volsize=0,
        readonly=False,
        mounted=False,
        encrypted=False,
        origin="",
        token=TokenFacts("1-a-b-c", "tank/a@s", 1, 0, 7, raw=False),
        properties={"dev.backstay:role": "source"},
        snapshots=[("s", 1, 2), ("t", 2, 3)],
        bookmarks=[],
        used=0,
        ivsets={"@s": 5},
    )
    said = Surveyed([dataset], [PoolFacts("tank", 1, "ONLINE", 2, 1)], [], [], [])
    data: dict[str, Any] = to_json(said)
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
