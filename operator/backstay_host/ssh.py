"""What every ssh of ours insists on, from the operator and from host to host; ssh_config(5)."""

from __future__ import annotations

import os
from collections.abc import Iterable

OPTIONS = (
    "BatchMode=yes",
    "StrictHostKeyChecking=yes",
    "GlobalKnownHostsFile=/dev/null",
    "UpdateHostKeys=no",
    "CheckHostIP=no",
    "IdentitiesOnly=yes",
    "IdentityAgent=none",
    "PreferredAuthentications=publickey",
    "PasswordAuthentication=no",
    "KbdInteractiveAuthentication=no",
    "ConnectTimeout=10",
    "ServerAliveInterval=5",
    "ServerAliveCountMax=3",
    "ClearAllForwardings=yes",
    "PermitLocalCommand=no",
    # Not ERROR: OpenSSH says "Unable to negotiate" and "Connection closed by" at INFO (9.2, tried).
    "LogLevel=INFO",
)
_ALGORITHMS = {
    # A pinned RSA key is shown with either signature; SHA-1 is never accepted.
    "ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256"),
}


def algorithms(host_keys: Iterable[str]) -> list[str]:
    """The signatures that these pinned keys may be shown with, each once."""
    found: list[str] = []
    for host_key in host_keys:
        kind = host_key.split(" ", 1)[0]
        found += [a for a in _ALGORITHMS.get(kind, (kind,)) if a not in found]
    return found


def in_memory(content: bytes) -> tuple[int, str]:
    """A file of ours alone that is on no disk and gone with this process, on Linux.

    Its descriptor, and the path that ssh opens it by, proc(5): ssh closes what it inherits.
    """
    descriptor = os.memfd_create("backstay")
    os.fchmod(descriptor, 0o600)
    os.write(descriptor, content)
    return descriptor, f"/proc/{os.getpid()}/fd/{descriptor}"
