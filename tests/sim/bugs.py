"""Faults that such engines had, put back into this one: each a patch of the rule against it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from typing import Any, TypeAlias
from unittest.mock import patch

from backstay.domain.pairs import Member
from backstay.domain.zfs import Dataset, Snapshot
from backstay.plan import basis, pruning, sets
from backstay.plan.naming import snapshot_time
from backstay.plan.replication import Seen


@contextmanager
def name_based_base() -> Iterator[None]:
    """The base is what bears one name on both sides (sanoid#815)."""

    def common_base(source: Dataset, target: Dataset) -> Snapshot | None:
        guids = {s.name: s.guid for s in source.snapshots}
        found = next((s for s in reversed(target.snapshots) if s.name in guids), None)
        return None if found is None else replace(found, guid=guids[found.name])

    with _everywhere("common_base", common_base):
        yield


@contextmanager
def prune_of_a_base() -> Iterator[None]:
    """The policy alone decides what goes at the source, once it is at the target."""
    real = pruning._needed_at_source

    def needed(link: Any, snapshot: Snapshot) -> str | None:
        return None if snapshot.guid in link.common else real(link, snapshot)

    with patch.object(pruning, "_needed_at_source", needed):
        yield


@contextmanager
def double_receive() -> Iterator[None]:
    """Nobody asks whether a stream into the dataset is still under way."""

    def free(seen: Seen, member: Member) -> bool:
        return member.target not in seen.conflicts

    with patch.object(Seen, "free", free):
        yield


@contextmanager
def status_as_truth() -> Iterator[None]:
    """What was confirmed once is taken to be there, whatever the target says now."""
    real, confirmed = basis.common_base, dict[str, Snapshot]()

    def common_base(source: Dataset, target: Dataset) -> Snapshot | None:
        found, told = real(source, target), confirmed.get(target.name)
        if told is None or (found is not None and found.createtxg > told.createtxg):
            told = found
        if told is None or basis.source_point(source, told.guid) is None:
            return found
        confirmed[target.name] = told
        return told

    with _everywhere("common_base", common_base):
        yield


@contextmanager
def wall_clock_order() -> Iterator[None]:
    """The newest set is the one whose name has the latest time."""
    real = sets._seat

    def seat(member: Member, source: Dataset, *more: Any, **named: Any) -> Any:
        found = real(member, source, *more, **named)
        points = sorted(found.ours.values(), key=lambda point: point.name)
        by_clock = {p.name: replace(p, createtxg=_clock(p)) for p in points}
        base = next((p for p in points if p.createtxg == found.base_txg), None)
        base_txg = found.base_txg if base is None else _clock(base)
        return replace(found, ours=by_clock, base_txg=base_txg)

    with patch.object(sets, "_seat", seat):
        yield


def _clock(point: Snapshot) -> int:
    at = snapshot_time(point.name)
    assert at is not None
    return int(at.timestamp() * 1000)


@contextmanager
def _everywhere(name: str, function: Callable[..., object]) -> Iterator[None]:
    with ExitStack() as patches:
        for module in (basis, pruning, sets):
            patches.enter_context(patch.object(module, name, function))
        yield


Bug: TypeAlias = Callable[[], AbstractContextManager[None]]

BUGS: Mapping[Bug, str] = {
    name_based_base: "share no snapshot or bookmark by GUID",
    prune_of_a_base: "no common snapshot any more",
    double_receive: "two streams at a time into",
    status_as_truth: "was written to (an unknown amount) since",
    wall_clock_order: "points",
}
"""Each with words of what it does in a story: what else ends one was not found for its sake."""
