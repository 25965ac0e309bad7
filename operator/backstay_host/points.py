"""Snapshots and bookmarks that need not be listed anew, because ZFS says that none came or went.

Listing them opens each dataset once for each snapshot; on a host with many that is most of a
survey. `snapshots_changed` (zfsprops(7), OpenZFS 2.2) tells when a snapshot of a dataset was last
made, renamed or destroyed; seen on 2.3.9: also by `receive` and `rollback`, but not at the clone
that `promote` gives snapshots to, whose `origin` changes. It counts whole seconds of the host's
clock and does not know of bookmarks.

What is kept lives as long as its session. Bookmarks that this session changes are forgotten; what
others do to them is seen within `MAX_AGE_S`, or after the first refusal. Until then a base may be
taken for one that is gone: `zfs send` says so before a byte leaves.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

MAX_AGE_S = 3600.0
"""A dataset is listed at least this often."""
SETTLED_S = 2
"""A change in a later second than the listing cannot bear the same time as one so long before."""

Point = tuple[str, int, int]
"""Short name, GUID, createtxg."""


class State(NamedTuple):
    """What differs whenever the snapshots of a name do; `changed` in seconds of the host."""

    guid: str
    origin: str
    changed: str


@dataclass(frozen=True, slots=True)
class Listed:
    """The points of one dataset, oldest first."""

    snapshots: list[Point]
    bookmarks: list[Point]


@dataclass(slots=True)
class _Known:
    """A settled listing, until when it is used, and what was written since a snapshot of it."""

    state: State
    until: float
    listed: Listed
    written: tuple[str, int] | None = None


class KnownPoints:
    """The newest listing of each dataset that is settled."""

    def __init__(self) -> None:
        """Nothing is known."""
        self._known: dict[str, _Known] = {}
        self._swept = 0.0

    def find(self, dataset: str, state: State, now: float) -> Listed | None:
        """What a listing would say, if that is certain."""
        known = self._known.get(dataset)
        if known is None or known.state != state or now >= known.until:
            return None
        return known.listed

    def keep(
        self, dataset: str, state: State, listed: Listed, *, wall_s: float, now: float
    ) -> None:
        """The listing is used again while the state is this one.

        `wall_s` is the host's clock before the state was read, and the listing is younger than it.
        """
        if now >= self._swept + MAX_AGE_S:  # also of datasets that nobody asks for any more
            self._known = {name: one for name, one in self._known.items() if now < one.until}
            self._swept = now
        settled = state.changed.isdecimal() and int(state.changed) + SETTLED_S <= int(wall_s)
        if settled:
            self._known[dataset] = _Known(state, now + MAX_AGE_S, listed)
        else:
            self._known.pop(dataset, None)

    def find_written(self, dataset: str, since: str) -> int | None:
        """Bytes written since the snapshot, of a dataset whose listing was just found.

        Only where nothing was written since its newest snapshot, as when it was kept: the dataset
        equals that one, and what lies between two snapshots does not change. What came while it was
        read may be counted in, which is too much and never too little.
        """
        known = self._known.get(dataset)
        if known is None or known.written is None or known.written[0] != since:
            return None
        return known.written[1]

    def keep_written(self, dataset: str, since: str, size_bytes: int) -> None:
        """So many bytes were written since the snapshot, and none since the newest one."""
        if (known := self._known.get(dataset)) is not None:
            known.written = since, size_bytes

    def forget(self, datasets: Iterable[str]) -> None:
        """These are listed anew."""
        for dataset in datasets:
            self._known.pop(dataset, None)

    def clear(self) -> None:
        """All are listed anew."""
        self._known = {}
