"""The host program's protocol on a fake host: requests of the wire as calls of `fakes.host`."""

from __future__ import annotations

import dataclasses
import json
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from backstay.domain import steps, zfs
from backstay.domain.errors import BackstayError
from backstay.ports.host import SurveyRequest
from backstay_host import protocol as wire
from backstay_host.version import protocol_version
from fakes import streams
from fakes.host import FakePort, Leader
from fakes.world import FakeHost
from fakes.zfs import State, Stream, ZfsError

PROGRAM = ("python3", "-I", "/run/backstay/fake.zip")
Say = Callable[[Mapping[str, Any]], None]


class Session:
    """What one control connection knows: its leader, and the streams that it admits."""

    def __init__(self, host: FakeHost, short_id: str, say: Say) -> None:
        """Nobody has claimed the host through it yet."""
        self.host = host
        self.say = say
        self.term = 0
        self.tickets: dict[str, Ticket] = {}
        self.port = FakePort(host, Leader(lambda: self.term, "", short_id))
        self._short_id = short_id

    async def answer(self, frame: Mapping[str, Any]) -> dict[str, Any]:
        """The frame that answers a request."""
        name, self.term = frame["request"], frame["term"]
        body: Any = wire.from_json(wire.REQUESTS[name][0], frame["body"])
        try:
            result = await getattr(self, f"_{name}")(body)
        except (BackstayError, ZfsError) as refused:
            higher = getattr(refused, "higher_term", None)
            error = {"reason": refused.reason, "message": refused.message, "higherTerm": higher}
            return {"id": frame["id"], "error": error, "commands": []}
        commands = [list(argv) for argv in self.host.commands]
        self.host.commands.clear()
        return {"id": frame["id"], "result": wire.to_json(result), "commands": commands}

    async def _hello(self, _body: wire.Hello) -> wire.HostFacts:
        facts = await self.port.hello()
        return wire.HostFacts(
            hostname=facts.hostname,
            kernel="6.12.0",
            zfs_version=facts.zfs_version,
            python_version=facts.python_version,
            uid=facts.uid,
            now=time.time(),
            pools=_pools(facts.pools),
        )

    async def _claim(self, body: wire.Claim) -> wire.Claimed:
        leader = Leader(lambda: self.term, body.installation, self._short_id, body.leader)
        self.port = FakePort(self.host, leader)
        states = await self.port.claim(body.roots)
        return wire.Claimed([wire.RootClaim(s.root, s.outcome, s.writer) for s in states])

    async def _survey(self, body: wire.Survey) -> wire.Surveyed:
        roots = tuple((root.name, root.recursive) for root in body.roots)
        found = await self.port.survey(SurveyRequest(roots=roots, sync=body.sync))
        return wire.Surveyed(
            datasets=[_dataset(d) for d in found.datasets.values()],
            pools=_pools(found.pools),
            absent=list(found.absent),
            proxmox_paths=list(found.proxmox_paths),
            busy=list(found.busy),
        )

    async def _snapshot(self, body: wire.TakeSnapshot) -> wire.Snapshotted:
        made = await self.port.snapshot(
            steps.TakeSnapshots(
                datasets=tuple((t.dataset, zfs.Guid(t.guid)) for t in body.targets),
                snapshot=body.snapshot,
                bookmarks=tuple(
                    steps.BookmarkOf(dataset=b.dataset, snapshot=b.snapshot, lineage=b.lineage)
                    for b in body.bookmarks
                ),
            )
        )
        return wire.Snapshotted(
            [
                wire.MadeSnapshot(m.dataset, m.name, m.guid, m.createtxg, [*m.bookmarks])
                for m in made
            ]
        )

    async def _create(self, body: wire.CreateParents) -> wire.Done:
        await self.port.create_parents(
            steps.CreateParents(root=body.root, datasets=tuple(body.datasets))
        )
        return wire.Done([])

    async def _prune(self, body: wire.Prune) -> wire.Done:
        snapshots, bookmarks = [], []
        for item in body.items:
            dataset, sign, short = re.split("([@#])", item.name)
            guid = zfs.Guid(item.guid)
            if sign == "@":
                snapshots.append(zfs.SnapshotRef(dataset=dataset, name=short, guid=guid))
            else:
                bookmarks.append(zfs.BookmarkRef(dataset=dataset, name=short, guid=guid))
        failed = await self.port.prune(
            steps.Prune(snapshots=tuple(snapshots), bookmarks=tuple(bookmarks))
        )
        return wire.Done([wire.ItemOutcome(f.name, f.reason, f.message) for f in failed])

    async def _posture(self, body: wire.Posture) -> wire.Done:
        await self.port.restore_posture(
            steps.RestorePosture(
                dataset=body.dataset, lineage=body.lineage, properties=body.properties
            )
        )
        return wire.Done([])

    async def _ticket(self, body: wire.Ticket) -> wire.Ticketed:
        self.port.check_term()
        ticket = Ticket(self, body)
        self.tickets[ticket.name] = ticket
        return wire.Ticketed(ticket.name, [*PROGRAM, "stream", ticket.name])

    async def _cancel(self, _body: wire.Cancel) -> wire.Done:
        return wire.Done([])

    async def _goodbye(self, _body: wire.Goodbye) -> wire.Done:
        return wire.Done([])


