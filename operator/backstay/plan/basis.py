"""Full or incremental: the decision that everything else serves.

    source      target         -> how `to` travels
    a b c       (absent)       -> Seed c                 (a clone's may be a Branch: branches.py)
    a b c       a b            -> Increment b..c
    #b c        a b            -> Increment #b..c        (bookmark: the snapshot was pruned)
    a b c       a b c          -> AlreadyThere
    a b         a >b (token)   -> Resume, or the token is dropped
    a b         a x            -> increment from a while x is foreign, also if another backstay
                                  made it, and nothing was written
    a           a B (ours)     -> Diverged: the target is ahead
    c           a b            -> NoCommonBase
    a c         c' a           -> NameCollision          (same name, another GUID)
    encrypted   sent raw       -> the same, but only from the newest at the target, and where its
                                  IV set is the source's (plan/modes.py)

Everything is matched by GUID and ordered by createtxg within one pool (rule *Proven base*).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from backstay.api.words import Reason
from backstay.domain.pairs import Conflict
from backstay.domain.steps import Base, How, Increment, Resume, Seed
from backstay.domain.zfs import LINEAGE, ROLE, SOURCE_GUID, Bookmark, Dataset, Guid, Snapshot
from backstay.plan.modes import mode_conflict, raw_conflict
from backstay.plan.naming import bookmark_tag, is_ours


@dataclass(frozen=True, slots=True, kw_only=True)
class AlreadyThere:
    """The target has the snapshot, by GUID."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DropToken:
    """The partial receive at the target is of no use: `receive -A`, then plan anew."""

    because: str


Basis: TypeAlias = How | AlreadyThere | DropToken | Conflict


def find_basis(
    source: Dataset,
    target: Dataset | None,
    to: Snapshot,
    short_id: str,
    origin: Snapshot | None = None,
) -> Basis:
    """Decide how the snapshot `to` of `source` gets to `target`.

    `short_id` tells our snapshots from those of other installations, which are foreign. `origin`:
    the snapshot that the source is a clone of.
    """
    if target is None:
        return Seed()
    if (conflict := replica_conflict(source, target, short_id)) is not None:
        return conflict
    common = common_base(source, target)
    if target.token is not None or target.unreadable_token is not None:
        return _resume(source, target, common or origin, short_id, is_new=common is None)
    if target.snapshot_by_guid(to.guid) is not None:
        return AlreadyThere()
    if target.snapshot_by_name(to.name) is not None:
        return Conflict(
            reason=Reason.NAME_COLLISION,
            message=f"{target.name}@{to.name} exists with another GUID than {to.guid}: "
            "rename it at the target",
            diverged=True,
        )
    lineage = target.properties[LINEAGE]
    base = None if common is None else source_point(source, common.guid, lineage)
    if common is None or base is None:
        return _no_base(source, target)
    if base.createtxg >= to.createtxg:
        return _ahead(source, target, common)
    return Increment(base=Base(full_name=base.full_name, guid=base.guid))


def replica_conflict(source: Dataset, target: Dataset, short_id: str) -> Conflict | None:
    """Why nothing at all may be received into an existing target; None when something may.

    It comes before any look at a token: what is not ours, or was changed, keeps its partial
    receive, too.
    """
    conflict = ownership_conflict(source, target) or mode_conflict(source, target)
    if conflict is not None:
        return conflict
    common = common_base(source, target)
    if common is not None:
        return divergence(source, target, common, short_id) or _raw_conflict(source, target, common)
    is_partial_seed = not target.snapshots and (target.token or target.unreadable_token)
    if is_partial_seed and target.properties.get(SOURCE_GUID) == str(source.guid):
        return None
    return _no_base(source, target)


def ownership_conflict(source: Dataset, target: Dataset) -> Conflict | None:
    """Why an existing target may not be received into at all; None when it is ours to use."""
    if target.properties.get(ROLE) == "primary":
        return Conflict(
            reason=Reason.TARGET_IS_PRIMARY,
            message=f"{target.name} has the role primary: it is in use and is never overwritten",
        )
    if LINEAGE not in target.properties:
        return Conflict(
            reason=Reason.TARGET_HAS_FOREIGN_DATA,
            message=f"{target.name} (GUID {target.guid}) exists and was not made by backstay; "
            f"nothing was written to it",
        )
    if target.kind != source.kind:
        return Conflict(
            reason=Reason.NEW_LINEAGE,
            message=f"{source.name} is a {source.kind}, its replica {target.name} a {target.kind}",
            diverged=True,
        )
    return None


def common_base(source: Dataset, target: Dataset) -> Snapshot | None:
    """The newest snapshot of the target whose GUID the source has as snapshot or bookmark."""
    known = {s.guid for s in source.snapshots} | {b.guid for b in source.bookmarks}
    return next((s for s in reversed(target.snapshots) if s.guid in known), None)


