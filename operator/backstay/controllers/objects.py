"""Work on single objects: their status, a pair's finalizer and farewell, a Site's hosts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol, TypeVar

import structlog

from backstay.api.v1alpha1.meta import Status
from backstay.api.v1alpha1.protectionpolicy import ProtectionPolicy, ProtectionPolicyStatus
from backstay.api.v1alpha1.replicationpair import ReplicationPair, ReplicationPairStatus
from backstay.api.v1alpha1.site import Site, SiteStatus
from backstay.api.words import Reason
from backstay.controllers.book import UNSEEN_FIRST_S
from backstay.controllers.farewell import Farewell
from backstay.controllers.keys import Key, ObjectKey
from backstay.controllers.machines import PoolsSeen
from backstay.controllers.registry import Entry, Invalid
from backstay.controllers.scheduler import Again
from backstay.controllers.shares import Shares
from backstay.controllers.site import concerned
from backstay.domain.errors import BackstayError, Stalled
from backstay.domain.pairs import Conflict, HostKey
from backstay.plan.resolve import ResolvedPair, policy_conflict
from backstay.ports.clock import Clock
from backstay.ports.kube import Gone, KubePort, ObjectRef
from backstay.report.fault import fault_status, judged_rpo_s
from backstay.report.invalid import invalid_status
from backstay.report.pair import PairFacts, pair_status, recovery_of
from backstay.report.policy import policy_status
from backstay.report.site import HostView, first_site_status, host_view, site_status

log = structlog.get_logger(__name__)

FINALIZER = "backstay.dev/bookmarks"
SITE_LOOK_S = 60.0
PATIENCE_S: Mapping[str, float] = {
    # For how long at most a Site leaves a host alone that did not answer. Without a Secret nobody
    # logs in; what a human mends at the host is seen within the minute; a lost host has time.
    Reason.SECRET_MISSING: UNSEEN_FIRST_S,
    Reason.UNREACHABLE: 120.0,
    Reason.TIMEOUT: 120.0,
}
HELLO_DEADLINE_S = 45.0
"""A host that is fed the program through a slow link for the first time needs some seconds."""
STREAM_LOOK_S = 10.0
"""A stream that stops is said within half a minute. The look is at memory alone."""
CLOCK_SET_S = 1.0
"""A clock that is slewed gains less than this from one look at a Site to the next."""
POLICY_LOOK_S = 3600.0
"""Exceptions run out by the day."""


class StatusSink(Protocol):
    """Where a status goes: it is written when and if it is worth a write."""

    def publish(self, ref: ObjectRef, status: Mapping[str, Any], *, rpo_s: float | None) -> None:
        """The object's status is to become this one."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectHooks:
    """Whom the work on objects tells what."""

    ring: Callable[[Key], None]
    sink: StatusSink
    broke: Callable[[str], None] = lambda _kind: None
    """Called with the kind of an object when a fault of ours ended the work on it."""


