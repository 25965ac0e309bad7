"""`kubectl backstay sync` against a cluster in memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from backstay.api.kinds import REQUESTED_AT
from backstay.domain.errors import Unreachable
from fakes import reported
from fakes.commandline import document, ran
from fakes.reader import FakeReader
from fakes.reported import NOW, condition


def stored(kube: FakeReader) -> dict[str, Any]:
    return next(b for b in kube.objects.values() if b["kind"] == "ReplicationPair")


def asked(kube: FakeReader) -> str:
    return str(stored(kube)["metadata"]["annotations"][REQUESTED_AT])


def after_looks(kube: FakeReader, looks: int, change: Callable[[dict[str, Any]], None]) -> None:
    """The operator has done something by the time that the reader looked so often."""
    left = [looks]

    def then() -> None:
        left[0] -= 1
        if left[0] == 0:
            stored(kube)["status"]["lastHandledRequest"] = asked(kube)
            change(stored(kube)["status"])

    kube.clock.then = then


def test_sync_only_sets_the_annotation_to_a_new_value(kube: FakeReader) -> None:
    before = json.loads(json.dumps(stored(kube)))
    done = ran(kube, "sync", "erp")
    assert done.exit_code == 0
    first = asked(kube)
    after = stored(kube)
    del after["metadata"]["annotations"]
    assert after == before
    kube.clock.freeze_and_jump(0.001)
    ran(kube, "sync", "erp")
    assert asked(kube) != first


def test_sync_waits_until_it_was_handled_and_says_what_arrived(kube: FakeReader) -> None:
    moved = reported.point(NOW + timedelta(seconds=2))
    after_looks(kube, 3, lambda status: status.update(recoveryPoint=moved))
    done = ran(kube, "sync", "erp", "--wait")
    assert done.exit_code == 0
    assert done.stdout == (
        "ns/erp was handled after 3s: recovery point 1s old, 12.0 MiB in 4 s (3.0 MiB/s)\n"
    )
    assert "0s  Waiting: recovery point 87s old" in done.stderr
    assert "3s  Handled" in done.stderr
    assert done.stderr.count("Waiting") == 1


def test_sync_in_json_says_the_same_and_nothing_else(kube: FakeReader) -> None:
    after_looks(kube, 2, lambda _status: None)
    done = ran(kube, "sync", "erp", "--wait", "-o", "json")
    found = json.loads(done.stdout)
    assert (found["handled"], found["timedOut"], found["bytes"]) == (True, False, None)
    assert found["request"] == asked(kube)
    assert done.stderr == ""


def test_sync_is_1_with_the_reason_when_the_pair_is_not_ready_then(kube: FakeReader) -> None:
    failed = condition("Ready", "False", "SourceBusy", "disk0: dataset is busy")
    after_looks(kube, 2, lambda status: status["conditions"].__setitem__(1, failed))
    done = ran(kube, "sync", "erp", "--wait")
    assert done.exit_code == 1
    assert "Ready=False, SourceBusy: disk0: dataset is busy" in done.stdout


def test_sync_gives_up_in_time_and_says_whether_anybody_leads(kube: FakeReader) -> None:
    began = kube.clock.monotonic_s()
    done = ran(kube, "sync", "erp", "--wait", "--timeout", "90s")
    assert done.exit_code == 1
    assert kube.clock.monotonic_s() - began == 90
    assert "ns/erp was not handled after 90s" in done.stdout
    assert "was not renewed for 92s" in done.stdout
    assert document(kube, "sync", "erp", "--wait", "--timeout", "5s")["timedOut"] is True


def test_sync_waits_for_an_api_server_that_is_away_for_a_while(kube: FakeReader) -> None:
    looks = [0]

    def then() -> None:
        looks[0] += 1
        away = 1 <= looks[0] < 4
        kube.failure = Unreachable("Timeout", "no answer") if away else None
        if not away:
            stored(kube)["status"]["lastHandledRequest"] = asked(kube)

    kube.clock.then = then
    assert ran(kube, "sync", "erp", "--wait").exit_code == 0
    assert looks[0] == 4


def test_sync_does_not_follow_another_object_of_the_name(kube: FakeReader) -> None:
    kube.clock.then = lambda: stored(kube)["metadata"].update(uid="another")
    done = ran(kube, "sync", "erp", "--wait")
    assert done.exit_code == 2
    assert "is another object now" in done.stderr


@pytest.mark.parametrize("pair", ["nope", "erp"])
def test_sync_that_could_not_ask_is_2(kube: FakeReader, pair: str) -> None:
    kube.denied.add("patch replicationpairs.backstay.dev")
    assert ran(kube, "sync", pair).exit_code == 2


def test_sync_takes_durations_only(kube: FakeReader) -> None:
    done = ran(kube, "sync", "erp", "--wait", "--timeout", "soon")
    assert done.exit_code == 2
    assert REQUESTED_AT not in str(stored(kube))


def moving(kube: FakeReader, handled_after: int, ends_after: int) -> None:
    """A pass that ends after so many looks; its stream goes on until so many."""
    looks = [0]

    def then() -> None:
        looks[0] += 1
        status = stored(kube)["status"]
        status["transfer"] = {
            "time": NOW.isoformat(),
            "startTime": NOW.isoformat(),
            "streams": 1,
            "bytes": 512 * 1024 * 1024,
            "expectedBytes": 1024 * 1024 * 1024,
            "bytesPerSecond": 64 * 1024 * 1024,
            "secondsLeft": 8,
        }
        if looks[0] >= handled_after:
            status["lastHandledRequest"] = asked(kube)
        if looks[0] >= ends_after:
            del status["transfer"]

    kube.clock.then = then


def test_sync_tells_of_streams_under_way_and_waits_for_those_beside_the_pass(
    kube: FakeReader,
) -> None:
    moving(kube, handled_after=3, ends_after=6)
    done = ran(kube, "sync", "erp", "--wait")
    assert done.exit_code == 0
    assert "ns/erp was handled after 6s" in done.stdout
    assert "Waiting: recovery point 88s old; 576.0 MiB of about 1.0 GiB, 64.0 MiB/s" in done.stderr
    assert "Sending: recovery point 90s old; 704.0 MiB of about 1.0 GiB" in done.stderr
    assert len(done.stderr.splitlines()) == 4, "a line for each thing that is new"


def test_sync_that_gives_up_says_how_far_it_is(kube: FakeReader) -> None:
    moving(kube, handled_after=1, ends_after=99)
    done = ran(kube, "sync", "erp", "--wait", "--timeout", "4s")
    assert done.exit_code == 1
    assert "ns/erp is still being sent after 4s" in done.stdout
    assert "768.0 MiB of about 1.0 GiB, 64.0 MiB/s, 4s left" in done.stdout
    moving(kube, handled_after=1, ends_after=99)
    found = document(kube, "sync", "erp", "--wait", "--timeout", "4s")
    assert (found["handled"], found["timedOut"]) == (True, True)
    assert found["transfer"]["bytes"] == 512 * 1024 * 1024


def test_a_terminal_has_a_bar_while_streams_run(kube: FakeReader) -> None:
    moving(kube, handled_after=1, ends_after=4)
    done = ran(kube, "sync", "erp", "--wait", FORCE_COLOR="1", COLUMNS="80")
    assert done.exit_code == 0
    assert "576.0 MiB of about 1.0 GiB, 64.0 MiB/s, 7s left" in done.stderr


def test_a_terminal_has_a_spinner_that_leaves_the_answer_alone(kube: FakeReader) -> None:
    after_looks(kube, 2, lambda _status: None)
    done = ran(kube, "sync", "erp", "--wait", FORCE_COLOR="1")
    assert done.exit_code == 0
    assert done.stdout == "ns/erp was handled after 2s: recovery point 89s old\n"
    assert "Handled: recovery point" in done.stderr
