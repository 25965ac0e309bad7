"""The objects of one or all namespaces, as a reader gets them."""

from __future__ import annotations

from dataclasses import dataclass

from backstay.api.v1alpha1 import ProtectionPolicy, ReplicationPair, Site


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """An object that this version does not understand: a newer one made it, or nobody checked."""

    kind: str
    namespace: str
    name: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What was read; nothing in it is newer or older than the rest by more than a moment."""

    pairs: tuple[ReplicationPair, ...] = ()
    policies: tuple[ProtectionPolicy, ...] = ()
    sites: tuple[Site, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()

    def pair(self, namespace: str, name: str) -> ReplicationPair | Unreadable | None:
        """The pair of that name."""
        found = [p for p in self.pairs if _is(p, namespace, name)]
        return found[0] if found else self._unreadable("ReplicationPair", namespace, name)

    def policy(self, namespace: str, name: str) -> ProtectionPolicy | Unreadable | None:
        """The policy of that name."""
        found = [p for p in self.policies if _is(p, namespace, name)]
        return found[0] if found else self._unreadable("ProtectionPolicy", namespace, name)

    def site(self, namespace: str, name: str) -> Site | Unreadable | None:
        """The Site of that name."""
        found = [s for s in self.sites if _is(s, namespace, name)]
        return found[0] if found else self._unreadable("Site", namespace, name)

    def _unreadable(self, kind: str, namespace: str, name: str) -> Unreadable | None:
        key = (kind, namespace, name)
        return next((u for u in self.unreadable if (u.kind, u.namespace, u.name) == key), None)


def _is(found: ReplicationPair | ProtectionPolicy | Site, namespace: str, name: str) -> bool:
    return (found.metadata.namespace, found.metadata.name) == (namespace, name)
