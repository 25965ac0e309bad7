"""What breaks: hosts, cables, processes, the API server, clocks, and space."""

from __future__ import annotations

import asyncio

from fakes.faults import RequestFault, RequestFaults, TransferFault, TransferFaults
from sim.estate import Estate
from sim.process import Hooks, Process

WRITE_RATE = 0.1
LATENCIES_S = (0, 0, 0.1, 0.4, 2.0)
PAUSES_S = (0.5, 5, 20, 90)


class Life(RequestFaults):
    """Faults of the source's requests, and writes right before a request has its effect."""

    def __init__(self, estate: Estate) -> None:
        super().__init__(rng=estate.dice)
        self._estate = estate

    def draw(self, request: str) -> RequestFault | None:
        """See `RequestFaults`."""
        if self.rng.random() < WRITE_RATE:
            self._estate.write()
        return super().draw(request)


class Cables(TransferFaults):
    """Streams that are cut at any byte, that stand still for a while, or have a byte flipped."""

    slow = 0.0
    garbles = 0.0

    def draw(self, members: int) -> list[TransferFault]:
        """See `TransferFaults`."""
        hit = super().draw(members)
        if self.slow and self.rng.random() < self.slow:
            go_on = asyncio.Event()
            asyncio.get_running_loop().call_later(self.rng.choice(PAUSES_S), go_on.set)
            hit.append(
                TransferFault(self.rng.randrange(members), self.rng.randrange(9000), pause=go_on)
            )
        if self.garbles and self.rng.random() < self.garbles:
            hit.append(TransferFault(self.rng.randrange(members), 0, garbled=True))
        return hit


