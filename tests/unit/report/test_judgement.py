"""How dangerous a pair's state is, by its status, the operator and the reader's clock."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from backstay.api.v1alpha1 import ReplicationPair
from backstay.report.judgement import Danger, PairJudgement, by_danger, judge_pair
from backstay.report.leader import Leader
from fakes import reported
from fakes.reported import NOW, condition

LEADS = Leader(leads=True, says="pod-1 leads")
UNSEEN = Leader(leads=None, says="Lease could not be read")
DEAD = Leader(leads=False, says="nobody leads")


def judge(
    body: dict[str, Any], leader: Leader = LEADS, *, later: timedelta = timedelta()
) -> PairJudgement:
    return judge_pair(ReplicationPair.model_validate(body), leader, NOW + later)


BUSY = ("False", "TransferFailed", "disk0: broken pipe")
AWAY = ("Unknown", "Unreachable", "no connection to b/h1")
STALLS = condition("AtRisk", "True", "TransferStalled", "disk0: no byte has moved for 25s")
RESTS = ("False", "Suspended", "spec.suspend is true: nothing is sent")
MODIFIED = ("TargetModified", "disk0: the replica was written to")


def suspended(body: dict[str, Any]) -> dict[str, Any]:
    body["spec"]["suspend"] = True
    return body


@pytest.mark.parametrize(
    ("body", "danger", "reason"),
    [
        (reported.pair("p"), Danger.FINE, "UpToDate"),
        (reported.pair("p", ready=BUSY), Danger.NOT_READY, "TransferFailed"),
        (reported.pair("p", ready=AWAY), Danger.UNKNOWN, "Unreachable"),
        (reported.pair("p", met="Unknown", lag_s=None), Danger.UNKNOWN, "NeverObserved"),
        (reported.pair("p", met="False", lag_s=400), Danger.BREACHED, "RPOBreached"),
        (reported.pair("p", met="False", lag_s=400, ready=AWAY), Danger.BREACHED, "Unreachable"),
        (reported.pair("p", met="False", lag_s=None), Danger.BREACHED, "RPOBreached"),
        (reported.pair("p", more=(STALLS,)), Danger.NOT_READY, "TransferStalled"),
        (reported.pair("p", more=(STALLS,), ready=BUSY), Danger.NOT_READY, "TransferFailed"),
        (
            reported.pair("p", more=(STALLS,), met="False", lag_s=400),
            Danger.BREACHED,
            "TransferStalled",
        ),
        (suspended(reported.pair("p", ready=RESTS)), Danger.SUSPENDED, "Suspended"),
        (
            suspended(reported.pair("p", ready=RESTS, met="False", lag_s=400)),
            Danger.BREACHED,
            "Suspended",
        ),
        (suspended(reported.pair("p", ready=BUSY)), Danger.NOT_READY, "TransferFailed"),
        *(
            (
                reported.pair(
                    "p", met="False", lag_s=400, more=(condition(kind, "True", *MODIFIED),)
                ),
                Danger.STALLED,
                "TargetModified",
            )
            for kind in ("Stalled", "Diverged", "ForeignWriter")
        ),
    ],
)
def test_the_worst_that_is_true_is_the_danger(
    body: dict[str, Any], danger: Danger, reason: str
) -> None:
    judged = judge(body)
    assert (judged.danger, judged.reason) == (danger, reason)


def test_the_lag_grows_with_the_readers_clock_and_is_unknown_without_a_point() -> None:
    assert judge(reported.pair("p", lag_s=87)).lag_s == 87
    assert judge(reported.pair("p", lag_s=87), later=timedelta(hours=2)).lag_s == 7287
    assert judge(reported.pair("p", lag_s=None)).lag_s is None
    assert judge(reported.pair("p", lag_s=87), later=timedelta(hours=-2)).lag_s == 0


def test_a_status_that_was_never_written_is_unknown() -> None:
    body = reported.pair("p")
    del body["status"]
    judged = judge(body)
    assert (judged.danger, judged.rpo_met, judged.ready) == (Danger.UNKNOWN, "Unknown", "Unknown")


def test_a_status_about_an_earlier_spec_is_unknown_whatever_it_says() -> None:
    body = reported.pair("p")
    body["metadata"]["generation"] = 2
    judged = judge(body)
    assert judged.danger == Danger.UNKNOWN
    assert "generation 1, the spec is at 2" in judged.why


@pytest.mark.parametrize(
    ("lag_s", "leader", "met"),
    [
        (300, UNSEEN, "True"),
        (300, DEAD, "True"),  # the point itself is young enough
        (301, LEADS, "True"),  # confirmed anew meanwhile; that is written once an RPO only
        (660, LEADS, "True"),
        (661, LEADS, "Unknown"),  # 300 + 300 + 60: a leader would have written by now
        (301, UNSEEN, "Unknown"),
        (301, DEAD, "Unknown"),
    ],
)
def test_an_old_point_bears_out_rpo_met_only_beside_a_leader_and_not_for_long(
    lag_s: int, leader: Leader, met: str
) -> None:
    judged = judge(reported.pair("p", lag_s=lag_s), leader)
    assert judged.rpo_met == met
    if met == "Unknown":
        assert judged.danger == Danger.UNKNOWN


def test_rpo_met_without_a_point_is_not_believed() -> None:
    assert judge(reported.pair("p", lag_s=None)).rpo_met == "Unknown"


def test_nothing_is_ready_when_nobody_leads() -> None:
    judged = judge(reported.pair("p"), DEAD)
    assert (judged.ready, judged.danger, judged.reason) == ("Unknown", Danger.UNKNOWN, "NotLeader")
    assert judge(reported.pair("p"), UNSEEN).ready == "True"


def test_pairs_are_sorted_by_danger_and_then_by_lag() -> None:
    stalled = condition("Stalled", "True", *MODIFIED)
    judged = [
        judge(reported.pair("fine", lag_s=200)),
        judge(suspended(reported.pair("rests", ready=RESTS))),
        judge(reported.pair("not-ready", ready=BUSY)),
        judge(reported.pair("unknown", ready=AWAY)),
        judge(reported.pair("late", met="False", lag_s=400)),
        judge(reported.pair("later", met="False", lag_s=4000)),
        judge(reported.pair("never", met="False", lag_s=None)),
        judge(reported.pair("stalled", more=(stalled,))),
    ]
    assert [pair.name for pair in sorted(judged, key=by_danger)] == [
        *("stalled", "never", "later", "late", "unknown", "not-ready", "rests", "fine"),
    ]
