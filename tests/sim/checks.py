"""What must be true after every step of a simulation, and when it has come to rest."""

from __future__ import annotations

from datetime import datetime

from backstay.plan.naming import snapshot_time
from fakes import truths
from fakes.world import FakeHost
from fakes.zfs import FakeSnapshot
from sim.simulation import RPO_S, Simulation

SLACK_S = 15.0
"""RPOMet turns half a second after the breach; here it waits for a pass of slow requests."""

TICK_S = 0.001
"""Snapshot names count in milliseconds, and sums of seconds in the simulation are inexact."""


POINTS = 10
"""Of ours at a source: 4 last and 2 hourly by the widest policy, and two bases of two targets."""


class Checks:
    """Looks at a simulation; remembers what must not be lost."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self._newest: dict[tuple[str, str], int] = {}
        """(host, replica) → createtxg of the newest point of ours that it was seen with."""
        self._seeded_s: dict[tuple[str, str], float] = {}
        """(host, replica) → when it was first seen with a point of ours."""
        self._seen_commands = 0

    def after_a_step(self) -> None:
        """No point and nothing foreign was lost, bases hold, and the status tells the truth."""
        for host, dataset, name in self.sim.foreign:
            assert self.sim.world.hosts[host].exists(f"{dataset}@{name}"), f"{dataset}@{name} gone"
        for host in (self.sim.b, self.sim.c):
            self._no_point_is_lost(host)
        for source in self.sim.sources():
            ours = [s for s in self.sim.a.dataset(source).snapshots if snapshot_time(s.name)]
            assert len(ours) <= POINTS, f"{source} has {len(ours)} points"
        for pair in self.sim.specs:
            places, target = self.sim.places(pair), self.sim.target_host(pair)
            truths.bases_are_intact(
                self.sim.a, target, places, also_by_bookmark=self.sim.loses_points
            )
            self._status_is_true(pair)

    def _no_point_is_lost(self, host: FakeHost) -> None:
        for pool in host.pools.values():
            for dataset in pool.datasets.values():
                ours = [s.createtxg for s in dataset.snapshots if snapshot_time(s.name)]
                key = (host.name, dataset.name)
                newest = max(ours, default=0)
                assert newest >= self._newest.get(key, 0), f"{dataset.name} lost its newest point"
                self._newest[key] = newest
                if ours:
                    self._seeded_s.setdefault(key, self.sim.world.monotonic_s)

    def _status_is_true(self, pair: str) -> None:
        status = self.sim.core.statuses.get(f"ReplicationPair/{pair}")
        point = None if status is None else status.get("recoveryPoint")
        if point is None:
            assert status is None or self._condition(pair) != "True", f"{pair}: met without a point"
            return
        now_s = self.sim.world.monotonic_s
        age_s = (self.sim.world.now - datetime.fromisoformat(point["time"])).total_seconds()
        if self._condition(pair) == "True":
            assert age_s <= RPO_S + SLACK_S, f"{pair}: RPOMet at an age of {age_s} s"
        self._point_is_held(pair, str(point["snapshot"]), now_s - age_s - TICK_S)

    def _condition(self, pair: str) -> str:
        return self.sim.core.condition(pair, "RPOMet")[0]

    def _point_is_held(self, pair: str, snapshot: str, since_s: float) -> None:
        """The target holds what the sources held at a moment since then: one for a whole group."""
        group = self.sim.specs[pair].get("group", False)
        target = self.sim.target_host(pair)
        common: list[tuple[float, float]] = [(since_s, float("inf"))]
        for source, replica in self.sim.places(pair).items():
            found = truths.found(target, replica)
            if not self._was_part(pair, source, since_s) or (
                group and self._joined_later(target, replica, since_s)
            ):
                continue
            points = [] if found is None else found.snapshots
            if group:
                points = [s for s in points if s.name == snapshot]
            spans = self._spans(source, points, since_s)
            assert spans, f"{pair}: {replica} holds nothing that {source} held since {since_s} s"
            if group:
                common = [
                    (max(b, x), min(e, y))
                    for b, e in common
                    for x, y in spans
                    if max(b, x) <= min(e, y)
                ]
        assert common, f"{pair}: no moment at which all members were as in {snapshot}"

    def _spans(
        self, source: str, points: list[FakeSnapshot], since_s: float
    ) -> list[tuple[float, float]]:
        history = self.sim.history
        return [x for p in points for x in history.spans(source, p.state.digest, since_s)]

    def _joined_later(self, target: FakeHost, replica: str, since_s: float) -> bool:
        """Whether the replica had no point yet then: its member counts from the next whole set."""
        return self._seeded_s.get((target.name, replica), float("inf")) >= since_s

    def _was_part(self, pair: str, source: str, since_s: float) -> bool:
        """Whether the member existed and was asked for before the point was judged."""
        parts = source.split("/")
        joined = [
            at
            for end in range(len(parts), 0, -1)
            if (at := self.sim.joined_s.get((pair, "/".join(parts[:end])))) is not None
        ]
        return max(joined[0], self.sim.history.born_s(source)) < since_s

    async def at_rest(self) -> None:
        """Every pair is up to date, replicas are equal, nothing is left over, nothing moves."""
        core = self.sim.core
        for pair in self.sim.specs:
            assert core.condition(pair, "Ready") == ("True", "UpToDate"), core.status(pair)
            assert core.condition(pair, "RPOMet") == ("True", "WithinRPO")
            places, target = self.sim.places(pair), self.sim.target_host(pair)
            truths.replicas_are_equal(self.sim.a, target, places)
            truths.little_is_left_over(self.sim.a, target, places)
        truths.nothing_destructive(self.sim.world)
        assert core.unmarked == []
        before = len(self.sim.world.commands)
        await core.passing(1)
        await core.passing(RPO_S)
        assert self.sim.world.commands[before:] == []
