"""What a story is about: three hosts, the objects that ask for replicas, and what people did.

`fra` is replicated to `muc` (a group, a tree, lone volumes) and fanned out to `ber`. In half of the
stories one of the volumes is encrypted, and travels raw.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from fakes.world import FakeHost, Flight
from sim.history import History, content_of
from sim.server import ApiServer
from sim.virtual import OpenWorld

RPO_S = 300
POOL_BYTES = 64 << 20
GROUP, LONE, TREE, FAN = "group", "lone", "tree", "fan"


class Flights(list[Flight]):
    """The stream processes of a host; two that live never receive into one dataset."""

    def __init__(self) -> None:
        super().__init__()
        self.doubled: list[str] = []

    def append(self, flight: Flight) -> None:
        """One more has begun."""
        alive = [f for f in self if f.receives and not f.killed and f.dataset == flight.dataset]
        if flight.receives and alive:
            self.doubled.append(flight.dataset)
        super().append(flight)


class Estate:
    """The hosts and objects, and the notes that the checks go by."""

    def __init__(self, seed: int) -> None:
        self.dice = Random(seed)
        self.world = OpenWorld(seed)
        self.server = ApiServer(self.world, self.dice)
        self.a = self.world.host("fra/h", pools={"tank": POOL_BYTES})
        self.b = self.world.host("muc/h", pools={"backup": POOL_BYTES})
        self.c = self.world.host("ber/h", pools={"vault": POOL_BYTES})
        self.hosts = self.world.hosts
        self.boots = dict.fromkeys(self.hosts, 0)
        self.history = History()
        self.specs: dict[str, dict[str, Any]] = {}
        self.joined_s: dict[tuple[str, str], float] = {}
        """(pair, source) → since when it is part of the pair."""
        self.foreign: set[tuple[str, str]] = set()
        """(dataset, snapshot) of others, which stay until they take them away."""
        self.held: set[tuple[str, str]] = set()
        """(dataset, snapshot) that somebody holds."""
        self.wronged: set[str] = set()
        """Datasets to which people did what only people can mend."""
        self.bearers: dict[str, set[int]] = {}
        """Name of a source → GUIDs of all that ever had it."""
        self.by_hand: set[str] = set()
        """Datasets that people changed in this very step."""
        self.by_spec: set[str] = set()
        """Pairs that people changed in this very step."""
        self.violations: list[str] = []
        """What must never happen, as it was seen when it did."""
        self.ahead_s: list[float] = [0.0]
        """By how much a leader's clock was ever wrong."""
        self._terms: dict[str, int] = {}
        self._flights = [Flights() for _ in self.hosts]
        for host, flights in zip(self.hosts.values(), self._flights, strict=True):
            host.flights = flights
        self._count = 0
        self._build()

    def number(self) -> int:
        """A number that was not used yet."""
        self._count += 1
        return self._count

    # --- what the hosts tell ----------------------------------------------------------------------

    def acts(self, host: FakeHost, term: int) -> None:
        """A leader changes a host: never one that is older than another that did."""
        if term < self._terms.get(host.name, 0):
            self.violations.append(f"{host.name}: term {term} acts after {self._terms[host.name]}")
        self._terms[host.name] = max(term, self._terms.get(host.name, 0))

    def unmarked(self, what: str) -> None:
        """A stream began without its bookmark."""
        self.violations.append(f"{what} is sent without a bookmark")

    def doubled(self) -> list[str]:
        """Datasets that two streams were received into at a time."""
        return [name for flights in self._flights for name in flights.doubled]

    # --- sources ----------------------------------------------------------------------------------

    def _build(self) -> None:
        for host, root in ((self.b, "backup"), (self.c, "vault")):
            host.create(f"{root}/backstay")
            host.create(f"{root}/aside")
        for name in ("t", "t/x", "t/x/y"):
            self.create(f"tank/vm/{name}", volume=False)
        for i in range(5):
            is_encrypted = i == 4 and self.dice.random() < 0.5
            self.create(f"tank/vm/d{i}", volume=True, encrypted=is_encrypted)
        for site, roots in (("fra", []), ("muc", ["backup/backstay"]), ("ber", ["vault/backstay"])):
            self._site(site, roots)
        self.set_policy()
        self.apply(GROUP, [0, 1, 2], group=True)
        self.apply(LONE, [3, 4])
        self.apply(TREE, ["t"], recursive=True)
        self.apply(FAN, [3, 0], site="ber", root="vault/backstay")

    def create(self, name: str, *, volume: bool, encrypted: bool = False) -> None:
        """A source with something in it."""
        self.a.create(name, volume=volume, encrypted=encrypted)
        self.a.write(name, self.dice.randrange(1, 20_000))
        self.note(name)

    def note(self, name: str) -> None:
        """What a source holds from now on."""
        self.bearers.setdefault(name, set()).add(self.a.dataset(name).guid)
        self.history.note(name, self.world.monotonic_s, content_of(self.a.dataset(name)))

    def sources(self) -> list[str]:
        """All datasets that are replicated."""
        return [n for n in self.a.pools["tank"].datasets if n.startswith("tank/vm/")]

    def replicas(self) -> list[tuple[FakeHost, str]]:
        """Everything below the receive roots, with its host."""
        roots = ((self.b, "backup"), (self.c, "vault"))
        return [
            (host, name)
            for host, pool in roots
            for name in host.pools[pool].datasets
            if name.startswith(f"{pool}/backstay/")
        ]

    def renamed(self, host: FakeHost, names: Mapping[str, str]) -> None:
        """Datasets of a host have other names (old → new): what is noted of them goes along."""
        for notes in (self.foreign, self.held):
            moved = {(name, short) for name, short in notes if name in names}
            notes.difference_update(moved)
            notes.update((names[name], short) for name, short in moved)
        if host is self.a:
            kept = {old: self.history.moments(old) for old in names}
            for old in names:
                self.history.forget(old)
            for old, new in names.items():
                self.history.resume(new, kept[old])
                self.bearers.setdefault(new, set()).add(self.a.dataset(new).guid)

    def changed(self, *names: str) -> None:
        """People changed these datasets, beyond writing."""
        self.by_hand.update(names)

    def write(self) -> None:
        """Somebody writes to a source."""
        self.write_to(self.dice.choice(self.sources()))

    def write_to(self, name: str) -> None:
        """Somebody writes to this source."""
        self.a.write(name, self.dice.randrange(1, 9000), overwrite=self.dice.random() < 0.3)
        self.note(name)

    # --- objects ----------------------------------------------------------------------------------

    def _site(self, name: str, roots: list[str]) -> None:
        host = {
            "name": "h",
            "address": f"{name}.example",
            "hostKeys": ["ssh-ed25519 AAAA"],
            "receiveRoots": roots,
        }
        self.server.apply("Site", name, {"hosts": [host], "ssh": {"secretRef": {"name": "key"}}})

    def set_policy(self) -> None:
        """Other retention than before, and perhaps another way for the streams."""
        retention = {
            side: {"last": self.dice.randrange(1, 5), "hourly": self.dice.randrange(3)}
            for side in ("source", "target")
        }
        spec = {
            "class": "Gold",
            "rpo": f"{RPO_S}s",
            "replication": {
                "retention": retention,
                "transfer": {"path": self.dice.choice(("Relay", "Direct"))},
            },
            "backup": {"external": {"statement": "restic, nightly"}},
        }
        self.server.apply("ProtectionPolicy", "gold", spec)

    def apply(self, pair: str, members: list[Any] | None = None, **changed: Any) -> None:
        """The pair is as before, but for what is changed."""
        known = self.specs.get(pair, {"site": "muc", "root": "backup/backstay"})
        spec = self.specs[pair] = {**known, **changed}
        if members is not None:
            spec["members"] = members
        places = {
            f"m{m}": (f"tank/vm/{short(m)}", f"{spec['root']}/{short(m)}") for m in spec["members"]
        }
        wanted = {(pair, source) for source, _ in places.values()}
        now_s = self.world.monotonic_s
        self.joined_s = {k: s for k, s in self.joined_s.items() if k[0] != pair or k in wanted}
        self.joined_s = dict.fromkeys(wanted, now_s) | self.joined_s
        datasets = [
            {
                "name": name,
                "recursive": spec.get("recursive", False),
                "at": {
                    "fra": {"host": "h", "dataset": source},
                    spec["site"]: {"host": "h", "dataset": target},
                },
            }
            for name, (source, target) in places.items()
        ]
        full = {
            "policyRef": {"name": "gold"},
            "sites": ["fra", spec["site"]],
            "preferredSite": "fra",
            "datasets": datasets,
            "consistencyGroup": spec.get("group", False),
            "suspend": spec.get("suspend", False),
        }
        self.server.apply("ReplicationPair", pair, full)
        self.by_spec.add(pair)

    def forget_joining(self, pair: str) -> None:
        """All members of the pair join anew, and bring their history along."""
        self.joined_s = {key: at for key, at in self.joined_s.items() if key[0] != pair}

    def places(self, pair: str) -> dict[str, str]:
        """Source → target of the pair's members that exist now."""
        spec = self.specs[pair]
        found = {}
        for member in spec["members"]:
            source = f"tank/vm/{short(member)}"
            found[source] = f"{spec['root']}/{short(member)}"
            if spec.get("recursive"):
                for child in self.a.pools["tank"].below(source):
                    found[child.name] = spec["root"] + child.name.removeprefix("tank/vm")
        return found

    def target_host(self, pair: str) -> FakeHost:
        """Where the pair's replicas are."""
        return self.b if self.specs[pair]["site"] == "muc" else self.c

    def source_of(self, replica: str) -> str:
        """The source whose replica has this name, whether it exists or not."""
        return "tank/vm/" + replica.split("/", 2)[2]


def short(member: Any) -> str:
    """The last part of a member's dataset."""
    return member if isinstance(member, str) else f"d{member}"
