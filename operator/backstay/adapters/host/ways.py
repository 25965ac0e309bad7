"""Which way a pipe takes: what its policy asks for, what both hosts have, and what stands against.

Nothing is given up for want of a tool: what one of the hosts lacks is left out and said.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from backstay.adapters.host import reasons
from backstay.adapters.host.failures import SSH_FAILED, classify
from backstay.adapters.host.hosts import OpenSshHost
from backstay.domain.steps import ItemFailure, Pipe, Transport
from backstay_host import protocol as wire

LINK_WORDS = frozenset({"LinkFailed", "LinkRefused", "NoTool"})
"""With these a source says that no stream of the target has begun, or that the line is gone."""
NO_TICKET = "TICKET"
"""A dry run has none."""


class Equipped(Protocol):
    """A host, as far as the way of its streams depends on it."""

    @property
    def name(self) -> str:
        """`site/host`."""
        ...

    @property
    def tools(self) -> frozenset[str]:
        """Programs for streams that it has."""
        ...

    @property
    def data_key(self) -> bytes | None:
        """What other hosts log in with to bring a stream."""
        ...


def agree(
    wanted: Transport, source: Equipped, target: Equipped
) -> tuple[Transport, tuple[str, ...]]:
    """The transport that both hosts are able to, and a sentence for all that was left out.

    Only while both are connected: a host says in its greeting what it has.
    """
    missing = {
        tool: [host.name for host in (source, target) if tool not in host.tools]
        for tool, asked in (("zstd", wanted.compressed), ("mbuffer", bool(wanted.buffer_bytes)))
        if asked
    }
    said = tuple(
        f"{tool} is missing on {' and '.join(hosts)}: streams go without {what}; install it there, "
        f"or take it out of spec.replication.transfer"
        for tool, what in (("zstd", "compression"), ("mbuffer", "buffers"))
        if (hosts := missing.get(tool))
    )
    return (
        replace(
            wanted,
            compressed=wanted.compressed and not missing.get("zstd"),
            buffer_bytes=0 if missing.get("mbuffer") else wanted.buffer_bytes,
        ),
        said,
    )


def obstacle(pipe: Pipe, source: Equipped, target: Equipped) -> ItemFailure | None:
    """Why the pipe cannot go directly; None when it can, or does not want to."""
    if not pipe.transport.direct:
        return None
    site = target.name.partition("/")[0]
    member = pipe.transfers[0].member
    if target.data_key is None:
        return ItemFailure(
            name=member,
            reason=reasons.SECRET_MISSING,
            message=f"transfer.path is Direct and the Secret of Site {site} has no key "
            f"data-privatekey, with which {source.name} would log in to {target.name}: "
            f"`kubectl backstay grant {target.name}` says how to make one, or set path to Relay",
        )
    if "ssh" not in source.tools:
        return ItemFailure(
            name=member,
            reason=reasons.TRANSFER_FAILED,
            message=f"transfer.path is Direct and {source.name} has no ssh: install "
            f"openssh-client there, or set path to Relay",
        )
    return None


def destination(target: OpenSshHost, ticket: str) -> wire.Destination:
    """Where the source's stream connects to; without the key when there is no ticket yet."""
    to = target.endpoint
    key = (to.data_key or b"").decode("ascii", "replace")
    return wire.Destination(
        address=to.data_address or to.address,
        port=to.data_port or to.port,
        user=to.user,
        host_keys=list(to.host_keys),
        key=key if ticket != NO_TICKET else "",
        ticket=ticket,
    )


def explained(item: wire.ItemOutcome, source: str, target: str) -> ItemFailure:
    """What a source says of its line to the target, in words that say what to do."""
    line = f"from {source} to {target}"
    if item.reason == "LinkFailed":
        why = classify(SSH_FAILED, item.message)
        lasting = why.reason in (reasons.HOST_KEY_CHANGED, reasons.KEY_REFUSED)
        advice = f"; `kubectl backstay grant {target}` prints the line of the data key"
        return ItemFailure(
            name=item.name,
            reason=why.reason if lasting else reasons.TRANSFER_FAILED,
            message=f"{line}: {why.message}{advice if why.reason == reasons.KEY_REFUSED else ''}",
        )
    said = item.message.strip().splitlines()[-1:] or ["no message"]
    if item.reason == "LinkRefused" and "NoSuchTicket" not in item.message:
        return ItemFailure(
            name=item.name,
            reason=reasons.NOT_ALLOWED,
            message=f"{line}: the data key was not admitted ({said[0]}): `kubectl backstay grant "
            f"{target}` prints its line for authorized_keys",
        )
    return ItemFailure(name=item.name, reason=reasons.TRANSFER_FAILED, message=f"{line}: {said[0]}")
