"""What diverged, what there is to decide about it, and what was kept of earlier decisions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from backstay.api.v1alpha1.replicationpair import DivergedMember, NamedPoint, RetainedAside
from backstay.domain.divergence import Divergence
from backstay.domain.pairs import AsideState, MemberState, PairState
from backstay.domain.zfs import BookmarkRef, SnapshotRef

MEMBERS_SHOWN = 5
POINTS_SHOWN = 96
"""Five members with so many points of 85 bytes each take 40 KiB, of 64 KiB for an object."""
AHEAD_SHOWN = 8


def diverged_members(members: Iterable[MemberState]) -> tuple[DivergedMember, ...]:
    """Members that wait for a decision, in their order, with exact GUIDs on both sides."""
    waiting = (
        _diverged(m.name, m.conflict.reason, m.conflict.divergence)
        for m in members
        if m.conflict is not None and m.conflict.divergence is not None
    )
    return tuple(islice(waiting, MEMBERS_SHOWN))


def _diverged(member: str, reason: str, found: Divergence) -> DivergedMember:
    return DivergedMember(
        member=member,
        reason=reason,
        source=found.source,
        source_guid=str(found.source_guid),
        dataset=found.target,
        guid=str(found.target_guid),
        base=None if found.base is None else _named(found.base),
        ahead=tuple(map(_named, found.ahead[-AHEAD_SHOWN:])),
        lose=tuple(map(_named, found.lose[:POINTS_SHOWN])),
        lose_count=len(found.lose),
        written_bytes=found.written_bytes,
        offers=tuple(map(str, found.offers)),
    )


def _named(ref: SnapshotRef | BookmarkRef) -> NamedPoint:
    return NamedPoint(name=ref.full_name.removeprefix(ref.dataset), guid=str(ref.guid))


def retained_asides(states: Sequence[PairState]) -> tuple[RetainedAside, ...]:
    """What was set aside and is still there, largest first."""
    return tuple(
        RetainedAside(dataset=a.dataset, of=a.of, used_bytes=a.used_bytes)
        for a in _largest_first(states)[:MEMBERS_SHOWN]
    )


def aside_message(states: Sequence[PairState]) -> str | None:
    """What is kept aside, how much space it takes, and how it goes; None when there is nothing."""
    kept = _largest_first(states)
    if not kept:
        return None
    first, total = kept[0], sum(aside.used_bytes for aside in kept)
    return (
        f"{len(kept)} set aside, {total} bytes in all; {first.dataset}, which was {first.of}, "
        f"keeps {first.used_bytes} bytes: destroy it at its host when nobody needs it any more"
    )


def left_over_message(states: Sequence[PairState]) -> str | None:
    """Which replicas of trees have no source any more; None when there is none."""
    left = [one for state in states for one in state.left_over]
    if not left:
        return None
    first = max(left, key=lambda one: (one.used_bytes, one.dataset))
    return (
        f"{len(left)} replicas whose sources are gone, {sum(x.used_bytes for x in left)} bytes in "
        f"all; {first.dataset}, the replica of {first.of}, keeps {first.used_bytes} bytes: destroy "
        f"it at its host when nobody needs it any more"
    )


def strays_message(states: Sequence[PairState]) -> str | None:
    """Which bookmarks keep points for a replica that no pair has; None when there is none."""
    strays = list(dict.fromkeys(stray for state in states for stray in state.strays))
    if not strays:
        return None
    more = f" (and {len(strays) - 1} more)" if len(strays) > 1 else ""
    return (
        f"{strays[0]}{more} keeps a point for a replica that no pair has now, as that of a member "
        f"that was removed: it is not pruned; `zfs destroy {strays[0]}` at its host when nothing "
        f"is to go on from it any more"
    )


def _largest_first(states: Sequence[PairState]) -> list[AsideState]:
    kept = [aside for state in states for aside in state.asides]
    return sorted(kept, key=lambda aside: (-aside.used_bytes, aside.dataset))
