"""The orders of one stream: looked at once more, then run one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from backstay_host.children import Command, Running, moved_bytes
from backstay_host.clock import now_s
from backstay_host.fence import DatasetLock, Fence
from backstay_host.identity import (
    Identity,
    check_owner,
    check_replica,
    read_identities,
    read_local_properties,
    with_parents,
)
from backstay_host.refusal import Refused
from backstay_host.request import Request
from backstay_host.values import ItemOutcome, ReceiveOrder, SendOrder, Ticket
from backstay_host.zfs import argv, parsing

Fds = tuple[int, ...]
FOREVER = float("inf")
STDIN, STDOUT = 0, 1


@dataclass(slots=True)
class Now:
    """The child at work, as the watching thread sees it."""

    index: int = 0
    child: Running | None = None
    sent: int = -1

    def bytes_moved(self, sending: bool) -> int:
        """Bytes that the child moved so far; -1 while nothing is known."""
        child = self.child
        if child is None:
            return -1
        return self.sent if sending else moved_bytes(child.pid)


@dataclass(slots=True)
class Orders:
    """The orders of a ticket, under the fence of the session that issued it."""

    request: Request
    fence: Fence
    ticket: Ticket
    now: Now = field(default_factory=Now)
    report: Callable[[int, int], None] = lambda _index, _bytes: None
    stdin: int = STDIN
    stdout: int = STDOUT
    """What receives read, and what sends write (`conduit`)."""

    @property
    def sending(self) -> bool:
        """Whether these are sends."""
        return bool(self.ticket.sends)

    def run(self) -> list[ItemOutcome]:
        """Outcomes of the orders in turn; the last one is the first failure, if any.

        Everything is locked and read before the first order runs; what was found is judged when
        an order's turn comes, so that those before a bad one are not held up. An increment that
        reads stale facts does no harm: `receive` refuses a wrong base and the read-back finds
        a wrong GUID; a full stream is always alone and so is read right before.
        """
        outcomes: list[ItemOutcome] = []
        names_ = [self._name(order) for order in self._orders()]
        try:
            with self.fence.term_shared() as term_fds, ExitStack() as held:
                ready = self._ready_sends(held) if self.sending else self._ready_receives(held)
                for index in range(len(names_)):
                    outcomes.append(self._run_one(index, ready[index], term_fds))
                    if outcomes[-1].reason:
                        break
        except Refused as error:  # the fence, or the reading for all of them
            name = names_[len(outcomes)]
            outcomes.append(ItemOutcome(name, error.reason, error.message))
        return outcomes

    def _orders(self) -> Sequence[SendOrder | ReceiveOrder]:
        return self.ticket.sends or self.ticket.receives

    @staticmethod
    def _name(order: SendOrder | ReceiveOrder) -> str:
        if isinstance(order, SendOrder):
            return f"{order.dataset}@{order.snapshot}"
        return order.dataset

    def _run_one(self, index: int, ready: Fds | Refused, term_fds: Fds) -> ItemOutcome:
        order = self._orders()[index]
        name = self._name(order)
        try:
            if isinstance(ready, Refused):
                raise ready
            return self._run_child(index, order, term_fds + ready)
        except Refused as error:
            return ItemOutcome(name, error.reason, error.message)

    def _run_child(self, index: int, order: SendOrder | ReceiveOrder, fds: Fds) -> ItemOutcome:
        if isinstance(order, SendOrder):
            command = Command(argv.send(order), fds, stdout=self.stdout, on_stderr=self._heard)
        else:
            command = Command(argv.receive(order), fds, stdin=self.stdin)
        children = self.request.host.children
        self.now.index, self.now.sent = index, 0
        self.now.child = child = children.start(command, FOREVER)
        try:
            done = children.finish(child)
        finally:
            self.now.child = None
        self.report(index, max(child.moved_bytes, self.now.sent, 0))
        name = self._name(order)
        if done.ok:
            return ItemOutcome(name, "", "")
        refused = done.refusal()
        return ItemOutcome(name, refused.reason, refused.message)

    def _heard(self, line: str) -> None:
        sent = parsing.sent_bytes(line)
        if sent is not None:
            self.now.sent = sent

    # --- what must hold -------------------------------------------------------------------------

    def _ready_sends(self, held: ExitStack) -> list[Fds | Refused]:
        sends = self.ticket.sends
        locks = [self._lock(held, _lock_of(order)) for order in sends]
        found = read_identities(self.request, [n for order in sends for n in _concerned(order)])
        return [
            lock
            if isinstance(lock, Refused)
            else _checked_send(order, found) or self._checked_token(order) or lock
            for order, lock in zip(sends, locks, strict=True)
        ]

    def _checked_token(self, order: SendOrder) -> Refused | None:
        """Behind a gate a token may name no more than its order: ZFS sends what the token says."""
        allowed = self.request.host.allowed
        if allowed is None or order.token is None:
            return None
        from backstay_host import allow

        try:
            said = self.request.read(argv.decode_token(order.token))
            allow.check_token(allowed, order, parsing.token_facts(order.token, said.out))
        except Refused as error:
            return error
        return None

    def _ready_receives(self, held: ExitStack) -> list[Fds | Refused]:
        receives = self.ticket.receives
        locks = [self._lock(held, DatasetLock(o.dataset, None, shared=False)) for o in receives]
        origins = [order.origin for order in receives if order.origin is not None]
        found = read_identities(self.request, [*(o.dataset for o in receives), *origins])
        absent = {order.dataset for order in receives} - set(found)
        wanted = [n for n in with_parents([o.dataset for o in receives]) if n not in absent]
        properties = read_local_properties(self.request, wanted)
        ready: list[Fds | Refused] = []
        for order, by_name in zip(receives, locks, strict=True):
            here = found.get(order.dataset)
            by_guid: Fds | Refused = ()
            if here is not None:
                lock = DatasetLock(order.dataset, here.guid, shared=False)
                by_guid = self._lock(held, lock, only_guid=True)
            both = _joined(by_name, by_guid)
            if not isinstance(both, Refused):
                both = self._checked_receive(order, here, properties) or both
            if not isinstance(both, Refused):
                both = _checked_origin(order, found) or both
            ready.append(both)
        return ready

    def _lock(
        self, held: ExitStack, lock: DatasetLock, *, only_guid: bool = False
    ) -> Fds | Refused:
        try:
            return held.enter_context(self.fence.locked([lock], only_guid=only_guid))
        except Refused as error:
            return error

    def _checked_receive(
        self, order: ReceiveOrder, here: Identity | None, properties: dict[str, dict[str, str]]
    ) -> Refused | None:
        try:
            check_owner(self.fence, order.dataset, properties)
            if here is not None:
                if order.seed and not order.resumed:
                    raise Refused("TargetHasForeignData", f"{order.dataset} exists")
                check_replica(order.lineage, order.dataset, properties)
            elif not order.seed or order.resumed:
                raise Refused("TargetMissing", f"{order.dataset} does not exist")
            has_token = here is not None and bool(here.token)
            if order.resumed and not has_token:
                raise Refused("StaleReceiveState", f"{order.dataset} has nothing to resume")
            if has_token and not order.resumed:
                raise Refused("PartialState", f"{order.dataset} holds a partial receive")
        except Refused as error:
            return error
        return None


def _lock_of(order: SendOrder) -> DatasetLock:
    """ZFS itself keeps the snapshot while it is sent (dmu_send holds it)."""
    if order.of_replica:
        return DatasetLock(f"{order.dataset}@{order.snapshot}", None, shared=True)
    return DatasetLock(order.dataset, order.dataset_guid, shared=True)


def _concerned(order: SendOrder) -> list[str]:
    full = [order.dataset, f"{order.dataset}@{order.snapshot}"]
    return full if order.base is None else [*full, order.base]


def _checked_send(order: SendOrder, found: dict[str, Identity]) -> Refused | None:
    """`SourceChanged` unless dataset, snapshot and base are the planned ones."""
    planned = [order.dataset_guid, order.guid, order.base_guid]
    for name, guid in zip(_concerned(order), planned, strict=False):
        here = found.get(name)
        if here is None:
            return Refused("SourceChanged", f"{name} does not exist any more")
        if here.guid != guid:
            return Refused("SourceChanged", f"{name} has GUID {here.guid}, planned was {guid}")
    return None


def _checked_origin(order: ReceiveOrder, found: dict[str, Identity]) -> Refused | None:
    """`IdentityChanged` unless the snapshot that it becomes a clone of is the planned one."""
    if order.origin is None:
        return None
    here = found.get(order.origin)
    if here is not None and here.guid == order.origin_guid:
        return None
    said = "does not exist any more" if here is None else f"has GUID {here.guid}"
    return Refused("IdentityChanged", f"{order.origin} {said}, planned was {order.origin_guid}")


def _joined(first: Fds | Refused, second: Fds | Refused) -> Fds | Refused:
    if isinstance(first, Refused):
        return first
    return second if isinstance(second, Refused) else first + second


def reading_deadline() -> float:
    """Until when the looking before the first order may take."""
    return now_s() + 60.0
