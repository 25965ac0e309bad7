"""Reads both sides of a route into one observation: two requests, whatever the members."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import replace

from backstay.api.values import is_below
from backstay.domain.errors import BackstayError, Refused
from backstay.domain.moves import aside_root
from backstay.domain.pairs import RouteObservation, RouteTask, Side, Unseen
from backstay.domain.steps import MadeSnapshot
from backstay.domain.zfs import Bookmark, Dataset, HostListing, Snapshot
from backstay.ports.clock import Clock
from backstay.ports.host import HostPort, SurveyRequest


async def observe_route(
    task: RouteTask, source: HostPort | Unseen, target: HostPort | Unseen, clock: Clock
) -> RouteObservation:
    """Both sides as they are now; a side that does not answer is `Unseen`, never empty.

    A refusal by the fence is raised: another leader or installation acts there.
    """
    began = clock.now()
    seen_source, seen_target = await asyncio.gather(
        survey_side(source, source_request(task)), _survey_target(target, task)
    )
    return RouteObservation(
        source=seen_source,
        target=seen_target,
        synced_at=began,
    )


async def read_target(host: HostPort, task: RouteTask) -> HostListing:
    """The target as it is now, with all that was set aside in its pools. Raises as the host."""
    listing = await host.survey(target_request(task))
    roots = [name for name in _aside_roots(task) if name in listing.datasets]
    if not roots:
        return listing
    wanted = SurveyRequest(roots=tuple((root, True) for root in roots), sync=False)
    aside = await host.survey(wanted)
    return replace(
        listing,
        datasets={**listing.datasets, **aside.datasets},
        busy=tuple(dict.fromkeys((*listing.busy, *aside.busy))),
    )


def _aside_roots(task: RouteTask) -> list[str]:
    return sorted({aside_root(root) for root in task.receive_roots})


async def _survey_target(host: HostPort | Unseen, task: RouteTask) -> Side:
    if isinstance(host, Unseen):
        return host
    return await _learnt(read_target(host, task))


def source_request(task: RouteTask) -> SurveyRequest:
    """Every entry's source, flushed first: what is unchanged then is good as of now."""
    roots = {(e.source, e.recursive) for p in task.pairs for e in p.entries}
    return SurveyRequest(roots=without_covered(roots), sync=True, settings=_settings(task))


def target_request(task: RouteTask) -> SurveyRequest:
    """Every entry's replica with its parents, the receive roots, and where things are set aside."""
    roots = {(e.target, e.recursive) for p in task.pairs for e in p.entries}
    parents = {
        (parent, False) for name, _ in roots for parent in _parents(name, task.receive_roots)
    }
    receive_roots = {(root, False) for root in (*task.receive_roots, *_aside_roots(task))}
    return SurveyRequest(
        roots=without_covered(roots | parents | receive_roots),
        sync=False,
        settings=_settings(task),
    )


def _settings(task: RouteTask) -> bool:
    return any(pair.follows_settings for pair in task.pairs)


def without_covered(roots: set[tuple[str, bool]]) -> tuple[tuple[str, bool], ...]:
    """Each dataset once, trees first: what a recursive root covers is not asked for again."""
    trees = sorted(name for name, recursive in roots if recursive)
    tops = [t for t in trees if not any(is_below(t, other) for other in trees)]
    lone = {
        name
        for name, recursive in roots
        if not recursive and not any(name == t or is_below(name, t) for t in tops)
    }
    return tuple((t, True) for t in tops) + tuple((name, False) for name in sorted(lone))


async def survey_side(host: HostPort | Unseen, request: SurveyRequest) -> Side:
    """The host's listing, or why nothing was learnt."""
    if isinstance(host, Unseen):
        return host
    return await _learnt(host.survey(request))


async def _learnt(reading: Awaitable[HostListing]) -> Side:
    try:
        return await reading
    except Refused:
        raise
    except BackstayError as error:
        return Unseen(reason=error.reason, message=error.message)


async def read_anew(listing: HostListing, host: HostPort, datasets: Sequence[str]) -> HostListing:
    """The listing with these datasets read anew (rule *Commit truth*), the others as they were."""
    if not datasets:
        return listing
    anew = set(datasets)
    roots = tuple((name, False) for name in sorted(anew))
    fresh = await host.survey(SurveyRequest(roots=roots, sync=False))
    kept = {n: d for n, d in listing.datasets.items() if n not in anew}
    busy = tuple(name for name in listing.busy if name not in anew)
    return replace(listing, datasets={**kept, **fresh.datasets}, busy=(*busy, *fresh.busy))


def with_made(listing: HostListing, made: Sequence[MadeSnapshot]) -> HostListing:
    """The source's listing with snapshots that were just made and read back."""
    datasets = dict(listing.datasets)
    for one in made:
        if one.dataset in datasets:
            datasets[one.dataset] = _with_snapshot(datasets[one.dataset], one)
    return replace(listing, datasets=datasets)


def _with_snapshot(dataset: Dataset, made: MadeSnapshot) -> Dataset:
    snapshots = dataset.snapshots
    if dataset.snapshot_by_guid(made.guid) is None:
        fresh = Snapshot(
            dataset=made.dataset,
            name=made.name,
            guid=made.guid,
            createtxg=made.createtxg,
            ivset=made.ivset,
        )
        snapshots = (*snapshots, fresh)
    known = {b.name for b in dataset.bookmarks}
    bookmarks = tuple(
        Bookmark(
            dataset=made.dataset,
            name=name,
            guid=made.guid,
            createtxg=made.createtxg,
            ivset=made.ivset,
        )
        for name in made.bookmarks
        if name not in known
    )
    return replace(dataset, snapshots=snapshots, bookmarks=(*dataset.bookmarks, *bookmarks))


def _parents(name: str, roots: Sequence[str]) -> list[str]:
    """The datasets between a receive root and `name`, both left out."""
    found = []
    parent = name.rpartition("/")[0]
    while parent and parent not in roots and any(is_below(parent, r) for r in roots):
        found.append(parent)
        parent = parent.rpartition("/")[0]
    return found