class Ticket:
    """One ticket at work: its orders are carried out, and its session's operator is told."""

    def __init__(self, session: Session, body: wire.Ticket) -> None:
        """It waits for the process that brings the pipe."""
        self.name = secrets.token_hex(16)
        self.body = body
        self._session = session

    def send(self) -> Iterator[bytes]:
        """A line of JSON for each member: what the fake stream holds."""
        outcomes = []
        for index, order in enumerate(self.body.sends):
            pool = self._session.host.pool_of(order.dataset)
            if order.token is not None:
                stream = streams.resume(pool, order.token)
            else:
                stream = streams.send(pool, order.dataset, order.snapshot, order.base)
            yield json.dumps(dataclasses.asdict(stream)).encode() + b"\n"
            outcomes.append(self._went_well(order.dataset, index, stream.size))
        self._end(outcomes)

    def receive(self, lines: list[bytes]) -> None:
        """Each member's stream has arrived in its dataset."""
        outcomes = []
        for index, (order, line) in enumerate(zip(self.body.receives, lines, strict=True)):
            said = json.loads(line)
            stream = Stream(**{**said, "state": State(**said["state"])})
            pool = self._session.host.pool_of(order.dataset)
            reception = streams.Reception(pool, order.dataset, order.properties)
            reception.begin(stream)
            reception.feed(reception.remaining)
            reception.finish()
            outcomes.append(self._went_well(order.dataset, index, stream.size))
        self._end(outcomes)

    def _went_well(self, dataset: str, index: int, size: int) -> dict[str, str]:
        # A real host says so once a second, and at the end of each member.
        told = {"ticket": self.name, "index": index, "bytes": size}
        self._session.say({"progress": told})
        return {"name": dataset, "reason": "", "message": ""}

    def _end(self, outcomes: list[dict[str, str]]) -> None:
        self._session.say({"ended": {"ticket": self.name, "outcomes": outcomes}})


def greeting() -> bytes:
    """The first line of a session."""
    said = wire.Greeting(
        protocol=wire.PROTOCOL_VERSION,
        python="3.11.2",
        nonce=secrets.token_hex(8),
        program=list(PROGRAM),
        version=protocol_version(),
    )
    return f"{wire.HELLO_MARK}{json.dumps(wire.to_json(said))}\n".encode()


def _pools(pools: Iterable[zfs.Pool]) -> list[wire.PoolFacts]:
    return [wire.PoolFacts(p.name, p.guid, p.health, p.size_bytes, p.free_bytes) for p in pools]


def _dataset(found: zfs.Dataset) -> wire.DatasetFacts:
    since = found.written_since
    assert found.token is None, "no stream of this world is ever cut"
    return wire.DatasetFacts(
        name=found.name,
        kind=str(found.kind),
        guid=found.guid,
        createtxg=found.createtxg,
        written=_size(found.written_bytes),
        since="" if since is None else since.snapshot,
        written_since=-1 if since is None else _size(since.size_bytes),
        referenced=found.referenced_bytes,
        available=found.available_bytes,
        volsize=_size(found.volsize_bytes),
        readonly=found.readonly,
        mounted=found.mounted,
        encrypted=found.encrypted,
        origin=found.origin or "",
        token=None,
        properties=dict(found.properties),
        snapshots=[(s.name, s.guid, s.createtxg) for s in found.snapshots],
        bookmarks=[(b.name, b.guid, b.createtxg) for b in found.bookmarks],
        used=found.used_bytes,
    )


def _size(size: int | None) -> int:
    return -1 if size is None else size
