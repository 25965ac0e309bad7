"""What may change in a stored object and what may not, by change and by remove-then-add."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from backstay.api.v1alpha1 import ReplicationPair
from contract.api.manifests import REMOVED, Change, Manifest, changed, member, pair, policy
from contract.api.server import Server, refusal_of

SITES = "spec.sites is immutable: create a new ReplicationPair for other sites"
PLACES = "a member's places are immutable: remove the member and add one of another name"
# One pair whose sites hold good for a third place, so that only immutability can refuse it.
HAM = {"host": "ham1", "dataset": "rpool/backstay/disk-0"}
TO_HAM: tuple[Change, ...] = (
    ("spec.sites", ["fra", "ham"]),
    ("spec.datasets", [member("disk-9")]),
    ("spec.datasets.0.at.ham", HAM),
    ("spec.datasets.0.at.muc", REMOVED),
)


@dataclass(frozen=True, slots=True)
class Attack:
    """Steps that would change what is immutable; the last one, or an earlier one, is refused."""

    name: str
    steps: tuple[tuple[Change, ...], ...]
    says: str


ATTACKS = (
    Attack("another second site", (TO_HAM,), SITES),
    Attack("the same sites in another order", ((("spec.sites", ["muc", "fra"]),),), SITES),
    Attack("sites removed, then others added", ((("spec.sites", REMOVED),), TO_HAM), "Required"),
    Attack("sites by null, then others", ((("spec.sites", None),), TO_HAM), "Required"),
    Attack("the spec removed, then another", ((("spec", REMOVED),), TO_HAM), "Required"),
    Attack(
        "another source of a member",
        ((("spec.datasets.0.at.fra.dataset", "tank/other"),),),
        PLACES,
    ),
    Attack(
        "another target of a member",
        ((("spec.datasets.0.at.muc.dataset", "rpool/backstay/other"),),),
        PLACES,
    ),
    Attack("another host of a member", ((("spec.datasets.0.at.muc.host", "muc2"),),), PLACES),
    Attack(
        "another target of one member of two",
        ((("spec.datasets", [changed(member("disk-0"), ("at.muc.host", "x")), member("b")]),),),
        PLACES,
    ),
    Attack(
        "places removed, then others added",
        ((("spec.datasets.0.at", REMOVED),), (("spec.datasets.0.at.muc.host", "muc2"),)),
        "Required",
    ),
    Attack(
        "one place removed, then another added",
        ((("spec.datasets.0.at.muc", REMOVED),), (("spec.datasets.0.at.muc.host", "muc2"),)),
        "should have at least 2 properties",
    ),
    Attack(
        "all members removed, then others added",
        ((("spec.datasets", []),), (("spec.datasets.0.at.muc.host", "muc2"),)),
        "should have at least 1 items",
    ),
)

EDITS: tuple[tuple[str, tuple[tuple[Change, ...], ...]], ...] = (
    ("another policy", ((("spec.policyRef.name", "silver"),),)),
    ("the other site preferred", ((("spec.preferredSite", "muc"),),)),
    ("a rest and an end of it", ((("spec.suspend", True),), ())),
    ("a consistency group", ((("spec.consistencyGroup", True),),)),
    ("a tree", ((("spec.datasets.0.recursive", True),),)),
    ("a member more", ((("spec.datasets", [member("disk-0"), member("disk-1")]),),)),
    (
        "a member under another name for another place",
        ((("spec.datasets.0", changed(member("disk-1"), ("at.muc.host", "muc2"))),),),
    ),
)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_what_is_immutable_withstands(server: Server, attack: Attack) -> None:
    stored = server.create(pair())

    def change_step_by_step() -> None:
        for step in attack.steps:
            server.replace(pair(*step))

    assert attack.says in refusal_of(change_step_by_step)
    unchanged = server.merge(pair(), {})
    assert unchanged["spec"] == stored["spec"]
    server.remove(pair())


@pytest.mark.parametrize(
    ("patch", "says"),
    [
        ({"spec": {"sites": ["fra", "ham"]}}, SITES),
        ({"spec": {"sites": None}}, "Required"),
        ({"spec": None}, "Required"),
    ],
    ids=["sites changed", "sites removed", "spec removed"],
)
def test_what_is_immutable_withstands_patches(server: Server, patch: Manifest, says: str) -> None:
    server.create(pair())
    assert says in refusal_of(lambda: server.merge(pair(), patch))
    server.remove(pair())


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit[0])
def test_what_is_mutable_changes(
    server: Server, edit: tuple[str, tuple[tuple[Change, ...], ...]]
) -> None:
    server.create(pair())
    for step in edit[1]:
        stored = ReplicationPair.model_validate(server.replace(pair(*step)))
        assert stored.spec == ReplicationPair.model_validate(pair(*step)).spec
    server.remove(pair())


def test_a_member_that_left_may_come_back_elsewhere(server: Server) -> None:
    server.create(pair(("spec.datasets", [member("disk-0"), member("disk-1")])))
    server.replace(pair(("spec.datasets", [member("disk-1")])))
    elsewhere = changed(member("disk-0"), ("at.muc.host", "muc2"))
    stored = server.replace(pair(("spec.datasets", [elsewhere, member("disk-1")])))
    assert stored["spec"]["datasets"][0]["at"]["muc"]["host"] == "muc2"
    server.remove(pair())


@pytest.mark.fault("replication without backup")
def test_a_policy_cannot_lose_its_backup_later(server: Server) -> None:
    server.create(policy())
    removed = refusal_of(lambda: server.merge(policy(), {"spec": {"backup": None}}))
    assert "replication copies a deletion within seconds and is not a backup" in removed
    server.remove(policy())


def test_replace_without_status_keeps_the_status(server: Server) -> None:
    server.create(pair())
    server.report(pair(), {"observedGeneration": 1, "activeSite": "fra"})
    stored = server.replace(pair(("spec.suspend", True)))
    assert stored["status"] == {"observedGeneration": 1, "activeSite": "fra"}
    assert stored["metadata"]["generation"] == 2
    server.remove(pair())
