"""Host programs of a test's own: zips that speak the protocol as scripted, without ssh."""

from __future__ import annotations

import dataclasses
import io
import sys
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from backstay.adapters.clock import SystemClock
from backstay.adapters.host.bootstrap import BOOTSTRAP
from backstay.adapters.host.hosts import Leader, OpenSshHost, OpenSshHosts, Setup
from backstay.ports.host import Endpoint
from backstay_host import bootstrap

_PRELUDE = """\
import json, os, pathlib, sys, threading, time

LOCK = threading.Lock()

def read(size):
    data = b""
    while len(data) < size:
        chunk = os.read(0, size - len(data))
        if not chunk:
            sys.exit(0)
        data += chunk
    return data

def get():
    return json.loads(read(int.from_bytes(read(4), "big")))

def put(message):
    data = json.dumps(message).encode()
    with LOCK:
        write(len(data).to_bytes(4, "big") + data)

def write(data, fd=1):
    while data:
        data = data[os.write(fd, data):]

def greet(protocol=1, mark="backstay-host/1 ", **more):
    program = [sys.executable, "-I", str(pathlib.Path(__file__).parent.parent)]
    said = {"protocol": protocol, "python": "3.11", "nonce": "n", "program": program, **more}
    write((mark + json.dumps(said) + "\\n").encode())

def facts(**changed):
    return {"hostname": "h", "kernel": "6", "zfs_version": "2.3.9", "python_version": "3.11",
            "uid": 0, "now": 1000.0, "pools": [], **changed}

def answer(frame, result, commands=()):
    put({"id": frame["id"], "result": result, "commands": list(commands)})

def refuse(frame, reason, message="no", **more):
    put({"id": frame["id"], "error": {"reason": reason, "message": message, **more}})

def claimed(frame):
    roots = frame["body"]["roots"]
    writer = "%d:%s" % (frame["term"], frame["body"]["installation"])
    answer(frame, {"roots": [{"root": r, "outcome": "Held", "writer": writer} for r in roots]})

def polite(frame):
    if frame.get("request") == "goodbye":
        answer(frame, {"items": []})
        sys.exit(0)

"""


def peer(script: str) -> bytes:
    """A host program that runs this script; `sys.argv[1]` is `serve` or `stream`."""
    packed = io.BytesIO()
    body = _PRELUDE + "def main(argv):\n    exec(SCRIPT, globals())\n" + f"SCRIPT = {script!r}\n"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("__main__.py", bootstrap.ZIP_MAIN)
        archive.writestr("backstay_host/__init__.py", "")
        archive.writestr("backstay_host/__main__.py", body)
        archive.writestr(BOOTSTRAP, Path(bootstrap.__file__).read_bytes())
    return packed.getvalue()


class LocalLauncher:
    """Runs commands here, as ssh would at a host, with the run folder in a place of the test's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.closed = False

    def argv(self, command: Sequence[str]) -> list[str]:
        """See `Launcher`."""
        assert not self.closed
        words = [word.replace(bootstrap.default_folder(), str(self.folder)) for word in command]
        return [sys.executable, *words[1:]] if words[0] == "python3" else words

    stream_argv = argv

    def trunk_argv(self, command: Sequence[str]) -> None:
        """See `Launcher`."""

    def close(self) -> None:
        """See `Launcher`."""
        self.closed = True


class FixedClock(SystemClock):
    """A wall clock that stands at 990 s after the epoch."""

    def now(self) -> datetime:
        """See `Clock`."""
        return datetime.fromtimestamp(990, UTC)


def endpoint(name: str = "fra/zfs-a") -> Endpoint:
    """An endpoint that no test really connects to."""
    return Endpoint(
        name=name,
        address="192.0.2.1",
        port=22,
        user="root",
        host_keys=("ssh-ed25519 AAAA",),
        private_key=b"top secret",
    )


class Office:
    """An operator as the adapter sees it; its parts may be changed while it runs."""

    def __init__(self, folder: Path, program: bytes) -> None:
        self.term = 1
        self.remaining = 20.0
        self.requests: list[tuple[str, str]] = []
        self.launchers: list[LocalLauncher] = []
        self.folder = folder
        self.program = program

    def hosts(self, *, idle_s: float = 60.0) -> OpenSshHosts:
        """Its hosts."""
        return OpenSshHosts(
            Setup(
                program=self.program,
                leader=Leader(
                    installation_id="ns/backstay",
                    short_id="0badcafe",
                    process_id="one",
                    term=lambda: self.term,
                    remaining_s=lambda: self.remaining,
                ),
                clock=FixedClock(),
                on_request=lambda host, request: self.requests.append((host, request)),
                launcher=self._launch,
                idle_s=idle_s,
            )
        )

    def _launch(self, _: Endpoint) -> LocalLauncher:
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self.launchers.append(LocalLauncher(self.folder))
        return self.launchers[-1]


class Bench:
    """One operator and the hosts that a test made for it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._opened: list[OpenSshHosts] = []
        self.office = Office(folder / "run", b"")
        self.hosts: OpenSshHosts

    def host(
        self, script: str, *, name: str = "fra/zfs-a", idle_s: float = 60.0, **more: Any
    ) -> OpenSshHost:
        """A host whose program runs this script; `more` are fields of its endpoint."""
        self.office.program = peer(script)
        self.hosts = self.office.hosts(idle_s=idle_s)
        self._opened.append(self.hosts)
        return self.hosts.open(dataclasses.replace(endpoint(name), **more))

    def file(self, name: str) -> Path:
        """A place where a scripted program may leave a note."""
        return self._folder / name

    async def close(self) -> None:
        """Everything has ended."""
        for hosts in self._opened:
            await hosts.close()
