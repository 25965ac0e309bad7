"""What the scheduler schedules: routes, and single objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from backstay.api.v1alpha1 import ReplicationPair
from backstay.domain.pairs import HostKey, Route


@dataclass(frozen=True, slots=True, order=True)
class ObjectKey:
    """An object by name, whichever bears it when its turn comes."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


Key: TypeAlias = Route | ObjectKey


def routes_of(pair: ReplicationPair) -> tuple[Route, ...]:
    """The routes that a pair's members take, from the preferred site to the other one, sorted."""
    namespace, spec = pair.metadata.namespace, pair.spec
    return tuple(
        sorted(
            {
                Route(
                    HostKey(namespace, spec.preferred_site, member.at[spec.preferred_site].host),
                    HostKey(namespace, spec.other_site, member.at[spec.other_site].host),
                )
                for member in spec.datasets
            }
        )
    )


def hosts_of(key: Key) -> tuple[HostKey, ...]:
    """The hosts that work on a key keeps busy."""
    match key:
        case Route(source=source, target=target):
            return (source,) if source == target else (source, target)
        case ObjectKey():
            return ()
