"""The one screen of `status`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from backstay.api.v1alpha1 import ProtectionPolicy, ReplicationPair, Site
from backstay.report.inventory import Inventory, Unreadable
from backstay.report.leader import Leader
from backstay.report.overview import Overview, overview, overview_document, overview_lines
from fakes import reported
from fakes.reported import NOW, condition

LEADS = Leader(leads=True, says="pod-1 leads")
UNSEEN = Leader(leads=None, says="Lease backstay/backstay: could not be read: 403")
MODIFIED = "disk0: the replica tank/backstay/db was written to since the last point; roll it back "
MODIFIED += "yourself or make it a dataset of another name"


def seen(
    *pairs: dict[str, Any],
    sites: tuple[dict[str, Any], ...] = (),
    policies: tuple[dict[str, Any], ...] = (),
    leader: Leader = LEADS,
) -> Overview:
    objects = Inventory(
        pairs=tuple(ReplicationPair.model_validate(body) for body in pairs),
        sites=tuple(Site.model_validate(body) for body in sites),
        policies=tuple(ProtectionPolicy.model_validate(body) for body in policies),
    )
    return overview(objects, {"ns": leader}, NOW)


def text(shown: Overview, width: int | None = 80, *, with_namespace: bool = False) -> str:
    lines = overview_lines(shown, width=width, with_namespace=with_namespace)
    return "\n".join(line.text for line in lines)


ALL_KINDS = (
    reported.pair("erp"),
    reported.pair(
        "files", lag_s=1200, met="False", ready=("False", "TransferFailed", "disk3: busy")
    ),
    reported.pair("mail", lag_s=None, met="Unknown", ready=("Unknown", "Timeout", "h1 is silent")),
    reported.pair("db", more=(condition("Diverged", "True", "TargetModified", MODIFIED),)),
)
SCREEN = """\
NAME   ACTIVE  RPO  LAG      RPO-MET  READY    STATE
db     a       5m   87s      True     True     Stalled
  TargetModified: disk0: the replica tank/backstay/db was written to since the …
files  a       5m   20m      False    False    Breached
  TransferFailed: disk3: busy
mail   a       5m   unknown  Unknown  Unknown  Unknown
  Timeout: h1 is silent
erp    a       5m   87s      True     True     Fine

Site not ready:
  b  Ready=False  KeyRefused: h1: the host refused the key

ProtectionPolicy not ready:
  gold  Ready=False  ExceptionExpired: the exception ended

4 pairs: 1 Stalled, 1 Breached, 1 Unknown, 1 Fine"""


def test_the_screen_has_the_worst_first_and_says_why() -> None:
    shown = seen(
        *ALL_KINDS,
        sites=(reported.site("a"), reported.site("b", trouble=("KeyRefused", REFUSED))),
        policies=(reported.policy(ready=("False", "ExceptionExpired", "the exception ended")),),
    )
    assert text(shown) == SCREEN
    assert not shown.all_met


REFUSED = "h1: the host refused the key"


def test_the_manual_shows_this_very_screen() -> None:
    manual = Path(__file__).parents[3] / "docs" / "kubectl-backstay.md"
    assert SCREEN in manual.read_text(encoding="utf-8")


def test_in_a_pipe_nothing_is_cut() -> None:
    assert MODIFIED in text(seen(*ALL_KINDS), width=None)
    assert max(map(len, text(seen(*ALL_KINDS)).splitlines())) <= 80


def test_a_name_too_long_for_its_column_has_a_line_of_its_own_and_is_whole() -> None:
    long = "a-very-long-name-of-a-pair-that-fills-more-than-half-of-the-screen"
    lines = text(seen(reported.pair(long), reported.pair("erp"))).splitlines()
    assert lines[1] == long
    assert lines[2].split() == ["a", "5m", "87s", "True", "True", "Fine"]
    assert lines[2].index("5m") == lines[3].index("5m") == lines[0].index("RPO")
    assert max(map(len, lines)) <= 80


def test_a_long_site_does_not_push_the_columns_off_the_screen() -> None:
    shown = seen(reported.pair("erp", activeSite="s" * 63))
    assert max(map(len, text(shown).splitlines())) <= 80


def test_names_have_their_namespace_where_all_are_shown() -> None:
    assert "ns/erp" in text(seen(reported.pair("erp")), with_namespace=True)


def test_what_is_fine_is_counted_and_not_listed_when_there_is_much() -> None:
    many = [reported.pair(f"p{n:02}") for n in range(40)]
    said = text(seen(*many, reported.pair("bad", met="False", lag_s=900)))
    assert len(said.splitlines()) < 26
    assert said.splitlines()[1].startswith("bad")
    assert "and 21 more that are fine" in said
    assert "p39" in text(seen(*many), width=None)


@pytest.mark.parametrize("leads", [False, None])
def test_a_missing_operator_is_said(leads: bool | None) -> None:
    said = text(seen(reported.pair("erp"), leader=Leader(leads=leads, says="Lease x")))
    assert "Lease x" in said.splitlines()[-1]


def suspended() -> dict[str, Any]:
    body = reported.pair("rests", ready=("False", "Suspended", "spec.suspend is true"))
    body["spec"]["suspend"] = True
    return body


@pytest.mark.parametrize(
    ("shown", "all_met"),
    [
        (seen(reported.pair("erp")), True),
        (seen(reported.pair("erp"), suspended()), True),
        (seen(), False),  # a typing error in a namespace must not look like safety
        (seen(reported.pair("erp"), sites=(reported.site("b", trouble=("Timeout", "x")),)), False),
        *((seen(reported.pair("erp"), body), False) for body in ALL_KINDS[1:]),
    ],
)
def test_all_is_met_only_when_something_is_promised_and_nothing_is_in_doubt(
    shown: Overview, all_met: bool
) -> None:
    assert shown.all_met is all_met


def test_what_is_not_understood_is_unknown_and_never_left_out() -> None:
    odd = [
        Unreadable(kind=k, namespace="ns", name="x", why="odd") for k in ("ReplicationPair", "Site")
    ]
    shown = overview(Inventory(unreadable=tuple(odd)), {"ns": LEADS}, NOW)
    assert [pair.danger for pair in shown.pairs] == ["Unknown"]
    assert [trouble.kind for trouble in shown.troubles] == ["Site"]
    assert not shown.all_met


def test_programs_get_null_for_what_is_unknown() -> None:
    document = overview_document(seen(*ALL_KINDS, leader=UNSEEN))
    assert document["operators"] == [{"namespace": "ns", "leads": None, "message": UNSEEN.says}]
    by_name = {pair["name"]: pair for pair in document["pairs"]}
    assert by_name["mail"] == {
        "namespace": "ns",
        "name": "mail",
        "state": "Unknown",
        "activeSite": "a",
        "rpoSeconds": 300,
        "recoveryPointTime": None,
        "lagSeconds": None,
        "rpoMet": "Unknown",
        "ready": "Unknown",
        "reason": "Timeout",
        "message": "h1 is silent",
    }
    assert by_name["erp"]["recoveryPointTime"] == "2030-01-01T00:58:33Z"
    assert by_name["erp"]["lagSeconds"] == 87
