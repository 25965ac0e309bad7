"""The API server judges every manifest of the contract as the models do."""

from __future__ import annotations

import pytest

from contract.api.cases import ACCEPTED, REFUSED, title
from contract.api.manifests import Case
from contract.api.server import Server, kind_of, refusal_of


@pytest.mark.parametrize("case", ACCEPTED, ids=title)
def test_server_accepts(server: Server, case: Case) -> None:
    stored = server.try_create(case.manifest)
    assert stored["status"] == {"observedGeneration": -1}


@pytest.mark.parametrize("case", ACCEPTED, ids=title)
def test_server_and_models_fill_in_the_same_defaults(server: Server, case: Case) -> None:
    stored = server.try_create(case.manifest)
    kind = kind_of(case.manifest)
    assert (
        kind.model_validate(stored).document()["spec"]
        == (kind.model_validate(case.manifest).document()["spec"])
    )


@pytest.mark.fault(
    "replication without backup",
    "same site twice",
    "malformed dataset",
    "malformed duration",
    "malformed schedule",
    "unknown field",
)
@pytest.mark.parametrize("case", REFUSED, ids=title)
def test_server_refuses_with_a_sentence(server: Server, case: Case) -> None:
    assert case.says is not None
    assert case.says in refusal_of(lambda: server.try_create(case.manifest))
