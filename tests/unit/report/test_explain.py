"""The chain of facts behind a pair's state."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from backstay.api.v1alpha1 import ProtectionPolicy, ReplicationPair, Site
from backstay.report.explain import Around, Explanation, explain, explanation_document
from backstay.report.inventory import Unreadable
from backstay.report.leader import Leader
from fakes import objects, reported
from fakes.reported import NOW, condition

LEADS = Leader(leads=True, says="pod-1 leads")
GONE = Leader(leads=False, says="nobody leads", next_step="see why its Pod does not run")
AROUND = Around(
    policy=ProtectionPolicy.model_validate(reported.policy()),
    sites={name: Site.model_validate(reported.site(name)) for name in ("a", "b")},
    leader=LEADS,
)
DOWN = ("Unreachable", "h1: no route to 192.0.2.1: see whether it runs")


def told(body: dict[str, Any], around: Around = AROUND) -> Explanation:
    return explain(ReplicationPair.model_validate(body), around, NOW)


def chain(shown: Explanation) -> list[tuple[str, str]]:
    return [(fact.about, fact.state) for fact in shown.facts]


def says(shown: Explanation, about: str) -> str:
    return next(fact.says for fact in shown.facts if fact.about == about)


def test_a_pair_that_is_fine_has_a_good_chain_and_nothing_to_do() -> None:
    shown = told(reported.pair("erp"))
    assert shown.met
    assert chain(shown) == [
        ("ReplicationPair erp", "good"),
        ("operator", "good"),
        ("ProtectionPolicy gold", "good"),
        ("Site a (source) host h1", "good"),
        ("Site b (target) host h1", "good"),
        ("members", "good"),
        ("recovery point", "note"),
        ("lag", "good"),
    ]
    assert shown.next_steps == ("nothing is to be done",)


def test_the_policy_says_what_is_promised_how_and_which_backup_stands_beside_it() -> None:
    assert says(told(reported.pair("erp")), "ProtectionPolicy gold") == (
        "RPO 5m; a snapshot every 2m30s, half of the RPO; backup declared, not verified: nightly"
    )


def test_the_lag_is_shown_as_a_sum_with_its_parts() -> None:
    near = says(told(reported.pair("erp", lag_s=87)), "lag")
    assert near == (
        "2030-01-01T01:00:00Z − 2030-01-01T00:58:33Z = 87 s; RPO 300 s: 213 s are left; "
        "by the interval the next is due in 63 s"
    )
    far = says(told(reported.pair("erp", lag_s=1200, met="False")), "lag")
    assert "= 1200 s; RPO 300 s: exceeded by 900 s" in far
    assert "150 s of the lag are the interval, 1050 s are beyond it" in far
    assert "12.0 MiB arrived in 4 s" in says(told(reported.pair("erp")), "recovery point")


def test_streams_under_way_and_what_is_wrong_with_them_are_links_of_their_own() -> None:
    far = {
        "time": "2030-01-01T00:59:50Z",
        "startTime": "2030-01-01T00:58:00Z",
        "streams": 1,
        "bytes": 10,
        "expectedBytes": 40,
        "bytesPerSecond": 1,
        "secondsLeft": 30,
    }
    stalls = condition("AtRisk", "True", "TransferStalled", "disk0: no byte has moved for 25s")
    shown = told(reported.pair("erp", transfer=far, more=(stalls,)))
    assert says(shown, "transfer under way") == (
        "since 2030-01-01T00:58:00Z: 20 B of about 40 B, 1 B/s, 20s left"
    )
    assert says(shown, "at risk") == "TransferStalled: disk0: no byte has moved for 25s"
    assert ("at risk", "bad") in chain(shown)


def test_a_lag_that_only_looks_too_long_is_explained() -> None:
    shown = told(reported.pair("erp", lag_s=400))
    assert shown.met
    assert "only once an RPO" in says(shown, "lag")


def test_an_unknown_lag_is_said_to_be_unknown() -> None:
    shown = told(reported.pair("erp", lag_s=None, met="Unknown"))
    assert not shown.met
    assert shown.facts[-1].about == "recovery point"
    assert shown.facts[-1].state == "unknown"


def test_the_unreachable_host_is_the_bad_link_and_the_first_step() -> None:
    down = Site.model_validate(reported.site("b", trouble=DOWN))
    body = reported.pair("erp", lag_s=1200, met="False", ready=("Unknown", *DOWN))
    shown = told(body, replace(AROUND, sites={**AROUND.sites, "b": down}))
    assert ("Site b (target) host h1", "bad") in chain(shown)
    assert "see whether it runs" in shown.next_steps[0]
    assert shown.next_steps[-1] == "then: kubectl backstay sync erp -n ns --wait"


def test_the_worst_members_are_links_of_their_own() -> None:
    worst = [
        {"member": "disk1", "reason": "TargetModified", "message": "destroy it yourself"},
        {
            "member": "disk2",
            "reason": "TransferFailed",
            "message": "broken pipe",
            "recoveryPointTime": "2030-01-01T00:10:00Z",
        },
    ]
    counts = {"total": 9, "confirmed": 8, "seeding": 1, "failed": 1, "conflicted": 1}
    shown = told(
        reported.pair(
            "erp",
            ready=("False", "TargetModified", "disk1: destroy it yourself"),
            members=counts,
            worst=worst,
        )
    )
    assert says(shown, "members") == (
        "8 of 9 have a confirmed point, 1 seeding, 1 failed, 1 wait for a decision of yours"
    )
    assert "(it has no point)" in says(shown, "member disk1")
    assert "2030-01-01T00:10:00Z" in says(shown, "member disk2")
    assert "member disk1: destroy it yourself" in shown.next_steps


def test_what_does_not_exist_is_bad_and_what_is_not_understood_is_unknown() -> None:
    nothing = Around(policy=None, sites={}, leader=LEADS)
    assert ("ProtectionPolicy gold", "bad") in chain(told(reported.pair("erp"), nothing))
    assert ("Site b (target)", "bad") in chain(told(reported.pair("erp"), nothing))
    odd = Unreadable(kind="Site", namespace="ns", name="b", why="odd")
    strange = replace(AROUND, sites={**AROUND.sites, "b": odd})
    assert ("Site b (target)", "unknown") in chain(told(reported.pair("erp"), strange))


def test_a_host_that_the_site_lacks_or_that_nobody_looked_at_is_never_good() -> None:
    renamed = reported.site("b")
    renamed["spec"]["hosts"][0]["name"] = "h2"
    fresh = objects.site("b")
    for body, state in ((renamed, "bad"), (fresh, "unknown")):
        around = replace(AROUND, sites={**AROUND.sites, "b": Site.model_validate(body)})
        assert ("Site b (target) host h1", state) in chain(told(reported.pair("erp"), around))


def test_a_skewed_clock_and_a_missing_receive_root_make_a_host_bad() -> None:
    for body, words in (
        (reported.site("b", skew_s=-3), "clock differs by 3 s"),
        (reported.site("b"), "no receive root"),
    ):
        if words == "no receive root":
            del body["spec"]["hosts"][0]["receiveRoots"]
        around = replace(AROUND, sites={**AROUND.sites, "b": Site.model_validate(body)})
        shown = told(reported.pair("erp"), around)
        assert words in says(shown, "Site b (target) host h1")
        assert ("Site b (target) host h1", "bad") in chain(shown)


def test_a_missing_operator_is_the_first_step() -> None:
    shown = told(reported.pair("erp"), replace(AROUND, leader=GONE))
    assert not shown.met
    assert shown.next_steps[0] == "operator: see why its Pod does not run"


def test_a_pair_that_rests_is_told_how_to_wake() -> None:
    body = reported.pair("erp", ready=("False", "Suspended", "spec.suspend is true"))
    body["spec"]["suspend"] = True
    shown = told(body)
    assert shown.met
    assert shown.next_steps == ("wake it: set spec.suspend of ReplicationPair ns/erp to false",)


def test_a_policy_that_changed_since_the_judgement_is_said() -> None:
    shown = told(reported.pair("erp", rpo="1h"))
    assert "the pair was judged by 1h last" in says(shown, "ProtectionPolicy gold")


def test_programs_get_the_chain_as_a_list() -> None:
    document = explanation_document(told(reported.pair("erp")), NOW)
    assert document["met"] is True
    assert document["facts"][0].keys() == {"about", "state", "message"}
    assert document["pair"]["lagSeconds"] == 87
    assert document["nextSteps"] == ["nothing is to be done"]


def test_passes_that_are_too_slow_are_a_bad_link_and_a_step_before_the_rpo_is_breached() -> None:
    slow = reported.condition("Achievable", "False", "PassesTooLong", "315 s of 300 s: set it")
    shown = told(reported.pair("erp", more=(slow,)))
    assert ("achievable", "bad") in chain(shown)
    assert shown.next_steps == ("315 s of 300 s: set it",)
