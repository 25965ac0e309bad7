"""Snapshot commands: what one can hold, and what it is called (rule *Atomic groups*)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from backstay.api.values import pool_of
from backstay.api.words import Reason
from backstay.domain.pairs import Conflict, Member
from backstay.domain.zfs import HostListing
from backstay.plan.naming import snapshot_name

SNAPSHOT_ARGV_BYTES = 100_000
"""Room of one command: the kernel refuses a single string over 128 KiB (rule *O(hosts)*)."""
SNAPSHOT_NAME_BYTES = 48
"""What a snapshot's name adds to its dataset's: 42 characters, `@` and a separator, rounded up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """The members of one snapshot command; `divisible` unless a group is among them."""

    members: list[Member]
    divisible: bool


def snapshot_commands(groups: Sequence[Sequence[Member]], lone: Sequence[Member]) -> list[Command]:
    """The members of each snapshot command; a source that a group snapshots is in it only once.

    Lone members of a pool share a command, as far as its size allows.
    """
    commands = [list(group) for group in groups]
    command_of = {m.source: command for command in commands for m in command}
    pools: dict[str, dict[str, list[Member]]] = {}
    for member in lone:
        if member.source in command_of:
            command_of[member.source].append(member)
        else:
            sources = pools.setdefault(pool_of(member.source), {})
            sources.setdefault(member.source, []).append(member)
    chunks = [chunk for sources in pools.values() for chunk in _chunks(sources)]
    return [Command(members=members, divisible=False) for members in commands] + [
        Command(members=members, divisible=True) for members in chunks
    ]


def unused_names(source: HostListing, short_id: str, now: datetime, entropy: str) -> Iterator[str]:
    """Names of snapshots, each once and none that a dataset has (rule *Unique names*)."""
    used = {s.name for d in source.datasets.values() for s in d.snapshots}
    for offset in range(0x10000):
        digits = f"{(int(entropy, 16) + offset) % 0x10000:04x}"
        name = snapshot_name(now, short_id, digits)
        if name not in used:
            yield name


def group_conflict(pair: str, group: Sequence[Member]) -> Conflict | None:
    """Why the members cannot be a consistency group: it is one command in one pool, or none."""
    size = sum(len(m.source.encode()) + SNAPSHOT_NAME_BYTES for m in group)
    pools = sorted({pool_of(m.source) for m in group})
    if size > SNAPSHOT_ARGV_BYTES:
        why = f"its {len(group)} members need a command of {size} bytes; the limit is "
        return Conflict(
            reason=Reason.GROUP_TOO_LARGE,
            message=f"{pair}: {why}{SNAPSHOT_ARGV_BYTES}: split it into several pairs",
        )
    if len(pools) > 1:
        return Conflict(
            reason=Reason.GROUP_SPLIT,
            message=f"{pair}: one snapshot cannot span the pools {', '.join(pools)}: make "
            f"one pair a pool, or set consistencyGroup: false",
        )
    return None


def _chunks(sources: Mapping[str, list[Member]]) -> list[list[Member]]:
    """The members of each source in runs whose snapshot command stays below the kernel's limit."""
    chunks: list[list[Member]] = []
    size = SNAPSHOT_ARGV_BYTES
    for source, members in sources.items():
        room = len(source.encode()) + SNAPSHOT_NAME_BYTES
        if size + room > SNAPSHOT_ARGV_BYTES:
            chunks.append([])
            size = 0
        size += room
        chunks[-1] += members
    return chunks
