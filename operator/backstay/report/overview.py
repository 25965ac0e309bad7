"""`kubectl backstay status`: all pairs by danger, and what else is not well, on one screen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from backstay.api.v1alpha1 import ProtectionPolicy, Site
from backstay.api.values import duration_text
from backstay.api.words import Reason
from backstay.report.ages import age_text, stamp
from backstay.report.inventory import Inventory, Unreadable
from backstay.report.judgement import (
    DANGERS,
    Danger,
    PairJudgement,
    by_danger,
    judge_pair,
    ready_of,
)
from backstay.report.leader import Leader
from backstay.report.verdict import Truth

WHY_SHOWN = 5
ROWS = 20
"""Pairs on the screen; those that are not fine are always all of them."""
SITE_WIDTH = 16
HEAD = ("NAME", "ACTIVE", "RPO", "LAG", "RPO-MET", "READY", "STATE")
GAP = "  "


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """A Site or ProtectionPolicy that is not Ready."""

    kind: str
    namespace: str
    name: str
    ready: Truth
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Everything that the screen shows, the worst first."""

    as_of: datetime
    leaders: Mapping[str, Leader]
    """By namespace."""
    pairs: tuple[PairJudgement, ...]
    troubles: tuple[Trouble, ...]

    @property
    def all_met(self) -> bool:
        """Whether there are promises and all of them are kept, as far as can be known.

        A pair that rests on purpose is no fault while its RPO is met.
        """
        good = {Danger.FINE, Danger.SUSPENDED}
        kept = all(pair.danger in good for pair in self.pairs)
        return bool(self.pairs) and kept and not self.troubles


def overview(objects: Inventory, leaders: Mapping[str, Leader], now: datetime) -> Overview:
    """What is true of all objects as of now; who leads is known for each pair's namespace."""
    judged = [judge_pair(pair, leaders[pair.metadata.namespace], now) for pair in objects.pairs]
    judged += [_unknown(u) for u in objects.unreadable if u.kind == "ReplicationPair"]
    others: tuple[Site | ProtectionPolicy, ...] = (*objects.sites, *objects.policies)
    troubles = [
        Trouble(
            kind=found.info.kind,
            namespace=found.metadata.namespace,
            name=found.metadata.name,
            ready=ready.status,
            reason=ready.reason,
            message=ready.message,
        )
        for found in others
        if (ready := ready_of(found)).status != "True"
    ]
    troubles += [
        Trouble(
            kind=u.kind,
            namespace=u.namespace,
            name=u.name,
            ready="Unknown",
            reason=Reason.INVALID_SPEC,
            message=u.why,
        )
        for u in objects.unreadable
        if u.kind != "ReplicationPair"
    ]
    return Overview(
        as_of=now,
        leaders=leaders,
        pairs=tuple(sorted(judged, key=by_danger)),
        troubles=tuple(troubles),
    )


