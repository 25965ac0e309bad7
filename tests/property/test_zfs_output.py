"""What `zfs` and `zpool` print, broken in every way: a meaning that fits a frame, or refused.

`HYPOTHESIS_PROFILE=long pytest --timeout 0` gives each test 100,000 inputs, new ones in each run.
"""

from __future__ import annotations

import contextlib
import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay_host.codec import encode_frame, to_json
from backstay_host.identity import parse_writer
from backstay_host.refusal import Refused
from backstay_host.zfs import failures, parsing
from backstay_host.zfs.argv import USER_PROPERTIES
from property.hostile import OUTPUT, many, refused

_PARSERS: list[Callable[[str], Any]] = [
    *(parsing.pools, parsing.points, parsing.identities, parsing.version, parsing.number),
    parsing.local_properties_json,
    lambda text: parsing.local_properties_table(text, USER_PROPERTIES),
    lambda text: parsing.rows(text, 13),
    *(parsing.missing, parsing.sent_bytes, parsing.storage_paths, failures.reason_of),
    lambda text: to_json(parsing.token_facts("1-a-b-c", "resume token contents:" + text)),
    lambda text: to_json(parse_writer("tank", text)),
]


@many
@given(st.sampled_from(_PARSERS), OUTPUT)
@pytest.mark.fault("forged user property")
def test_any_output_has_a_meaning_that_fits_a_frame_or_is_refused(
    parse: Callable[[str], Any], text: str
) -> None:
    error = refused(lambda: json.dumps(parse(text), default=_sorted))
    if error is not None:
        assert str(error).startswith("UnexpectedOutput: ")
        assert len(str(error)) < 1000


def _sorted(names: set[str]) -> list[str]:
    return sorted(names)


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (parsing.version, "zfs-2." + "1" * 5000),
        (parsing.number, "1" * 5000),
        (parsing.number, "²"),
        (parsing.number, "1_0"),
        (parsing.sent_bytes, "12:00:00\t" + "1" * 5000 + "\tx"),
        (parsing.local_properties_json, '{"datasets": ' + "[" * 100_000),
        (lambda text: parse_writer("tank", text), "²:ns/one"),
        (lambda text: parse_writer("tank", text), "1" * 5000 + ":ns/one"),
        (
            lambda text: encode_frame(to_json(parsing.token_facts("1-a-b-c", text))),
            "resume token contents:\n\ttoguid = 0x" + "f" * 5000,
        ),
        (
            parsing.local_properties_json,
            '{"datasets": {"t": {"properties": {"p": {"value": 1, "source": {"type": "LOCAL"}}}}}}',
        ),
    ],
)
def test_digits_brackets_and_types_that_broke_a_parser_are_refused_or_nothing(
    parse: Callable[[str], Any], text: str
) -> None:
    error = refused(lambda: parse(text))
    assert error is None or str(error).startswith("UnexpectedOutput")


@pytest.mark.parametrize("parse", _PARSERS)
@pytest.mark.parametrize(
    "text",
    [
        "\n" * 300_000,
        " " * 300_000,
        "zfs-" + "1" * 300_000,
        "incremental source (" * 2_000,
        "destination '" * 20_000,
        "contains" + "\n" * 300_000,
        "9" * 300_000,
        '{"datasets": ' + "[" * 300_000,
        "\t" * 300_000,
        "a: " * 100_000,
    ],
    ids=lambda text: repr(text[:12]),
)
def test_large_noise_costs_no_more_than_its_size(parse: Callable[[str], Any], text: str) -> None:
    """In memory; a parser whose time grows faster than the text runs into the suite's deadline."""
    tracemalloc.start()
    try:
        with contextlib.suppress(Refused):
            parse(text)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 20 * len(text)


@many
@given(st.integers(-70, 300), OUTPUT)
def test_a_failure_has_a_word_and_a_bounded_message(status: int, stderr: str) -> None:
    found = failures.failure("zfs list", status, stderr)
    assert found.reason in failures.REASONS
    assert len(found.message) < 2100
