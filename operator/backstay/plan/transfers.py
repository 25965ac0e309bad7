"""Which streams run in a pass, and which of them share a pipe."""

from __future__ import annotations

from dataclasses import dataclass

from backstay.api.words import Reason
from backstay.domain.pairs import Conflict, Member
from backstay.domain.steps import How, Increment, Pipe, Resume, Seed, Transfer
from backstay.domain.zfs import Dataset, Snapshot
from backstay.plan.basis import AlreadyThere, DropToken, find_basis
from backstay.plan.checks import receive_root
from backstay.plan.posture import seed_properties
from backstay.plan.replication import Seen, decide_groups, has_bookmark, lineage_of

RESERVE_BYTES = 16 * 1024 * 1024
"""Left free at the target beyond the estimate: receive's own metadata and a neighbour's writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """Pipes that run one after the other because each child needs its parent."""

    pipes: tuple[Pipe, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferPlan:
    """`increments` run within the pass; each of `lanes` may outlast it and runs beside others."""

    increments: Pipe
    lanes: tuple[Lane, ...]
    conflicts: dict[str, Conflict]
    """Target dataset → why it cannot be sent now."""


def plan_transfers(seen: Seen) -> TransferPlan:
    """The streams for everything that exists at the source and is not at the target.

    * increments of healthy members share one pipe (rule *A pipe cannot mix up members*);
    * a seed, a resumed stream and a quarantined member have a pipe each;
    * seeds of one tree form a lane, parents first.
    """
    chosen: list[tuple[Member, Transfer]] = []
    conflicts: dict[str, Conflict] = {}
    for members, decision in decide_groups(seen):
        for member in members:
            snapshot = decision.send.get(member.name)
            if snapshot is None:
                continue
            planned = _plan_member(member, snapshot, seen)
            if isinstance(planned, Conflict):
                conflicts[member.target] = planned
            elif planned is not None:
                chosen.append((member, planned))
    fitting = _fit(chosen, seen, conflicts)
    return _arrange(fitting, seen, conflicts)


def _plan_member(member: Member, snapshot: Snapshot, seen: Seen) -> Transfer | Conflict | None:
    source = seen.source.datasets[member.source]
    replica = seen.target.datasets.get(member.target)
    if not has_bookmark(source, snapshot, lineage_of(member, seen)):
        return None
    match find_basis(source, replica, snapshot):
        case AlreadyThere() | DropToken():
            return None
        case Conflict() as conflict:
            return conflict
        case Seed() | Increment() | Resume() as how:
            return _transfer(member, snapshot, how, seen)


def _transfer(member: Member, snapshot: Snapshot, how: How, seen: Seen) -> Transfer:
    source = seen.source.datasets[member.source]
    lineage = lineage_of(member, seen)
    seeding = isinstance(how, Seed) or (isinstance(how, Resume) and how.seed)
    return Transfer(
        member=member.name,
        source_dataset=source.name,
        source_guid=source.guid,
        snapshot=snapshot.name,
        guid=snapshot.guid,
        target_dataset=member.target,
        lineage=lineage,
        how=how,
        properties=seed_properties(source, lineage) if seeding else {},
        size_bytes=_estimate(source, seen.target.datasets.get(member.target), seeding=seeding),
    )


def _estimate(source: Dataset, replica: Dataset | None, *, seeding: bool) -> int:
    if seeding:
        got = replica.token.received_bytes if replica is not None and replica.token else 0
        return max(source.referenced_bytes - got, 0)
    since = source.written_since
    written = since.size_bytes if since is not None else None
    return max(written or 0, source.written_bytes or 0)


def _fit(
    chosen: list[tuple[Member, Transfer]], seen: Seen, conflicts: dict[str, Conflict]
) -> list[tuple[Member, Transfer]]:
    """Those that fit into the receive roots, in order; the others become `InsufficientSpace`."""
    left: dict[str, int] = {}
    fitting = []
    for member, transfer in chosen:
        root = receive_root(member.target, seen.task.receive_roots) or ""
        room = left.setdefault(root, _available(member, root, seen) - RESERVE_BYTES)
        if transfer.size_bytes > room:
            conflicts[member.target] = Conflict(
                reason=Reason.INSUFFICIENT_SPACE,
                message=f"{member.target} needs about {transfer.size_bytes} bytes and {root} has "
                f"{room} left beyond a reserve of {RESERVE_BYTES}: free space or raise its quota",
            )
            continue
        left[root] = room - transfer.size_bytes
        fitting.append((member, transfer))
    return fitting


def _available(member: Member, root: str, seen: Seen) -> int:
    dataset = seen.target.datasets.get(root)
    return dataset.available_bytes if dataset is not None else 0


def _arrange(
    chosen: list[tuple[Member, Transfer]], seen: Seen, conflicts: dict[str, Conflict]
) -> TransferPlan:
    quarantined = {name: pair.key for pair in seen.task.pairs for name in pair.quarantined}
    shared: list[Transfer] = []
    lanes: dict[str, list[Pipe]] = {}
    for member, transfer in chosen:
        alone = quarantined.get(member.name) == member.pair
        if isinstance(transfer.how, Increment) and not alone:
            shared.append(transfer)
            continue
        tree = next((t for t in lanes if member.target.startswith(f"{t}/")), member.target)
        lanes.setdefault(tree, []).append(Pipe(transfers=(transfer,)))
    return TransferPlan(
        increments=Pipe(transfers=tuple(shared)),
        lanes=tuple(Lane(pipes=tuple(pipes)) for pipes in lanes.values()),
        conflicts=conflicts,
    )
