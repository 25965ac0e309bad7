"""A host with a flaw of its own: it is named, what depends on it is unknown, others go on."""

from __future__ import annotations

from datetime import datetime

import pytest

from backstay.domain.errors import BackstayError, Stalled, Waiting
from fakes.faults import RequestFault, RequestFaults
from fakes.lab import Lab
from fakes.world import FakeHost


class Flaw(RequestFaults):
    """Every request of these names (all, when none is named) ends with the same failure."""

    def __init__(self, error: BackstayError, *requests: str) -> None:
        super().__init__()
        self.error, self.requests = error, requests

    def draw(self, request: str) -> RequestFault | None:
        """Always the flaw."""
        if self.requests and request not in self.requests:
            return None
        return RequestFault(request, 0, "before", self.error)


def second_target(lab: Lab) -> FakeHost:
    """A Site `ber` without a flaw, and the pair `crm` of d1 to it."""
    ber = lab.world.host("ber/h", pools=("backup",))
    ber.create("backup/backstay")
    lab.core.site("ber", ber, roots=("backup/backstay",))
    at = {
        "fra": {"host": "h", "dataset": "tank/vm/d1"},
        "ber": {"host": "h", "dataset": "backup/backstay/d1"},
    }
    lab.core.pair("crm", {}, sites=["fra", "ber"], datasets=[{"name": "d1", "at": at}])
    return ber


@pytest.mark.rule("Isolation")
@pytest.mark.rule("RPO truth")
@pytest.mark.parametrize(
    "reason",
    [
        pytest.param("KeyRefused", marks=pytest.mark.fault("wrong key")),
        pytest.param("HostKeyChanged", marks=pytest.mark.fault("changed host key")),
        pytest.param("NoZfs", marks=pytest.mark.fault("no ZFS")),
        pytest.param("NoPython", marks=pytest.mark.fault("no Python")),
        pytest.param("NoRights", marks=pytest.mark.fault("no rights")),
        "NotAllowed",
        "FedProgramRefused",
    ],
)
async def test_a_flawed_host_is_named_and_costs_only_its_own_pairs(lab: Lab, reason: str) -> None:
    members = lab.volumes(2)
    lab.core.pair("erp", {"d0": members["d0"]})
    ber = second_target(lab)
    await lab.core.live(600)
    lab.b.faults = Flaw(Stalled(reason, "so says the test"))
    before = list(lab.b.commands)
    lab.a.write("tank/vm/d1", 4096)
    await lab.core.live(200)
    assert lab.core.condition("muc", "Ready", "Site") == ("False", reason)
    assert lab.core.condition("erp", "Ready") == ("Unknown", reason)
    assert lab.core.condition("erp", "RPOMet") == ("True", "WithinRPO")
    await lab.core.live(300)
    assert lab.core.condition("erp", "RPOMet") == ("False", "RPOBreached")
    assert lab.core.condition("crm", "Ready") == ("True", "UpToDate")
    assert ber.content("backup/backstay/d1") == lab.a.content("tank/vm/d1")
    assert lab.b.commands == before
    lab.b.faults = RequestFaults()
    await lab.core.live(120)
    assert lab.core.condition("muc", "Ready", "Site") == ("True", "Reachable")
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")


@pytest.mark.rule("Isolation")
@pytest.mark.fault("token shown but `receive -A` says there is none")
async def test_a_partial_receive_that_cannot_be_dropped_is_named_and_costs_nobody_else(
    lab: Lab,
) -> None:
    lab.core.pair("erp", lab.volumes(2))
    await lab.core.live(100)
    lab.a.write("tank/vm/d0", 4096)
    lab.world.transfer_faults.cut(after_bytes=1000)
    await lab.core.passing(151)
    lab.b.garble_token("backup/backstay/d0")
    none = "'backup/backstay/d0' does not have any resumable receive state to abort"
    lab.b.faults = Flaw(Waiting("StaleReceiveState", none), "abort")
    lab.a.write("tank/vm/d1", 4096)
    await lab.core.live(400)
    assert lab.core.condition("erp", "Ready") == ("False", "StaleReceiveState")
    assert "resumable receive state" in lab.core.message("erp", "Ready")
    assert lab.equal("d1")
    assert not lab.equal("d0")
    lab.b.faults = RequestFaults()
    await lab.core.live(200)
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")
    assert lab.equal("d0", "d1")


@pytest.mark.rule("No wall clock")
@pytest.mark.fault("clocks of two hosts differ by five minutes")
async def test_clocks_of_hosts_that_differ_are_said_and_decide_nothing(lab: Lab) -> None:
    lab.core.policy(retention={"source": {"last": 2}, "target": {"last": 2}})
    lab.a.clock_skew_s, lab.b.clock_skew_s = -150.0, 150.0
    lab.core.pair("erp", lab.volumes(1))
    for _ in range(4):
        lab.a.write("tank/vm/d0", 4096)
        await lab.core.live(151)
    for site, skew in (("fra", -150), ("muc", 150)):
        (host,) = lab.core.status(site, "Site")["hosts"]
        assert host["clockSkewSeconds"] == skew
        assert lab.core.condition(site, "ClocksAgree", "Site") == ("False", "ClockOff")
        assert f"{abs(skew)} s" in lab.core.message(site, "ClocksAgree", "Site")
    assert lab.core.condition("erp", "RPOMet") == ("True", "WithinRPO")
    point = datetime.fromisoformat(lab.core.status("erp")["recoveryPoint"]["time"])
    assert 0 <= (lab.world.now - point).total_seconds() <= 300
    assert len(lab.a.dataset("tank/vm/d0").snapshots) == 2
    assert len(lab.b.dataset("backup/backstay/d0").snapshots) == 2
    assert lab.equal("d0")


@pytest.mark.fault("no rights")
async def test_an_account_that_is_not_root_is_said_to_be_so(lab: Lab) -> None:
    lab.b.uid = 1000
    await lab.core.live(100)
    assert lab.core.condition("muc", "Ready", "Site") == ("True", "Reachable")
    (host,) = lab.core.status("muc", "Site")["hosts"]
    assert host["delegated"] is True
    assert "uid 1000" in host["message"]
    assert "kubectl backstay grant" in host["message"]
    lab.b.uid = 0
    await lab.core.live(100)
    (host,) = lab.core.status("muc", "Site")["hosts"]
    assert "delegated" not in host
