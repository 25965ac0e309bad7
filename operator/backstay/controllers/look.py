"""Everything that a pair's sources are sent to, read once: for who is about to decide."""

from __future__ import annotations

import asyncio

from backstay.api.values import is_below
from backstay.controllers.machines import machine_of
from backstay.controllers.shares import Shares
from backstay.domain.errors import BackstayError, Refused
from backstay.domain.pairs import (
    HostKey,
    PairTask,
    Route,
    RouteObservation,
    RouteTask,
    Unseen,
)
from backstay.observe.route import observe_route
from backstay.plan.resolve import ResolvedPair
from backstay.plan.room import RouteLook
from backstay.ports.clock import Clock
from backstay.ports.host import HostPort


async def look_around(pair: ResolvedPair, shares: Shares, clock: Clock) -> tuple[RouteLook, ...]:
    """Each route from the pair's source hosts that carries a source of the pair, and both sides.

    Nothing is changed; a host that does not answer is `Unseen`.
    """
    return tuple(
        await asyncio.gather(
            *(_look(task, route, shares, clock) for route, task in _tasks(pair, shares).items())
        )
    )


def _tasks(pair: ResolvedPair, shares: Shares) -> dict[Route, RouteTask]:
    found: dict[Route, dict[str, PairTask]] = {}
    for host in dict.fromkeys(route.source for route in pair.shares):
        at_host = shares.at_source(host)
        for route, task in at_host:
            if task.key == pair.key or _meets(task, pair):
                found.setdefault(route, {})[task.key] = task
    return {
        route: RouteTask(
            source_host=str(route.source),
            target_host=str(route.target),
            receive_roots=shares.finder.receive_roots(route.target),
            short_id=shares.short_id,
            pairs=tuple(tasks.values()),
        )
        for route, tasks in found.items()
    }


def _meets(task: PairTask, pair: ResolvedPair) -> bool:
    """Whether any of the pair's sources, or of those below or above them, is one of the task's."""
    mine = [entry.source for share in pair.shares.values() for entry in share.entries]
    theirs = [entry.source for entry in task.entries]
    return any(a == b or is_below(a, b) or is_below(b, a) for a in mine for b in theirs)


async def _look(task: RouteTask, route: Route, shares: Shares, clock: Clock) -> RouteLook:
    source, target = await asyncio.gather(_open(route.source, shares), _open(route.target, shares))
    try:
        observation = await observe_route(task, source, target, clock)
    except Refused as error:
        unseen = Unseen(reason=error.reason, message=error.message)
        observation = RouteObservation(source=unseen, target=unseen, synced_at=clock.now())
    machine = machine_of(route.source, shares.registry)
    return RouteLook(route=route, machine=machine, task=task, observation=observation)


async def _open(key: HostKey, shares: Shares) -> HostPort | Unseen:
    try:
        return await shares.finder.find(key)
    except BackstayError as error:
        return Unseen(reason=error.reason, message=error.message)
