"""What the API server stores of a divergence and of the decision about it."""

from __future__ import annotations

import json
from functools import partial

from backstay.api.kinds import RESOLVE
from backstay.api.v1alpha1.approval import ApprovalSpec
from backstay.domain.divergence import Resolution
from backstay.report.approval import approval_of, choose
from contract.api.manifests import Manifest, pair
from contract.api.server import Server, kind_of, refusal_of

POINT = {"name": "@backstay_20261122T031500.123Z_0badcafe1f2e", "guid": "12345678901234567890"}


def _diverged(number: int, points: int = 96) -> Manifest:
    return {
        "member": f"disk-{number}",
        "reason": "TargetAhead",
        "source": "tank/" + "s" * 175,
        "sourceGuid": "1",
        "dataset": f"backup/backstay/{number}" + "t" * 160,
        "guid": "2",
        "base": POINT,
        "ahead": [POINT] * 8,
        "lose": [POINT] * points,
        "loseCount": points,
        "writtenBytes": 8192,
        "offers": ["SetAside", "Rollback", "Reseed"],
    }


def test_the_largest_divergence_is_stored_whole_and_fits(server: Server) -> None:
    server.create(pair())
    aside = {"dataset": "backup/backstay-aside/1", "of": "backup/backstay/d0", "usedBytes": 1}
    status = {"diverged": [_diverged(n) for n in range(5)], "asides": [aside] * 5}
    stored = server.report(pair(), status)
    assert stored["status"]["diverged"] == status["diverged"]
    assert stored["status"]["asides"] == status["asides"]
    assert len(json.dumps(stored["status"])) < 64 * 1024
    kind_of(pair()).model_validate(stored)
    server.remove(pair())


def test_more_members_or_points_than_the_status_names_are_refused(server: Server) -> None:
    server.create(pair())
    for diverged in ([_diverged(n) for n in range(6)], [_diverged(0, points=97)]):
        said = refusal_of(partial(server.report, pair(), {"diverged": diverged}))
        assert "at most" in said
    server.remove(pair())


def test_an_approval_is_an_annotation_and_changes_nothing_else(server: Server) -> None:
    created = server.create(pair())
    status = {"diverged": [_diverged(n) for n in range(5)]}
    shown = kind_of(pair()).model_validate(server.report(pair(), status))
    diverged = shown.status.diverged  # type: ignore[attr-defined]
    approval = approval_of(choose(diverged, Resolution.ROLLBACK), Resolution.ROLLBACK, "a1b2c3d4")
    text = json.dumps(approval.document())
    stored = server.merge(pair(), {"metadata": {"annotations": {RESOLVE: text}}})
    assert stored["metadata"]["generation"] == created["metadata"]["generation"]
    assert stored["spec"] == created["spec"]
    assert ApprovalSpec.model_validate_json(stored["metadata"]["annotations"][RESOLVE]) == approval
    server.remove(pair())
