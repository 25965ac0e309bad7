"""One dataset of an in-memory pool, with its points and what an interrupted receive left."""

from __future__ import annotations

from dataclasses import dataclass, field

from backstay.domain.zfs import (
    LINEAGE,
    Bookmark,
    Dataset,
    DatasetKind,
    Guid,
    ResumeToken,
    Snapshot,
    WrittenSince,
)
from backstay.plan.naming import is_ours
from unit.plan.sides import PLENTY, SHORT


@dataclass(slots=True)
class Partial:
    """What an interrupted receive left."""

    to: Snapshot
    to_dataset: str
    from_guid: Guid | None
    content: int


@dataclass(slots=True)
class Disk:
    """A dataset. `contents`: snapshot GUID → the content that it froze."""

    name: str
    guid: Guid
    created: int
    content: int = 0
    snapshots: list[Snapshot] = field(default_factory=list)
    contents: dict[Guid, int] = field(default_factory=dict)
    bookmarks: list[Bookmark] = field(default_factory=list)
    properties: dict[str, str] = field(default_factory=dict)
    partial: Partial | None = None

    def point(self, guid: Guid) -> Snapshot | None:
        return next((s for s in self.snapshots if s.guid == guid), None)

    def listed(self) -> Dataset:
        """As a host lists it."""
        ours = [s for s in self.snapshots if is_ours(s, SHORT)]
        token = None
        if self.partial is not None:
            token = ResumeToken(
                text=f"1-{self.partial.to.guid}",
                to_name=f"{self.partial.to_dataset}@{self.partial.to.name}",
                to_guid=self.partial.to.guid,
                from_guid=self.partial.from_guid,
                received_bytes=1,
            )
        since = ours and WrittenSince(snapshot=ours[-1].name, size_bytes=self._since(ours[-1]))
        return Dataset(
            name=self.name,
            kind=DatasetKind.FILESYSTEM,
            guid=self.guid,
            createtxg=self.created,
            written_bytes=self._since(self.snapshots[-1]) if self.snapshots else 4096,
            written_since=since or None,
            referenced_bytes=4096,
            available_bytes=PLENTY,
            token=token,
            readonly=LINEAGE in self.properties,
            properties=dict(self.properties),
            snapshots=tuple(self.snapshots),
            bookmarks=tuple(self.bookmarks),
        )

    def _since(self, snapshot: Snapshot) -> int:
        return 0 if self.contents[snapshot.guid] == self.content else 4096
