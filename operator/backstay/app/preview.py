"""`kubectl backstay preview`: the very commands that a pass would run now, reading only.

It runs the operator's own cycle on ports that change nothing (rule *Honest dry run*). Snapshots
that do not exist yet are shown with made-up GUIDs: ZFS gives the real ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

from backstay.act.route import Hands
from backstay.adapters.host.dryrun import DryRunHost
from backstay.adapters.host.hosts import OpenSshHosts
from backstay.api.words import Reason
from backstay.app.preview_resolution import as_if_resolved
from backstay.controllers.cycle import Cycle, CycleHooks, go_on_alone
from backstay.controllers.shares import Shares
from backstay.domain.errors import BackstayError
from backstay.domain.pairs import Conflict, HostKey, Route, RouteObservation, RouteTask, Unseen
from backstay.domain.zfs import HostListing
from backstay.observe.route import observe_route
from backstay.plan.checks import writers_of_others
from backstay.plan.direction import reversed_pairs
from backstay.plan.local import Alone
from backstay.plan.replication import Seen, see_route
from backstay.plan.resolution import Round
from backstay.plan.resolve import ResolvedPair
from backstay.plan.transfers import Lane
from backstay.ports.clock import Clock
from backstay.ports.host import Endpoint, TransferPort

Command = tuple[str, tuple[str, ...]]
"""(`site/host`, argument vector)."""


class DryRunDirectory:
    """A `HostDirectory` whose hosts change nothing and write down, in order, what they would."""

    def __init__(self, hosts: OpenSshHosts) -> None:
        self._hosts = hosts
        self._open: dict[Endpoint, DryRunHost] = {}
        self.log: list[Command] = []

    def open(self, endpoint: Endpoint) -> DryRunHost:
        """See `HostDirectory`."""
        if endpoint not in self._open:
            self._open[endpoint] = DryRunHost(self._hosts.open(endpoint), self.log)
        return self._open[endpoint]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutePreview:
    """What a pass over one route would do: commands in order, and why members are left alone."""

    route: Route
    commands: tuple[Command, ...]
    background: tuple[Command, ...]
    """Streams that may outlast the pass: seeds and resumed ones."""
    problems: dict[str, Conflict]
    """Member's target dataset (or a host) → why nothing is done there."""


async def preview_pair(
    resolved: ResolvedPair, shares: Shares, transfers: TransferPort, clock: Clock
) -> list[RoutePreview]:
    """A preview for each route of the pair."""
    found = []
    for route in resolved.shares:
        task = RouteTask(
            source_host=str(route.source),
            target_host=str(route.target),
            receive_roots=shares.finder.receive_roots(route.target),
            short_id=shares.short_id,
            pairs=(resolved.shares[route],),
            neighbours=shares.neighbours(route, {resolved.key}),
        )
        found.append(await _preview_route(route, task, shares, transfers, clock))
    return found


async def _preview_route(
    route: Route, task: RouteTask, shares: Shares, transfers: TransferPort, clock: Clock
) -> RoutePreview:
    source, target = await asyncio.gather(_open(route.source, shares), _open(route.target, shares))
    observation = await observe_route(task, source, target, clock)
    foreign = writers_of_others(task, observation.target)
    observation = replace(observation, foreign_writers=foreign)
    seen = see_route(task, observation)
    if seen is None or isinstance(source, Unseen) or isinstance(target, Unseen):
        sides = ((route.source, observation.source), (route.target, observation.target))
        problems = {
            str(key): Conflict(reason=side.reason, message=side.message)
            for key, side in sides
            if isinstance(side, Unseen)
        }
        commands = await _alone(source, task, observation, clock)
        return RoutePreview(route=route, commands=commands, background=(), problems=problems)
    for pair in reversed_pairs(seen):
        shares.book.active_site[pair] = route.target.site
    lanes: list[Lane] = []
    cycle = _PreviewCycle(
        route=route,
        hands=Hands(source=source, target=target, transfers=transfers),
        seen=seen,
        observation=observation,
        clock=clock,
        hooks=CycleHooks(
            start_lane=lambda lane, _hands: lanes.append(lane),
            failed=lambda _transfer, _why: None,
            carry=lambda _pipe: nullcontext(lambda _index, _moved: None),
        ),
    )
    log = source.log
    began = len(log)
    await cycle.run()
    ran = len(log)
    for lane in lanes:
        for pipe in lane.pipes:
            await transfers.transfer(source, target, pipe, lambda _index, _moved: None)
    return RoutePreview(
        route=route,
        commands=tuple(log[began:ran]),
        background=tuple(log[ran:]),
        problems={**_lasting(seen, cycle.seen), **cycle.failures},
    )


def _lasting(before: Seen, after: Seen) -> dict[str, Conflict]:
    """The conflicts but for those that were over once replicas had been renamed."""
    return {
        target: conflict
        for target, conflict in before.conflicts.items()
        if conflict.reason != Reason.RENAMING or target in after.conflicts
    }


async def _alone(
    source: DryRunHost | Unseen, task: RouteTask, observation: RouteObservation, clock: Clock
) -> tuple[Command, ...]:
    """What is done at the source while only the target cannot be seen."""
    listing = observation.source
    if isinstance(source, Unseen) or not isinstance(listing, HostListing):
        return ()
    began = len(source.log)
    due = frozenset(pair.key for pair in task.pairs)
    alone = Alone(task=task, source=listing, due=due)
    await go_on_alone(source, alone, clock.now(), asyncio.Lock())
    return tuple(source.log[began:])


class _PreviewCycle(Cycle):
    """The operator's cycle, in a world where every planned stream arrives."""

    async def _after_round(self, planned: Round) -> HostListing:
        return as_if_resolved(self.seen.target, planned)

    async def _read_target(self, datasets: tuple[str, ...]) -> HostListing:
        return _as_if_received(self.seen, datasets)


def _as_if_received(seen: Seen, datasets: Sequence[str]) -> HostListing:
    """The target's listing with the newest snapshot of each member that was sent."""
    updated = dict(seen.target.datasets)
    for member in seen.members:
        replica, source = updated.get(member.target), seen.source.datasets.get(member.source)
        if member.target not in datasets or replica is None or source is None:
            continue
        newest = source.newest_snapshot
        if newest is not None and replica.snapshot_by_guid(newest.guid) is None:
            arrived = replace(newest, dataset=replica.name)
            updated[member.target] = replace(replica, snapshots=(*replica.snapshots, arrived))
    return replace(seen.target, datasets=updated)


async def _open(key: HostKey, shares: Shares) -> DryRunHost | Unseen:
    try:
        host = await shares.finder.find(key)
    except BackstayError as error:
        return Unseen(reason=error.reason, message=error.message)
    assert isinstance(host, DryRunHost)
    return host
