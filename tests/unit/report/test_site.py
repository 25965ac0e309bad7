"""What a Site says of hosts that answer, and of those that do no more."""

from __future__ import annotations

from datetime import UTC, datetime

from backstay.api.v1alpha1.site import HostStatus, SiteStatus
from backstay.domain.pairs import Conflict
from backstay.domain.zfs import Guid, Pool
from backstay.report.site import HostView, site_status

NOW = datetime(2030, 1, 1, tzinfo=UTC)
POOL = Pool(name="tank", guid=Guid(1), health="ONLINE", size_bytes=1000, free_bytes=505)
ANSWERS = HostView(
    name="h1",
    zfs_version="2.3.9",
    python_version="3.13.5",
    clock_skew_s=7.0,
    pools=(POOL,),
    uid=1000,
)
SILENT = HostView(name="h1", problem=Conflict(reason="Timeout", message="h1 is silent"))


def looked(before: SiteStatus, host: HostView, generation: int = 1) -> SiteStatus:
    return site_status(before, [host], generation=generation, requested_at=None, now=NOW)


def facts(host: HostStatus) -> tuple[object, ...]:
    return (
        host.zfs_version,
        host.python_version,
        host.clock_skew_seconds,
        host.pools,
        host.delegated,
    )


def test_what_a_host_said_of_itself_is_still_there_when_it_is_silent() -> None:
    before = looked(SiteStatus(), ANSWERS)
    assert facts(before.hosts[0])[:3] == ("2.3.9", "3.13.5", 7)
    after = looked(before, SILENT)
    assert facts(after.hosts[0]) == facts(before.hosts[0])
    assert (after.hosts[0].reason, after.hosts[0].message) == ("Timeout", "h1 is silent")
    assert facts(looked(after, SILENT).hosts[0]) == facts(before.hosts[0])


def test_what_is_remembered_of_a_silent_host_is_no_verdict() -> None:
    after = looked(looked(SiteStatus(), ANSWERS), SILENT)
    said = {c.type: c.status for c in after.conditions}
    assert said == {
        "HostsReachable": "False",
        "PoolsHealthy": "Unknown",
        "ClocksAgree": "Unknown",
        "Ready": "False",
    }
    assert after.reachable == "0/1"


def test_a_host_that_may_be_another_one_by_now_has_said_nothing() -> None:
    after = looked(looked(SiteStatus(), ANSWERS), SILENT, generation=2)
    assert facts(after.hosts[0]) == (None, None, None, (), None)
