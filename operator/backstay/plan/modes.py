"""The mode of a pair's streams, fixed by its seed, and what raw ones need (rule *Raw lineage*).

    source      replica                                    -> streams
    plain       seeded `Lec`, or `Lc` below what is
                encrypted                                  -> as they are
    encrypted   seeded `Lecw`, newest snapshot in common   -> raw, from that snapshot
    encrypted   seeded `Lec`, or the other way round       -> StreamModePinned
    encrypted   newest snapshot is foreign, or its IV set
                is another than at the source              -> RawLineageBroken

A raw stream carries blocks that were encrypted at the source, so the replica must have been
encrypted the same way up to its base: one plain receive keeps the GUID and makes an IV set of its
own (openzfs#8758). And ZFS takes a raw increment onto the newest snapshot only, even while nothing
was written since an older one (`dmu_recv.c`, `recv_begin_check_existing_impl`): an older base that
matches becomes one when somebody has rolled the replica back to it.
"""

from __future__ import annotations

from backstay.api.words import Reason
from backstay.domain.pairs import Conflict
from backstay.domain.zfs import STREAM, Bookmark, Dataset, Snapshot

PLAIN, NO_EMBEDDED, RAW = "Lec", "Lc", "Lecw"
"""Flags of zfs-send(8): large blocks, embedded and compressed data as they are; the same without
embedded data, which nothing that is encrypted takes; raw."""


def stream_mode(source: Dataset, replica: Dataset | None, above: Dataset | None) -> str:
    """What the replica was seeded with, else what a new one below `above` is to be seeded with.

    An encrypted source never leaves decrypted. A replica that says nothing came before the mode
    was recorded; then what it is tells.
    """
    if replica is not None and STREAM in replica.properties:
        return replica.properties[STREAM]
    place = replica or above
    is_below_key = place is not None and place.encrypted
    if source.encrypted and (replica is None or replica.encrypted):
        return RAW
    return NO_EMBEDDED if is_below_key else PLAIN


def mode_conflict(source: Dataset, target: Dataset) -> Conflict | None:
    """Whether the replica was seeded in a mode that the source does not fit."""
    pinned = stream_mode(source, target, None)
    if pinned in ((RAW,) if source.encrypted else (PLAIN, NO_EMBEDDED)):
        return None
    return Conflict(
        reason=Reason.STREAM_MODE_PINNED,
        message=f"{target.name} was seeded with `send -{pinned}`, which does not fit "
        f"{source.name}, as that is {'encrypted' if source.encrypted else 'not encrypted'}: the "
        f"mode of a pair never changes; rename the replica to keep it and have the source seeded "
        f"anew",
        diverged=True,
    )


def raw_conflict(
    source: Dataset, target: Dataset, base: Snapshot, point: Snapshot | Bookmark
) -> Conflict | None:
    """Why no raw stream can go on from `base`, the newest that both have; `point`: its source's."""
    newest = target.newest_snapshot
    if newest is not None and newest != base:
        return _broken(
            f"{newest.full_name} (GUID {newest.guid}) is not of {source.name}, and a raw stream "
            f"only goes on from the newest snapshot: `zfs destroy {newest.full_name}`, or rename "
            f"it away with the replica to have the source seeded anew"
        )
    if base.ivset is not None and base.ivset == point.ivset:
        return None
    said = (
        f"@{base.name} (GUID {base.guid}) has the IV set {_told(base.ivset)} at {target.name} and "
        f"{_told(point.ivset)} at {point.full_name}, so a raw stream cannot go on from it"
    )
    older = _newest_in_step(source, target)
    if older is None:
        return _broken(f"{said}; rename the replica to keep it and have the source seeded anew")
    return _broken(
        f"{said}; the newest that has the same at both is @{older.name} (GUID {older.guid}): "
        f"roll back to {older.full_name} (zfs-rollback(8), option r), and what came after it is "
        f"sent again"
    )


def _newest_in_step(source: Dataset, target: Dataset) -> Snapshot | None:
    """The newest snapshot of the target that the source has by GUID and IV set."""
    known = {(s.guid, s.ivset) for s in source.snapshots}
    known |= {(b.guid, b.ivset) for b in source.bookmarks}
    in_step = (s for s in reversed(target.snapshots) if (s.guid, s.ivset) in known)
    return next((s for s in in_step if s.ivset is not None), None)


def _told(ivset: int | None) -> str:
    return "unknown" if ivset is None else str(ivset)


def _broken(message: str) -> Conflict:
    return Conflict(reason=Reason.RAW_LINEAGE_BROKEN, message=message, diverged=True)
