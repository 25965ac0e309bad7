"""What news of a ProtectionPolicy concern."""

from __future__ import annotations

from collections.abc import Iterator

from backstay.controllers.keys import Key, ObjectKey
from backstay.controllers.registry import Entry, Registry


def concerned(entry: Entry, registry: Registry) -> Iterator[Key]:
    """The policy itself and the pairs under it: their RPO may be another one."""
    yield entry.key
    for pair in registry.pairs():
        same = pair.metadata.namespace == entry.ref.namespace
        if same and pair.spec.policy_ref.name == entry.ref.name:
            yield ObjectKey("ReplicationPair", pair.metadata.namespace, pair.metadata.name)
