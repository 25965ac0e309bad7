"""`kubectl backstay resolve` against a cluster in memory."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from backstay.api.kinds import RESOLVE
from backstay.api.v1alpha1.approval import ApprovalSpec, parse_approval
from backstay.app.cli import app
from fakes.commandline import document, ran
from fakes.reader import FakeReader

DIVERGED: dict[str, Any] = {
    "member": "disk0",
    "reason": "TargetAhead",
    "source": "tank/vm/d0",
    "sourceGuid": "11",
    "dataset": "backup/backstay/d0",
    "guid": "22",
    "base": {"name": "@backstay_a", "guid": "33"},
    "lose": [{"name": "@backstay_b", "guid": "44"}, {"name": "@manual", "guid": "55"}],
    "loseCount": 2,
    "writtenBytes": 8192,
    "offers": ["SetAside", "Rollback", "Reseed"],
}


def stored(kube: FakeReader) -> dict[str, Any]:
    return next(b for b in kube.objects.values() if b["kind"] == "ReplicationPair")


def annotation(kube: FakeReader) -> str | None:
    found = stored(kube)["metadata"].get("annotations", {}).get(RESOLVE)
    return None if found is None else str(found)


def diverge(kube: FakeReader, *members: dict[str, Any]) -> None:
    stored(kube)["status"]["diverged"] = list(members or (DIVERGED,))


def answered(kube: FakeReader, answer: str, *arguments: str) -> Result:
    """The command ran, and its question was answered."""
    return CliRunner().invoke(app, arguments, obj=kube.toolbox(), input=f"{answer}\n")


@pytest.mark.rule("No implicit destruction")
def test_it_says_what_is_lost_by_guid_asks_and_binds_the_approval_to_that(
    kube: FakeReader,
) -> None:
    diverge(kube)
    done = answered(kube, "y", "resolve", "erp", "--how", "Rollback")
    assert done.exit_code == 0
    for words in (
        "LOST for good: @backstay_b (GUID 44)",
        "LOST for good: @manual (GUID 55)",
        "LOST for good: 8192 bytes written since",
        "goes back to @backstay_a (GUID 33)",
        "`kubectl backstay explain erp -n ns`",
    ):
        assert words in done.stdout
    approval = parse_approval(annotation(kube) or "")
    assert isinstance(approval, ApprovalSpec)
    assert approval.how == "Rollback"
    (member,) = approval.members
    assert (member.dataset, member.guid, member.base) == ("backup/backstay/d0", "22", "33")
    assert (member.lose, member.written_bytes) == (("44", "55"), 8192)


def test_who_says_no_approves_nothing(kube: FakeReader) -> None:
    diverge(kube)
    done = answered(kube, "n", "resolve", "erp", "--how", "SetAside")
    assert done.exit_code == 1
    assert "kept aside: @manual (GUID 55)" in done.stdout
    assert "nothing is lost" in done.stdout
    assert annotation(kube) is None


def test_a_dry_run_shows_the_approval_and_writes_nothing(kube: FakeReader) -> None:
    diverge(kube)
    done = ran(kube, "resolve", "erp", "--how", "Reseed", "--dry-run")
    assert done.exit_code == 0
    assert "sent in full" in done.stdout
    text = done.stdout.partition("not written: ")[2]
    assert isinstance(parse_approval(text), ApprovalSpec)
    assert annotation(kube) is None


def test_two_approvals_of_the_same_have_different_ids(kube: FakeReader) -> None:
    diverge(kube)
    ids = set()
    for _ in range(2):
        assert ran(kube, "resolve", "erp", "--how", "SetAside", "--yes").exit_code == 0
        ids.add(json.loads(annotation(kube) or "")["id"])
    assert len(ids) == 2


def test_what_is_not_on_offer_or_not_listed_in_full_is_left_out(kube: FakeReader) -> None:
    foreign = {**DIVERGED, "member": "disk1", "dataset": "backup/x/d1", "offers": ["Adopt"]}
    long = {**DIVERGED, "member": "disk2", "dataset": "backup/x/d2", "loseCount": 3}
    diverge(kube, DIVERGED, foreign, long)
    done = ran(kube, "resolve", "erp", "--how", "SetAside", "--yes")
    assert done.exit_code == 0
    assert "disk1: SetAside is not on offer; what is: Adopt" in done.stdout
    assert "disk2: has 3 points since its base" in done.stdout
    assert [m["dataset"] for m in json.loads(annotation(kube) or "")["members"]] == [
        "backup/backstay/d0"
    ]


@pytest.mark.parametrize("member", [(), ("--member", "disk0"), ("--member", "disk9")])
def test_only_the_members_named_are_approved(kube: FakeReader, member: tuple[str, ...]) -> None:
    second = {**DIVERGED, "member": "disk1", "dataset": "backup/x/d1"}
    diverge(kube, DIVERGED, second)
    done = ran(kube, "resolve", "erp", "--how", "SetAside", "--yes", *member)
    is_known = "disk9" not in member
    assert done.exit_code == (0 if is_known else 1)
    count = {0: 2, 2: 1}[len(member)] if is_known else 0
    assert len(json.loads(annotation(kube) or '{"members": []}')["members"]) == count


def test_nothing_to_decide_is_said(kube: FakeReader) -> None:
    done = ran(kube, "resolve", "erp", "--how", "SetAside", "--yes")
    assert done.exit_code == 1
    assert "nothing waits for a decision" in done.stdout
    assert annotation(kube) is None


def test_programs_must_say_yes(kube: FakeReader) -> None:
    diverge(kube)
    shown = document(kube, "resolve", "erp", "--how", "SetAside")
    assert shown["written"] is False
    assert shown["approval"]["members"][0]["lose"] == ["44", "55"]
    assert annotation(kube) is None
    assert document(kube, "resolve", "erp", "--how", "SetAside", "--yes")["written"] is True
    assert annotation(kube)


def test_who_may_not_patch_pairs_is_told(kube: FakeReader) -> None:
    diverge(kube)
    kube.denied = {"patch replicationpairs.backstay.dev"}
    assert ran(kube, "resolve", "erp", "--how", "SetAside", "--yes").exit_code == 2
    assert annotation(kube) is None
