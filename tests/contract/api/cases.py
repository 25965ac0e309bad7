"""The table of the API: manifests, whether they are accepted, and what is said if not."""

from __future__ import annotations

from contract.api import pair_cases, policy_cases, site_cases
from contract.api.manifests import Case

ACCEPTED: tuple[Case, ...] = site_cases.ACCEPTED + policy_cases.ACCEPTED + pair_cases.ACCEPTED
REFUSED: tuple[Case, ...] = site_cases.REFUSED + policy_cases.REFUSED + pair_cases.REFUSED


def title(case: Case) -> str:
    """Return the name of a case for the test's id."""
    return f"{case.manifest['kind']}: {case.name}"
