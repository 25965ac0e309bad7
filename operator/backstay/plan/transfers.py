"""Which streams run in a pass, and which of them share a pipe."""

from __future__ import annotations

from dataclasses import dataclass

from backstay.api.values import is_below, pool_of
from backstay.api.words import Reason
from backstay.domain.pairs import Conflict, Member
from backstay.domain.steps import Branch, How, Increment, Pipe, Resume, Seed, Transfer, Transport
from backstay.domain.zfs import Dataset, Snapshot
from backstay.plan.basis import AlreadyThere, DropToken, find_basis, is_marked
from backstay.plan.branches import origin_of, seed_of
from backstay.plan.checks import receive_root
from backstay.plan.modes import stream_mode
from backstay.plan.posture import seed_properties
from backstay.plan.replication import Seen, decide_groups, lineage_of

RESERVE_BYTES = 16 * 1024 * 1024
"""Left free at the target beyond the estimate: receive's own metadata and a neighbour's writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """Pipes that run one after the other because each child needs its parent."""

    pipes: tuple[Pipe, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferPlan:
    """`increments` run within the pass, side by side; each of `lanes` may outlast it.

    There is one pipe of increments for each way that bytes travel on the route.
    """

    increments: tuple[Pipe, ...]
    lanes: tuple[Lane, ...]
    conflicts: dict[str, Conflict]
    """Target dataset → why it cannot be sent now."""


def plan_transfers(seen: Seen) -> TransferPlan:
    """The streams for everything that exists at the source and is not at the target.

    * increments of healthy members that travel alike share one pipe (rule *A pipe cannot mix up
      members*);
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
    chosen.sort(key=lambda one: one[0].target)  # parents before their children
    fitting = _fit(chosen, seen, conflicts)
    return _arrange(_after_parents(fitting, seen, conflicts), seen, conflicts)


def _plan_member(member: Member, snapshot: Snapshot, seen: Seen) -> Transfer | Conflict | None:
    source = seen.source.datasets[member.source]
    replica = seen.target.datasets.get(member.target)
    stop = seen.branches.stops.get(member.target)
    if replica is None and stop is not None and stop.createtxg < snapshot.createtxg:
        snapshot = stop
    if not is_marked(source, snapshot, lineage_of(member, seen)):
        return None
    origin = origin_of(source, seen.source)
    basis = find_basis(source, replica, snapshot, seen.task.short_id, origin)
    if isinstance(basis, Seed):
        basis = seed_of(member, seen.branches, seen.source, seen.target)
    match basis:
        case AlreadyThere() | DropToken():
            return None
        case Conflict() as conflict:
            return conflict
        case Seed() | Branch() | Increment() | Resume() as how:
            return _transfer(member, snapshot, how, seen)


def _transfer(member: Member, snapshot: Snapshot, how: How, seen: Seen) -> Transfer:
    source = seen.source.datasets[member.source]
    replica = seen.target.datasets.get(member.target)
    lineage = lineage_of(member, seen)
    size_bytes = _estimate(source, replica, seeding=is_seed(how))
    mode = stream_mode(source, replica, _above(member.target, seen))
    return Transfer(
        member=member.name,
        source_dataset=source.name,
        source_guid=source.guid,
        snapshot=snapshot.name,
        guid=snapshot.guid,
        target_dataset=member.target,
        lineage=lineage,
        how=how,
        # A resumed seed has them: the host took them with the first part.
        properties=seed_properties(source, lineage, mode) if isinstance(how, Seed | Branch) else {},
        size_bytes=min(size_bytes, source.used_bytes) if isinstance(how, Branch) else size_bytes,
        mode=mode,
        of_replica=source.is_replica,
    )


def _above(target: str, seen: Seen) -> Dataset | None:
    """The nearest dataset above a target that exists: what a new one would inherit from."""
    above = target.rpartition("/")[0]
    while above and above not in seen.target.datasets:
        above = above.rpartition("/")[0]
    return seen.target.datasets.get(above)


def _estimate(source: Dataset, replica: Dataset | None, *, seeding: bool) -> int:
    got = replica.token.received_bytes if replica is not None and replica.token else 0
    if seeding:
        return max(source.referenced_bytes - got, 0)
    since = source.written_since
    written = since.size_bytes if since is not None else None
    return max(max(written or 0, source.written_bytes or 0) - got, 0)


