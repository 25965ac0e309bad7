"""One good manifest of each kind, and how to change it."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

Manifest: TypeAlias = dict[str, Any]
# A path of names and positions joined by dots, and the value to put there.
Change: TypeAlias = tuple[str, Any]

REMOVED: Final = object()
ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
SCHEDULE = {"schedule": "1x-7d-4w-6m"}
EXTERNAL = {"external": {"statement": "restic, nightly, 30 days"}}
EXCUSE = {"replicationWithoutBackup": {"reason": "scratch data", "until": "2027-01-31"}}


@dataclass(frozen=True, slots=True)
class Case:
    """A manifest that is accepted (`says` is None) or refused with a sentence.

    `model_says` is for what both refuse in words of their own: types, bounds, required fields.
    """

    name: str
    manifest: Manifest
    says: str | None = None
    model_says: str | None = None

    @property
    def model_fragment(self) -> str | None:
        """What the models' message holds."""
        return self.model_says or self.says


def changed(manifest: Manifest, *changes: Change) -> Manifest:
    """Return a copy with other values at some paths; REMOVED takes the field away."""
    result = copy.deepcopy(manifest)
    for path, value in changes:
        *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        at: Any = result
        for part in parents:
            at = at[part]
        if value is REMOVED:
            del at[last]
        else:
            at[last] = copy.deepcopy(value)
    return result


def _object(kind: str, name: str, spec: Manifest, changes: tuple[Change, ...]) -> Manifest:
    manifest = {
        "apiVersion": "backstay.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    }
    return changed(manifest, *changes)


def site(*changes: Change) -> Manifest:
    """Return a Site with one host, changed."""
    spec = {
        "failureDomain": {"region": "de-west", "building": "fra-1"},
        "hosts": [host("pve1")],
        "ssh": {"secretRef": {"name": "fra-ssh"}},
    }
    return _object("Site", "fra", spec, changes)


def host(name: str) -> Manifest:
    """Return a host of a Site."""
    return {
        "name": name,
        "address": "10.0.0.11",
        "hostKeys": [ED25519],
        "receiveRoots": ["rpool/backstay"],
    }


def policy(*changes: Change) -> Manifest:
    """Return a Gold policy with replication and a scheduled backup, changed."""
    spec = {
        "class": "Gold",
        "rpo": "5m",
        "rto": "15m",
        "replication": {"interval": "2m"},
        "backup": SCHEDULE,
    }
    return _object("ProtectionPolicy", "gold", spec, changes)


def backup_only(class_: str, schedule: str, *changes: Change) -> Manifest:
    """Return a policy of a class without replication and without numbers of its own, changed."""
    spec = {"class": class_, "backup": {"schedule": schedule}}
    return _object("ProtectionPolicy", class_.lower(), spec, changes)


def pair(*changes: Change) -> Manifest:
    """Return a ReplicationPair with one member, changed."""
    spec = {
        "policyRef": {"name": "gold"},
        "sites": ["fra", "muc"],
        "preferredSite": "fra",
        "datasets": [member("disk-0")],
    }
    return _object("ReplicationPair", "vms", spec, changes)


def member(name: str) -> Manifest:
    """Return a member with a place at fra and at muc."""
    return {
        "name": name,
        "at": {
            "fra": {"host": "pve1", "dataset": f"tank/vm/{name}"},
            "muc": {"host": "muc1", "dataset": f"rpool/backstay/fra/{name}"},
        },
    }
