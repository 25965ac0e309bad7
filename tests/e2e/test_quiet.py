"""While nothing changes, nothing is written."""

from __future__ import annotations

import pytest

from e2e import manifests
from e2e.patience import eventually
from e2e.scene import Scene

pytestmark = pytest.mark.timeout(1800)

WRITES = ("status", "event", "finalizers")


@pytest.mark.rule("O(hosts) planning")
def test_nothing_is_written_while_nothing_changes(protected: Scene) -> None:
    (operator,) = protected.operators
    protected.apply(manifests.policy(interval="15s"))

    def looks() -> float:
        return operator.total("backstay_host_requests_total", request="survey")

    def three_passes_without_a_write() -> None:
        writes = {v: operator.total("backstay_kube_writes_total", verb=v) for v in WRITES}
        taken = operator.total("backstay_host_requests_total", request="snapshot")
        until = looks() + 6

        def passed() -> None:
            assert looks() >= until, "passes do not run"

        eventually(passed)
        after = {v: operator.total("backstay_kube_writes_total", verb=v) for v in WRITES}
        assert after == writes
        assert operator.total("backstay_host_requests_total", request="snapshot") == taken

    # What the policy's edit brought may have to be written once.
    eventually(three_passes_without_a_write)
