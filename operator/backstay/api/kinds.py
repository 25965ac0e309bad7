"""What a CRD says about a kind beside its schema: names and columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

GROUP = "backstay.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
CATEGORY = "backstay"
# Set it to any new value to have an object looked at now; status.lastHandledRequest repeats it.
REQUESTED_AT = f"{GROUP}/requested-at"
# What somebody has approved for replicas that diverged, as JSON (api.v1alpha1.approval).
RESOLVE = f"{GROUP}/resolve"
# What may go of sources, so that they can be rolled back, as JSON (api.v1alpha1.yielding).
YIELD = f"{GROUP}/yield"
# The keys of a Site's Secret: what the operator logs in with, and what hosts bring streams with.
PRIVATE_KEY = "ssh-privatekey"
DATA_KEY = "data-privatekey"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of `kubectl get`; priority 1 shows with `-o wide` only."""

    name: str
    json_path: str
    description: str
    type: Literal["string", "integer", "date"] = "string"
    priority: int = 0


@dataclass(frozen=True, slots=True)
class KindInfo:
    """The names of a kind and its columns."""

    kind: str
    singular: str
    plural: str
    short_name: str
    columns: tuple[Column, ...]


def condition_column(name: str, condition: str, description: str) -> Column:
    """Return a column with a condition's status, found by type and never by position."""
    path = f'.status.conditions[?(@.type=="{condition}")].status'
    return Column(name, path, description)


AGE = Column("AGE", ".metadata.creationTimestamp", "Since the object was created.", "date")
