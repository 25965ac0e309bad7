"""Two fake hosts, a policy, and the operator's core over them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fakes import truths
from fakes.lab import Lab


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A source, a target, and the core of one leader; none of its commands was a forced one."""
    made = Lab.make()
    yield made
    truths.none_is_forced(made.world.commands)
