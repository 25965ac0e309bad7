"""One story: random life and random faults, told by its seed, then calm and rest.

A step is one run that the scheduler began (a pass, or the work on an object), or one act of people
or of the weather. After each of them every check is made.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from random import Random
from typing import Any, NoReturn
from unittest.mock import patch

import structlog

from backstay.controllers.keys import Key, ObjectKey
from backstay.domain.pairs import Route
from backstay.ports.kube import Body
from fakes import truths
from fakes.zfs import ZfsError
from sim import virtual
from sim.checks import PoolChecks
from sim.claims import ClaimChecks
from sim.estate import RPO_S, Estate
from sim.people import People
from sim.process import Engine, Hooks, Process
from sim.rollbacks import Rollbacks
from sim.weather import Weather

PAUSES_S = (0.0, 0.0, 0.0, 0.0, 0.0, 0.05, 0.1, 0.3, 1.0, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 100.0)
REST_S = 1500
"""Longer than the longest pause of a failed member, and some passes."""
PASSES = 25
"""Of a route, from calm to rest: one each minute, and one for each seed and failure."""
TAIL = 30
FAULTS_OF_OURS = frozenset(
    {"pass-failed", "lane-failed", "scheduler-broken", "status-write-broke", "part-ended"}
)

Act = Callable[[], Awaitable[None]]


class Failed(AssertionError):
    """A story in which something was not true; says its seed and how to hear it again."""


class Story(Hooks):
    """One story under way."""

    def __init__(self, seed: int, steps: int) -> None:
        self.seed, self._wanted = seed, steps
        self.steps = 0
        self.kinds: Counter[str] = Counter()
        self.estate = Estate(seed)
        self.pools = PoolChecks(self.estate)
        self.claims = ClaimChecks(self.estate, self.pools)
        self.people: People
        self.weather: Weather
        self.rollbacks: Rollbacks
        self.told: list[str] = []
        self.failure: BaseException | None = None
        self.passes: Counter[Route] = Counter()
        self._began_s: dict[tuple[Engine, Route], float] = {}

    # --- what processes tell ----------------------------------------------------------------------

    def run_started(self, engine: Engine, key: Key) -> None:
        """See `Hooks`."""
        self.steps += 1
        self.kinds["passes" if isinstance(key, Route) else "objects"] += 1
        if isinstance(key, Route):
            self.passes[key] += 1
            self._began_s[engine, key] = self.estate.world.monotonic_s

    def _has_heard(self, engine: Engine, pair: str) -> bool:
        """Whether a leader knows the pair as it is: while the API is away it cannot."""
        namespace, name = pair.split("/")
        known = engine.shares.registry.pair(namespace, name)
        body = self.estate.server.bodies.get(ObjectKey("ReplicationPair", namespace, name))
        if known is None or body is None:
            return False
        return bool(known.metadata.generation == body["metadata"]["generation"])

    def run_ended(self) -> None:
        """See `Hooks`."""
        self._check()

    def reported(self, engine: Engine, pair: str) -> None:
        """See `Hooks`; only who saw the target knows better than before."""
        for (at, route), began_s in self._began_s.items():
            state = at.shares.book.states.get((pair, route)) if at is engine else None
            if state is not None and state.target_seen and self._has_heard(engine, pair):
                self.claims.passed(pair.split("/")[1], began_s)

    def published(self, process: Process, name: str, status: Body) -> None:
        """See `Hooks`."""
        if name in self.estate.specs:
            try:
                self.claims.published(process, name, status)
            except AssertionError as failure:
                self._fail(failure)

    def log(self, _logger: object, _method: str, event: MutableMapping[str, Any]) -> NoReturn:
        """Faults of our own end the story; all other lines are of no interest."""
        is_bug = event["event"] == "run-failed" and event.get("exc_info") is not None
        if event["event"] in FAULTS_OF_OURS or is_bug:
            self._fail(AssertionError(f"a fault of ours: {dict(event)}"))
        raise structlog.DropEvent

    # --- the course of things ---------------------------------------------------------------------

    async def tell(self) -> None:
        """So many steps, then calm, then rest."""
        asyncio.get_running_loop().set_exception_handler(self._loop_failed)
        self.people = People(self.estate)
        self.weather = Weather(self.estate, self)
        self.rollbacks = Rollbacks(self.estate, self.weather)
        acts, weights = zip(*self._acts(), strict=True)
        while self.steps < self._wanted:
            await asyncio.sleep(self.estate.dice.choice(PAUSES_S))
            self._raise()
            (act,) = self.estate.dice.choices(acts, weights)
            await self._do(act)
        await self._calm()
        await self._rest()

    def _acts(self) -> list[tuple[Act, int]]:
        """What happens how often in this story: some things only in some of them."""
        people, weather, dice = self.people, self.weather, self.estate.dice

        def sometimes(weight: int) -> int:
            return weight if dice.random() < 0.4 else 0

        loses = dice.random() < 0.5
        return [
            (people.write, 46),
            (people.foreign_snapshot, 3),
            (people.foreign_destroy, 2),
            (people.hold, sometimes(2)),
            (people.release, 1),
            (people.new_child, 2),
            (people.remove_child, 1),
            (people.rename_child, sometimes(2)),
            (people.edit, sometimes(2)),
            (people.suspend, 1),
            (people.retention, 1),
            (people.request, 1),
            (people.lose_point if loses else people.remove_pair, 1),
            (people.wrong, sometimes(2)),
            (people.mend_some, 1),
            (self.rollbacks.make_room, sometimes(2)),
            (weather.kill, 2),
            (weather.hand_over, 1),
            (weather.rival, sometimes(2)),
            (weather.freeze, sometimes(3)),
            (weather.clock, sometimes(2)),
            (weather.api_outage, sometimes(2)),
            (weather.api_answers, sometimes(2)),
            (weather.outage, 2),
            (weather.recovery, 4),
            (weather.change, 2),
            (weather.cable, 1),
            (weather.token, sometimes(2)),
            (weather.reboot, 1),
            (weather.full, sometimes(2)),
            (weather.room, 1),
            (weather.busy, 1),
        ]

    async def _do(self, act: Act) -> None:
        """One act, between two checks, so that it is known who did what."""
        self._check()
        self.steps += 1
        self.kinds["acts"] += 1
        self.told.append(f"{self.estate.world.monotonic_s:9.2f} s {act.__name__}")
        try:
            await act()
        except ZfsError as refused:
            self.told[-1] += f": {refused.message}"
        self.claims.disturb(self.estate.by_hand, self.estate.by_spec)
        self.estate.by_spec = set()
        self._check()
        self._raise()

    def _check(self) -> None:
        if self.failure is None:
            try:
                self.pools.after_a_step()
                self.claims.after_a_step()
            except AssertionError as failure:
                self._fail(failure)

    def _fail(self, failure: BaseException) -> None:
        self.failure = self.failure or failure

    def _loop_failed(self, _loop: object, context: dict[str, Any]) -> None:
        self._fail(context.get("exception") or AssertionError(str(context)))

    def _raise(self) -> None:
        if self.failure is not None:
            raise self.failure

    # --- the end ----------------------------------------------------------------------------------

    async def _calm(self) -> None:
        """No more faults; people mend what they did themselves, and only that."""
        self.told.append(f"{self.estate.world.monotonic_s:9.2f} s calm")
        await self._do(self.weather.calm)
        while not self.people.bring_back():
            await asyncio.sleep(30)
            self._raise()
        self.people.calm()
        self.claims.disturb(set(), self.estate.by_spec)
        # Who leads after the longest outage, and sees all that there is to be mended.
        for pause_s in (400, 200):
            # A point that a fast clock took has no age until the next one; twice, for a pass that
            # was under way when the clocks were set has named its point before.
            for source in self.estate.sources():
                self.estate.write_to(source)
            await asyncio.sleep(pause_s)
        for _ in range(20):
            await self._do(self.people.mend_some)
            await asyncio.sleep(70)
            if self.people.mend() + self.people.tidy() == 0:
                break
        self.passes.clear()

    async def _rest(self) -> None:
        """Every pair is up to date within so many passes; then nothing moves any more."""
        end_s = self.estate.world.monotonic_s + REST_S
        while (lacking := self._lacking()) and self.estate.world.monotonic_s < end_s:
            await asyncio.sleep(10)
            self._raise()
        assert not lacking, "; ".join(lacking)
        most = max(self.passes.values(), default=0)
        assert most <= PASSES, f"{most} passes of a route until all was at rest"
        self._check()
        self._raise()
        for pair in self.estate.specs:
            places, target = self.estate.places(pair), self.estate.target_host(pair)
            truths.replicas_are_equal(self.estate.a, target, places)
            truths.little_is_left_over(self.estate.a, target, places)
        await asyncio.sleep(RPO_S)
        before, revision = Counter(self.estate.world.commands), self.estate.server.revision
        await asyncio.sleep(2 * RPO_S)
        self._raise()
        after = [c for c in Counter(self.estate.world.commands) - before if not self._is_pinned(c)]
        assert after == [], f"at rest, but {after[:5]}"
        writes = self.estate.server.revision - revision
        assert writes <= 3 * len(self.estate.server.bodies), f"{writes} writes while at rest"

    def _is_pinned(self, argv: tuple[str, ...]) -> bool:
        """Whether it is to destroy what a clone pins that lies where the operator does not look."""
        name = argv[-1].partition("@")[0]
        pools = [h.pools[p] for h in self.estate.hosts.values() for p in h.pools]
        owners = [pool for pool in pools if name in pool.datasets]
        return argv[1] == "destroy" and any(pool.clones_of(argv[-1]) for pool in owners)

    def _lacking(self) -> list[str]:
        """The pairs that are not up to date, by what the API server says of them."""
        found = []
        for pair in sorted(self.estate.specs):
            status = self.estate.server.status(pair)
            conditions = {c["type"]: c for c in status.get("conditions", ())}
            for kind in ("Ready", "RPOMet"):
                said = conditions.get(kind, {"status": "", "message": "no such condition"})
                if said["status"] != "True":
                    found.append(f"{pair}: {kind} is {said['status']}: {said['message']}")
        return found


def tell(seed: int, steps: int) -> Story:
    """The story was told; `Failed` when anything in it was not true."""
    dice, before = Random(seed), structlog.get_config()
    story = Story(seed, steps)
    structlog.configure(processors=[story.log])
    try:
        with patch("secrets.token_hex", lambda size: dice.randbytes(size).hex()):
            virtual.run(story.estate.world, _told(story))
    except Exception as failure:
        last = "\n".join(story.told[-TAIL:])
        raise Failed(
            f"seed {seed}, step {story.steps}: {failure}\n{last}\n"
            f"the same story again: make sim-long SEED={seed} STEPS={steps}"
        ) from failure
    finally:
        structlog.configure(**before)
    return story


async def _told(story: Story) -> None:
    try:
        await story.tell()
    finally:
        for process in story.weather.processes:
            process.go_on()
        for process in story.weather.dead:
            process.go_on()
