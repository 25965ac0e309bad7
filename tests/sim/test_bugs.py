"""The simulator finds what it is for: each historical bug, put back, ends a story in time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from sim.bugs import BUGS
from sim.story import Failed, tell

STORIES = 20
STEPS = 1000


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__.replace("_", "-"))
def test_a_bug_that_is_put_back_is_found(bug: Callable[[], AbstractContextManager[None]]) -> None:
    """Within 20,000 steps, a tenth of those that the whole tier makes."""
    for seed in range(STORIES):
        try:
            with bug():
                tell(seed, STEPS)
        except Failed as found:
            print(f"{bug.__name__}: found in story {seed + 1}: {str(found).splitlines()[0]}")
            return
    pytest.fail(f"{bug.__name__} was not found in {STORIES * STEPS:,} steps")
