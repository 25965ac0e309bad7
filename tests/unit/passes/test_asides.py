"""What takes the place of a replica that was set aside is all that the replica was."""

from __future__ import annotations

import pytest

from backstay.domain.divergence import Resolution
from backstay.domain.roles import ROLE_EPOCH
from backstay.domain.zfs import ROLE, STREAM
from fakes.lab import Lab
from unit.passes.test_resolutions import REPLICA, SOURCE, ahead, approve, ready


@pytest.mark.rule("Single writer, fenced at the host")
@pytest.mark.rule("Raw lineage")
async def test_what_takes_the_place_has_the_mode_and_the_epoch_of_what_was_set_aside(
    lab: Lab,
) -> None:
    """Without the epoch nothing would be sent to it, and its streams would not be pinned."""
    await ahead(lab)
    for host, name, role in ((lab.a, SOURCE, "primary"), (lab.b, REPLICA, "secondary")):
        host.set(name, ROLE, role)
        host.set(name, ROLE_EPOCH, "3")
    pinned = lab.b.dataset(REPLICA).properties[STREAM]
    approve(lab, Resolution.SET_ASIDE)
    await lab.core.live(30)
    assert ready(lab) == ("True", "UpToDate")
    found = lab.b.dataset(REPLICA).properties
    assert (found[STREAM], found[ROLE], found[ROLE_EPOCH]) == (pinned, "secondary", "3")
