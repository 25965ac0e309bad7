"""A ZFS host, as the core needs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from backstay.domain.moves import Mark, Move, NewClone, Promotion, Rewind
from backstay.domain.steps import (
    AbortReceive,
    CreateParents,
    ItemFailure,
    MadeSnapshot,
    Pipe,
    PipeOutcome,
    Prune,
    RestorePosture,
    TakeSnapshots,
)
from backstay.domain.zfs import HostFacts, HostListing


@dataclass(frozen=True, slots=True, kw_only=True)
class RootState:
    """What a claim found on one receive root. `outcome`: Held, Missing, Foreign, Superseded."""

    root: str
    outcome: str
    writer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyRequest:
    """What to list: (dataset, recursive). `sync` flushes the pools first (rule *RPO truth*)."""

    roots: tuple[tuple[str, bool], ...]
    sync: bool
    settings: bool = False
    """Whether `domain.zfs.SETTINGS` are listed, too."""


Progress = Callable[[int, int], None]
"""Called with (index of the member in its pipe, bytes of it that have moved)."""


class HostPort(Protocol):
    """One ZFS host under one leader's term.

    Every method may raise `Unreachable` (nothing learnt), `Refused` (the fence), `Waiting` or
    `Stalled`, each with a reason of `api.words.Reason`. Reads never change a pool. Writes check
    identity right before they act; after a failure the outcome is unknown until observed.
    """

    @property
    def name(self) -> str:
        """`site/host`, for messages."""
        ...

    async def hello(self) -> HostFacts:
        """The host's facts; also proves that ssh, Python and ZFS work."""
        ...

    async def claim(self, roots: Sequence[str]) -> tuple[RootState, ...]:
        """The term of this leader is the writer of these receive roots, or it is said why not."""
        ...

    async def survey(self, request: SurveyRequest) -> HostListing:
        """A complete listing of the roots that were asked for, in one request."""
        ...

    async def snapshot(self, step: TakeSnapshots) -> tuple[MadeSnapshot, ...]:
        """The snapshots of the step exist (all or none of them) and so do its bookmarks."""
        ...

    async def create_parents(self, step: CreateParents) -> None:
        """The parents of the step exist, unmounted."""
        ...

    async def abort_receive(self, step: AbortReceive) -> None:
        """The partial receive of the step is gone, if it still was the one planned."""
        ...

    async def restore_posture(self, step: RestorePosture) -> None:
        """The replica has the properties of the step again."""
        ...

    async def prune(self, step: Prune) -> tuple[ItemFailure, ...]:
        """Each snapshot and bookmark of the step is gone, or is among the failures returned."""
        ...

    async def rename(self, moves: Sequence[Move]) -> tuple[ItemFailure, ...]:
        """Each dataset has its new name, in this order, or is among the failures returned."""
        ...

    async def clone(self, clones: Sequence[NewClone]) -> tuple[ItemFailure, ...]:
        """Each clone exists, or is among the failures returned."""
        ...

    async def promote(self, promotions: Sequence[Promotion]) -> tuple[ItemFailure, ...]:
        """Each clone has the history of its origin, or is among the failures returned."""
        ...

    async def rollback(self, rewinds: Sequence[Rewind]) -> tuple[ItemFailure, ...]:
        """Each dataset is at its snapshot and only what was named is lost, or nothing of it is.

        `ApprovalVoid` among the failures: what would be lost is not what was named.
        """
        ...

    async def label(self, marks: Sequence[Mark]) -> tuple[ItemFailure, ...]:
        """Each dataset has its properties, or is among the failures returned."""
        ...


class TransferPort(Protocol):
    """Moves streams between two hosts; bulk bytes never pass through Python."""

    async def transfer(
        self, source: HostPort, target: HostPort, pipe: Pipe, progress: Progress
    ) -> PipeOutcome:
        """The members of the pipe were sent one after the other until the first failure.

        They took the way of the pipe's `transport`; what a host lacks for it was left out, and
        is said in the outcome.
        The outcome is a hint only: a recovery point exists when its GUID was read back.
        Cancelling the call ends both sides' children before it returns.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """How to log in to a host. No private key is ever printed or logged."""

    name: str
    """`site/host`, for messages."""
    address: str
    port: int
    user: str
    host_keys: tuple[str, ...]
    private_key: bytes = field(repr=False)
    installed: bool = False
    """Whether the host program is installed there; else it is fed through the connection."""
    data_address: str = ""
    """Where streams from other hosts come in; empty: at `address`."""
    data_port: int = 0
    """Of that address; 0: `port`."""
    data_key: bytes | None = field(default=None, repr=False)
    """What other hosts log in with to bring a stream; it opens nothing without a ticket."""


class HostDirectory(Protocol):
    """Gives one `HostPort` an endpoint; its connection is opened on demand, closed when idle."""

    def open(self, endpoint: Endpoint) -> HostPort:
        """The port of the endpoint; the same object for an equal endpoint, while it is in use.

        Raises `Stalled` for an endpoint that this operator may not use.
        """
        ...
