"""What retention cannot remove is said, and holds nothing up."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import pytest

from backstay.domain.errors import BackstayError, Waiting
from backstay.domain.zfs import BookmarkRef, SnapshotRef
from fakes.faults import RequestFault, RequestFaults
from fakes.host import FakePort
from fakes.lab import Lab
from fakes.zfs import ZfsError

Logs = list[MutableMapping[str, Any]]
TIMEOUT = Waiting("Timeout", "muc/h: prune took longer than 60 s")


class Always(RequestFaults):
    """Each request of one name fails."""

    def __init__(self, request: str, error: BackstayError) -> None:
        super().__init__()
        self.broken, self.error = request, error

    def draw(self, request: str) -> RequestFault | None:
        """The fault."""
        return RequestFault(request, 0, "before", self.error) if request == self.broken else None


async def replicating(lab: Lab, passes: int = 8) -> None:
    """So many changes were replicated."""
    for _ in range(passes):
        lab.a.write("tank/vm/d0", 4096)
        await lab.core.live(160)


@pytest.mark.parametrize("side", ["source", "target"])
async def test_a_snapshot_that_cannot_be_removed_is_named_at_its_member_and_blocks_nothing(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, logs: Logs, side: str
) -> None:
    lab.core.pair("erp", lab.volumes(2))
    await lab.core.live(100)
    place = "tank/vm/d0" if side == "source" else "backup/backstay/d0"
    destroy = FakePort.destroy

    def without_rights(port: FakePort, item: SnapshotRef | BookmarkRef) -> None:
        if item.dataset == place and isinstance(item, SnapshotRef):
            raise ZfsError("NoRights", "cannot destroy snapshots: permission denied")
        destroy(port, item)

    monkeypatch.setattr(FakePort, "destroy", without_rights)
    await replicating(lab)
    assert lab.core.condition("erp", "Ready") == ("False", "NoRights")
    said = lab.core.message("erp", "Ready")
    assert said.startswith(f"d0: {place}@backstay_")
    assert said.endswith("was not pruned: cannot destroy snapshots: permission denied")
    assert lab.core.status("erp")["members"]["failed"] == 1
    assert lab.core.condition("erp", "RPOMet")[0] == "True"
    assert lab.equal("d0", "d1")
    warned = [log for log in logs if log["event"] == "prune-failed"]
    assert warned[-1]["first"].startswith(f"{place}@backstay_")


async def test_a_prune_request_that_does_not_end_is_said_and_blocks_nothing(
    lab: Lab, logs: Logs
) -> None:
    lab.core.pair("erp", lab.volumes(2))
    await lab.core.live(100)
    lab.b.faults = Always("prune", TIMEOUT)
    await replicating(lab)
    assert lab.core.condition("erp", "Ready") == ("False", "Timeout")
    assert "muc/h was not pruned: " in lab.core.message("erp", "Ready")
    assert lab.equal("d0", "d1")
    assert [log["items"] for log in logs if log["event"] == "prune-failed"]
    lab.b.faults = RequestFaults()
    await replicating(lab)
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")


async def test_why_data_does_not_move_is_said_before_why_something_is_not_pruned(lab: Lab) -> None:
    lab.core.pair("erp", lab.volumes(1))
    await lab.core.live(100)
    lab.b.faults = Always("prune", TIMEOUT)
    await replicating(lab)
    lab.a.faults = Always("snapshot", Waiting("InsufficientSpace", "fra/h: out of space"))
    await replicating(lab)
    assert lab.core.condition("erp", "Ready") == ("False", "InsufficientSpace")
