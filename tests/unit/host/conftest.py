"""The host program against a fake `zfs`: a pool in a file, sessions, streams."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from backstay_host import protocol
from fakes import truths
from unit.host import fake_programs, fake_zfs, program, visitor
from unit.host.client import Client

SRC = Path(protocol.__file__).parent.parent
INSTALLATION = "test/one"


@dataclass(slots=True)
class World:
    """One host: its pool, and everything that a test started there."""

    home: Path
    clients: list[Client] = field(default_factory=list)
    streams: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def things(self) -> dict[str, Any]:
        """Datasets, snapshots and bookmarks by full name."""
        found: dict[str, Any] = json.loads((self.home / "state.json").read_text())["things"]
        return found

    def put(self, name: str, **facts: Any) -> int:
        """Something exists with these facts; its GUID."""
        path = self.home / "state.json"
        state: dict[str, Any] = {"txg": 10, "things": {}}
        if path.exists():
            state = json.loads(path.read_text())
        state["txg"] += 1
        guid = 1000 + state["txg"]
        thing: dict[str, Any] = {"guid": guid, "createtxg": state["txg"], "props": {}, **facts}
        state["things"][name] = thing
        path.write_text(json.dumps(state))
        return int(thing["guid"])

    def meanwhile(self, things: dict[str, dict[str, Any]]) -> None:
        """These things come to be, or get these facts, right after the next `zfs list`."""
        path = self.home / "state.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "meanwhile": things}))

    def trouble(self, tool_verb: str, **said: Any) -> None:
        """`zfs-list` and the like say this instead of what they would."""
        (self.home / tool_verb).write_text(json.dumps(said))

    @property
    def log(self) -> list[dict[str, Any]]:
        """Every call of `zfs` and `zpool`, with its environment."""
        path = self.home / "log"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def argvs(self, verb: str) -> list[list[str]]:
        """The calls of one verb."""
        return [call["argv"] for call in self.log if call["argv"][1] == verb]

    def connect(
        self,
        *,
        claim: int = 0,
        roots: tuple[str, ...] = ("backup/r",),
        answers_beats: bool = True,
    ) -> Client:
        """A session, with a claim for this term if one is given."""
        env = {**os.environ, "PYTHONPATH": f"{SRC}:{SRC.parent}/tests"}
        argv = ["env", f"PYTHONPATH={env['PYTHONPATH']}", sys.executable]
        argv += [str(program.__file__), str(self.home), "serve"]
        client = Client(argv, log=self.home / "serve.err", answers_beats=answers_beats)
        self.clients.append(client)
        if claim:
            self.claim(client, claim, roots)
        return client

    def claim(
        self,
        client: Client,
        term: int,
        roots: tuple[str, ...] = ("backup/r",),
        leader: str = "one",
    ) -> Any:
        """The session's claim: the outcomes of the roots."""
        client.term = term
        body = protocol.Claim(INSTALLATION, list(roots), leader)
        return client.request("claim", body)["roots"]

    def start(self, command: list[str], **ends: Any) -> subprocess.Popen[bytes]:
        """A stream runs."""
        env = {**os.environ, "PYTHONPATH": f"{SRC}:{SRC.parent}/tests"}
        running = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL, **ends)
        self.streams.append(running)
        return running

    def visit(self, client: Client, ticket: str, *, stays: bool) -> subprocess.Popen[bytes]:
        """Somebody comes with the ticket; its stdout has a line for each frame it is told."""
        path = str(self.home / "run" / f"{client.greeting['nonce']}.sock")
        argv = [sys.executable, str(visitor.__file__), path, ticket, "stays" if stays else "goes"]
        return self.start(argv, stdout=subprocess.PIPE)


@pytest.fixture
def world() -> Iterator[World]:
    """A host with a source volume `tank/v`, and an empty receive root `backup/r`."""
    home = Path(tempfile.mkdtemp(prefix="host-"))  # short: a socket's path has 107 bytes at most
    (home / "bin").mkdir(parents=True)
    (home / "run").mkdir(mode=0o700)
    for tool in ("zfs", "zpool"):
        path = home / "bin" / tool
        source = Path(str(fake_zfs.__file__)).read_text()
        _, _, verbs = Path(str(fake_programs.__file__)).read_text().partition(fake_programs.VERBS)
        source = source.replace("def main(", f"{verbs}\n\ndef main(", 1)
        path.write_text(f"#!{sys.executable} -IS\n{source}")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    made = World(home)
    for name in ("tank", "tank/v", "backup", "backup/r"):
        made.put(name)
    yield made
    for client in made.clients:
        with contextlib.suppress(OSError, ValueError):
            client.close()
    for stream in made.streams:
        stream.kill()
        stream.wait(10)
        for end in (stream.stdin, stream.stdout):
            if end is not None:
                with contextlib.suppress(OSError):
                    end.close()
    truths.none_is_forced(call["argv"] for call in made.log)
    shutil.rmtree(home)
