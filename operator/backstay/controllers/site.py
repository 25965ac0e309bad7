"""What news of a Site concern."""

from __future__ import annotations

from collections.abc import Iterator

from backstay.controllers.keys import Key, ObjectKey
from backstay.controllers.registry import Entry, Registry


def concerned(entry: Entry, registry: Registry) -> Iterator[Key]:
    """The Site itself and the pairs that name it: they may have waited for it, or lose it."""
    yield entry.key
    for pair in registry.pairs():
        same = pair.metadata.namespace == entry.ref.namespace
        if same and entry.ref.name in pair.spec.sites:
            yield ObjectKey("ReplicationPair", pair.metadata.namespace, pair.metadata.name)
