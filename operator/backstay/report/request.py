"""`kubectl backstay sync`: how far a request to look at a pair now has come."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from backstay.api.kinds import REQUESTED_AT
from backstay.api.v1alpha1.replicationpair import (
    RecoveryPoint,
    ReplicationPair,
    TransferProgress,
)
from backstay.api.words import ConditionType, Reason
from backstay.report.ages import age_text, bytes_text, stamp
from backstay.report.judgement import PairJudgement, condition, judge_pair
from backstay.report.leader import Leader
from backstay.report.overview import pair_document
from backstay.report.underway import Bar, bar_of


class Phase(StrEnum):
    """Where a request is, as far as status tells."""

    WAITING = "Waiting"
    """The operator has not answered it: a pass is due, or under way."""
    SEEDING = "Seeding"
    """As before, and first full copies are under way."""
    SENDING = "Sending"
    """A pass that began after the request has ended, and streams go on beside it."""
    HANDLED = "Handled"
    """Such a pass has ended, and nothing that it began is still under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A request as of now. `says` has only facts that status carries."""

    phase: Phase
    says: str
    pair: PairJudgement
    point: RecoveryPoint | None
    is_newer: bool
    """Whether the recovery point moved since the request."""
    transfer: TransferProgress | None = None
    bar: Bar | None = None
    """The streams under way, by the reader's clock; None while status tells of none."""


def progress_of(
    before: ReplicationPair, after: ReplicationPair, leader: Leader, now: datetime
) -> Progress:
    """How far the request has come that `before` carries as an annotation.

    A newer request of somebody else takes its place: a pass that serves it serves both.
    """
    wanted = {
        value
        for pair in (before, after)
        if (value := pair.metadata.annotations.get(REQUESTED_AT)) is not None
    }
    judged = judge_pair(after, leader, now)
    old, point = before.status.recovery_point, after.status.recovery_point
    is_newer = point is not None and (old is None or point.time > old.time)
    phase = Phase.WAITING
    if after.status.last_handled_request in wanted:
        phase = Phase.SENDING if _goes_on(after) else Phase.HANDLED
    elif (seeding := condition(after.status, ConditionType.RECONCILING)) is not None:
        phase = Phase.SEEDING if seeding.status == "True" else phase
    facts = [_point(point, judged, is_newer), _members(after)]
    return Progress(
        phase=phase,
        says="; ".join(filter(None, facts)),
        pair=judged,
        point=point,
        is_newer=is_newer,
        transfer=after.status.transfer,
        bar=None if after.status.transfer is None else bar_of(after.status.transfer, now),
    )


def _goes_on(pair: ReplicationPair) -> bool:
    """Whether streams carry it beside the passes, as first copies are, and nothing is wrong."""
    ready = condition(pair.status, ConditionType.READY)
    if ready is not None and ready.status == "False" and ready.reason != Reason.SEEDING:
        return False
    return pair.status.transfer is not None or (ready is not None and ready.status == "False")


def _point(point: RecoveryPoint | None, judged: PairJudgement, is_newer: bool) -> str:
    if point is None or judged.lag_s is None:
        return "no recovery point yet"
    said = f"recovery point {age_text(judged.lag_s)} old"
    if not is_newer or point.bytes is None or point.transfer_seconds is None:
        return said
    said += f", {bytes_text(point.bytes)} in {point.transfer_seconds} s"
    if point.transfer_seconds > 0:
        said += f" ({bytes_text(point.bytes / point.transfer_seconds)}/s)"
    return said


def _members(pair: ReplicationPair) -> str:
    counts = pair.status.members
    if counts is None or counts.confirmed == counts.total:
        return ""
    return f"{counts.confirmed} of {counts.total} members confirmed, {counts.seeding} seeding"


def progress_document(shown: Progress, request: str, *, timed_out: bool) -> dict[str, Any]:
    """The same for programs; its fields stay. Sizes and times are null where status has none."""
    point = shown.point if shown.is_newer else None
    return {
        "request": request,
        "handled": shown.phase in {Phase.HANDLED, Phase.SENDING},
        "timedOut": timed_out,
        "pointIsNewer": shown.is_newer,
        "transferSeconds": None if point is None else point.transfer_seconds,
        "bytes": None if point is None else point.bytes,
        "transfer": _transfer_document(shown.transfer),
        "pair": pair_document(shown.pair),
    }


def _transfer_document(transfer: TransferProgress | None) -> dict[str, Any] | None:
    """The streams under way as status tells of them; None while it tells of none."""
    if transfer is None:
        return None
    return {
        "time": stamp(transfer.time),
        "bytes": transfer.bytes,
        "expectedBytes": transfer.expected_bytes,
        "bytesPerSecond": transfer.bytes_per_second,
        "secondsLeft": transfer.seconds_left,
    }
