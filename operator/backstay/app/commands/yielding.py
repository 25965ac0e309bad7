"""`kubectl backstay yield`: says what room for a rollback costs, asks, and writes the approval."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from backstay.adapters.kube.client import default_kubeconfig, default_namespace
from backstay.api.kinds import YIELD
from backstay.api.v1alpha1.approval import ANNOTATION_LENGTH
from backstay.api.v1alpha1.replicationpair import ReplicationPair
from backstay.api.v1alpha1.yielding import YieldSpec
from backstay.api.values import duration_seconds
from backstay.app.commands.asked import Asked
from backstay.app.commands.cluster import Cluster, NotFound
from backstay.app.commands.looking import looking
from backstay.app.commands.screen import Screen
from backstay.controllers.look import look_around
from backstay.domain.pairs import Conflict, typed
from backstay.plan.room import Offer, RouteLook, offer_room
from backstay.plan.yielding import LONGEST
from backstay.report.room import refusal, room_document, room_lines, yield_of

Look = Callable[[str], Awaitable[Sequence[RouteLook]]]
"""Reads all that the sources of a pair (its name) are sent to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What was typed. `members` empty: all. `yes`: nobody is asked."""

    pair: str
    rest_s: int
    to: str | None = None
    members: Sequence[str] = ()
    lose_base: bool = False
    yes: bool = False
    dry_run: bool = False


def rest_of(text: str) -> int:
    """The seconds of a duration; ValueError for none, and for more than a day."""
    seconds = duration_seconds(text)
    if timedelta(seconds=seconds) > LONGEST:
        raise ValueError(f"{text} is more than a day, for which no pair is rested")
    return seconds


def hosts_of(asked: Asked, installation: str | None) -> Look:
    """The hosts themselves, over ssh, reading only."""
    config = asked.kubeconfig or default_kubeconfig()
    namespace = asked.namespace or default_namespace(config)

    async def look(name: str) -> Sequence[RouteLook]:
        named = installation or f"{namespace}/backstay"
        async with looking(config, namespace, named) as world:
            resolved = world.shares.resolve(namespace, name)
            if resolved is None or isinstance(resolved, Conflict):
                why = "is invalid" if resolved is None else resolved.message
                raise NotFound(f"ReplicationPair {namespace}/{name}: {world.unread or why}")
            return await look_around(resolved, world.shares, world.clock)

    return look


async def yield_pair(cluster: Cluster, screen: Screen, wanted: Wanted, look: Look) -> int:
    """The approval is in the pair's annotation; 0 then, or when `dry_run` has shown it, else 1."""
    pair = await cluster.pair(wanted.pair)
    looks = await look(wanted.pair)
    key = f"{pair.metadata.namespace}/{pair.metadata.name}"
    to = None if wanted.to is None else wanted.to.rpartition("@")[2]
    offer = offer_room(key, looks, to, wanted.members)
    why = _why_not(pair, wanted, offer)
    if not screen.is_json:
        _show(screen, offer)
        if why:
            screen.line(why, "bad")
    spec = None
    if not why:
        spec = yield_of(offer, cluster.clock.now() + timedelta(seconds=wanted.rest_s))
        if len(json.dumps(spec.document())) > ANNOTATION_LENGTH:
            why, spec = "the list is too long for one approval: name some with --member", None
            screen.complain(why)
    question = f"Make room as shown, for {wanted.rest_s} s?"
    is_asked = spec is not None and not wanted.dry_run
    is_written = is_asked and screen.agreed(question, yes=wanted.yes)
    if spec is not None and is_written:
        # What was read counts, but the time begins when it was agreed to.
        spec = yield_of(offer, cluster.clock.now() + timedelta(seconds=wanted.rest_s))
        await cluster.approve(pair, spec, of=YIELD)
    if screen.is_json:
        screen.document(yield_document(offer, spec, why, written=is_written))
    else:
        _conclude(screen, key, spec, written=is_written, wanted=wanted)
    return 0 if is_written or (spec is not None and wanted.dry_run) else 1


def _why_not(pair: ReplicationPair, wanted: Wanted, offer: Offer) -> str:
    if pair.spec.suspend:
        return "refused: the pair is suspended (spec.suspend), and no pass would do it"
    if not offer.members:
        return "nothing can make room"
    if offer.lost and not wanted.lose_base:
        return refusal(offer.lost, sum(len(m.targets) for m in offer.members))
    return ""


def _show(screen: Screen, offer: Offer) -> None:
    for member in offer.members:
        screen.line(f"{member.name}: {member.source.name} makes room for @{member.to.name}")
        for said in room_lines(member):
            is_bad = said.startswith(("GONE", "NO BASE"))
            screen.line(f"  {said}", "bad" if is_bad else None)
    for name, why in offer.left_out.items():
        screen.line(f"{name}: {why}", "warn")


def _conclude(
    screen: Screen, pair: str, spec: YieldSpec | None, *, written: bool, wanted: Wanted
) -> None:
    if spec is None:
        return
    document = spec.document()
    if written:
        screen.line(
            f"approved until {document['until']}, for exactly this list; the operator's next pass "
            f"does it: roll back once Yielding is True (`kubectl backstay explain {typed(pair)}`)"
        )
    elif wanted.dry_run:
        screen.line(f"not written: {json.dumps(document)}")
    else:
        screen.line("nothing was approved")


def yield_document(
    offer: Offer, spec: YieldSpec | None, why_not: str, *, written: bool
) -> dict[str, Any]:
    """The same for programs; its fields stay."""
    return {
        "members": [room_document(member) for member in offer.members],
        "leftOut": dict(offer.left_out),
        "refused": why_not or None,
        "approval": None if spec is None else spec.document(),
        "written": written,
    }
