"""What can be done about a replica that diverged, and whether somebody approved of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from backstay.api.words import Reason
from backstay.domain.divergence import Approval, Approved, Divergence, Resolution
from backstay.domain.moves import RESOLVED_BY
from backstay.domain.pairs import Conflict, PairTask, typed
from backstay.domain.zfs import LINEAGE, ROLE, Bookmark, BookmarkRef, Dataset, Snapshot, SnapshotRef
from backstay.plan.basis import common_base

_AHEAD = (Resolution.SET_ASIDE, Resolution.ROLLBACK, Resolution.RESEED)
OFFERS: Mapping[str, tuple[Resolution, ...]] = {
    Reason.TARGET_AHEAD: _AHEAD,
    Reason.TARGET_MODIFIED: _AHEAD,
    Reason.NEW_LINEAGE: (Resolution.RESEED,),
    Reason.NO_COMMON_BASE: (Resolution.RESEED,),
    Reason.TARGET_HAS_FOREIGN_DATA: (Resolution.ADOPT,),
}
"""What each kind of divergence leaves to do, the recommended one first."""

_DOES = {
    Resolution.SET_ASIDE: "keeps it aside and sends what is new at the source",
    Resolution.ROLLBACK: "takes it back to the base",
    Resolution.RESEED: "keeps it aside and sends the source in full",
    Resolution.ADOPT: "makes it the replica, if nothing else uses it",
}
_BY_HAND = {Reason.TARGET_HAS_FOREIGN_DATA: "rename it, or choose another target dataset"}
"""What is left, or left besides: what is not ours may be in use."""


def resolve_command(pair: str, how: Resolution) -> str:
    """What to type for a pair, by its key."""
    return f"`kubectl backstay resolve {typed(pair)} --how {how}`"


def with_divergence(conflict: Conflict, source: Dataset, replica: Dataset, pair: str) -> Conflict:
    """The conflict with what there is to decide, if anything, and the next step in its message."""
    base = common_base(source, replica)
    offers = OFFERS.get(conflict.reason, ())
    if offers == (Resolution.ADOPT,):
        is_free = LINEAGE not in replica.properties and ROLE not in replica.properties
        offers = offers if base and is_free and replica.kind is source.kind else ()
    if replica.written_bytes is None:
        # What nobody can name, nobody can approve the loss of.
        offers = tuple(offer for offer in offers if offer is not Resolution.ROLLBACK)
    steps = [f"{resolve_command(pair, how)} {_DOES[how]}" for how in offers[:1]]
    steps += [_BY_HAND[reason] for reason in _BY_HAND if reason == conflict.reason]
    words = f"{conflict.message}: {'; or '.join(steps)}" if steps else conflict.message
    found = _describe(source, replica, base, offers) if offers else None
    return replace(conflict, message=words, divergence=found)


def _describe(
    source: Dataset, replica: Dataset, base: Snapshot | None, offers: tuple[Resolution, ...]
) -> Divergence:
    base_txg = -1 if base is None else base.createtxg
    points: list[Snapshot | Bookmark] = [*source.snapshots, *source.bookmarks]
    at_source = [p.createtxg for p in points if base is not None and p.guid == base.guid]
    lose: list[tuple[int, SnapshotRef | BookmarkRef]] = [
        (s.createtxg, _ref(s)) for s in replica.snapshots if s.createtxg > base_txg
    ]
    lose += [
        (b.createtxg, BookmarkRef(dataset=b.dataset, name=b.name, guid=b.guid))
        for b in replica.bookmarks
        if b.createtxg > base_txg
    ]
    lose.sort(key=lambda one: (one[0], one[1].full_name))
    return Divergence(
        source=source.name,
        source_guid=source.guid,
        target=replica.name,
        target_guid=replica.guid,
        base=None if base is None else _ref(base),
        ahead=tuple(_ref(s) for s in source.snapshots if s.createtxg > min(at_source, default=-1)),
        lose=tuple(ref for _, ref in lose),
        written_bytes=replica.written_bytes,
        offers=offers,
    )


def _ref(snapshot: Snapshot) -> SnapshotRef:
    return SnapshotRef(dataset=snapshot.dataset, name=snapshot.name, guid=snapshot.guid)


def judged(conflict: Conflict, pair: PairTask, replica: Dataset) -> Conflict:
    """The conflict; its message says why an approval of this dataset does not count."""
    if conflict.divergence is None:
        return conflict
    why = pair.approval_fault and f"cannot be read: {pair.approval_fault}"
    if pair.approval is not None:
        why = _why_void(conflict.divergence, pair.approval, replica)
    if not why:
        return conflict
    return replace(conflict, message=f"{conflict.message}; the approval that is there {why}")


def is_approved(conflict: Conflict | None, pair: PairTask, replica: Dataset | None) -> bool:
    """Whether somebody approved of what can be done, for this very list, and it was not used."""
    if conflict is None or conflict.divergence is None or replica is None:
        return False
    approval, found = pair.approval, conflict.divergence
    if approval is None or all(a.dataset != found.target for a in approval.members):
        return False
    return not _why_void(found, approval, replica)


def _why_void(found: Divergence, approval: Approval, replica: Dataset) -> str:
    """Why the approval does not count for the dataset; empty when it does, or says nothing of it.

    | what was approved                              | the approval is                       |
    |------------------------------------------------|---------------------------------------|
    | another dataset, base, or list of points       | void: what would be lost is another   |
    | a rollback, with other bytes written since     | void, for the same reason             |
    | what this divergence does not offer            | void                                  |
    | this, but the dataset was resolved by it before | used                                 |
    """
    approved = next((a for a in approval.members if a.dataset == found.target), None)
    if approved is None:
        return ""
    if replica.properties.get(RESOLVED_BY) == approval.id:
        return f"({approval.id}) was used: it counts once"
    if approval.how not in found.offers:
        return f"({approval.id}) is void: {approval.how} is not on offer"
    if (what := _changed(found, approved, approval.how)) is not None:
        return f"({approval.id}) is void: {what} since"
    return ""


def _changed(found: Divergence, approved: Approved, how: Resolution) -> str | None:
    if approved.guid != found.target_guid:
        return f"{found.target} has another GUID"
    if approved.base != (None if found.base is None else found.base.guid):
        return "the common base has changed"
    if approved.lose != tuple(ref.guid for ref in found.lose):
        return f"the list of {len(approved.lose)} points has changed to {len(found.lose)}"
    if how is Resolution.ROLLBACK and approved.written_bytes != found.written_bytes:
        return f"{found.written_bytes} bytes instead of {approved.written_bytes} were written"
    return None
