"""Logins with one flaw each, on a real host: every flaw has its name, and some are none."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from backstay.adapters.clock import SystemClock
from backstay.adapters.host.hosts import Leader, OpenSshHost, OpenSshHosts, Setup
from backstay.app.hostzip import pack_host_program
from backstay.domain.errors import Stalled, Unreachable
from backstay.ports.host import Endpoint, SurveyRequest
from contract.host.keys import new_key
from contract.host.real_world import endpoint

if TYPE_CHECKING:
    from worlds.api import LabHost

pytestmark = [pytest.mark.timeout(600)]
Login = Callable[[Endpoint], OpenSshHost]


@pytest_asyncio.fixture
async def login() -> AsyncIterator[Login]:
    """A port to an endpoint; closed at the end."""
    leader = Leader(
        installation_id="contract/logins",
        short_id="0badcafe",
        process_id="one",
        term=lambda: 1,
        remaining_s=lambda: 25.0,
    )
    hosts = OpenSshHosts(Setup(program=pack_host_program(), leader=leader, clock=SystemClock()))
    yield hosts.open
    await hosts.close()


@pytest.fixture
def good(lab_hosts: list[LabHost]) -> Endpoint:
    """An endpoint without a flaw."""
    return endpoint(lab_hosts[0])


async def refused(host: OpenSshHost, reason: str) -> str:
    """The message of a login that only a human can help."""
    with pytest.raises(Stalled) as error:
        await host.hello()
    assert error.value.reason == reason
    assert not host.is_connected
    return error.value.message


@pytest.mark.fault("wrong key")
async def test_an_unknown_key_is_refused(good: Endpoint, login: Login, tmp_path: Path) -> None:
    key, _ = new_key(tmp_path)
    said = await refused(login(dataclasses.replace(good, private_key=key)), "KeyRefused")
    assert "authorized_keys" in said


@pytest.mark.fault("wrong key")
async def test_a_key_that_is_none_is_refused(good: Endpoint, login: Login) -> None:
    await refused(login(dataclasses.replace(good, private_key=b"not a key")), "KeyRefused")


@pytest.mark.fault("changed host key")
async def test_a_changed_host_key_is_never_accepted(
    good: Endpoint, login: Login, tmp_path: Path
) -> None:
    _, other = new_key(tmp_path)
    said = await refused(login(dataclasses.replace(good, host_keys=(other,))), "HostKeyChanged")
    assert "pinned" in said


@pytest.mark.fault("changed host key")
async def test_a_host_without_the_pinned_kind_of_key_is_another_host(
    good: Endpoint, login: Login
) -> None:
    kinds = {key.split(" ")[0] for key in good.host_keys}
    missing = next(k for k in ("ecdsa-sha2-nistp521", "ecdsa-sha2-nistp384") if k not in kinds)
    pinned = (f"{missing} AAAAE2VjZHNhLXNoYTItbmlzdHA1MjEAAAAIbmlzdHA1MjE=",)
    await refused(login(dataclasses.replace(good, host_keys=pinned)), "HostKeyChanged")


@pytest.mark.fault("unreachable host")
async def test_a_closed_port_is_unreachable(good: Endpoint, login: Login) -> None:
    with pytest.raises(Unreachable):
        await login(dataclasses.replace(good, port=1)).hello()


@pytest.mark.fault("no Python")
async def test_a_host_without_python_is_named(good: Endpoint, login: Login) -> None:
    said = await refused(login(dataclasses.replace(good, user="nopython")), "NoPython")
    assert "Python 3.11" in said


@pytest.mark.fault("no rights")
async def test_an_account_without_rights_is_named(
    good: Endpoint,
    login: Login,
    lab_hosts: list[LabHost],
    lab_dataset_roots: Callable[[LabHost, str], str],
) -> None:
    root = lab_dataset_roots(lab_hosts[0], "backup")
    host = login(dataclasses.replace(good, user="plain"))
    assert (await host.hello()).uid != 0
    with pytest.raises(Stalled) as error:
        await host.claim([root])
    assert error.value.reason == "NoRights"


@pytest.mark.fault("noisy login shell", "other locale")
@pytest.mark.parametrize("user", ["noisy", "german", "nozfs"])
async def test_noise_language_and_path_of_an_account_change_nothing(
    good: Endpoint, login: Login, user: str
) -> None:
    host = login(dataclasses.replace(good, user=user))
    request = SurveyRequest(roots=(("backup", False), ("backup/nothing", True)), sync=False)
    listing = await host.survey(request)
    assert listing.absent == ("backup/nothing",)
    assert list(listing.datasets) == ["backup"]
