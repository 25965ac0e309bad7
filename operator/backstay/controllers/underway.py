"""Streams under way, as one leader sees them: whom they carry, and when a byte moved last."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from backstay.domain.pairs import Route
from backstay.domain.steps import Transfer
from backstay.ports.clock import Clock
from backstay.report.underway import STILL_S, StreamFacts

RATE_OVER_S = 30.0
"""Long enough for a steady number, short enough to see that a line has become slow."""
SAMPLE_EVERY_S = 1.0
Owners = Mapping[str, tuple[str, str]]
"""Target dataset → (pair, member)."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What a stream carries, one after the other, and for whom; `owners` may know others, too."""

    transfers: tuple[Transfer, ...]
    owners: Owners
    in_pass: bool = False
    is_seed: bool = False


class Stream:
    """One pipe, or the pipes of a lane one after the other; times are of the monotonic clock."""

    def __init__(self, route: Route, sent: Sent, clock: Clock) -> None:
        """It begins now."""
        self.route, self._sent, self._clock = route, sent, clock
        # Ten thousand pairs may share a pipe, and each is judged by itself.
        self._targets: dict[str, list[str]] = {}
        """By pair: its target datasets in the stream."""
        for transfer in sent.transfers:
            pair, _ = sent.owners[transfer.target_dataset]
            self._targets.setdefault(pair, []).append(transfer.target_dataset)
        self._sizes = {t.target_dataset: t.size_bytes for t in sent.transfers}
        self._left_bytes = sum(self._sizes.values())
        self._moved: dict[str, int] = {}
        self._moved_bytes = 0
        self._at_work = sent.transfers[0].target_dataset
        self._began_s = self._moved_at_s = clock.monotonic_s()
        self._has_moved = False
        self._stood_until_s: float | None = None
        self._samples = deque([(self._began_s, 0)])

    @property
    def pairs(self) -> Collection[str]:
        """The pairs that it carries members of."""
        return self._targets.keys()

    def next(self, target: str) -> None:
        """A pipe of its own begins with this member: its first byte may take a while again."""
        self._at_work, self._has_moved = target, False
        self._moved_at_s = self._clock.monotonic_s()

    def progress(self, target: str, moved_bytes: int) -> None:
        """So many bytes of this member have moved so far."""
        before, size = self._moved.get(target, 0), self._sizes[target]
        if before == moved_bytes:
            return
        now_s = self._clock.monotonic_s()
        if self._has_moved and now_s - self._moved_at_s >= STILL_S:
            self._stood_until_s = now_s
        self._at_work, self._moved_at_s, self._has_moved = target, now_s, True
        self._moved[target] = moved_bytes
        self._moved_bytes += moved_bytes - before
        self._left_bytes += min(before, size) - min(moved_bytes, size)
        if now_s - self._samples[-1][0] >= SAMPLE_EVERY_S:
            self._samples.append((now_s, self._moved_bytes))
        while len(self._samples) > 1 and self._samples[1][0] <= now_s - RATE_OVER_S:
            self._samples.popleft()

    def facts(self, pair: str, passes_s: tuple[float, ...]) -> StreamFacts:
        """The stream as of now, as far as it is the pair's."""
        now_s = self._clock.monotonic_s()
        mine = self._targets[pair]
        return StreamFacts(
            member=self._sent.owners[self._at_work][1],
            expected_bytes=sum(self._sizes[target] for target in mine),
            moved_bytes=sum(self._moved.get(target, 0) for target in mine),
            left_bytes=self._left_bytes,
            bytes_per_s=self._rate(now_s),
            elapsed_s=now_s - self._began_s,
            still_s=now_s - self._moved_at_s,
            has_moved=self._has_moved,
            stood_ago_s=None if self._stood_until_s is None else now_s - self._stood_until_s,
            in_pass=self._sent.in_pass,
            is_seed=self._sent.is_seed,
            passes_s=passes_s,
        )

    def _rate(self, now_s: float) -> float | None:
        """Bytes a second over the last half minute; None before the first second is over."""
        if now_s - self._moved_at_s >= RATE_OVER_S:
            return 0.0
        earlier = [sample for sample in self._samples if sample[0] <= now_s - RATE_OVER_S]
        since_s, before = earlier[-1] if earlier else self._samples[0]
        if now_s - since_s < SAMPLE_EVERY_S:
            return None
        return max(self._moved_bytes - before, 0) / (now_s - since_s)


class Underway:
    """All streams that run now."""

    def __init__(self) -> None:
        self._streams: list[Stream] = []

    @contextmanager
    def carrying(self, stream: Stream) -> Iterator[Stream]:
        """The stream is known as long as it runs, however it ends."""
        self._streams.append(stream)
        try:
            yield stream
        finally:
            self._streams.remove(stream)

    def of(self, pair: str) -> Iterable[Stream]:
        """The streams that carry anything of the pair."""
        return [stream for stream in self._streams if pair in stream.pairs]
