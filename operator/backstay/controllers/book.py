"""What one leader remembers between passes. All of it can be learnt again from the hosts."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from backstay.controllers.underway import Underway
from backstay.domain.pairs import Conflict, HostKey, Moved, PairState, PairTask, Route
from backstay.domain.steps import Resume, Transfer
from backstay.plan.lineages import Tie
from backstay.report.underway import StreamFacts

PASSES_KEPT = 15
"""Passes whose durations make the mean that the deadline leaves room for."""
RETRY_FIRST_S = 5.0
RETRY_CAP_S = 300.0
UNSEEN_FIRST_S = 10.0
UNSEEN_CAP_S = 60.0
"""A host that comes back is found by a pass within this time, however long it was away."""


@dataclass(slots=True)
class _Trouble:
    """A member that failed: why, how often in a row, and when it may be tried again."""

    why: Conflict
    member: tuple[str, str]
    count: int
    not_before_s: float
    stalls: int = 0
    stalled_at: str = ""
    """Where it stood still the last time, so often in a row: a resume token, or "" for nowhere."""


@dataclass(frozen=True, slots=True)
class Look:
    """When a pair's last pass over a route began, and whether its point is newer since.

    `is_first`: this leader had not passed it before. `rest_s`: for how long from then on it is not
    tried again, because a side was not seen.
    """

    began_s: float
    has_news: bool
    is_first: bool = False
    rest_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _Away:
    """A host that a Site could not greet: how often in a row, while the same was asked for."""

    mark: object
    count: int


@dataclass(slots=True)
class Book:
    """Pair states by route, durations, members in trouble, hosts that do not answer."""

    dice: random.Random = field(default_factory=random.Random)
    """For pauses: hosts that were lost at one moment are not all tried at another one."""
    states: dict[tuple[str, Route], PairState] = field(default_factory=dict)
    looks: dict[tuple[str, Route], Look] = field(default_factory=dict)
    served: dict[str, tuple[object, ...]] = field(default_factory=dict)
    """`pair route` → what its spec was (uid, generation, request …) when it was last passed."""
    ties: dict[str, dict[Route, dict[str, Tie]]] = field(default_factory=dict)
    """Pair → what ties its sources to replicas, by lineage: of its members, and of those that it
    had when a pass saw both sides. A route that no pass has seen is missing."""
    active_site: dict[str, str] = field(default_factory=dict)
    moved: dict[tuple[str, Route], Moved] = field(default_factory=dict)
    """What streams beside passes have brought since the pair's last pass that saw both sides."""
    alone_at: dict[tuple[str, Route], float] = field(default_factory=dict)
    """When the last set was taken that could not be sent, because the target was not seen."""
    turned_at: dict[tuple[str, Route], float] = field(default_factory=dict)
    """When the last pass began that was the pair's turn for new points and saw both sides."""
    underway: Underway = field(default_factory=Underway)
    _on_route: dict[Route, dict[str, PairState]] = field(default_factory=dict)
    """The same states by route: a pass must not look at those of all others."""
    _durations: dict[Route, deque[float]] = field(default_factory=dict)
    _troubles: dict[tuple[Route, str], _Trouble] = field(default_factory=dict)
    _unseen: dict[Route, int] = field(default_factory=dict)
    """How many passes in a row could not see a side of the route."""
    _away: dict[HostKey, _Away] = field(default_factory=dict)

    def record(self, route: Route, states: Iterable[PairState], began_s: float) -> None:
        """The newest state of each pair is known, and whether it is news."""
        states = tuple(states)
        rest_s = self._rest_s(route, any(state.problem is not None for state in states))
        for state in states:
            key = (state.key, route)
            before = self.states.get(key)
            self.states[key] = self._on_route.setdefault(route, {})[state.key] = state
            new = (state.point, state.as_of)
            is_same = before is not None and (before.point, before.as_of) == new
            self.looks[key] = Look(
                began_s, has_news=not is_same, is_first=before is None, rest_s=rest_s
            )

    def _rest_s(self, route: Route, has_problem: bool) -> float:
        if not has_problem:
            self.trust(route)
            return 0.0
        count = self._unseen[route] = self._unseen.get(route, 0) + 1
        return self._pause_s(count, UNSEEN_CAP_S)

    def trust(self, route: Route) -> None:
        """Failures of the route so far do not count: somebody may have mended it."""
        self._unseen.pop(route, None)

    def missed(self, host: HostKey, mark: object, cap_s: float) -> float:
        """The host did not answer once more; seconds until another try, longer each time.

        `mark` says what was asked for: with another one the count begins anew.
        """
        before = self._away.get(host)
        count = before.count + 1 if before is not None and before.mark == mark else 1
        self._away[host] = _Away(mark, count)
        return self._pause_s(count, cap_s)

    def answered(self, host: HostKey) -> bool:
        """The host has answered; whether it had not, the last time."""
        return self._away.pop(host, None) is not None

    def _pause_s(self, count: int, cap_s: float) -> float:
        full = min(UNSEEN_FIRST_S * 2.0 ** min(count - 1, 10), cap_s)
        return full * self.dice.uniform(0.5, 1.0)

    def route_states(self, route: Route) -> dict[str, PairState]:
        """The states on a route by pair."""
        return dict(self._on_route.get(route, {}))

    def pair_states(self, pair: str, routes: Iterable[Route]) -> tuple[PairState, ...]:
        """The pair's states on those routes that were passed."""
        return tuple(s for r in routes if (s := self.states.get((pair, r))) is not None)

    def all_states(self, pair: str) -> tuple[PairState, ...]:
        """The pair's states on all routes that it was ever passed on."""
        return tuple(at[pair] for at in self._on_route.values() if pair in at)

    def moved_since(self, route: Route, pairs: Iterable[str]) -> dict[str, Moved]:
        """What streams beside passes have brought of these pairs; it is told once."""
        return {p: x for p in pairs if (x := self.moved.pop((p, route), None)) is not None}

    def due_alone(self, route: Route, pairs: Iterable[PairTask], now_s: float) -> frozenset[str]:
        """The pairs whose last set that could not be sent is an interval old."""
        return frozenset(
            pair.key
            for pair in pairs
            if (at := self.alone_at.get((pair.key, route))) is None or now_s - at >= pair.interval_s
        )

    def streams_of(self, pair: str) -> tuple[StreamFacts, ...]:
        """The streams that carry anything of the pair, as of now."""
        return tuple(s.facts(pair, self.durations_s(s.route)) for s in self.underway.of(pair))

    def add_duration(self, route: Route, seconds: float) -> None:
        """One more pass that saw both sides is counted in the mean."""
        self._durations.setdefault(route, deque(maxlen=PASSES_KEPT)).append(seconds)

    def durations_s(self, route: Route) -> tuple[float, ...]:
        """How long the last passes of the route took, oldest first."""
        return tuple(self._durations.get(route, ()))

    def mean_duration_s(self, route: Route) -> float:
        """Mean duration of the last passes of the route; 0 before the first."""
        kept = self._durations.get(route)
        return sum(kept) / len(kept) if kept else 0.0

    def failed(
        self, key: tuple[Route, str], member: tuple[str, str], why: Conflict, now_s: float
    ) -> None:
        """The member (pair, name) is quarantined and rests, longer after each failure in a row.

        `key` is the route and the target dataset.
        """
        before = self._troubles.get(key)
        count = 1 if before is None else before.count + 1
        pause = min(RETRY_FIRST_S * 2 ** min(count - 1, 10), RETRY_CAP_S)
        self._troubles[key] = _Trouble(
            why=why,
            member=member,
            count=count,
            not_before_s=now_s + pause,
            stalls=0 if before is None else before.stalls,
            stalled_at="" if before is None else before.stalled_at,
        )

    def stood_still(self, route: Route, transfer: Transfer) -> None:
        """The stream that has just failed moved no byte for too long."""
        trouble = self._troubles[route, transfer.target_dataset]
        trouble.stalls = 1 + self.stalls(route, transfer)
        trouble.stalled_at = _begins_at(transfer)

    def stalls(self, route: Route, transfer: Transfer) -> int:
        """How often in a row the member stood still where this stream begins.

        0 once anything more has arrived: a token that has moved is another one.
        """
        trouble = self._troubles.get((route, transfer.target_dataset))
        if trouble is None or trouble.stalled_at != _begins_at(transfer):
            return 0
        return trouble.stalls

    def healed(self, route: Route, target: str) -> None:
        """The member went through: it shares a pipe again."""
        self._troubles.pop((route, target), None)

    def failures(self, route: Route) -> dict[str, Conflict]:
        """Why members of the route failed the last time they were tried, by target dataset."""
        return {t: x.why for (r, t), x in self._troubles.items() if r == route}

    def quarantined(self, route: Route, pair: str) -> frozenset[str]:
        """Names of the pair's members that get a pipe of their own."""
        return frozenset(
            x.member[1]
            for (r, _), x in self._troubles.items()
            if r == route and x.member[0] == pair
        )

    def cooling(self, route: Route, now_s: float) -> frozenset[str]:
        """Target datasets that are left alone for now."""
        return frozenset(
            t for (r, t), x in self._troubles.items() if r == route and x.not_before_s > now_s
        )

    def retry_at_s(self, route: Route, pair: str, after_s: float) -> float | None:
        """When the first of the pair's pauses ends that had not ended by `after_s`."""
        ends = [
            x.not_before_s
            for (r, _), x in self._troubles.items()
            if r == route and x.member[0] == pair and x.not_before_s > after_s
        ]
        return min(ends, default=None)

    def forget_pair(self, pair: str) -> None:
        """Nothing is remembered of the pair; its data is where it was."""
        self.states = {k: v for k, v in self.states.items() if k[0] != pair}
        for at in self._on_route.values():
            at.pop(pair, None)
        self.looks = {k: v for k, v in self.looks.items() if k[0] != pair}
        self.ties.pop(pair, None)
        self.moved = {k: v for k, v in self.moved.items() if k[0] != pair}
        self.alone_at = {k: v for k, v in self.alone_at.items() if k[0] != pair}
        self.turned_at = {k: v for k, v in self.turned_at.items() if k[0] != pair}
        self._troubles = {k: v for k, v in self._troubles.items() if v.member[0] != pair}
        self.served = {k: v for k, v in self.served.items() if not k.startswith(f"{pair} ")}
        self.active_site.pop(pair, None)


def _begins_at(transfer: Transfer) -> str:
    """Where the stream begins: at what its token says, else at its first byte."""
    return transfer.how.token if isinstance(transfer.how, Resume) else ""
