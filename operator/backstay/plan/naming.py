"""Names of our snapshots and bookmarks (rules *Unique names*, *Bookmark with snapshot*).

    snapshot   backstay_20261122T031500.123Z_<short id><4 hex>    shared by all pairs
    bookmark   backstay_<lineage>_<guid, 16 hex>_<createtxg>      one lineage each

A name tells whose a thing is and, for snapshots, when its content was consistent by the
operator's clock. It never orders: createtxg does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from backstay.domain.zfs import Bookmark, Guid, Snapshot

_SNAPSHOT = re.compile(r"backstay_(\d{8}T\d{6}\.\d{3})Z_([0-9a-f]{8})([0-9a-f]{4})")
_BOOKMARK = re.compile(r"backstay_([0-9a-f]{8,32})_([0-9a-f]{16})_(\d+)")


def short_id(installation: str) -> str:
    """Eight hex digits that stand for an installation in snapshot names."""
    return sha256(installation.encode()).hexdigest()[:8]


def lineage_id(source_guid: Guid, pool_guid: Guid, target: str) -> str:
    """The id that ties a source dataset to one replica.

    Made of identities instead of chance: a seed that was killed before the target existed finds
    the bookmark it has made, and makes no second one (docs/adr/0002).
    """
    return sha256(f"{source_guid}:{pool_guid}:{target}".encode()).hexdigest()[:16]


def snapshot_name(at: datetime, installation_short_id: str, entropy: str) -> str:
    """The name of a snapshot whose content is at least as new as `at`."""
    stamp = at.astimezone(UTC).strftime("%Y%m%dT%H%M%S.") + f"{at.microsecond // 1000:03d}"
    return f"backstay_{stamp}Z_{installation_short_id}{entropy[:4]}"


def snapshot_time(name: str) -> datetime | None:
    """The consistency time in one of our snapshot names; None for a foreign name."""
    match = _SNAPSHOT.fullmatch(name)
    if match is None:
        return None
    try:
        return datetime.fromisoformat(f"{match[1]}+00:00").astimezone(UTC)
    except ValueError:
        return None


def is_ours(snapshot: Snapshot, installation_short_id: str) -> bool:
    """Whether this installation made the snapshot."""
    match = _SNAPSHOT.fullmatch(snapshot.name)
    return match is not None and match[2] == installation_short_id


def bookmark_name(lineage: str, guid: Guid, createtxg: int) -> str:
    """The name of the bookmark of a snapshot for one lineage."""
    return f"backstay_{lineage}_{guid:016x}_{createtxg}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BookmarkTag:
    """What the name of one of our bookmarks says."""

    lineage: str
    guid: Guid


def bookmark_tag(bookmark: Bookmark) -> BookmarkTag | None:
    """The lineage and GUID in a bookmark's name; None when it is foreign or its name lies."""
    match = _BOOKMARK.fullmatch(bookmark.name)
    if match is None or int(match[2], 16) != bookmark.guid:
        return None
    return BookmarkTag(lineage=match[1], guid=bookmark.guid)