def source_point(source: Dataset, guid: Guid, lineage: str = "") -> Snapshot | Bookmark | None:
    """The source's own snapshot with the GUID, else its bookmark.

    That of the lineage comes first: those of others go when their targets no longer need them.
    """
    bookmarks = [b for b in source.bookmarks if b.guid == guid]
    bookmarks.sort(key=lambda b: (tag := bookmark_tag(b)) is None or tag.lineage != lineage)
    return source.snapshot_by_guid(guid) or next(iter(bookmarks), None)


def is_marked(source: Dataset, point: Snapshot, lineage: str) -> bool:
    """Whether the lineage has its bookmark of the snapshot, without which no byte leaves."""
    tags = [bookmark_tag(b) for b in source.bookmarks if b.guid == point.guid]
    return any(tag is not None and tag.lineage == lineage for tag in tags)


def divergence(source: Dataset, target: Dataset, base: Snapshot, short_id: str) -> Conflict | None:
    """Whether the target holds anything since `base` that the source does not.

    Foreign snapshots newer than the base are tolerated while nothing was written: ZFS takes an
    increment all the same, and they stay. Our own newer ones mean that the source went back.
    """
    newer = [s for s in target.snapshots if s.createtxg > base.createtxg]
    ahead = [s for s in newer if is_ours(s, short_id)]
    if ahead:
        return _ahead(source, target, ahead[-1])
    if written_after(target, base) == 0:
        return None
    amount = written_after(target, base)
    said = "an unknown amount" if amount is None else f"{amount} bytes"
    return Conflict(
        reason=Reason.TARGET_MODIFIED,
        message=f"{target.name} was written to ({said}) since @{base.name} (GUID {base.guid})",
        diverged=True,
    )


def written_after(dataset: Dataset, base: Snapshot) -> int | None:
    """Bytes written to `dataset` since its snapshot `base`; None when unknown, never taken as 0."""
    if dataset.newest_snapshot == base:
        return dataset.written_bytes
    if dataset.written_since is not None and dataset.written_since.snapshot == base.name:
        return dataset.written_since.size_bytes
    return None


def _raw_conflict(source: Dataset, target: Dataset, base: Snapshot) -> Conflict | None:
    point = source_point(source, base.guid, target.properties[LINEAGE])
    if not source.encrypted or point is None:
        return None
    return raw_conflict(source, target, base, point)


def _resume(
    source: Dataset, target: Dataset, base: Snapshot | None, short_id: str, *, is_new: bool
) -> Basis:
    """Judge a resume token, which is untrusted input (rule *Resume tokens*).

    `is_new`: the target has no points of the source, and `base` is the origin of a clone.
    """
    token = target.token
    if token is None:
        return DropToken(because=f"ZFS cannot decode the resume token of {target.name}")
    to = source.snapshot_by_guid(token.to_guid)
    if to is None:
        return DropToken(because=f"{token.to_name} (GUID {token.to_guid}) no longer exists")
    if token.to_name != to.full_name:
        return DropToken(because=f"the token names {token.to_name}, not {to.full_name}")
    if not (is_ours(to, short_id) or is_marked(source, to, target.properties[LINEAGE])):
        return DropToken(because=f"the token is of {to.full_name}, which is not a point of ours")
    if token.raw != source.encrypted:
        said = ("plain", "raw") if source.encrypted else ("raw", "plain")
        return DropToken(because=f"the token is of a {said[0]} stream, the pair is {said[1]}")
    if is_new:
        if token.from_guid in (None, None if base is None else base.guid):
            return Resume(token=token.text, seed=True)
        return DropToken(because=f"an increment cannot go on in {target.name}: it has no points")
    assert base is not None
    point = source_point(source, base.guid)
    if point is None or token.from_guid != point.guid:
        return DropToken(because=f"the token's base {token.from_guid} is not @{base.name}")
    if point.createtxg >= to.createtxg:
        return DropToken(because=f"{to.full_name} is not newer than the base @{base.name}")
    return Resume(token=token.text, seed=False)


def _ahead(source: Dataset, target: Dataset, newest: Snapshot) -> Conflict:
    return Conflict(
        reason=Reason.TARGET_AHEAD,
        message=f"{target.name}@{newest.name} (GUID {newest.guid}) is newer than everything in "
        f"{source.name}, which was rolled back or restored; the replica is untouched, and can be "
        f"recovered from",
        diverged=True,
    )


def _no_base(source: Dataset, target: Dataset) -> Conflict:
    seeded_from = target.properties.get(SOURCE_GUID)
    if seeded_from is not None and seeded_from != str(source.guid):
        return Conflict(
            reason=Reason.NEW_LINEAGE,
            message=f"{source.name} now has GUID {source.guid}, the replica {target.name} was "
            f"seeded from GUID {seeded_from}: the source was recreated",
            diverged=True,
        )
    newest = target.newest_snapshot
    held = "none" if newest is None else f"@{newest.name} (GUID {newest.guid})"
    return Conflict(
        reason=Reason.NO_COMMON_BASE,
        message=f"{source.name} and {target.name} share no snapshot or bookmark by GUID (newest "
        f"at the target: {held})",
        diverged=True,
    )
