"""The dry twin of a host: reads are real, writes come back as the commands they would run."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from backstay.adapters.host import translate
from backstay.adapters.host.connection import Answer
from backstay.adapters.host.hosts import OpenSshHost
from backstay.adapters.host.role_requests import DryRoleRequests
from backstay.domain.moves import Mark, Move, NewClone, Promotion, Rewind
from backstay.domain.steps import (
    AbortReceive,
    CreateParents,
    ItemFailure,
    MadeSnapshot,
    Prune,
    RestorePosture,
    TakeSnapshots,
)
from backstay.domain.zfs import WRITER, Dataset, Guid, HostFacts, HostListing
from backstay.ports.host import RootState, SurveyRequest
from backstay_host import protocol as wire

_FUTURE_TXG = 1 << 62
"""A predicted snapshot is newer than every real one."""


class DryRunHost(DryRoleRequests):
    """A `HostPort` that changes nothing and collects argument vectors in `commands`.

    `log` is shared by several hosts and keeps the order over all of them, as (host, vector).
    """

    def __init__(
        self, host: OpenSshHost, log: list[tuple[str, tuple[str, ...]]] | None = None
    ) -> None:
        self.host = host
        self.commands: list[tuple[str, ...]] = []
        self.log = [] if log is None else log

    @property
    def name(self) -> str:
        """`site/host`."""
        return self.host.name

    async def hello(self) -> HostFacts:
        """See `HostPort`."""
        return await self.host.hello()

    async def survey(self, request: SurveyRequest) -> HostListing:
        """See `HostPort`."""
        return await self.host.survey(request)

    async def claim(self, roots: Sequence[str]) -> tuple[RootState, ...]:
        """What a claim would find, from a look at the roots."""
        looks = tuple((root, False) for root in roots)
        listing = await self.host.survey(SurveyRequest(roots=looks, sync=False))
        found = listing.datasets
        return tuple(self._state(root, found.get(root)) for root in roots)

    def _state(self, root: str, found: Dataset | None) -> RootState:
        if found is None:
            return RootState(root=root, outcome="Missing", writer="")
        writer = found.properties.get(WRITER, "")
        _, _, installation = writer.partition(":")
        foreign = bool(writer) and installation != self.host.installation_id
        return RootState(root=root, outcome="Foreign" if foreign else "Held", writer=writer)

    async def snapshot(self, step: TakeSnapshots) -> tuple[MadeSnapshot, ...]:
        """The snapshots as they will be, with identities that only this preview knows."""
        await self.would("snapshot", translate.take_snapshots(step))
        return tuple(_predict(dataset, step) for dataset, _ in step.datasets)

    async def create_parents(self, step: CreateParents) -> None:
        """See `HostPort`."""
        await self.would("create", translate.create_parents(step))

    async def abort_receive(self, step: AbortReceive) -> None:
        """See `HostPort`."""
        await self.would("abort", translate.abort_receive(step))

    async def restore_posture(self, step: RestorePosture) -> None:
        """See `HostPort`."""
        await self.would("posture", translate.restore_posture(step))

    async def prune(self, step: Prune) -> tuple[ItemFailure, ...]:
        """See `HostPort`."""
        await self.would("prune", translate.prune(step))
        return ()

    async def rename(self, moves: Sequence[Move]) -> tuple[ItemFailure, ...]:
        """See `HostPort`."""
        await self.would("rename", translate.rename(moves))
        return ()

    async def clone(self, clones: Sequence[NewClone]) -> tuple[ItemFailure, ...]:
        """See `HostPort`."""
        await self.would("clone", translate.clone(clones))
        return ()

    async def promote(self, promotions: Sequence[Promotion]) -> tuple[ItemFailure, ...]:
        """See `HostPort`."""
        await self.would("promote", translate.promote(promotions))
        return ()

    async def rollback(self, rewinds: Sequence[Rewind]) -> tuple[ItemFailure, ...]:
        """See `HostPort`; that the list has changed shows here, too."""
        answer = await self.would("rollback", translate.rollback(rewinds))
        return translate.item_failures(translate.result(wire.Done, answer.result, self.name))

    async def label(self, marks: Sequence[Mark]) -> tuple[ItemFailure, ...]:
        """See `HostPort`."""
        await self.would("label", translate.label(marks))
        return ()

    async def would(self, request: str, body: object) -> Answer:
        """Collect what the host would run for a request."""
        answer = await self.host.ask(request, body, dry_run=True)
        self.commands += answer.commands
        self.log += [(self.name, tuple(command)) for command in answer.commands]
        return answer


def _predict(dataset: str, step: TakeSnapshots) -> MadeSnapshot:
    digest = sha256(f"{dataset}@{step.snapshot}".encode()).digest()
    guid = Guid(int.from_bytes(digest[:8], "big") >> 1)
    marks = tuple(
        f"backstay_{b.lineage}_{guid:016x}_{_FUTURE_TXG}"
        for b in step.bookmarks
        if (b.dataset, b.snapshot) == (dataset, step.snapshot)
    )
    return MadeSnapshot(
        dataset=dataset, name=step.snapshot, guid=guid, createtxg=_FUTURE_TXG, bookmarks=marks
    )
