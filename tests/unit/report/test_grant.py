"""What a host must admit, from Sites and pairs; and the lists that its gate makes of the line."""

from __future__ import annotations

import copy
import re
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backstay.api.v1alpha1 import ReplicationPair, Site
from backstay.domain.zfs import SETTINGS, DatasetKind
from backstay.plan.posture import replica_posture
from backstay.report.grant import Grant, delegations, grant_document, grant_lines, grant_of
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


def permissions(made: Grant, dataset: str, purpose: str = "") -> set[str]:
    """What the account may do with a dataset when all commands (of a purpose) were run."""
    words = [c.split() for what, c in delegations(made) if purpose in what and "allow" in c]
    found = [w[4].split(",") for w in words if w[5] == dataset]
    return {permission for each in found for permission in each}


def test_each_side_may_do_what_its_commands_need_and_nothing_that_loses_data() -> None:
    made = grant(pair("erp", "tank/d"))
    sends = permissions(made, "tank/d", "sending")
    receives = permissions(made, "tank/backstay", "receiving")
    assert sends == {"send", "snapshot", "bookmark", "mount"}
    assert {"create", "mount", "receive:append", "userprop"} <= receives
    assert not {"destroy", "rollback", "receive", "rename", "promote"} & (sends | receives)
    assert permissions(made, "tank/d", "pruning") == {"destroy", "mount"}
    assert permissions(made, "tank/backstay", "properties Safe") == set(SETTINGS)


@pytest.mark.parametrize("kind", DatasetKind)
@pytest.mark.parametrize("purpose", ["receiving", "--how Rollback", "SetAside"])
def test_every_property_of_a_replica_can_be_set_by_who_receives_clones_or_adopts(
    kind: DatasetKind, purpose: str
) -> None:
    made = grant(pair("erp", "tank/d"))
    needed = {*replica_posture(kind), "userprop"}
    assert needed <= permissions(made, "tank/backstay", purpose)


def test_what_each_resolution_runs_is_granted_for_it() -> None:
    made = grant(pair("erp", "tank/d"))
    place = permissions(made, "tank/backstay", "--how Rollback")
    assert {"rollback", "destroy", "mount", "userprop"} <= place
    for dataset in ("tank/backstay", "tank/backstay-aside"):
        needed = {"rename", "clone", "promote", "create", "mount"}
        assert needed <= permissions(made, dataset, "SetAside")
    commands = [command for _, command in delegations(made)]
    aside = "tank/backstay-aside"
    (made_at,) = [i for i, c in enumerate(commands) if "zfs create" in c and c.endswith(aside)]
    assert made_at < next(i for i, c in enumerate(commands) if "allow" in c and c.endswith(aside))


def test_the_account_is_that_of_the_host_or_one_that_is_to_be_made() -> None:
    for user, said in (("root", "Root is not needed"), ("dr", "dr is not root: what it must be")):
        made = grant(pair("erp", "tank/d"), user=user)
        text = "\n".join(grant_lines(made))
        assert said in text
        named = "backstay" if user == "root" else user
        assert ("useradd" in text) is (user == "root")
        assert all(f"-u {named} " in c for _, c in delegations(made) if "allow" in c)
        assert grant_document(made)["account"] == named


def test_a_fed_account_other_than_root_cannot_admit_a_data_key_and_is_told() -> None:
    for program, line in (("Fed", False), ("Installed", True)):
        made = grant(pair("erp", "tank/d"), user="dr", program=program)
        assert (made.data_line is not None) is line
        assert ("need the installed program here" in "\n".join(grant_lines(made))) is not line


@pytest.mark.parametrize(("key", "hint"), [(None, True), ("ssh-ed25519 AAAA", False)])
def test_a_key_that_was_not_read_is_to_be_filled_in(key: str | None, hint: bool) -> None:
    said = "\n".join(grant_lines(grant(key=key)))
    assert ("ssh-keygen -y" in said) is hint


def test_a_grant_of_nothing_says_so() -> None:
    assert "nothing at all" in "\n".join(grant_lines(grant(receiveRoots=[])))


def data_line(made: Grant) -> str:
    """The forced command of the data key."""
    assert made.data_line is not None
    found = re.fullmatch(r'restrict,command="([^"]*)" ssh-ed25519 DATA', made.data_line)
    assert found is not None
    return found[1]


def test_the_data_key_of_an_installed_host_is_for_streams_below_its_roots() -> None:
    made = replace(grant(pair("erp", "tank/d"), program="Installed"), data_key="ssh-ed25519 DATA")
    program, gate, *arguments = shlex.split(data_line(made))
    assert (program, gate) == ("/usr/local/bin/backstay-host", "gate")
    assert read_lists(arguments) == Allowed((), ("tank/backstay",), only_streams=True)
    assert made.data_line is not None
    assert made.data_line in "\n".join(grant_lines(made))
    assert "ssh-keygen -t ed25519" not in "\n".join(grant_lines(made))


@pytest.mark.parametrize(
    ("asked", "ran"),
    [
        (f"backstay-host stream {'ab' * 16}.{'cd' * 16}", f"/run/backstay/{'ab' * 16}.zip"),
        ("backstay-host serve", None),
        ("backstay-host stream ../../tmp/x.y", None),
        ("backstay-host stream $(reboot).y", None),
        ("sh -c id", None),
    ],
)
@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_the_data_key_of_a_fed_host_runs_the_program_of_the_ticket_and_no_other(
    tmp_path: Path, shell: str, asked: str, ran: str | None
) -> None:
    made = replace(grant(pair("erp", "tank/d")), data_key="ssh-ed25519 DATA")
    python = tmp_path / "python3"
    python.write_text('#!/bin/sh\necho "$@"\n')
    python.chmod(0o755)
    done = subprocess.run(
        [shell, "-c", data_line(made)],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "SSH_ORIGINAL_COMMAND": asked},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    if ran is None:
        assert (done.returncode, done.stdout) == (3, "")
    else:
        assert done.stdout.split() == [
            *("-I", "-S", ran, "gate", "--only", "stream", "--receive", "tank/backstay")
        ]


def test_a_host_that_receives_nothing_has_no_line_for_a_data_key() -> None:
    made = grant(pair("erp", "tank/d"), receiveRoots=[])
    assert made.data_line is None
    assert "Direct" not in "\n".join(grant_lines(made))


def test_a_missing_data_key_is_said_with_the_place_where_it_goes() -> None:
    said = "\n".join(grant_lines(grant(pair("erp", "tank/d"))))
    assert "PUBLIC-DATA-KEY" in said
    assert "data-privatekey in Secret key" in said
