"""What news of a ReplicationPair concern."""

from __future__ import annotations

from collections.abc import Iterator

from backstay.api.v1alpha1 import ReplicationPair
from backstay.controllers.keys import Key, routes_of
from backstay.controllers.registry import Entry, Registry
from backstay.domain.pairs import Route


def concerned(entry: Entry, registry: Registry) -> Iterator[Key]:
    """The pair itself, and the policies of its namespace: they count their pairs.

    All of them, because the policy that an edited pair was under before is not known here.
    """
    yield entry.key
    for other in registry.entries("ProtectionPolicy"):
        if other.ref.namespace == entry.ref.namespace:
            yield other.key


def to_interrupt(pair: ReplicationPair, before: Entry, after: Entry | None) -> tuple[Route, ...]:
    """The routes whose pass must not go on with what it knows of the pair.

    | the pair                             | its passes                                  |
    |--------------------------------------|---------------------------------------------|
    | is deleted, gone, or another object  | are cut off                                 |
    | was suspended, or its spec is broken | are cut off                                 |
    | was edited otherwise                 | end as they began; the next one is as edited |
    """
    if after is not None and not _ends(before, after):
        return ()
    # Either site may be the active one by now.
    return tuple(
        way for route in routes_of(pair) for way in (route, Route(route.target, route.source))
    )


def _ends(before: Entry, after: Entry) -> bool:
    if before.ref.uid != after.ref.uid or (after.deleting and not before.deleting):
        return True
    was = isinstance(before.value, ReplicationPair) and not before.value.spec.suspend
    goes_on = isinstance(after.value, ReplicationPair) and not after.value.spec.suspend
    return was and not goes_on
