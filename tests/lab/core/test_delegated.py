"""An account that is not root, with the rights that `kubectl backstay grant` prints, on real pools.

What root does by channel programs it does by plain commands, looked at right before.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from backstay.api.v1alpha1.site import Host
from backstay.domain.divergence import Resolution
from backstay.domain.steps import Increment
from backstay.report.grant import Grant, delegations
from lab.core.decisions import clear_asides, decide, set_aside
from lab.core.real import KEEP_NINE, Hand, RealLab

pytestmark = pytest.mark.timeout(900)
USER = "backstay"
KEEP_ONE = {"source": {"last": 1}, "target": {"last": 1}}


def admit(hand: Hand, send: tuple[str, ...], receive: tuple[str, ...]) -> None:
    """The account exists (hosts of the lab admit one key for all), and has what is printed."""
    host = hand.host
    at_host = Host(name="h", address=host.address, host_keys=host.host_keys, user=USER)
    grant = Grant(
        site="lab/core", host=at_host, send=send, receive=receive, pairs=(), public_key=None
    )
    host.run(f"useradd -m -s /bin/sh -p '*' {USER}")
    for _, command in delegations(grant):
        host.run(command)


def dismiss(hand: Hand) -> None:
    """The account is gone, with all that it was granted."""
    for pool in ("tank", "backup"):
        hand.host.attempt(
            f"for d in $(zfs list -Hro name {pool}); do zfs unallow -u {USER} $d; done"
        )
    hand.host.attempt(f"pkill -u {USER}; userdel -r {USER}")


@pytest.fixture
def delegated(lab: RealLab) -> Iterator[RealLab]:
    """The lab, whose operator logs in as that account at both hosts."""
    try:
        admit(lab.a, (lab.a.root,), ())
        admit(lab.b, (), (lab.b.root,))
        lab.core.user = USER
        yield lab
    finally:
        for hand in (lab.a, lab.b):
            dismiss(hand)


@pytest.mark.rule("Bookmark with snapshot")
@pytest.mark.rule("Replica posture")
async def test_it_seeds_goes_on_and_prunes(delegated: RealLab) -> None:
    lab = delegated
    lab.core.policy(retention=KEEP_ONE)
    await lab.volumes(1)
    await lab.a.create(lab.a.at("fs"), volume=False)
    await lab.a.write(lab.a.at("fs"), 64 * 1024)
    lab.places["fs"] = (lab.a.at("fs"), lab.b.at("deep/fs"))
    lab.core.pair("erp", lab.places)
    await lab.core.passing()
    for _ in range(2):
        await lab.next_point()
    ready = lab.core.condition("erp", "Ready")
    assert ready == ("True", "UpToDate"), lab.core.message("erp", "Ready")
    for name, there in (("d0", "d0"), ("fs", "deep/fs")):
        assert len(await lab.a.guids(name)) == 1, "pruned"
        assert await lab.b.guids(there) == await lab.a.guids(name)
        assert await lab.a.names(name, "bookmark")
        assert await lab.b.value(there, "readonly") == "on"
    assert await lab.b.value("d0", "volmode") == "none"
    assert await lab.b.value("deep/fs", "canmount") == "noauto"
    assert await lab.b.value("deep/fs", "mounted") == "no"


@pytest.mark.rule("No implicit destruction")
async def test_it_sets_aside_and_only_the_delta_travels(delegated: RealLab) -> None:
    lab = delegated
    await lab.ahead()
    await lab.expect_stopped("TargetAhead")
    await decide(lab, Resolution.SET_ASIDE)
    await lab.next_point()
    await lab.expect_fresh()
    assert all(isinstance(t.how, Increment) for t in lab.core.sent())
    assert await set_aside(lab)
    await clear_asides(lab)


async def test_without_the_right_to_destroy_all_stays_and_it_is_said(delegated: RealLab) -> None:
    lab = delegated
    lab.core.policy(retention=KEEP_NINE)
    await lab.protected()
    for hand in (lab.a, lab.b):
        await hand.run(f"zfs unallow -u {USER} destroy {hand.root}")
    lab.core.policy(retention=KEEP_ONE)
    for _ in range(2):
        await lab.next_point()
    assert len(await lab.b.guids("d0")) == 3
    assert (await lab.b.guids("d0"))[-1] == (await lab.a.guids("d0"))[-1]
    said = lab.core.message("erp", "Ready")
    assert "permission denied" in said, said
