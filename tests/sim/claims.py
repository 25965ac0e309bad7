"""What the status of each pair claims, held against what was and is in the pools."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from backstay.api.v1alpha1.replicationpair import ReplicationPair
from backstay.controllers.keys import ObjectKey
from backstay.domain.zfs import SOURCE_GUID
from backstay.ports.kube import Body
from backstay.report.conditions import STEADY_S
from backstay.report.judgement import WRITE_GRACE_S, judge_pair
from backstay.report.leader import Leader
from fakes import truths
from fakes.world import FakeHost
from fakes.zfs import FakeSnapshot
from sim.checks import PoolChecks
from sim.estate import RPO_S, Estate
from sim.process import Process
from sim.server import NAMESPACE

SLACK_S = 15.0
"""RPOMet turns half a second after the breach; here it waits for a place in the scheduler."""
TICK_S = 0.001
"""Snapshot names count in milliseconds, and sums of seconds in the simulation are inexact."""
ALWAYS = (float("-inf"), float("inf"))


@dataclass(frozen=True, slots=True)
class Claim:
    """What one leader last said of a pair."""

    process: Process
    term: int
    met: bool
    snapshot: str | None
    at_s: float
    """The time of its point, in seconds since the world began, by the leader's clock."""
    ahead_s: float
    """By how much the leader's clock was ahead when it judged the point."""
    carried: bool
    """Whether it only repeats what the leader before has stored (report/carried.py)."""


