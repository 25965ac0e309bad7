"""What a host must admit, from Sites and pairs; and the lists that its gate makes of the line."""

from __future__ import annotations

import copy
import re
import shlex
from typing import Any

import pytest

from backstay.api.v1alpha1 import ReplicationPair, Site
from backstay.report.grant import Grant, delegations, grant_lines, grant_of
from backstay_host.allow import Allowed
from backstay_host.gate import read_lists
from fakes import objects


def pair(name: str, *datasets: str, host: str = "h1", active: str | None = None) -> ReplicationPair:
    """A pair from `a` to `b` of these datasets."""
    body = objects.pair(name)
    (member,) = body["spec"]["datasets"]
    body["spec"]["datasets"] = []
    for number, dataset in enumerate(datasets):
        one: dict[str, Any] = copy.deepcopy(member)
        one["name"] = f"disk{number}"
        one["at"]["a"] = {"host": host, "dataset": dataset}
        one["at"]["b"]["dataset"] = f"tank/backstay/{name}/{number}"
        body["spec"]["datasets"].append(one)
    if active is not None:
        body["status"] = {"activeSite": active}
    return ReplicationPair.model_validate(body)


def grant(
    *pairs: ReplicationPair, site: str = "a", key: str | None = "ssh-ed25519 AAAA", **host: Any
) -> Grant:
    """The grant of host `h1`."""
    body = objects.site(site)
    body["spec"]["hosts"][0] |= host
    found = Site.model_validate(body)
    return grant_of(found, found.spec.hosts[0], pairs, key)


def lists(made: Grant) -> Allowed:
    """What sshd and a shell would make of the line."""
    command = re.fullmatch(r'restrict,command="([^"]*)" ssh-ed25519 AAAA', made.key_line)
    assert command is not None
    program, gate, *arguments = shlex.split(command.group(1))
    assert (program, gate) == ("/usr/local/bin/backstay-host", "gate")
    return read_lists(arguments)


def test_the_source_sends_what_lives_there_and_receives_below_its_roots() -> None:
    made = grant(pair("erp", "tank/vm/d0", "tank/vm/d1"), pair("web", "tank/www"))
    assert lists(made) == Allowed(("tank/vm/d0", "tank/vm/d1", "tank/www"), ("tank/backstay",))
    assert made.pairs == ("erp", "web")


def test_a_dataset_below_another_one_needs_no_entry_of_its_own() -> None:
    made = grant(pair("erp", "tank/vm", "tank/vm/d1", "tank/vm2"), pair("web", "tank/vm"))
    assert made.send == ("tank/vm", "tank/vm2")


def test_the_target_sends_nothing_until_the_data_lives_there() -> None:
    assert grant(pair("erp", "tank/d"), site="b").send == ()
    moved = pair("erp", "tank/d", active="b")
    assert grant(moved, site="b").send == ("tank/backstay/erp/0",)
    assert grant(moved).send == ()


def test_datasets_of_other_hosts_and_namespaces_are_left_out() -> None:
    stranger = objects.pair("far", namespace="other")
    made = grant(pair("erp", "tank/d", host="h2"), ReplicationPair.model_validate(stranger))
    assert made.send == ()
    assert made.pairs == ()


def test_a_host_without_roots_receives_nothing() -> None:
    assert lists(grant(pair("erp", "tank/d"), receiveRoots=[])) == Allowed(("tank/d",), ())


def test_every_list_has_its_delegation_and_that_root_is_needed_is_said() -> None:
    made = grant(pair("erp", "tank/d"))
    commands = [command for _, command in delegations(made)]
    assert any("send,snapshot,bookmark tank/d" in command for command in commands)
    assert any("receive:append" in command and "tank/backstay" in command for command in commands)
    assert not any("destroy" in command for command in commands if "-u backstay " in command)
    assert "backstay needs root today" in "\n".join(grant_lines(made))


@pytest.mark.parametrize(("key", "hint"), [(None, True), ("ssh-ed25519 AAAA", False)])
def test_a_key_that_was_not_read_is_to_be_filled_in(key: str | None, hint: bool) -> None:
    said = "\n".join(grant_lines(grant(key=key)))
    assert ("ssh-keygen -y" in said) is hint


def test_a_grant_of_nothing_says_so() -> None:
    assert "nothing at all" in "\n".join(grant_lines(grant(receiveRoots=[])))
