"""What is to be done now about replicas that diverged and that somebody has decided about.

It is planned round by round, each from a listing that shows what the one before has done, so that
a crash between two commands is just another round. To set X aside:

    round   found                              commands
    1       X diverged, approved               its marks, then X is renamed aside
    2       no X; aside, under way             a clone of the aside at the base becomes X
    3       X is a clone of the aside          X is promoted: the history is X's again
    4       the aside is a clone of X          what was below it goes back below X
    5       nothing is below it                its lineage mark goes: it is kept, and done

Only a rollback loses anything, and names it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from hashlib import sha256

from backstay.api.values import is_below
from backstay.api.words import Reason
from backstay.domain.divergence import Approval, Divergence, Resolution
from backstay.domain.moves import (
    ASIDE_OF,
    BRANCHED_AT,
    RENAMED_FROM,
    RESOLVED_BY,
    Mark,
    Move,
    NewClone,
    Promotion,
    Rewind,
    aside_root,
)
from backstay.domain.pairs import Member
from backstay.domain.roles import ROLE_EPOCH
from backstay.domain.steps import AbortReceive
from backstay.domain.zfs import LINEAGE, ROLE, SOURCE_GUID, STREAM, Dataset, SnapshotRef
from backstay.plan.asides import Aside, asides_in
from backstay.plan.divergence import is_approved
from backstay.plan.modes import stream_mode
from backstay.plan.posture import replica_posture, seed_properties
from backstay.plan.renames import Misplaced
from backstay.plan.replication import Seen, lineage_of

_OF_A_REPLICA = (LINEAGE, SOURCE_GUID, STREAM, ROLE, ROLE_EPOCH)
"""What a replica has by its seed, and by the moves of the role since: without its roleEpoch nothing
would be sent to it any more, and without its mode a pair's streams would not be pinned.
"""


@dataclass(slots=True, kw_only=True)
class Round:
    """Commands for several members; those of one member come in the order of the fields.

    `member_of`: name of what a command is about → target of the member that it serves.
    """

    aborts: list[AbortReceive] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    clones: list[NewClone] = field(default_factory=list)
    promotions: list[Promotion] = field(default_factory=list)
    rewinds: list[Rewind] = field(default_factory=list)
    member_of: dict[str, str] = field(default_factory=dict)


def plan_round(seen: Seen, done_with: Collection[str]) -> Round | None:
    """The next round; None when nothing is left. `done_with`: members that it leaves alone."""
    found = Round()
    asides = [a for a in asides_in(seen.target.datasets) if a.under_way]
    approved = [m for m in seen.members if _may_begin(m, seen)]
    acting = {a.of for a in asides} | {m.target for m in approved}
    targets = {m.target for m in seen.members}
    for aside in asides:
        is_ours = aside.of in targets and _is_free(aside.of, seen)
        if is_ours and aside.of not in done_with:
            _go_on(found, aside, seen)
    for member in approved:
        # A child is done before its parent, which is moved with all below it.
        waits = any(is_below(name, member.target) for name in acting)
        if not waits and member.target not in done_with:
            _begin(found, member, seen)
    return found if found.member_of else None


def plan_renames(seen: Seen, done_with: Collection[str]) -> Round | None:
    """The next renames of replicas whose sources were renamed; as `plan_round` otherwise.

    One that is in the way of others waits aside, with a mark of the name that it had.
    """
    found = Round()
    for one in seen.renames.aside:
        if one.to not in done_with:
            replica, marks = one.replica, {RENAMED_FROM: one.replica.name}
            found.marks.append(Mark(dataset=replica.name, guid=replica.guid, properties=marks))
            to = f"{aside_root(replica.name)}/renamed-{replica.guid:016x}"
            _rename(found, one, to)
    for one in seen.renames.ready:
        if one.to not in done_with:
            _rename(found, one, one.to)
    for replica in seen.renames.arrived:
        if replica.name not in done_with:
            mark = Mark(dataset=replica.name, guid=replica.guid, clear=(RENAMED_FROM,))
            found.marks.append(mark)
            found.member_of[replica.name] = replica.name
    return found if found.member_of else None


def _rename(found: Round, one: Misplaced, to: str) -> None:
    replica = one.replica
    found.moves.append(Move(dataset=replica.name, guid=replica.guid, to=to, kind=replica.kind))
    found.member_of[replica.name] = one.to


def _may_begin(member: Member, seen: Seen) -> bool:
    pair = next(p for p in seen.task.pairs if p.key == member.pair)
    replica = seen.target.datasets.get(member.target)
    conflict = seen.conflicts.get(member.target)
    return is_approved(conflict, pair, replica) and not _in_use(member.target, seen)


def _is_free(target: str, seen: Seen) -> bool:
    """Whether nothing but what is being done about it keeps us from the place."""
    conflict = seen.conflicts.get(target)
    is_only_this = conflict is None or conflict.reason == Reason.SETTING_ASIDE
    return is_only_this and not _in_use(target, seen)


def _in_use(target: str, seen: Seen) -> bool:
    """Whether a stream of ours moves into the dataset or into one below it."""
    used = (*seen.task.in_flight, *seen.target.busy)
    return any(name == target or is_below(name, target) for name in used)


def _begin(found: Round, member: Member, seen: Seen) -> None:
    pair = next(p for p in seen.task.pairs if p.key == member.pair)
    divergence = seen.conflicts[member.target].divergence
    replica = seen.target.datasets[member.target]
    assert pair.approval is not None
    assert divergence is not None
    found.member_of[replica.name] = member.target
    match pair.approval.how:
        case Resolution.SET_ASIDE | Resolution.RESEED:
            _set_aside(found, replica, divergence, pair.approval)
        case Resolution.ROLLBACK:
            found.aborts += _abort(replica)
            found.rewinds.append(_rewind(replica, divergence, pair.approval))
        case Resolution.ADOPT:
            source = seen.source.datasets[member.source]
            mode = stream_mode(source, replica, None)
            properties = {**seed_properties(source, lineage_of(member, seen), mode)}
            properties[RESOLVED_BY] = pair.approval.id
            mark = Mark(dataset=replica.name, guid=replica.guid, properties=properties)
            found.marks.append(mark)


def _set_aside(found: Round, replica: Dataset, divergence: Divergence, approval: Approval) -> None:
    """The replica gets its marks and its name aside; with `Reseed`, whatever it holds goes along.

    A promote would make a resume token useless, and a clone of it would keep it for nothing.
    """
    marks = {ASIDE_OF: replica.name}
    clear: tuple[str, ...] = (BRANCHED_AT,)
    if approval.how is Resolution.SET_ASIDE:
        assert divergence.base is not None
        marks[BRANCHED_AT], clear = str(divergence.base.guid), ()
        found.aborts += _abort(replica)
    found.marks.append(Mark(dataset=replica.name, guid=replica.guid, properties=marks, clear=clear))
    digest = sha256(f"{approval.id}:{replica.guid}".encode()).hexdigest()[:16]
    to = f"{aside_root(replica.name)}/{digest}"
    found.moves.append(Move(dataset=replica.name, guid=replica.guid, to=to, kind=replica.kind))


def _abort(replica: Dataset) -> Iterator[AbortReceive]:
    token = replica.unreadable_token or (replica.token and replica.token.text)
    if token and LINEAGE in replica.properties:
        yield AbortReceive(
            dataset=replica.name,
            lineage=replica.properties[LINEAGE],
            token=token,
            because="its base is to be left",
        )


def _rewind(replica: Dataset, divergence: Divergence, approval: Approval) -> Rewind:
    assert divergence.base is not None
    assert divergence.written_bytes is not None
    return Rewind(
        dataset=replica.name,
        guid=replica.guid,
        to=divergence.base,
        lose=divergence.lose,
        written_bytes=divergence.written_bytes,
        properties={RESOLVED_BY: approval.id},
    )


def _go_on(found: Round, aside: Aside, seen: Seen) -> None:
    here = seen.target.datasets.get(aside.of)
    branch = aside.branch
    if aside.awaits_clone and here is None and branch is not None:
        ref = SnapshotRef(dataset=branch.dataset, name=branch.name, guid=branch.guid)
        found.clones.append(
            NewClone(snapshot=ref, dataset=aside.of, properties=_properties_of(aside))
        )
        found.member_of[aside.of] = aside.of
    elif aside.awaits_clone and branch is not None and here and here.origin == branch.full_name:
        ref = SnapshotRef(dataset=branch.dataset, name=branch.name, guid=branch.guid)
        found.promotions.append(Promotion(dataset=here.name, guid=here.guid, origin=ref))
        found.member_of[here.name] = aside.of
    elif _is_refilled(aside, here):
        _go_home(found, aside, seen)


def _properties_of(aside: Aside) -> dict[str, str]:
    """What the clone must have of its own: clones have no properties of their origin."""
    ours = {k: v for k, v in aside.dataset.properties.items() if k in _OF_A_REPLICA}
    return {**ours, **replica_posture(aside.dataset.kind)}


def _is_refilled(aside: Aside, here: Dataset | None) -> bool:
    """Whether what is below the aside can go back, or there is nothing to go back."""
    if aside.awaits_clone:
        has_branch = here is not None and here.snapshot_by_guid(aside.branch_guid) is not None
        return has_branch and (aside.dataset.origin or "").startswith(f"{aside.of}@")
    is_whole = here is not None and bool(here.snapshots) and here.token is None
    return is_whole or not aside.children


def _go_home(found: Round, aside: Aside, seen: Seen) -> None:
    for child in aside.children:
        home = aside.of + child.name.removeprefix(aside.dataset.name)
        if home not in seen.target.datasets:
            found.moves.append(Move(dataset=child.name, guid=child.guid, to=home, kind=child.kind))
            found.member_of[child.name] = aside.of
    if not any(child.name in found.member_of for child in aside.children):
        done = (LINEAGE, BRANCHED_AT)
        found.marks.append(Mark(dataset=aside.dataset.name, guid=aside.dataset.guid, clear=done))
        found.member_of[aside.dataset.name] = aside.of
