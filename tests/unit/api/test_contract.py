"""The models judge every manifest of the contract as the API server must."""

from __future__ import annotations

from collections import Counter

import pytest
from pydantic import ValidationError

from backstay.api.rules import Rule
from backstay.api.v1alpha1 import KINDS, Resource, problems
from backstay.api.v1alpha1.meta import SpecModel
from contract.api.cases import ACCEPTED, REFUSED, title
from contract.api.manifests import Case, Manifest


def parsed(manifest: Manifest) -> Resource:
    """Return the manifest as a model of its kind."""
    kind = next(kind for kind in KINDS if kind.info.kind == manifest["kind"])
    return kind.model_validate(manifest)


@pytest.mark.parametrize("case", ACCEPTED, ids=title)
def test_models_accept(case: Case) -> None:
    assert parsed(case.manifest).metadata.name == case.manifest["metadata"]["name"]


@pytest.mark.fault(
    "replication without backup",
    "same site twice",
    "malformed dataset",
    "malformed duration",
    "malformed schedule",
    "unknown field",
)
@pytest.mark.parametrize("case", REFUSED, ids=title)
def test_models_refuse_with_a_sentence(case: Case) -> None:
    with pytest.raises(ValidationError) as refusal:
        parsed(case.manifest)
    assert case.model_fragment is not None
    assert case.model_fragment in "\n".join(problems(refusal.value))


def test_names_of_cases_are_unique() -> None:
    counts = Counter(title(case) for case in ACCEPTED + REFUSED)
    assert [name for name, count in counts.items() if count > 1] == []


def spec_models(model: type[SpecModel] = SpecModel) -> list[type[SpecModel]]:
    """Return every part of every spec."""
    return [found for sub in model.__subclasses__() for found in (sub, *spec_models(sub))]


def rules_of_models() -> list[Rule[object]]:
    """Return every rule that the models check."""
    return [rule for model in spec_models() for rule in model.rules if rule.holds]


def test_every_rule_of_the_models_refuses_a_case() -> None:
    said = [case.says or "" for case in REFUSED]
    unproven = [
        rule.message
        for rule in rules_of_models()
        if not any(_says(rule.message, fragment) for fragment in said)
    ]
    assert len(rules_of_models()) >= 14
    assert unproven == []


def _says(message: str, fragment: str) -> bool:
    """Whether a fragment is of this sentence; the longest part without quotes must be alike."""
    plain = max(message.replace("}", "{").split("{")[::2], key=len)
    return bool(fragment) and (plain in fragment or fragment in plain)
