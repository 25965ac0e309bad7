"""A real host with the program fed to it, and one member to replicate between its two pools."""

from __future__ import annotations

import contextlib
import secrets
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backstay.app.hostzip import pack_host_program
from backstay_host import bootstrap
from lab.host.scene import Scene
from unit.host.client import Client
from worlds.api import LabHost

Connect = Callable[..., Client]


@pytest.fixture(scope="session")
def program() -> bytes:
    return pack_host_program()


@pytest.fixture
def connect(lab_hosts: list[LabHost], program: bytes, tmp_path: Path) -> Iterator[Connect]:
    """`connect(host)` is a control channel to a program fed to the host; closed after the test."""
    text = Path(bootstrap.__file__).read_text(encoding="utf-8")
    clients: list[Client] = []

    def open_client(host: LabHost, *, login: str = "") -> Client:
        argv = host.ssh_argv(shlex.join(["python3", "-I", "-c", text]))
        if login:
            argv[1:1] = ["-l", login]
        log = tmp_path / f"serve{len(clients)}.err"
        client = Client(argv, b"%d\n" % len(program) + program, log=log)
        clients.append(client)
        return client

    yield open_client
    for client in clients:
        with contextlib.suppress(OSError, ValueError):
            client.close()


@pytest.fixture
def scene(lab_hosts: list[LabHost], connect: Connect) -> Iterator[Scene]:
    """A claimed session on the last host, a volume in `tank`, a receive root in `backup`."""
    host, suffix = lab_hosts[-1], secrets.token_hex(4)
    source, root = f"tank/h{suffix}", f"backup/h{suffix}"
    host.run(
        f"zfs create -o canmount=off {source} && zfs create -V 64M {source}/v && "
        f"zfs create -o canmount=off {root}"
    )
    made = Scene(host, connect(host), f"lab/{suffix}", source, root)
    made.claim(1)
    yield made
    made.close()
    made.client.close()
    host.attempt(
        "for p in $(cat /run/backstay/*.pid 2>/dev/null); do kill -CONT $p; done; "
        f"zfs destroy -r {root}; zfs destroy -r {source}"
    )