def _unknown(pair: Unreadable) -> PairJudgement:
    return PairJudgement(
        namespace=pair.namespace,
        name=pair.name,
        danger=Danger.UNKNOWN,
        active_site=None,
        rpo_s=None,
        point_time=None,
        lag_s=None,
        rpo_met="Unknown",
        ready="Unknown",
        reason=Reason.INVALID_SPEC,
        why=pair.why,
    )


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the screen; `danger` is for its colour."""

    text: str
    danger: Danger | None = None


def overview_lines(shown: Overview, *, width: int | None, with_namespace: bool) -> list[Line]:
    """The screen. `width` None is for a file or a pipe: nothing is cut there."""
    bad = [pair for pair in shown.pairs if pair.danger != Danger.FINE]
    fine = [pair for pair in shown.pairs if pair.danger == Danger.FINE]
    listed = [*bad, *fine[: max(0, ROWS - len(bad))]] if width else list(shown.pairs)
    lines = _table(listed, width, with_namespace) if listed else []
    if len(listed) < len(shown.pairs):
        more = len(shown.pairs) - len(listed)
        lines.append(Line(f"… and {more} more that are fine (-o json has them all)"))
    lines += _troubles(shown.troubles, width, with_namespace)
    if lines:
        lines.append(Line(""))
    lines.append(Line(_summary(shown)))
    for says in sorted({each.says for each in shown.leaders.values() if each.leads is not True}):
        doubt = f"no operator is known to lead (kubectl backstay doctor): {says}"
        lines.append(Line(_cut(doubt, width), Danger.UNKNOWN))
    return lines


def _summary(shown: Overview) -> str:
    if not shown.pairs:
        return "no ReplicationPair: nothing is protected here"
    counts = Counter(pair.danger for pair in shown.pairs)
    said = ", ".join(f"{counts[danger]} {danger}" for danger in DANGERS if counts[danger])
    return f"{len(shown.pairs)} pair{'s' * (len(shown.pairs) > 1)}: {said}"


def _table(pairs: Sequence[PairJudgement], width: int | None, with_namespace: bool) -> list[Line]:
    """Rows under a head; a name too long for its column has a line of its own."""
    rows = [_cells(pair, width, with_namespace) for pair in pairs]
    widths = [max(len(row[i]) for row in (HEAD, *rows)) for i in range(len(HEAD))]
    if width is not None:
        rest = sum(widths[1:]) + len(GAP) * (len(HEAD) - 1)
        widths[0] = max(len(HEAD[0]), min(widths[0], width - rest))
    lines = [Line(_row(HEAD, widths))]
    told = 0
    for pair, row in zip(pairs, rows, strict=True):
        cells = row
        if len(row[0]) > widths[0]:
            lines.append(Line(row[0], pair.danger))
            cells = ("", *row[1:])
        lines.append(Line(_row(cells, widths), pair.danger))
        if pair.danger != Danger.FINE and told < WHY_SHOWN:
            told += 1
            lines.append(Line(_cut(f"  {pair.reason}: {pair.why}", width)))
    return lines


def _cells(pair: PairJudgement, width: int | None, with_namespace: bool) -> tuple[str, ...]:
    active = pair.active_site or "unknown"
    return (
        pair.key if with_namespace else pair.name,
        _cut(active, SITE_WIDTH if width is not None else None),
        "unknown" if pair.rpo_s is None else duration_text(pair.rpo_s),
        "unknown" if pair.lag_s is None else age_text(pair.lag_s),
        pair.rpo_met,
        pair.ready,
        pair.danger,
    )


def _row(cells: Iterable[str], widths: Sequence[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return GAP.join(padded).rstrip()


def _troubles(troubles: Sequence[Trouble], width: int | None, with_namespace: bool) -> list[Line]:
    lines = []
    for kind in sorted({trouble.kind for trouble in troubles}, reverse=True):
        lines += [Line(""), Line(f"{kind} not ready:")]
        for each in (trouble for trouble in troubles if trouble.kind == kind):
            name = f"{each.namespace}/{each.name}" if with_namespace else each.name
            danger = Danger.UNKNOWN if each.ready == "Unknown" else Danger.NOT_READY
            said = f"  {name}  Ready={each.ready}  {each.reason}: {each.message}"
            lines.append(Line(_cut(said, width), danger))
    return lines


def _cut(text: str, width: int | None) -> str:
    return text if width is None or len(text) <= width else text[: width - 1] + "…"


def overview_document(shown: Overview) -> dict[str, Any]:
    """The same for programs; its fields stay."""
    return {
        "asOf": stamp(shown.as_of),
        "allMet": shown.all_met,
        "operators": [
            {"namespace": namespace, "leads": leader.leads, "message": leader.says}
            for namespace, leader in sorted(shown.leaders.items())
        ],
        "pairs": [pair_document(pair) for pair in shown.pairs],
        "notReady": [
            {
                "kind": each.kind,
                "namespace": each.namespace,
                "name": each.name,
                "ready": each.ready,
                "reason": each.reason,
                "message": each.message,
            }
            for each in shown.troubles
        ],
    }


def pair_document(pair: PairJudgement) -> dict[str, Any]:
    """A judged pair for programs; what is not known is null."""
    return {
        "namespace": pair.namespace,
        "name": pair.name,
        "state": pair.danger,
        "activeSite": pair.active_site,
        "rpoSeconds": pair.rpo_s,
        "recoveryPointTime": None if pair.point_time is None else stamp(pair.point_time),
        "lagSeconds": None if pair.lag_s is None else int(pair.lag_s),
        "rpoMet": pair.rpo_met,
        "ready": pair.ready,
        "reason": pair.reason,
        "message": pair.why,
    }
