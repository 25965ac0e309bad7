"""Two fake hosts, a policy, and the operator's core over them."""

from __future__ import annotations

import pytest

from fakes.lab import Lab


@pytest.fixture
def lab() -> Lab:
    """A source, a target, and the core of one leader."""
    return Lab.make()
