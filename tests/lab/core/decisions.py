"""What somebody decides about a pair that diverged, as `kubectl backstay resolve` writes it."""

from __future__ import annotations

import json
import secrets

from backstay.api.kinds import RESOLVE
from backstay.api.v1alpha1.replicationpair import ReplicationPairStatus
from backstay.domain.divergence import Resolution
from backstay.report.approval import approval_of, choose
from lab.core.real import RealLab

_ASIDES = (
    "$(zfs list -Hd1 -o name,dev.backstay:asideof backup/backstay-aside 2>/dev/null "
    "| awk '$2 ~ \"^{root}/\" {{print $1}}')"
)


async def decide(lab: RealLab, how: Resolution) -> None:
    """`kubectl backstay resolve erp --how … -y`, and what comes of it."""
    status = ReplicationPairStatus.model_validate(dict(lab.core.status("erp")))
    chosen = choose(status.diverged, how)
    assert chosen.members, chosen.left_out
    document = approval_of(chosen, how, secrets.token_hex(4)).document()
    lab.core.annotate("ReplicationPair", "erp", RESOLVE, json.dumps(document))
    await lab.core.settle()


async def set_aside(lab: RealLab) -> set[int]:
    """GUIDs of the snapshots of all that was set aside for replicas of this lab."""
    asides = _ASIDES.format(root=lab.b.root)
    listed = await lab.b.run(f"for d in {asides}; do zfs list -Hpd1 -t snapshot -o guid $d; done")
    return {int(guid) for guid in listed.split()}


async def clear_asides(lab: RealLab) -> None:
    """Nothing of this lab is set aside any more."""
    await lab.b.run(f"for d in {_ASIDES.format(root=lab.b.root)}; do zfs destroy -r $d; done")
