"""The programs that carry a stream beside `zfs`: their argument vectors, and what may be in them.

Sources: ssh(1) and ssh_config(5) of OpenSSH 9.2, zstd(1) 1.5, mbuffer(1) 20230301.
"""

from __future__ import annotations

import re
import shlex
import shutil

from backstay_host import children, ssh
from backstay_host.refusal import Refused
from backstay_host.values import Destination, Ticket

Argv = list[str]

TOOLS = ("ssh", "zstd", "mbuffer")
MIB = 1024 * 1024
LEAST_RATE_BYTES_S = 64 * 1024
"""Below it a record of 1 MiB takes longer than a stream may stand still."""
MOST_BUFFER_BYTES = 16 * 1024 * MIB
TICKET = "[0-9a-f]{32}[.][0-9a-f]{32}"
NOT_YET = "TICKET"
"""In a dry run no ticket of the target exists."""

_ADDRESS = re.compile(r"[A-Za-z0-9:]([A-Za-z0-9.:-]{0,251}[A-Za-z0-9:])?")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_HOST_KEY = re.compile(r"([a-z0-9-]{1,40}) [A-Za-z0-9+/]{1,1000}={0,2}")
_KEY_MARK = "PRIVATE KEY-----"
_MAX_KEY_CHARS = 16 * 1024
_HOST = "target"
"""The name that the target's keys are known under: no address can be mistaken for another."""
_OPTIONS = (*ssh.OPTIONS, "ControlMaster=no", "ControlPath=none", f"HostKeyAlias={_HOST}")


def present() -> list[str]:
    """Those of `TOOLS` that this host has."""
    return [tool for tool in TOOLS if shutil.which(tool, path=children.SEARCH_PATH)]


def check(body: Ticket) -> None:
    """What a ticket says of its way can be done, and says no more; else `BadRequest`."""
    if body.buffer_bytes < 0 or body.buffer_bytes % MIB or body.buffer_bytes > MOST_BUFFER_BYTES:
        raise Refused("BadRequest", f"a buffer of {body.buffer_bytes} bytes: whole MiB, 16 GiB")
    if body.rate_bytes_s and (body.receives or body.rate_bytes_s < LEAST_RATE_BYTES_S):
        raise Refused("BadRequest", f"a rate of {body.rate_bytes_s} bytes/s: sends only, 64 KiB/s")
    if body.destination is None:
        return
    if body.receives:
        raise Refused("BadRequest", "only sends have a destination")
    _check_destination(body.destination)


def _check_destination(to: Destination) -> None:
    plain = _ADDRESS.fullmatch(to.address) and _USER.fullmatch(to.user) and 0 < to.port < 65536
    keys = 0 < len(to.host_keys) <= 16 and all(_HOST_KEY.fullmatch(k) for k in to.host_keys)
    if not plain or not keys:
        raise Refused("BadRequest", f"no ssh server: {to.user}@{to.address}:{to.port}")
    if to.ticket == NOT_YET and not to.key:
        return
    if not re.fullmatch(TICKET, to.ticket):
        raise Refused("BadRequest", "a destination has a ticket of the target")
    if len(to.key) > _MAX_KEY_CHARS or _KEY_MARK not in to.key:
        raise Refused("BadRequest", "the data key is no private key")


def compress() -> Argv:
    """A stream as zstd, level 1: the line is to be the limit, not the processor."""
    return ["zstd", "-q", "-1", "-c"]


def decompress() -> Argv:
    """The stream that `compress` was given."""
    return ["zstd", "-q", "-d", "-c"]


def buffer(size_bytes: int) -> Argv:
    """What comes in goes out, with so much memory between."""
    return ["mbuffer", "-q", "-s", "128k", "-m", f"{size_bytes // MIB}M"]


def known_hosts(to: Destination) -> str:
    """The keys that the target may show, as sshd(8) describes the file."""
    return "".join(f"{_HOST} {key}\n" for key in to.host_keys)


def link(to: Destination, key: str = "DATA-KEY", known: str = "HOST-KEYS") -> Argv:
    """ssh to the target's stream; `key` and `known` are the files, which are no secrets."""
    options = (
        *_OPTIONS,
        f"HostKeyAlgorithms={','.join(ssh.algorithms(to.host_keys))}",
        f"UserKnownHostsFile={known}",
        f"IdentityFile={key}",
    )
    flags = [part for option in options for part in ("-o", option)]
    return [
        *("ssh", "-Fnone", "-T", "-x", "-a", *flags, "-p", str(to.port), "-l", to.user),
        *("--", to.address, shlex.join(["backstay-host", "stream", to.ticket])),
    ]


def vectors(body: Ticket) -> list[Argv]:
    """What runs beside the orders of a ticket; of the ssh without its ticket."""
    found = []
    if body.compressed:
        found.append(compress() if body.sends else decompress())
    if body.buffer_bytes:
        found.append(buffer(body.buffer_bytes))
    if body.destination is not None:
        found.append([*link(body.destination)[:-1], f"backstay-host stream {NOT_YET}"])
    return found
