"""Executes one route's planned steps; each failure is a value beside what succeeded.

Raised are only `Unreachable` and `Refused`: then nothing more is to be learnt in this pass.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from backstay.api.words import Reason
from backstay.domain.errors import Stalled, Waiting
from backstay.domain.pairs import Conflict
from backstay.domain.steps import (
    AbortReceive,
    CreateParents,
    MadeSnapshot,
    Pipe,
    PipeOutcome,
    Prune,
    RestorePosture,
    TakeSnapshots,
    Transfer,
)
from backstay.domain.zfs import HostListing
from backstay.ports.host import HostPort, Progress, TransferPort

_OF_ONE_DATASET = frozenset(
    {
        Reason.INSUFFICIENT_SPACE,
        Reason.NO_RIGHTS,
        Reason.SOURCE_BUSY,
        Reason.SOURCE_MISSING,
        Reason.TRANSFER_FAILED,
    }
)
"""What ZFS says of a whole command though one dataset may be the cause, and nothing was taken."""
_MOST_PARTS = 128
"""Requests that failures may add to a pass: two a halving find about ten among 500."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hands:
    """The ports of one route under one leader's term."""

    source: HostPort
    target: HostPort
    transfers: TransferPort


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a stage did: failures by dataset, snapshots that exist now, datasets it changed."""

    failures: dict[str, Conflict] = field(default_factory=dict)
    made: tuple[MadeSnapshot, ...] = ()
    touched: tuple[str, ...] = ()


async def prepare_target(
    hands: Hands,
    aborts: Sequence[AbortReceive],
    parents: Sequence[CreateParents],
    postures: Sequence[RestorePosture],
) -> Done:
    """Useless partial receives are gone, parents exist, postures are restored, or it is said."""
    failures: dict[str, Conflict] = {}
    touched: list[str] = []
    for abort in aborts:
        try:
            await hands.target.abort_receive(abort)
        except (Waiting, Stalled) as error:
            failures[abort.dataset] = as_conflict(error)
        touched.append(abort.dataset)
    for step in parents:
        try:
            await hands.target.create_parents(step)
        except (Waiting, Stalled) as error:
            failures |= {dataset: as_conflict(error) for dataset in step.datasets}
    for posture in postures:
        try:
            await hands.target.restore_posture(posture)
        except (Waiting, Stalled) as error:
            failures[posture.dataset] = as_conflict(error)
        touched.append(posture.dataset)
    return Done(failures=failures, touched=tuple(touched))


async def take_snapshots(source: HostPort, steps: Sequence[TakeSnapshots]) -> Done:
    """The snapshots and bookmarks of each step exist, or it is said of whom they do not.

    A failed step costs only its own datasets; where it is divisible, halves are tried after all
    the others, so that in the end only those that ZFS refuses by themselves have a failure.
    """
    failures: dict[str, Conflict] = {}
    made: list[MadeSnapshot] = []
    waiting = deque(steps)
    room = _MOST_PARTS
    while waiting:
        step = waiting.popleft()
        try:
            made += await source.snapshot(step)
        except (Waiting, Stalled) as error:
            halves = _halves(step) if room > 0 and error.reason in _OF_ONE_DATASET else ()
            if not halves:
                failures |= dict.fromkeys(_concerned(step), as_conflict(error))
            waiting += halves
            room -= len(halves)
    return Done(failures=failures, made=tuple(made))


def _concerned(step: TakeSnapshots) -> list[str]:
    return [d for d, _ in step.datasets] or list(dict.fromkeys(b.dataset for b in step.bookmarks))


def _halves(step: TakeSnapshots) -> tuple[TakeSnapshots, ...]:
    """The step in two; none when it is of one dataset, or must be done as a whole."""
    concerned = _concerned(step)
    if not step.divisible or len(concerned) < 2:
        return ()
    middle = len(concerned) // 2
    return tuple(
        replace(
            step,
            datasets=tuple(d for d in step.datasets if d[0] in half),
            bookmarks=tuple(b for b in step.bookmarks if b.dataset in half),
        )
        for half in (frozenset(concerned[:middle]), frozenset(concerned[middle:]))
    )


async def send_pipe(hands: Hands, pipe: Pipe, progress: Progress) -> PipeOutcome:
    """The members of the pipe were sent until the first failure; both ends have ended."""
    return await hands.transfers.transfer(hands.source, hands.target, pipe, progress)


def missing_transfers(pipe: Pipe, target: HostListing) -> tuple[Transfer, ...]:
    """Those whose GUID the target does not have: no exit code counts (rule *Commit truth*)."""
    return tuple(t for t in pipe.transfers if not _has_arrived(t, target))


def _has_arrived(transfer: Transfer, target: HostListing) -> bool:
    replica = target.datasets.get(transfer.target_dataset)
    return replica is not None and replica.snapshot_by_guid(transfer.guid) is not None


def why_missing(transfer: Transfer, outcome: PipeOutcome) -> Conflict:
    """What ended the pipe before this member, its first one that is missing, had arrived."""
    if outcome.failure is not None:
        ended = outcome.failure
        # Its acknowledgement was lost, or it arrived after all: this one was never begun.
        before = "" if ended.name == transfer.member else f"not begun, {ended.name} came before: "
        return Conflict(reason=ended.reason, message=before + ended.message)
    return Conflict(
        reason=Reason.TRANSFER_FAILED,
        message=f"{transfer.target_dataset}@{transfer.snapshot} did not arrive, though no command "
        f"failed: it is sent again",
    )


async def prune_sides(hands: Hands, source: Prune, target: Prune) -> Done:
    """What was planned to go is gone, or is among the failures; the target goes first.

    So a crash between leaves the longer history at the source, where it costs nothing.
    """
    there = await prune_side(hands.target, target)
    here = await prune_side(hands.source, source)
    return Done(failures={**there.failures, **here.failures})


async def prune_side(host: HostPort, step: Prune) -> Done:
    """What was planned to go from one side is gone, or is among the failures."""
    failures: dict[str, Conflict] = {}
    if not step.snapshots and not step.bookmarks:
        return Done()
    try:
        for item in await host.prune(step):
            failures[item.name] = Conflict(reason=item.reason, message=item.message)
    except (Waiting, Stalled) as error:
        failures[host.name] = as_conflict(error)
    return Done(failures=failures)


def as_conflict(error: Waiting | Stalled) -> Conflict:
    """A failure of a host as a value for the report."""
    return Conflict(reason=error.reason, message=error.message)
