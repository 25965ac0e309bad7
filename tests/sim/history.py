"""What every source held at which moment: the yardstick for what a status promises."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from fakes.zfs import FakeDataset


def content_of(dataset: FakeDataset) -> int:
    """Digest of what a dataset holds, what is not synced yet included; changes nothing."""
    head = dataset.head
    for size, write_id, overwrite in dataset.unsynced:
        head = head.written(size, write_id, overwrite=overwrite)
    return head.digest


@dataclass(slots=True)
class History:
    """Contents by dataset over time, in seconds since the world began."""

    _moments: dict[str, list[tuple[float, int]]] = field(default_factory=dict)

    def note(self, name: str, now_s: float, digest: int) -> None:
        """The dataset holds this from now on."""
        moments = self._moments.setdefault(name, [])
        if not moments or moments[-1][1] != digest:
            moments.append((now_s, digest))

    def forget(self, name: str) -> None:
        """The dataset is gone."""
        self._moments.pop(name, None)

    def moments(self, name: str) -> list[tuple[float, int]]:
        """Since when it held what, oldest first."""
        return self._moments.get(name, [])

    def resume(self, name: str, moments: list[tuple[float, int]]) -> None:
        """Another dataset gets the name of one that was forgotten: people know no difference."""
        self._moments[name] = moments

    def born_s(self, name: str) -> float:
        """When the dataset was first seen."""
        return self._moments[name][0][0]

    def spans(self, name: str, digest: int, since_s: float) -> Iterator[tuple[float, float]]:
        """The stretches of time after `since_s` in which the dataset held exactly this."""
        moments = self._moments.get(name, [])
        if moments and moments[-1][1] == digest:
            yield max(moments[-1][0], since_s), float("inf")
        for (begin, held), (end, _) in pairwise(moments):
            if held == digest and end >= since_s:
                yield max(begin, since_s), end
