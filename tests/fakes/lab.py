"""The world that most tests of the core begin with: two hosts, two Sites, a policy."""

from __future__ import annotations

from dataclasses import dataclass

from fakes.core import Core
from fakes.world import FakeHost, World


@dataclass
class Lab:
    """A source `a` with tank/vm, a target `b` with backup/backstay, policy gold of 5 minutes."""

    world: World
    a: FakeHost
    b: FakeHost
    core: Core

    @classmethod
    def make(cls, seed: int = 0) -> Lab:
        """A fresh one."""
        world = World(seed)
        a = world.host("fra/h", pools=("tank",))
        b = world.host("muc/h", pools=("backup",))
        a.create("tank/vm")
        b.create("backup/backstay")
        core = Core(world)
        core.site("fra", a)
        core.site("muc", b, roots=("backup/backstay",))
        core.policy()
        return cls(world, a, b, core)

    def volumes(self, count: int) -> dict[str, tuple[str, str]]:
        """Volumes d0, d1, … with some data, as members of a pair."""
        for i in range(count):
            self._volume(i)
        return self.known(count)

    def extended(self, count: int) -> dict[str, tuple[str, str]]:
        """As `volumes`, with one more than `count`, which exist."""
        self._volume(count)
        return self.known(count + 1)

    def known(self, count: int) -> dict[str, tuple[str, str]]:
        """Volumes d0, d1, … as members of a pair."""
        return {f"d{i}": (f"tank/vm/d{i}", f"backup/backstay/d{i}") for i in range(count)}

    def _volume(self, number: int) -> None:
        self.a.create(f"tank/vm/d{number}", volume=True)
        self.a.write(f"tank/vm/d{number}", 4096)

    def equal(self, *names: str) -> bool:
        """Whether replicas d0, d1, … hold what their sources hold."""
        return all(
            self.b.content(f"backup/backstay/{n}") == self.a.content(f"tank/vm/{n}") for n in names
        )
