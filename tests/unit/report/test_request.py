"""How far a request to look now has come."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from backstay.api.v1alpha1 import ReplicationPair
from backstay.report.leader import Leader
from backstay.report.request import Phase, Progress, progress_document, progress_of
from fakes import reported
from fakes.reported import NOW, condition

FAR = {
    "time": NOW.isoformat(),
    "startTime": (NOW - timedelta(seconds=30)).isoformat(),
    "streams": 1,
    "bytes": 10,
    "expectedBytes": 40,
    "bytesPerSecond": 2,
    "secondsLeft": 15,
}
SEEDING = ("False", "Seeding", "0 of 1 members have a first point")
LEADS = Leader(leads=True, says="pod-1 leads")
REQUESTED = "backstay.dev/requested-at"
SEEDS = condition("Reconciling", "True", "Seeding", "first full copies are under way")


def pair(asked: str | None, handled: str | None, **status: Any) -> ReplicationPair:
    more: dict[str, Any] = {} if handled is None else {"lastHandledRequest": handled}
    body = reported.pair("erp", **status, **more)
    body["metadata"]["annotations"] = {} if asked is None else {REQUESTED: asked}
    return ReplicationPair.model_validate(body)


def progress(before: ReplicationPair, after: ReplicationPair) -> Progress:
    return progress_of(before, after, LEADS, NOW)


@pytest.mark.parametrize(
    ("after", "phase"),
    [
        (pair("mine", None), Phase.WAITING),
        (pair("mine", "older"), Phase.WAITING),
        (pair("mine", "older", more=(SEEDS,)), Phase.SEEDING),
        (pair("mine", "mine"), Phase.HANDLED),
        (pair("mine", "mine", more=(SEEDS,)), Phase.HANDLED),
        (pair("mine", "mine", more=(SEEDS,), ready=SEEDING), Phase.SENDING),
        (pair("mine", "mine", transfer=FAR), Phase.SENDING),
        (pair("mine", "mine", transfer=FAR, ready=("False", "SourceBusy", "x")), Phase.HANDLED),
        (pair("mine", "older", transfer=FAR), Phase.WAITING),
        (pair("somebody-else's", "older"), Phase.WAITING),
        (pair("somebody-else's", "somebody-else's"), Phase.HANDLED),
        (pair("somebody-else's", "mine"), Phase.HANDLED),
        (pair(None, None), Phase.WAITING),
    ],
)
def test_a_request_is_handled_when_it_or_a_newer_one_was_acknowledged(
    after: ReplicationPair, phase: Phase
) -> None:
    assert progress(pair("mine", "older"), after).phase == phase


def test_bytes_and_rate_are_told_of_a_newer_point_only() -> None:
    old, new = pair("mine", None, lag_s=200), pair("mine", "mine", lag_s=3)
    assert progress(old, old).says == "recovery point 200s old".replace("200s", "3m20s")
    assert progress(old, new).says == "recovery point 3s old, 12.0 MiB in 4 s (3.0 MiB/s)"


def test_what_status_does_not_carry_is_not_made_up() -> None:
    point = reported.point(NOW - timedelta(seconds=3))
    del point["bytes"], point["transferSeconds"]
    new = pair("mine", "mine", recoveryPoint=point)
    shown = progress(pair("mine", None, lag_s=200), new)
    assert shown.is_newer
    assert shown.says == "recovery point 3s old"
    document = progress_document(shown, "mine", timed_out=False)
    assert (document["bytes"], document["transferSeconds"]) == (None, None)


def test_an_instant_transfer_has_no_rate() -> None:
    point = reported.point(NOW) | {"transferSeconds": 0}
    shown = progress(pair("mine", None, lag_s=200), pair("mine", "mine", recoveryPoint=point))
    assert "/s)" not in shown.says


def test_members_that_are_still_seeded_are_counted() -> None:
    counts = {"total": 9, "confirmed": 4, "seeding": 5}
    shown = progress(pair("mine", None), pair("mine", None, lag_s=None, members=counts))
    assert shown.says == "no recovery point yet; 4 of 9 members confirmed, 5 seeding"


def test_programs_see_whether_it_was_handled_in_time_and_moved_the_point() -> None:
    old, new = pair("mine", None, lag_s=200), pair("mine", "mine", lag_s=3)
    document = progress_document(progress(old, new), "mine", timed_out=False)
    assert document["request"] == "mine"
    assert (document["handled"], document["timedOut"], document["pointIsNewer"]) == (
        *(True, False, True),
    )
    assert (document["bytes"], document["transferSeconds"]) == (12 * 1024 * 1024, 4)
    assert progress_document(progress(old, old), "mine", timed_out=True)["bytes"] is None


def test_streams_under_way_are_told_as_status_tells_them() -> None:
    shown = progress(pair("mine", None), pair("mine", None, transfer=FAR))
    assert shown.bar is not None
    assert (shown.bar.moved_bytes, shown.bar.expected_bytes) == (10, 40)
    document = progress_document(shown, "mine", timed_out=False)
    assert document["transfer"] == {
        "time": "2030-01-01T01:00:00Z",
        "bytes": 10,
        "expectedBytes": 40,
        "bytesPerSecond": 2,
        "secondsLeft": 15,
    }
    quiet = progress(pair("mine", None), pair("mine", None))
    assert progress_document(quiet, "mine", timed_out=False)["transfer"] is None
