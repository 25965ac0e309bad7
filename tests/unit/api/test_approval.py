"""The annotation that approves: read strictly, or not at all."""

from __future__ import annotations

import json
from typing import Any

import pytest

from backstay.api.v1alpha1.approval import ANNOTATION_LENGTH, ApprovalSpec, parse_approval

MEMBER: dict[str, Any] = {
    "dataset": "backup/r/d0", "guid": "1", "base": "2", "lose": ["3"], "writtenBytes": 0,
}  # fmt: skip
GOOD: dict[str, Any] = {"id": "a1b2c3d4", "how": "Rollback", "members": [MEMBER]}


def test_a_whole_approval_is_read() -> None:
    approval = parse_approval(json.dumps(GOOD))
    assert isinstance(approval, ApprovalSpec)
    assert approval.document() == GOOD


@pytest.mark.rule("No implicit destruction")
@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"how": "Destroy"}, "how"),
        ({"id": "latest"}, "id"),
        ({"members": []}, "members"),
        ({"members": [MEMBER, MEMBER]}, "Duplicate value"),
        ({"members": [{**MEMBER, "base": None}]}, "a rollback names the base"),
        ({"members": [{**MEMBER, "writtenBytes": None}]}, "a rollback names the base"),
        ({"members": [{**MEMBER, "guid": "0x1"}]}, "a GUID in decimal"),
        ({"members": [{**MEMBER, "guid": 1}]}, "string"),
        ({"members": [{**MEMBER, "lose": "all"}]}, "lose"),
        ({"members": [{**MEMBER, "dataset": "backup"}], "force": True}, "force"),
    ],
)
def test_half_an_approval_is_none(change: dict[str, Any], says: str) -> None:
    said = parse_approval(json.dumps({**GOOD, **change}))
    assert isinstance(said, str)
    assert says in said


@pytest.mark.parametrize("text", ["", "SetAside", "null", "[]", "{", "\x00", "[" * 3000])
def test_noise_is_said_to_be_none(text: str) -> None:
    assert isinstance(parse_approval(text), str)


def test_an_endless_annotation_is_not_read() -> None:
    assert "characters" in str(parse_approval("[" * (ANNOTATION_LENGTH + 1)))