@dataclass(slots=True)
class ClaimChecks:
    """Listens to what is published; `after_a_step` says whether it is true."""

    estate: Estate
    pools: PoolChecks
    _claims: dict[str, Claim] = field(default_factory=dict)
    _fresh: set[str] = field(default_factory=set)
    _disturbed_s: dict[str, float] = field(default_factory=dict)
    """Pair → when people last changed something that only a pass can see."""
    _turn: int = 0

    def published(self, process: Process, name: str, status: Body) -> None:
        """A leader says this of a pair from now on."""
        point = status.get("recoveryPoint")
        met = any(c["type"] == "RPOMet" and c["status"] == "True" for c in status["conditions"])
        at_s = 0.0 if point is None else self._world_s(point["time"])
        snapshot = None if point is None else str(point["snapshot"])
        engine = process.engine
        states = () if engine is None else engine.shares.book.all_states(f"{NAMESPACE}/{name}")
        carried = not any(state.ever_seen for state in states)
        if carried and point is not None:
            stored = self.estate.server.status(name).get("recoveryPoint")
            assert point == stored, f"{name}: {point} is told unseen, and {stored} was stored"
        self._claims[name] = Claim(
            process, process.term(), met, snapshot, at_s, process.clock.ahead_s, carried
        )
        self._fresh.add(name)

    def passed(self, name: str, began_s: float) -> None:
        """A pass that began then has looked at both sides of the pair."""
        if self._disturbed_s.get(name, float("inf")) < began_s:
            del self._disturbed_s[name]
            self._claims.pop(name, None)

    def disturb(self, datasets: set[str], pairs: set[str]) -> None:
        """People changed these: what is said of their pairs counts again after the next pass."""
        for pair in self.estate.specs:
            places = self.estate.places(pair)
            if pair in pairs or datasets & {*places, *places.values()}:
                self._disturbed_s[pair] = self.estate.world.monotonic_s

    def after_a_step(self) -> None:
        """No claim of a leader is better than the truth, nor is a reader led to believe one."""
        now_s = self.estate.world.monotonic_s
        dirty, self.pools.dirty = self.pools.dirty, set()
        for gone in self._claims.keys() - self.estate.specs.keys():
            del self._claims[gone]
        for pair in self.estate.specs:
            claim = self._claims.get(pair)
            if claim is None or not claim.process.leads or claim.process.term() != claim.term:
                continue
            self._is_young(pair, claim, now_s)
            if claim.snapshot is None or claim.carried or pair in self._disturbed_s:
                continue
            if pair in self._fresh or (dirty and self._concerns(pair, dirty)):
                self._is_held(pair, claim, now_s)
        self._fresh.clear()
        self._turn += 1
        pairs = sorted(self.estate.specs)
        if self._turn % 10 == 0:
            self._reader_is_not_misled(pairs[self._turn // 10 % len(pairs)], now_s)

    def _concerns(self, pair: str, replicas: set[str]) -> bool:
        return not replicas.isdisjoint(self.estate.places(pair).values())

    def _world_s(self, time: str) -> float:
        world = self.estate.world
        return (datetime.fromisoformat(time) - world.now).total_seconds() + world.monotonic_s

    def _meant(self, at_s: float, now_s: float) -> list[float]:
        """The moments that a leader may have meant, whose clock was ahead by any of these."""
        meant = {at_s - ahead_s for ahead_s in self.estate.ahead_s}
        return sorted(m for m in meant if m <= now_s + TICK_S)

    def _is_young(self, pair: str, claim: Claim, now_s: float) -> None:
        if not claim.met:
            return
        assert claim.snapshot is not None, f"{pair}: met without a point"
        age_s = now_s + claim.ahead_s - claim.at_s
        assert age_s <= RPO_S + SLACK_S, f"{pair}: RPOMet at an age of {age_s:.1f} s"

    def _reader_is_not_misled(self, pair: str, now_s: float) -> None:
        """By what is stored, whoever stored it, and however long ago."""
        body: dict[str, Any] | None = self.estate.server.bodies.get(
            ObjectKey("ReplicationPair", NAMESPACE, pair)
        )
        if body is None or not body["status"] or not body["status"].get("recoveryPoint"):
            return
        said = judge_pair(
            ReplicationPair.model_validate(body),
            Leader(leads=None, says="unknown"),
            self.estate.world.now,
        )
        if said.rpo_met != "True" or len(self.estate.ahead_s) > 1:
            return
        at_s = self._world_s(body["status"]["recoveryPoint"]["time"])
        limit = RPO_S + max(STEADY_S, RPO_S) + WRITE_GRACE_S
        assert now_s - at_s <= limit, f"{pair}: a reader is told RPOMet at {now_s - at_s:.1f} s"

    # --- by content -------------------------------------------------------------------------------

    def _is_held(self, pair: str, claim: Claim, now_s: float) -> None:
        """The target holds what the sources held at a moment since then: one for a whole group."""
        problems = []
        for meant in self._meant(claim.at_s, now_s):
            problem = self._why_not_held(pair, str(claim.snapshot), meant - TICK_S)
            if problem is None:
                return
            problems.append(problem)
        raise AssertionError(f"{pair}: {'; '.join(problems) or 'a point of the future'}")

    def _why_not_held(self, pair: str, snapshot: str, since_s: float) -> str | None:
        """A set may have been pruned since it was claimed: then a newer one stands for it."""
        target, places = self.estate.target_host(pair), self.estate.places(pair)
        members = [
            (source, points)
            for source, replica in places.items()
            if self._was_part(pair, source, since_s)
            if not self._is_elsewhere(target, source, replica)
            if (points := self._points(target, source, replica)) is not None
        ]
        if not self.estate.specs[pair].get("group", False):
            lost = [
                source
                for source, points in members
                if not self._spans(source, points, since_s)
                if not self._joined_later(places[source], since_s)
            ]
            return f"nothing is held that {lost[0]} held since {since_s:.3f} s" if lost else None
        asked = [
            (source, points)
            for source, points in members
            if not self._joined_later(places[source], since_s)
        ]
        names = {s.name for _, points in asked[:1] for s in points} | {snapshot}
        if not asked or any(self._is_one_moment(asked, name, since_s) for name in names):
            return None
        return f"no moment since {since_s:.3f} s at which all members were as in one set"

    def _is_one_moment(
        self, members: list[tuple[str, list[FakeSnapshot]]], name: str, since_s: float
    ) -> bool:
        common: list[tuple[float, float]] = [ALWAYS]
        for source, points in members:
            spans = self._spans(source, [s for s in points if s.name == name], since_s)
            common = [
                (max(b, x), min(e, y))
                for b, e in common
                for x, y in spans
                if max(b, x) <= min(e, y)
            ]
        return bool(common)

    def _points(self, target: FakeHost, source: str, replica: str) -> list[FakeSnapshot]:
        """Of the replica, which in a tree may still have the name that its source had before."""
        found = truths.found(target, replica)
        guid = str(self.estate.a.dataset(source).guid)
        is_it = found is not None and found.properties.get(SOURCE_GUID) == guid
        if replica.startswith("backup/backstay/t/") and not is_it:
            tree = ("backup/backstay/t/", "backup/backstay-aside/")
            for name, other in target.pools["backup"].datasets.items():
                is_of_source = other.properties.get(SOURCE_GUID) == guid
                if name.startswith(tree) and is_of_source and other.snapshots:
                    found = other
        return [] if found is None else found.snapshots

    def _is_elsewhere(self, target: FakeHost, source: str, replica: str) -> bool:
        """Whether a child of a tree that was renamed finds the replica of another one in its place.

        Its own is nowhere in the tree then: somebody has taken it away, and it joins anew.
        """
        found, guid = truths.found(target, replica), self.estate.a.dataset(source).guid
        names = [name for name, borne in self.estate.bearers.items() if guid in borne]
        if not replica.startswith("backup/backstay/t/") or found is None or names in ([], [source]):
            return False
        tree = ("backup/backstay/t/", "backup/backstay-aside/")
        return not any(
            other.properties.get(SOURCE_GUID) == str(guid)
            for name, other in target.pools["backup"].datasets.items()
            if name == found.name or (name.startswith(tree) and other.snapshots)
        )

    def _spans(
        self, source: str, points: list[FakeSnapshot], since_s: float
    ) -> list[tuple[float, float]]:
        history = self.estate.history
        return [x for p in points for x in history.spans(source, p.state.digest, since_s)]

    def _joined_later(self, replica: str, since_s: float) -> bool:
        """Whether the replica had no point yet then: its member counts from the next whole set."""
        return self.pools.seeded_s.get(replica, float("inf")) >= since_s

    def _was_part(self, pair: str, source: str, since_s: float) -> bool:
        """Whether the member existed and was asked for before the point was judged."""
        parts = source.split("/")
        joined = [
            at
            for end in range(len(parts), 0, -1)
            if (at := self.estate.joined_s.get((pair, "/".join(parts[:end])))) is not None
        ]
        return max(joined[0], self.estate.history.born_s(source)) < since_s
