"""Where a host is and how it is reached: the ssh command line, quoted in one place."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from backstay.ports.host import Endpoint
from backstay_host import ssh


class Launcher(Protocol):
    """Turns a command for a host into one that is started here."""

    def argv(self, command: Sequence[str]) -> list[str]:
        """The local argument vector that runs `command` at the host."""
        ...

    def stream_argv(self, command: Sequence[str]) -> list[str]:
        """The same for a stream: over the trunk where one stands."""
        ...

    def trunk_argv(self, command: Sequence[str]) -> list[str] | None:
        """The local argument vector of a trunk that runs `command` at the host.

        None where every stream connects by itself.
        """
        ...

    def close(self) -> None:
        """Whatever it keeps on this machine is gone."""
        ...


def quote(command: Sequence[str]) -> str:
    """A command as one word for the login shell at the other side of ssh."""
    return shlex.join(command)


MAX_SOCKET_BYTES = 90
"""ssh binds a name with 17 characters more first, and a socket's name has 107, unix(7)."""


class SshLauncher:
    """Runs commands at one endpoint; nothing of it is left here after `close`.

    Its key lies in this process's memory, so that not even a kill leaves a copy of it on a disk;
    where the kernel has no such files, in a private folder.
    """

    def __init__(self, endpoint: Endpoint, *, ssh: str = "ssh") -> None:
        self._endpoint = endpoint
        self._ssh = ssh
        self._folder = Path(tempfile.mkdtemp(prefix="backstay-ssh-"))
        # OpenSSH refuses a key file whose last line has no end.
        key = endpoint.private_key.rstrip(b"\n") + b"\n"
        self._key, self._key_path = _keep(key, self._folder / "key")
        lines = [f"{_known_name(endpoint)} {host_key}\n" for host_key in endpoint.host_keys]
        (self._folder / "known_hosts").write_text("".join(lines))

    def argv(self, command: Sequence[str]) -> list[str]:
        """The `ssh` argument vector that runs `command` at the host."""
        return self._argv(command, "ControlMaster=no", "ControlPath=none")

    def stream_argv(self, command: Sequence[str]) -> list[str]:
        """See `Launcher`; ssh connects by itself where nobody listens at the socket."""
        return self._argv(command, "ControlMaster=no", f"ControlPath={self._socket}")

    def trunk_argv(self, command: Sequence[str]) -> list[str] | None:
        """See `Launcher`; a forced command admits the host program and nothing else."""
        if self._socket == "none" or self._endpoint.installed:
            return None
        return self._argv(command, "ControlMaster=yes", f"ControlPath={self._socket}")

    @property
    def _socket(self) -> str:
        """Where a trunk listens; `none` where the path would be too long to listen at."""
        path = str(self._folder / "trunk")
        return path if len(os.fsencode(path)) <= MAX_SOCKET_BYTES else "none"

    def _argv(self, command: Sequence[str], *control: str) -> list[str]:
        options = [
            *ssh.OPTIONS,
            *control,
            f"UserKnownHostsFile={self._folder / 'known_hosts'}",
            f"HostKeyAlgorithms={','.join(ssh.algorithms(self._endpoint.host_keys))}",
            f"IdentityFile={self._key_path}",
        ]
        flags = [part for option in options for part in ("-o", option)]
        place = ["-p", str(self._endpoint.port), "-l", self._endpoint.user]
        return [
            *(self._ssh, "-F", "none", "-T", "-x", "-a", *flags, *place),
            *("--", self._endpoint.address, quote(command)),
        ]

    def close(self) -> None:
        """The key and the known hosts are gone from this machine."""
        if self._key >= 0:
            os.close(self._key)
            self._key = -1
        shutil.rmtree(self._folder, ignore_errors=True)


def _keep(key: bytes, path: Path) -> tuple[int, str]:
    """A descriptor of a file that holds the key, and where ssh opens it."""
    if sys.platform == "linux":
        descriptor, name = ssh.in_memory(key)
    else:
        descriptor, name = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), str(path)
        os.write(descriptor, key)
    return descriptor, name


def _known_name(endpoint: Endpoint) -> str:
    if endpoint.port == 22:
        return endpoint.address
    return f"[{endpoint.address}]:{endpoint.port}"
