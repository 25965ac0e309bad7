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