def _fit(
    chosen: list[tuple[Member, Transfer]], seen: Seen, conflicts: dict[str, Conflict]
) -> list[tuple[Member, Transfer]]:
    """Those that fit into the receive roots, in order; the others become `InsufficientSpace`.

    Receive roots of one pool share its space, so what goes into one is missing in the others; so
    is what is still to come of streams that are under way.
    """
    spent = _still_to_come(seen)
    fitting = []
    for member, transfer in chosen:
        root = receive_root(member.target, seen.task.receive_roots) or ""
        pool = pool_of(member.target)
        room = _available(root, seen) - RESERVE_BYTES - spent.get(pool, 0)
        if transfer.size_bytes > room:
            conflicts[member.target] = Conflict(
                reason=Reason.INSUFFICIENT_SPACE,
                message=f"{member.target} needs about {transfer.size_bytes} bytes and {root} has "
                f"{room} left beyond a reserve of {RESERVE_BYTES}: free space or raise its quota",
            )
            continue
        spent[pool] = spent.get(pool, 0) + transfer.size_bytes
        fitting.append((member, transfer))
    return fitting


def _still_to_come(seen: Seen) -> dict[str, int]:
    """Pool of the target → bytes that streams under way will take.

    A child that an earlier operator left behind is known by its lock alone: it counts in full.
    """
    found = dict(seen.task.in_flight)
    for member in seen.members:
        source = seen.source.datasets.get(member.source)
        if member.target in seen.target.busy and member.target not in found and source is not None:
            replica = seen.target.datasets.get(member.target)
            seeding = replica is None or not replica.snapshots
            found[member.target] = _estimate(source, replica, seeding=seeding)
    spent: dict[str, int] = {}
    for target, size_bytes in found.items():
        spent[pool_of(target)] = spent.get(pool_of(target), 0) + size_bytes
    return spent


def _available(root: str, seen: Seen) -> int:
    dataset = seen.target.datasets.get(root)
    return dataset.available_bytes if dataset is not None else 0


def _after_parents(
    chosen: list[tuple[Member, Transfer]], seen: Seen, conflicts: dict[str, Conflict]
) -> list[tuple[Member, Transfer]]:
    """Those whose parent is there or comes before them; the others wait as `ParentMissing`.

    A child below a partial receive would be taken, but then `receive -A` of its parent fails for
    good ("dataset already exists", tried on 2.3.9).
    """
    replicas = {m.target for m in seen.members}
    coming: set[str] = set()
    ready = []
    for member, transfer in chosen:
        parent = member.target.rpartition("/")[0]
        while parent and (parent not in replicas or _is_there(parent, seen) or parent in coming):
            parent = parent.rpartition("/")[0]
        if parent and isinstance(transfer.how, Seed | Branch):
            conflicts[member.target] = Conflict(
                reason=Reason.PARENT_MISSING,
                message=f"{member.target} waits until its parent {parent} is seeded",
            )
            continue
        coming.add(member.target)
        ready.append((member, transfer))
    return ready


def _is_there(target: str, seen: Seen) -> bool:
    """Whether a dataset can hold children: it is no receive that may still be undone."""
    dataset = seen.target.datasets.get(target)
    if dataset is None:
        return False
    is_moving = target in seen.task.in_flight or target in seen.target.busy
    is_partial = is_moving or dataset.token is not None or dataset.unreadable_token is not None
    return bool(dataset.snapshots) or not is_partial


def _arrange(
    chosen: list[tuple[Member, Transfer]], seen: Seen, conflicts: dict[str, Conflict]
) -> TransferPlan:
    quarantined = {(pair.key, name) for pair in seen.task.pairs for name in pair.quarantined}
    ways = {pair.key: pair.transport for pair in seen.task.pairs}
    shared: dict[Transport, list[Transfer]] = {}
    alone: list[Lane] = []
    trees: dict[str, list[Pipe]] = {}
    for member, transfer in chosen:
        way = ways[member.pair]
        pipe = Pipe(transfers=(transfer,), transport=way)
        if is_seed(transfer.how):
            tree = next((t for t in trees if is_below(member.target, t)), member.target)
            trees.setdefault(tree, []).append(pipe)
        elif isinstance(transfer.how, Resume) or (member.pair, member.name) in quarantined:
            alone.append(Lane(pipes=(pipe,)))
        else:
            shared.setdefault(way, []).append(transfer)
    lanes = (*alone, *(Lane(pipes=tuple(pipes)) for pipes in trees.values()))
    pipes = tuple(Pipe(transfers=tuple(t), transport=way) for way, t in shared.items())
    return TransferPlan(increments=pipes, lanes=lanes, conflicts=conflicts)


def is_seed(how: How) -> bool:
    """Whether the replica does not exist before: a full stream, a clone's, or the rest of one."""
    return isinstance(how, Seed | Branch) or (isinstance(how, Resume) and how.seed)
