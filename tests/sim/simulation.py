"""A small operation under random life and random faults, replayable from its seed.

`fra` is replicated to `muc` (a group, a tree, lone volumes) and fanned out to `ber`. Each step is
one act of an admin, of the weather, or of time; after each the truths of `Checks` hold.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

from backstay.api.kinds import REQUESTED_AT
from fakes.core import Core
from fakes.faults import RequestFault, RequestFaults
from fakes.world import FakeHost, World
from sim.history import History, content_of

Members = dict[str, tuple[str, str]]
RPO_S = 300
WRITE_RATE = 0.1
LATENCIES_S = (0, 0, 0.1, 0.4)
REST_S = 1500
"""Longer than the longest pause of a failed member, and some passes."""


class Life(RequestFaults):
    """Faults of the source's requests, and writes that happen while a request is under way."""

    def __init__(self, write: Callable[[], None]) -> None:
        super().__init__()
        self._write = write

    def draw(self, request: str) -> RequestFault | None:
        """Now and then somebody writes right before the request has its effect."""
        if self.rng.random() < WRITE_RATE:
            self._write()
        return super().draw(request)


class Simulation:
    """One story, told by its seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = Random(seed)
        self.world = World(seed)
        self.a = self.world.host("fra/h", pools=("tank",))
        self.b = self.world.host("muc/h", pools=("backup",))
        self.c = self.world.host("ber/h", pools=("vault",))
        self.core = Core(self.world)
        self.history = History()
        self.told: list[str] = []
        self.foreign: set[tuple[str, str, str]] = set()
        """(host, dataset, snapshot) of others, which must stay until they take them away."""
        self.joined_s: dict[tuple[str, str], float] = {}
        """(pair, source) → since when it is part of the pair."""
        self.specs: dict[str, dict[str, Any]] = {}
        self._count = 0
        self.loses_points = self.rng.random() < 0.5
        """Whether somebody destroys points of ours; in the other stories a pair is removed."""
        self._build()
        self.a.faults = Life(self._write_somewhere)
        self.a.faults.rng = self.rng

    # --- the world -------------------------------------------------------------------------------

    def _build(self) -> None:
        self.b.create("backup/backstay")
        self.c.create("vault/backstay")
        names = ["tank/vm/t", "tank/vm/t/x", "tank/vm/t/x/y"]
        for name in names:
            self._create(name, volume=False)
        for i in range(5):
            self._create(f"tank/vm/d{i}", volume=True)
        self.core.site("fra", self.a)
        self.core.site("muc", self.b, roots=("backup/backstay",))
        self.core.site("ber", self.c, roots=("vault/backstay",))
        self._set_policy()
        self._apply("group", [0, 1, 2], group=True)
        self._apply("lone", [3, 4])
        self._apply("tree", ["t"], recursive=True)
        self._apply("fan", [3, 0], site="ber", root="vault/backstay")

    def _create(self, name: str, *, volume: bool) -> None:
        self.a.create(name, volume=volume)
        self.a.write(name, self.rng.randrange(1, 20_000))
        self._note(name)

    def _note(self, name: str) -> None:
        self.history.note(name, self.world.monotonic_s, content_of(self.a.dataset(name)))

    def _set_policy(self) -> None:
        retention = {
            side: {"last": self.rng.randrange(1, 5), "hourly": self.rng.randrange(3)}
            for side in ("source", "target")
        }
        self.core.policy(rpo=f"{RPO_S}s", retention=retention)

    def _apply(
        self,
        pair: str,
        members: list[Any],
        *,
        site: str = "muc",
        root: str = "backup/backstay",
        **spec: Any,
    ) -> None:
        places = {f"m{m}": (f"tank/vm/{_short(m)}", f"{root}/{_short(m)}") for m in members}
        self.specs[pair] = {"members": members, "site": site, "root": root, **spec}
        for source in self.joined_s.keys() - {(pair, s) for s, _ in places.values()}:
            if source[0] == pair:
                del self.joined_s[source]
        for source, _ in places.values():
            self.joined_s.setdefault((pair, source), self.world.monotonic_s)
        datasets = [
            {
                "name": name,
                "recursive": spec.get("recursive", False),
                "at": {
                    "fra": {"host": "h", "dataset": source},
                    site: {"host": "h", "dataset": target},
                },
            }
            for name, (source, target) in places.items()
        ]
        self.core.pair(
            pair,
            {},
            sites=["fra", site],
            datasets=datasets,
            consistencyGroup=spec.get("group", False),
            suspend=spec.get("suspend", False),
        )

    def places(self, pair: str) -> dict[str, str]:
        """Source → target of the pair's members that exist now."""
        spec = self.specs[pair]
        found = {}
        for member in spec["members"]:
            short = _short(member)
            found[f"tank/vm/{short}"] = f"{spec['root']}/{short}"
            if spec.get("recursive"):
                for child in self.a.pools["tank"].below(f"tank/vm/{short}"):
                    found[child.name] = spec["root"] + child.name.removeprefix("tank/vm")
        return found

    def target_host(self, pair: str) -> FakeHost:
        """Where the pair's replicas are."""
        return self.b if self.specs[pair]["site"] == "muc" else self.c

    def sources(self) -> list[str]:
        """All datasets that are replicated."""
        return [n for n in self.a.pools["tank"].datasets if n.startswith("tank/vm/")]

    # --- acts ------------------------------------------------------------------------------------

    async def step(self) -> None:
        """One act."""
        acts: list[tuple[float, Callable[[], Awaitable[None]]]] = [
            (46, self._write),
            (20, self._time),
            (3, self._foreign_snapshot),
            (2, self._foreign_destroy),
            (2, self._new_child),
            (1, self._remove_child),
            (1, self._edit),
            (1, self._suspend),
            (1, self._retention),
            (1, self._request),
            (2, self._kill),
            (1, self._restart),
            (2, self._outage),
            (4, self._recovery),
            (2, self._weather),
            (1, self._cable),
            (1, self._reboot),
            (1, self._lose_point if self.loses_points else self._remove_pair),
        ]
        (act,) = self.rng.choices([a for _, a in acts], [w for w, _ in acts])
        self.told.append(f"{self.world.monotonic_s:.0f} s {act.__name__}")
        await act()

    async def _write(self) -> None:
        self._write_somewhere()

    def _write_somewhere(self) -> None:
        name = self.rng.choice(self.sources())
        self.a.write(name, self.rng.randrange(1, 9000), overwrite=self.rng.random() < 0.3)
        self._note(name)

    async def _time(self) -> None:
        await self.core.live(self.rng.choice((1, 5, 20, 60, 160)))

    async def _foreign_snapshot(self) -> None:
        host = self.rng.choice((self.a, self.b, self.c))
        names = [d.name for p in host.pools.values() for d in p.datasets.values() if d.snapshots]
        if names:
            name, self._count = self.rng.choice(names), self._count + 1
            host.snapshot(f"{name}@manual{self._count}")
            self.foreign.add((host.name, name, f"manual{self._count}"))

    async def _foreign_destroy(self) -> None:
        if self.foreign:
            host, name, short = self.rng.choice(sorted(self.foreign))
            self.foreign.discard((host, name, short))
            self.world.hosts[host].destroy(f"{name}@{short}")

    async def _new_child(self) -> None:
        parents = [n for n in self.sources() if n.startswith("tank/vm/t")]
        if len(parents) < 9:
            self._count += 1
            self._create(f"{self.rng.choice(parents)}/n{self._count}", volume=False)

    async def _remove_child(self) -> None:
        """The replica stays; the name is never used again."""
        all_names = self.sources()
        leaves = [
            n
            for n in all_names
            if n.startswith("tank/vm/t/") and not any(o.startswith(f"{n}/") for o in all_names)
        ]
        if leaves:
            name = self.rng.choice(leaves)
            self.a.destroy(name)
            self.history.forget(name)
            self.foreign = {f for f in self.foreign if (f[0], f[1]) != (self.a.name, name)}

    async def _edit(self) -> None:
        """Members leave and join; all count anew from the first set that is whole for them.

        Who joins again, or from the lone pair, brings its history along.
        """
        members = self.rng.sample((0, 1, 2, 4), self.rng.randrange(1, 5))
        lone = [m for m in (3, 4) if m not in members]
        for pair, chosen in (("group", members), ("lone", lone)):
            self._forget_joining(pair)
            self._apply(pair, chosen, **self._other(pair))

    async def _suspend(self) -> None:
        pair = self.rng.choice(sorted(self.specs))
        spec = {**self._other(pair), "suspend": not self.specs[pair].get("suspend", False)}
        self._apply(pair, self.specs[pair]["members"], **spec)

    def _other(self, pair: str) -> dict[str, Any]:
        return {k: v for k, v in self.specs[pair].items() if k != "members"}

    async def _retention(self) -> None:
        self._set_policy()

    async def _request(self) -> None:
        self._count += 1
        pair = self.rng.choice(sorted(self.specs))
        self.core.annotate("ReplicationPair", pair, REQUESTED_AT, f"r{self._count}")

    async def _remove_pair(self) -> None:
        """It is deleted and, when it is gone, applied again.

        Only one that shares no source: another pair's retention may take a base without bookmark.
        """
        pair = "tree"
        members, spec = self.specs[pair]["members"], self._other(pair)
        self.core.delete("ReplicationPair", pair)
        await self.core.live(100)
        self._forget_joining(pair)
        self._apply(pair, members, **spec)

    def _forget_joining(self, pair: str) -> None:
        self.joined_s = {key: at for key, at in self.joined_s.items() if key[0] != pair}

    async def _lose_point(self) -> None:
        """Somebody destroys one of our snapshots at the source: its bookmark stays."""
        name = self.rng.choice(self.sources())
        ours = [s.name for s in self.a.dataset(name).snapshots if s.name.startswith("backstay_")]
        if ours:
            self.a.destroy(f"{name}@{self.rng.choice(ours)}")

    async def _kill(self) -> None:
        await self.core.kill()

    async def _restart(self) -> None:
        await self.core.kill()
        await self.core.live(1)

    async def _outage(self) -> None:
        self.rng.choice((self.a, self.b, self.c)).reachable = False

    async def _recovery(self) -> None:
        for host in self.world.hosts.values():
            host.reachable = True

    async def _weather(self) -> None:
        """How slow requests are from now on, and how often they and streams fail."""
        for host in self.world.hosts.values():
            host.latency_s = self.rng.choice(LATENCIES_S)
            host.faults.fail_randomly(self.rng.choice((0, 0, 0.05, 0.2)), self.rng)
        self.world.transfer_faults.cut_randomly(self.rng.choice((0, 0, 0.2, 0.5)), self.rng)

    async def _cable(self) -> None:
        self.rng.choice((self.b, self.c)).kill_streams()

    async def _reboot(self) -> None:
        """What was not synced is lost, and the source holds what it held before."""
        host = self.rng.choice((self.a, self.b, self.c))
        host.reboot()
        for name in self.sources():
            self._note(name)

    async def calm(self) -> None:
        """No more faults, nobody suspended, and time to come to rest."""
        self.told.append("calm")
        for host in self.world.hosts.values():
            host.faults = RequestFaults()
            host.reachable, host.latency_s = True, 0.0
        self.world.transfer_faults.cut_randomly(0, self.rng)
        for pair in sorted(self.specs):
            self._apply(
                pair, self.specs[pair]["members"], **{**self._other(pair), "suspend": False}
            )
        await self.core.live(REST_S)


def _short(member: Any) -> str:
    return member if isinstance(member, str) else f"d{member}"
