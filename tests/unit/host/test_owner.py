"""Whose a dataset is, by the marks of writers at and above it."""

from __future__ import annotations

from pathlib import Path

import pytest

from backstay_host import places
from backstay_host.fence import Fence
from backstay_host.identity import check_owner
from backstay_host.refusal import Refused
from backstay_host.zfs.argv import WRITER


@pytest.mark.rule("Single writer, fenced at the host")
@pytest.mark.parametrize(
    ("marks", "reason"),
    [
        ({"b/r/s": "3:us"}, ""),
        ({"b/r": "3:us"}, ""),
        # the receive root was moved up, or down
        ({"b/r/s": "2:us", "b/r": "3:us"}, ""),
        ({"b/r/s": "1:us", "b/r": "2:us", "b": "3:us"}, ""),
        ({"b/r/s": "3:us", "b/r": "2:us"}, ""),
        ({"b/r/s": "3:us", "b": "3:us"}, ""),
        # no root of this term, or one of a later term
        ({}, "NotClaimed"),
        ({"b/r/s": "2:us"}, "NotClaimed"),
        ({"b/r/s": "1:us", "b/r": "2:us"}, "NotClaimed"),
        ({"b/r/s": "3:us", "b/r": "4:us"}, "HigherTerm"),
        # what another one wrote hides what lies above it
        ({"b/r/s": "2:other", "b/r": "3:us"}, "ForeignWriter"),
        ({"b/r/s": "2:us", "b/r": "9:other", "b": "3:us"}, "NotClaimed"),
        ({"b/r/s": "3:us", "b/r": "9:other"}, ""),
        ({"b/r/s": "what?", "b/r": "3:us"}, "ForeignWriter"),
        ({"b/r/s": "2:us", "b/r": "what?", "b": "3:us"}, "NotClaimed"),
    ],
)
def test_the_writer_that_counts_is_the_nearest_of_the_last_term(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, marks: dict[str, str], reason: str
) -> None:
    properties = {name: {WRITER: text} for name, text in marks.items()}
    monkeypatch.setattr(places, "RUN_FOLDER", tmp_path / "run")
    said = ""
    try:
        check_owner(Fence("us", 3), "b/r/s/v", properties)
    except Refused as error:
        said = error.reason
    assert said == reason