class ObjectRuns:
    """Runs of object keys; one instance serves all objects of one leader."""

    def __init__(
        self, shares: Shares, kube: KubePort, clock: Clock, farewell: Farewell, hooks: ObjectHooks
    ) -> None:
        self._registry = shares.registry
        self._shares = shares
        self._kube = kube
        self._sink = hooks.sink
        self._clock = clock
        self._farewell = farewell
        self._hooks = hooks
        self._greeted: dict[str, float] = {}
        """Sites, by uid, whose hosts were asked → how far our wall clock was from the other one."""
        self._unheld: set[ObjectKey] = set()
        """Pairs that could not be held when they were looked at last."""
        self._pools = PoolsSeen(shares.registry)

    async def run(self, key: ObjectKey) -> Again | None:
        """The object's status is true as of now; returns when it must be looked at again.

        A fault of ours is said in the status and raised: who runs this logs it and backs off.
        """
        entry = self._registry.entry(key)
        if entry is None:
            if key.kind == ReplicationPair.info.kind:
                self._unheld.discard(key)
                await self._farewell.gone(key)
            return None
        try:
            return await self._work(entry)
        except BackstayError:
            raise
        except Exception as bug:
            self._say_fault(entry, bug)
            raise

    def _say_fault(self, entry: Entry, bug: Exception) -> None:
        self._hooks.broke(entry.ref.kind)
        said = f"{entry.ref}: a fault of backstay itself, please report it: {bug!r}"
        known = self._registry.status(entry.ref) or entry.status
        status = fault_status(known, said, entry.generation, self._now())
        self._sink.publish(entry.ref, status, rpo_s=judged_rpo_s(known))

    async def _work(self, entry: Entry) -> Again | None:
        match entry.value:
            case Invalid() as invalid:
                if entry.deleting and FINALIZER in entry.finalizers:
                    await self._farewell.release(entry, "; ".join(invalid.errors))
                    return None
                before = entry.status.get("conditions", ())
                status = invalid_status(before, invalid.errors, invalid.generation, self._now())
                self._sink.publish(entry.ref, status, rpo_s=None)
                return None
            case Site() as site:
                return await self._site(entry, site)
            case ProtectionPolicy() as policy:
                return self._policy(entry, policy)
            case ReplicationPair() as pair:
                return await self._pair(entry, pair)

    async def _pair(self, entry: Entry, pair: ReplicationPair) -> Again | None:
        key = f"{entry.ref.namespace}/{entry.ref.name}"
        if entry.deleting:
            return await self._farewell.run(entry, pair)
        resolved = self._shares.resolve(entry.ref.namespace, entry.ref.name)
        assert resolved is not None
        if isinstance(resolved, Conflict):
            self._unheld.add(entry.key)
        else:
            self._unheld.discard(entry.key)
        is_done = True
        if isinstance(resolved, ResolvedPair):
            if FINALIZER not in entry.finalizers:
                # Before anything of ours exists at a host, so that no bookmark is left behind.
                try:
                    await self._kube.patch_finalizers(entry.ref, add=(FINALIZER,))
                except Gone:
                    return None
                except Stalled as refused:
                    return self._refused(entry, pair, refused)
            wanted = {} if resolved.suspended else resolved.shares
            await self._farewell.end_streams(key, wanted)
            new = [route for route in wanted if self._shares.is_new(route, key)]
            for route in new:
                self._hooks.ring(route)
            is_done = not new
        before = _parsed(ReplicationPairStatus, entry)
        handled = entry.requested_at if is_done else before.last_handled_request
        facts = self._facts(entry, pair, resolved, handled)
        if not is_done and before.conditions:
            # Nothing is known of the new spec until a pass has served it.
            facts = replace(facts, generation=before.observed_generation)
        status = pair_status(before, facts, self._now())
        rpo_s = float(facts.rpo_s) if facts.rpo_s is not None else None
        self._sink.publish(entry.ref, status.document(), rpo_s=rpo_s)
        return self._next_judgement(facts, before)

    def _refused(self, entry: Entry, pair: ReplicationPair, refused: Stalled) -> Again:
        """The pair says why it cannot be held, and is not begun: rights may be given later."""
        said = f"{entry.ref}: its finalizer {FINALIZER} cannot be set: {refused.message}"
        before = _parsed(ReplicationPairStatus, entry)
        why = Conflict(reason=refused.reason, message=said)
        facts = self._facts(entry, pair, why, before.last_handled_request)
        status = pair_status(before, facts, self._now())
        self._sink.publish(entry.ref, status.document(), rpo_s=None)
        return Again(in_s=SITE_LOOK_S)

    def _facts(
        self,
        entry: Entry,
        pair: ReplicationPair,
        resolved: ResolvedPair | Conflict,
        handled: str | None,
    ) -> PairFacts:
        key = f"{entry.ref.namespace}/{entry.ref.name}"
        if isinstance(resolved, Conflict):
            known = self._shares.book.all_states(key)
            return PairFacts(
                generation=entry.generation,
                requested_at=handled,
                active_site=None,
                rpo_s=self._shares.rpo_s(pair),
                suspended=pair.spec.suspend,
                refusal=resolved,
                routes=len(known),
                states=known,
            )
        return PairFacts(
            generation=entry.generation,
            requested_at=handled,
            active_site=resolved.active_site,
            rpo_s=resolved.rpo_s,
            suspended=resolved.suspended,
            refusal=None,
            routes=len(resolved.shares),
            states=self._shares.book.pair_states(key, resolved.shares),
            interval_s=resolved.interval_s,
            durations_s=tuple(self._shares.book.durations_s(r) for r in resolved.shares),
            streams=self._shares.book.streams_of(key),
        )

    def _next_judgement(self, facts: PairFacts, before: ReplicationPairStatus) -> Again | None:
        """RPOMet turns false by the clock, also when no pass ends; a stream may come to a stop."""
        waits = [STREAM_LOOK_S] if facts.streams else []
        if facts.suspended:
            waits.append(SITE_LOOK_S)  # no pass judges it, and its lag grows
        recovery = recovery_of(facts, before)
        if recovery is not None and facts.rpo_s is not None:
            left = facts.rpo_s - (self._now() - recovery.time).total_seconds()
            waits += [left + 0.5] if left >= 0 else []
        return Again(in_s=min(waits)) if waits else None

    def _policy(self, entry: Entry, policy: ProtectionPolicy) -> Again:
        mine = [
            p
            for p in self._registry.pairs()
            if p.metadata.namespace == entry.ref.namespace
            and p.spec.policy_ref.name == entry.ref.name
        ]
        status = policy_status(
            _parsed(ProtectionPolicyStatus, entry),
            policy,
            policy_conflict(policy, self._now().date()),
            pairs=len(mine),
            now=self._now(),
        )
        self._sink.publish(entry.ref, status.document(), rpo_s=None)
        return Again(in_s=POLICY_LOOK_S)

    async def _site(self, entry: Entry, site: Site) -> Again:
        namespace, name = entry.ref.namespace, entry.ref.name
        keys = [HostKey(namespace, name, host.name) for host in site.spec.hosts]
        before = _parsed(SiteStatus, entry)
        if not before.conditions and entry.ref.uid not in self._greeted:
            # A first login may take most of a minute, for which nobody should look at nothing.
            names = [key.host for key in keys]
            before = first_site_status(names, generation=entry.generation, now=self._now())
            self._sink.publish(entry.ref, before.document(), rpo_s=None)
        views = await asyncio.gather(*(self._greet(key) for key in keys))
        status = site_status(
            before,
            self._with_twins(dict(zip(keys, views, strict=True))),
            generation=entry.generation,
            requested_at=entry.requested_at,
            now=self._now(),
        )
        self._sink.publish(entry.ref, status.document(), rpo_s=None)
        self._wake_pairs(entry)
        return Again(in_s=self._next_look_s(entry, dict(zip(keys, views, strict=True))))

    def _with_twins(self, seen: Mapping[HostKey, HostView]) -> list[HostView]:
        """The hosts with who else shows a pool of theirs, as far as all were asked."""
        for key, view in seen.items():
            self._pools.show(key, (pool.guid for pool in view.pools))
        return [
            replace(
                view,
                twins={
                    pool.name: other
                    for pool in view.pools
                    if (other := self._pools.elsewhere(key, pool.guid)) is not None
                },
            )
            for key, view in seen.items()
        ]

    def _next_look_s(self, entry: Entry, seen: Mapping[HostKey, HostView]) -> float:
        """A minute while all is well; who does not answer is asked again later each time."""
        book, asked = self._shares.book, (entry.ref.uid, entry.generation, entry.requested_at)
        pauses = []
        for key, view in seen.items():
            if view.problem is not None:
                patience_s = PATIENCE_S.get(view.problem.reason, SITE_LOOK_S)
                pauses.append(book.missed(key, asked, patience_s))
                continue
            pauses.append(SITE_LOOK_S)
            if book.answered(key):
                for route in self._shares.host_is_back(key):
                    self._hooks.ring(route)
        return min(pauses)

    def _wake_pairs(self, site: Entry) -> None:
        """Pairs that were refused are looked at anew: what stood in their way may be gone.

        All of the Site are when our wall clock was set, for it tells the age of their points.
        """
        offset_s = self._now().timestamp() - self._clock.monotonic_s()
        before_s = self._greeted.get(site.ref.uid, offset_s)
        self._greeted[site.ref.uid] = offset_s
        was_set = abs(offset_s - before_s) > CLOCK_SET_S
        for key in concerned(site, self._registry):
            if key in self._unheld or (was_set and key != site.key):
                self._hooks.ring(key)

    async def _greet(self, key: HostKey) -> HostView:
        try:
            host = await self._shares.finder.find(key, within_s=SITE_LOOK_S / 2)
            async with asyncio.timeout(HELLO_DEADLINE_S):
                facts = await host.hello()
        except BackstayError as error:
            if error.reason == Reason.KEY_REFUSED:
                self._shares.finder.refused(key)
            return HostView(
                name=key.host, problem=Conflict(reason=error.reason, message=error.message)
            )
        except TimeoutError:
            said = f"{key} did not answer within {HELLO_DEADLINE_S:.0f} s: see its load and sshd"
            return HostView(name=key.host, problem=Conflict(reason=Reason.TIMEOUT, message=said))
        return host_view(key, facts, self._shares.finder.receive_roots(key))

    def _now(self) -> datetime:
        return self._clock.now()


StatusT = TypeVar("StatusT", bound=Status)


def _parsed(model: type[StatusT], entry: Entry) -> StatusT:
    """The status as last observed; a status that this version cannot read counts as none."""
    try:
        return model.model_validate(dict(entry.status))
    except ValueError:
        return model()
