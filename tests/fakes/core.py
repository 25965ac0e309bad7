"""The operator's core on fake hosts: registry, passes, lanes and reports, without Kubernetes.

core = Core(world)
core.site("fra", a, roots=())
core.site("muc", b, roots=("backup/backstay",))
core.policy("gold", rpo="5m")
core.pair("erp", {"disk0": ("tank/vm/d0", "backup/backstay/d0")})
await core.settle()                  # passes until nothing more happens by itself
core.status("erp")["conditions"]
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Any

from backstay.api.kinds import API_VERSION, PRIVATE_KEY
from backstay.controllers.book import Book
from backstay.controllers.farewell import Farewell
from backstay.controllers.hosts import HostFinder
from backstay.controllers.keys import Key, ObjectKey
from backstay.controllers.objects import FINALIZER, ObjectHooks, ObjectRuns
from backstay.controllers.passes import PassHooks, RoutePasses
from backstay.controllers.registry import Registry
from backstay.controllers.scheduler import Outcome
from backstay.controllers.shares import Shares
from backstay.domain.pairs import Route
from backstay.domain.steps import Pipe, PipeOutcome, Transfer
from backstay.ports.host import Endpoint, HostPort, Progress
from backstay.ports.kube import Gone, Notice, ObjectRef
from fakes.host import FakePort
from fakes.truths import has_bookmark
from fakes.world import INSTALLATION, SHORT_ID, FakeHost, World, WorldClock

NAMESPACE = "dr"
ROUNDS = 40


class Core:
    """One leader over a world; `restart` forgets all that it had in memory."""

    def __init__(
        self,
        world: World,
        *,
        term: int = 1,
        installation: str = INSTALLATION,
        short_id: str = SHORT_ID,
    ) -> None:
        self.world = world
        self.installation, self.short_id = installation, short_id
        self.clock = WorldClock(world)
        self.term = term
        self.secrets: dict[str, Mapping[str, bytes]] = {"key": {PRIVATE_KEY: b"key"}}
        self.statuses: dict[str, Mapping[str, Any]] = {}
        self.events: list[Notice] = []
        self.bodies: dict[ObjectKey, dict[str, Any]] = {}
        self.superseded: list[int] = []
        self.pipes: list[Pipe] = []
        """Every pipe that was begun, oldest first."""
        self.unmarked: list[Transfer] = []
        """Streams that began without a bookmark of their snapshot: there must be none."""
        self.reads: Counter[str] = Counter()
        """How often each Secret was read from the API server."""
        self.faults: list[str] = []
        """Kinds of objects whose work broke on a fault of ours."""
        self._hosts: dict[str, FakeHost] = {}
        self._uids = 0
        self._start()

    # --- what the core asks of the outside -------------------------------------------------------

    def open(self, endpoint: Endpoint) -> HostPort:
        """The fake host behind a Site's host."""
        host = self._hosts[endpoint.name]
        port = host.port(term=self.term, installation=self.installation, short_id=self.short_id)
        port.key, port.data_key = endpoint.private_key, endpoint.data_key
        return port

    async def transfer(
        self, source: HostPort, target: HostPort, pipe: Pipe, progress: Progress
    ) -> PipeOutcome:
        """The world's transfer, noted down."""
        self.pipes.append(pipe)
        assert isinstance(source, FakePort)
        self.unmarked += [t for t in pipe.transfers if not has_bookmark(source.host, t)]
        return await self.world.transfers.transfer(source, target, pipe, progress)

    async def get_secret(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        """A Secret of the namespace."""
        assert namespace == NAMESPACE
        self.reads[name] += 1
        await asyncio.sleep(0)
        return self.secrets.get(name)

    async def emit_event(self, ref: ObjectRef, notice: Notice) -> None:
        """The event is kept for the test."""
        self.events.append(notice)

    async def patch_finalizers(
        self, ref: ObjectRef, *, add: Sequence[str] = (), remove: Sequence[str] = ()
    ) -> None:
        """The object's finalizers changed; one that is being deleted and has none left is gone."""
        key = ObjectKey(ref.kind, ref.namespace, ref.name)
        metadata = self.bodies[key]["metadata"] if key in self.bodies else {}
        if metadata.get("uid") != ref.uid:
            raise Gone("Gone", f"{ref} is gone")
        metadata["finalizers"] = [
            f for f in [*metadata.get("finalizers", []), *add] if f not in remove
        ]
        if "deletionTimestamp" in metadata and not metadata["finalizers"]:
            del self.bodies[key]
            self.statuses.pop(f"{ref.kind}/{ref.name}", None)
            self.registry.drop(ref)
        else:
            self.registry.put(ref.kind, self.bodies[key])

    def publish(self, ref: ObjectRef, status: Mapping[str, Any], *, rpo_s: float | None) -> None:
        """The status is kept for the test and echoed to the registry."""
        self.statuses[f"{ref.kind}/{ref.name}"] = status
        if (body := self.bodies.get(ObjectKey(ref.kind, ref.namespace, ref.name))) is not None:
            body["status"] = status
        self.registry.observe_status(ref, status)

    # --- words for tests -------------------------------------------------------------------------

    def site(self, name: str, host: FakeHost, *, roots: Sequence[str] = ()) -> None:
        """A Site with one host `h`."""
        self._hosts[f"{name}/h"] = host
        self.site_at(name, host.name.replace("/", "."), roots)

    def site_at(self, name: str, address: str, roots: Sequence[str]) -> None:
        """A Site with a host `h` of this address."""
        spec = {
            "hosts": [
                {
                    "name": "h",
                    "address": address,
                    "hostKeys": ["ssh-ed25519 AAAA"],
                    "receiveRoots": list(roots),
                }
            ],
            "ssh": {"secretRef": {"name": "key"}},
        }
        self.apply("Site", name, spec)

    def also(self, site: str, name: str, host: FakeHost) -> None:
        """A Site's host of another name is this one."""
        self._hosts[f"{site}/{name}"] = host

    def policy(self, name: str = "gold", *, rpo: str = "5m", **replication: Any) -> None:
        """A policy with replication and a declared backup."""
        backup = {"external": {"statement": "restic, nightly"}}
        spec = {"class": "Gold", "rpo": rpo, "replication": replication, "backup": backup}
        self.apply("ProtectionPolicy", name, spec)

    def pair(
        self,
        name: str,
        members: Mapping[str, tuple[str, str]],
        *,
        group: bool = False,
        recursive: bool = False,
        **spec: Any,
    ) -> None:
        """A pair from `fra` to `muc`, members by name as (source, target)."""
        datasets = [
            {
                "name": member,
                "recursive": recursive,
                "at": {
                    "fra": {"host": "h", "dataset": source},
                    "muc": {"host": "h", "dataset": target},
                },
            }
            for member, (source, target) in members.items()
        ]
        full = {
            "policyRef": {"name": "gold"},
            "sites": ["fra", "muc"],
            "preferredSite": "fra",
            "datasets": datasets,
            "consistencyGroup": group,
            **spec,
        }
        self.apply("ReplicationPair", name, full)

    def apply(self, kind: str, name: str, spec: Mapping[str, Any]) -> None:
        """`kubectl apply`."""
        key = ObjectKey(kind, NAMESPACE, name)
        known = self.bodies.get(key)
        self._uids += 1
        metadata = known["metadata"] if known else self._newborn()
        metadata = {
            **metadata,
            "namespace": NAMESPACE,
            "name": name,
            "generation": metadata["generation"] + 1,
        }
        body = {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": dict(spec)}
        if known is not None and "status" in known:
            body["status"] = known["status"]
        self.bodies[key] = body
        self.registry.put(kind, body)
        self.ring(key)

    def _newborn(self) -> dict[str, Any]:
        born = self.world.now.strftime("%Y-%m-%dT%H:%M:%SZ")
        return {"uid": f"uid-{self._uids}", "generation": 0, "creationTimestamp": born}

    def replace(self, kind: str, name: str) -> None:
        """`kubectl replace --force`, with nobody waiting for finalizers: another uid, no status."""
        key = ObjectKey(kind, NAMESPACE, name)
        old = self.bodies.pop(key)
        self.statuses.pop(f"{kind}/{name}", None)
        self.apply(kind, name, old["spec"])

    def annotate(self, kind: str, name: str, annotation: str, value: str) -> None:
        """`kubectl annotate`."""
        key = ObjectKey(kind, NAMESPACE, name)
        self.bodies[key]["metadata"].setdefault("annotations", {})[annotation] = value
        self.registry.put(kind, self.bodies[key])
        self.ring(key)

    def delete(self, kind: str, name: str) -> None:
        """`kubectl delete`."""
        key = ObjectKey(kind, NAMESPACE, name)
        if not self.bodies[key]["metadata"].get("finalizers"):
            self.vanish(kind, name)
            return
        self.bodies[key]["metadata"]["deletionTimestamp"] = "2026-11-22T03:00:00Z"
        self.registry.put(kind, self.bodies[key])
        self.ring(key)

    def vanish(self, kind: str, name: str) -> None:
        """The object is gone at once, whatever its finalizers say."""
        body = self.bodies.pop(ObjectKey(kind, NAMESPACE, name))
        self.statuses.pop(f"{kind}/{name}", None)
        self.registry.drop(
            ObjectRef(kind=kind, namespace=NAMESPACE, name=name, uid=body["metadata"]["uid"])
        )
        self.ring(ObjectKey(kind, NAMESPACE, name))

    def status(self, name: str, kind: str = "ReplicationPair") -> Mapping[str, Any]:
        """The last published status."""
        return self.statuses[f"{kind}/{name}"]

    def condition(self, name: str, kind: str, of: str = "ReplicationPair") -> tuple[str, str]:
        """(status, reason) of a condition; ("", "") when it is absent."""
        for condition in self.status(name, of).get("conditions", ()):
            if condition["type"] == kind:
                return condition["status"], condition["reason"]
        return "", ""

    def message(self, name: str, kind: str, of: str = "ReplicationPair") -> str:
        """Message of a condition."""
        found = [c for c in self.status(name, of)["conditions"] if c["type"] == kind]
        return str(found[0]["message"])

    def sent(self) -> list[Transfer]:
        """Every stream that was asked for since the last call, in order."""
        sent = [t for pipe in self.pipes for t in pipe.transfers]
        self.pipes.clear()
        return sent

    def restart(self, *, term: int | None = None) -> None:
        """A new leader: nothing is remembered but what the API server holds."""
        self.term = term if term is not None else self.term + 1
        self._start()
        for key, body in self.bodies.items():
            self.registry.put(key.kind, body)
            self.ring(key)

    async def kill(self) -> None:
        """`kill -9`: its streams end with their ssh, all memory is lost; a new leader begins."""
        await self.passes.lanes.stop()
        self.restart()

    def ring(self, key: Key) -> None:
        """The key runs in the next round."""
        if key not in self._rung:
            self._rung.append(key)

    async def settle(self) -> None:
        """Everything that was rung has run, and what that rang; AssertionError if it never ends."""
        for _ in range(ROUNDS * 10):
            await self._lanes_done()
            if not self._rung:
                return
            key = self._rung.popleft()
            if key in self._begun:
                self._begun[key] = True
            else:
                await self.run(key)
        raise AssertionError(f"keys keep ringing each other: {list(self._rung)}")

    async def run(self, key: Key) -> Outcome:
        """One run of a key; when it is due again."""
        self.ran[key] += 1
        again = await (self.passes.run(key) if isinstance(key, Route) else self.objects.run(key))
        if again is None:
            self._due.pop(key, None)
            return None
        self._due[key] = self.world.monotonic_s + again.in_s
        return again

    def begin(self, key: Key) -> asyncio.Task[Outcome]:
        """The key runs beside everything else; rung meanwhile, it runs once more after that."""
        self._due.pop(key, None)
        self._begun[key] = False

        def ended(_task: object) -> None:
            if self._begun.pop(key):
                self.ring(key)

        task = asyncio.create_task(self.run(key))
        task.add_done_callback(ended)
        return task

    def due_in(self, key: Key) -> float:
        """Seconds until the key is due."""
        return self._due[key] - self.world.monotonic_s

    async def live(self, seconds: float) -> None:
        """So much time passes, and every key runs when it said that it is due, or was rung."""
        end = self.world.monotonic_s + seconds
        await self.settle()
        while self._due and (due := min(self._due.values())) <= end:
            self.world.advance(max(due - self.world.monotonic_s, 0.0))
            for key in [k for k, at in self._due.items() if at <= due]:
                del self._due[key]
                self.ring(key)
            await self.settle()
        self.world.advance(max(end - self.world.monotonic_s, 0.0))

    async def passing(self, seconds: float = 0.0) -> None:
        """Time passes, then every route is passed and everything settles."""
        self.world.advance(seconds)
        for pair in self.registry.pairs():
            resolved = self.shares.resolve(NAMESPACE, pair.metadata.name)
            for route in getattr(resolved, "shares", {}):
                self.ring(route)
            self.ring(ObjectKey("ReplicationPair", NAMESPACE, pair.metadata.name))
        await self.settle()

    def _judge_in(self, pair: str, seconds: float) -> None:
        key = ObjectKey("ReplicationPair", *pair.split("/", 1))
        at = self.world.monotonic_s + seconds
        self._due[key] = min(at, self._due.get(key, at))

    async def _lanes_done(self) -> None:
        """Every lane has ended, or waits for something that a test holds back."""
        for _ in range(200):
            await asyncio.sleep(0)
            if not self.passes.lanes.running:
                await asyncio.sleep(0)
                return

    def _start(self) -> None:
        self._rung: deque[Key] = deque()
        self._due: dict[Key, float] = {}
        self._begun: dict[Key, bool] = {}
        """Keys whose run was begun by a test and has not ended → whether they were rung since."""
        self.ran: Counter[Key] = Counter()
        self.registry = Registry()
        book = Book(dice=random.Random(self.world.monotonic_s))
        finder = HostFinder(
            self.registry,
            self,  # type: ignore[arg-type]
            self,
            lambda: self.term,
            self.clock,
        )
        self.shares = Shares(self.registry, finder, book, self.short_id)
        hooks = PassHooks(
            ring=self.ring,
            reported=lambda key: self.ring(ObjectKey("ReplicationPair", *key.split("/", 1))),
            superseded=self.superseded.append,
            judge_in=self._judge_in,
        )
        self.passes = RoutePasses(self.shares, self, self.clock, hooks)
        farewell = Farewell(self.shares, self, self.passes, FINALIZER)  # type: ignore[arg-type]
        self.objects = ObjectRuns(
            self.shares,
            self,  # type: ignore[arg-type]
            self.clock,
            farewell,
            ObjectHooks(
                ring=self.ring,
                sink=self,
                broke=self.faults.append,
            ),
        )
