"""What making room for a rollback costs, in words, and the approval of exactly that."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from backstay.api.v1alpha1.yielding import CountedTargetSpec, YieldedMemberSpec, YieldSpec
from backstay.domain.divergence import Resolution
from backstay.plan.divergence import resolve_command
from backstay.plan.room import MemberOffer, Offer, TargetLeft


def yield_of(offer: Offer, until: datetime) -> YieldSpec:
    """The approval of exactly what the offer shows."""
    return YieldSpec(until=until, members=tuple(map(_member, offer.members)))


def _member(offer: MemberOffer) -> YieldedMemberSpec:
    return YieldedMemberSpec(
        dataset=offer.source.name,
        guid=str(offer.source.guid),
        to=str(offer.to.guid),
        snapshots=tuple(str(ref.guid) for ref in offer.room.snapshots),
        bookmarks=tuple(ref.name for ref in offer.room.bookmarks),
        targets=tuple(
            CountedTargetSpec(
                pair=t.pair,
                dataset=t.dataset,
                lineage=t.lineage,
                base=None if t.base is None else str(t.base.guid),
            )
            for t in offer.targets
        ),
    )


def room_lines(offer: MemberOffer) -> list[str]:
    """What goes, what stays in the way, and what each target goes on from, a line each."""
    goes = [f"@{ref.name} (GUID {ref.guid})" for ref in offer.room.snapshots]
    goes += [f"#{ref.name}" for ref in offer.room.bookmarks]
    stays = [point.full_name.removeprefix(offer.source.name) for point in offer.room.foreign]
    return [
        *(f"GONE for good: {what}" for what in goes),
        *([] if goes else [f"nothing of ours is newer than @{offer.to.name}"]),
        *(f"IN THE WAY still: {what} is not ours: remove it yourself" for what in stays),
        *(target_line(target) for target in offer.targets),
    ]


def target_line(target: TargetLeft) -> str:
    """What becomes of one target."""
    place = f"{target.pair} at {target.host}, {target.dataset}"
    if target.base is None:
        if not target.has_points:
            return f"{place}: has no point yet and begins anew"
        return f"NO BASE left for {place}: only a full copy leads on"
    base = f"@{target.base.name} (GUID {target.base.guid})"
    if not target.ahead:
        return f"{place}: goes on incrementally from {base}"
    newer = "1 point" if target.ahead == 1 else f"{target.ahead} points"
    return (
        f"{place}: keeps {newer} that the source will no longer have, so the pair will be "
        f"Diverged; {resolve_command(target.pair, Resolution.SET_ASIDE)} goes on incrementally "
        f"from {base}"
    )


def refusal(lost: Sequence[TargetLeft], count: int) -> str:
    """Why nothing is approved: so many of all targets would have no base, and what to do."""
    first = lost[0]
    return (
        f"refused: {len(lost)} of {count} targets would have no common base left, such as "
        f"{first.dataset} at {first.host} of {first.pair}, and need a full copy: choose a newer "
        f"snapshot with --to, keep more points at the source (retention), or say --lose-base"
    )


def room_document(offer: MemberOffer) -> dict[str, Any]:
    """The same for programs; its fields stay."""
    return {
        "member": offer.name,
        "dataset": offer.source.name,
        "guid": str(offer.source.guid),
        "to": {"name": offer.to.name, "guid": str(offer.to.guid)},
        "snapshots": [{"name": s.name, "guid": str(s.guid)} for s in offer.room.snapshots],
        "bookmarks": [{"name": b.name, "guid": str(b.guid)} for b in offer.room.bookmarks],
        "inTheWay": [{"name": p.full_name, "guid": str(p.guid)} for p in offer.room.foreign],
        "targets": [
            {
                "pair": t.pair,
                "host": t.host,
                "dataset": t.dataset,
                "base": None if t.base is None else {"name": t.base.name, "guid": str(t.base.guid)},
                "ahead": t.ahead,
                "lost": t.is_lost,
            }
            for t in offer.targets
        ],
    }
