"""How a replica is kept (rule *Replica posture*)."""

from __future__ import annotations

from collections.abc import Mapping

from backstay.domain.roles import ROLE_EPOCH, SECONDARY
from backstay.domain.zfs import LINEAGE, ROLE, SOURCE_GUID, STREAM, Dataset, DatasetKind


def seed_properties(source: Dataset, lineage: str, mode: str) -> Mapping[str, str]:
    """Properties that a new replica of `source` is received with (`-o`)."""
    ours = {LINEAGE: lineage, SOURCE_GUID: str(source.guid), STREAM: mode}
    if ROLE_EPOCH in source.properties:  # both ends have seen the same moves of the role
        ours |= {ROLE: SECONDARY, ROLE_EPOCH: source.properties[ROLE_EPOCH]}
    return {**ours, **replica_posture(source.kind)}


def followed_settings(source: Dataset, replica: Dataset) -> Mapping[str, str]:
    """What a replica lacks of the settings of its source; one that was taken back there stays."""
    return {k: v for k, v in source.settings.items() if replica.settings.get(k) != v}


def replica_posture(kind: DatasetKind) -> Mapping[str, str]:
    """Read only and out of everybody's sight.

    `volmode=none` keeps udev, LVM and Proxmox away from a volume; `canmount` on a volume would
    abort the receive.
    """
    if kind is DatasetKind.VOLUME:
        return {"readonly": "on", "volmode": "none"}
    return {"readonly": "on", "atime": "off", "canmount": "noauto"}