class Weather:
    """The faults of one story."""

    def __init__(self, estate: Estate, hooks: Hooks) -> None:
        self._estate, self._dice, self._hooks = estate, estate.dice, hooks
        self.processes: list[Process] = []
        self.dead: list[Process] = []
        self._cables = Cables(rng=estate.dice)
        estate.world.transfer_faults = self._cables
        estate.a.faults = Life(estate)
        self._starting = 0
        self.begin()

    def begin(self) -> None:
        """One more process runs."""
        name = f"pod{self._estate.number()}"
        process = Process(name, self._estate.server, self._estate, self._hooks)
        process.clock.ahead_s = self._estate.ahead_s[-1]
        self.processes.append(process)

    def _begin_later(self) -> None:
        self._starting += 1

        def start() -> None:
            self._starting -= 1
            self.begin()

        asyncio.get_running_loop().call_later(self._dice.choice((0, 2, 20)), start)

    # --- processes --------------------------------------------------------------------------------

    async def kill(self) -> None:
        """`kill -9` of a process; another one is started."""
        if self.processes:
            victim = self._dice.choice(self.processes)
            self.processes.remove(victim)
            victim.kill()
            self.dead.append(victim)
            self._begin_later()

    async def hand_over(self) -> None:
        """A process ends as it should; another one is started."""
        victim = self._dice.choice(self.processes or [None])
        if victim is not None and not victim.is_stopped:
            self.processes.remove(victim)
            await victim.end()
            self._begin_later()

    async def rival(self) -> None:
        """A second process stands by."""
        if len(self.processes) + self._starting < 2:
            self.begin()

    async def freeze(self) -> None:
        """A process stands still; a while later it is woken."""
        asleep = [p for p in self.processes if not p.is_stopped]
        if asleep:
            victim = self._dice.choice(asleep)
            victim.stop()
            wake = self._dice.choice((5, 15, 25, 40, 90))
            asyncio.get_running_loop().call_later(wake, self._wake, victim)

    @staticmethod
    def _wake(process: Process) -> None:
        if not process.is_dead:
            process.go_on()

    async def clock(self) -> None:
        """The clocks of the operators jump, and those of the hosts as they like."""
        ahead_s = self._dice.choice((0.0, 3600.0, -3600.0, 300.0, -40.0))
        self._estate.ahead_s.append(ahead_s)
        for process in self.processes:
            process.clock.ahead_s = ahead_s
        self._dice.choice(list(self._estate.hosts.values())).clock_skew_s = ahead_s

    # --- the API server ---------------------------------------------------------------------------

    async def api_outage(self) -> None:
        """The API server is away for a while."""
        self._estate.server.is_down = True
        away_s = self._dice.choice((1, 12, 25, 60, 200))
        asyncio.get_running_loop().call_later(away_s, self._estate.server.heal)

    async def api_answers(self) -> None:
        """Answers of the API server are lost from now on, or not."""
        self._estate.server.loses = self._dice.choice((0.0, 0.05, 0.3))

    # --- hosts ------------------------------------------------------------------------------------

    async def outage(self) -> None:
        """A host cannot be reached."""
        self._dice.choice(list(self._estate.hosts.values())).reachable = False

    async def recovery(self) -> None:
        """All hosts can be reached."""
        for host in self._estate.hosts.values():
            host.reachable = True

    async def change(self) -> None:
        """How slow requests are from now on, and how often they and streams fail."""
        for host in self._estate.hosts.values():
            host.latency_s = self._dice.choice(LATENCIES_S)
            host.faults.fail_randomly(self._dice.choice((0, 0, 0.05, 0.2)), self._dice)
        self._cables.cut_randomly(self._dice.choice((0, 0, 0.2, 0.5)), self._dice)
        self._cables.slow = self._dice.choice((0.0, 0.2, 0.6))
        self._cables.garbles = self._dice.choice((0.0, 0.0, 0.1, 0.3))

    async def cable(self) -> None:
        """Every stream of a host is killed."""
        self._dice.choice(list(self._estate.hosts.values())).kill_streams()

    async def token(self) -> None:
        """The token of an interrupted receive cannot be read any more."""
        found = [
            (host, name)
            for host, name in self._estate.replicas()
            if host.dataset(name).partial is not None
            if not any(flight.dataset == name for flight in host.flights)
        ]
        if found:
            host, name = self._dice.choice(found)
            host.garble_token(name)

    async def reboot(self) -> None:
        """What was not synced is lost, and the source holds what it held before."""
        host = self._dice.choice(list(self._estate.hosts.values()))
        host.reboot()
        self._estate.boots[host.name] += 1
        for name in self._estate.sources():
            self._estate.note(name)

    async def full(self) -> None:
        """A receive root has little or nothing left, until `room`."""
        host, root = self._dice.choice(
            ((self._estate.b, "backup/backstay"), (self._estate.c, "vault/backstay"))
        )
        pool = host.pools[root.split("/")[0]]
        left = self._dice.choice((0, 1000, 20_000, (16 << 20) + 3000, (16 << 20) + 60_000))
        inside = sum(pool.used_by(d) for d in pool.below(root))
        host.set(root, "quota", str(inside + left))

    async def room(self) -> None:
        """There is space again."""
        for host, root in (
            (self._estate.b, "backup/backstay"),
            (self._estate.c, "vault/backstay"),
        ):
            host.inherit(root, "quota")

    async def busy(self) -> None:
        """Something opens a dataset for a moment: the next mutations of it are refused."""
        host, name = self._dice.choice(
            [*self._estate.replicas(), *((self._estate.a, n) for n in self._estate.sources())]
        )
        host.busy_for[name] = self._dice.randrange(1, 4)

    async def calm(self) -> None:
        """Everything works from now on, and one process at least runs."""
        for host in self._estate.hosts.values():
            host.faults = RequestFaults()
            host.reachable, host.latency_s, host.clock_skew_s = True, 0.0, 0.0
            host.busy_for.clear()
        self._cables.cut_randomly(0, self._dice)
        self._cables.slow = self._cables.garbles = 0.0
        await self.room()
        self._estate.server.heal()
        self._estate.ahead_s.append(0.0)
        for process in self.processes:
            process.clock.ahead_s = 0.0
            process.go_on()
        if not self.processes and not self._starting:
            self.begin()
