"""The simulator finds what it is for: each historical bug, put back, ends a story in time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pytest

from backstay.plan import pruning
from sim.bugs import BUGS, Bug, status_as_truth
from sim.story import Failed, tell

pytestmark = pytest.mark.timeout(600)
STORIES = 20
RARE: Mapping[Bug, int] = {status_as_truth: 40}
"""Stories of a bug that few of them show: two of the first 24, the first of them the 21st."""
STEPS = 1000


def found(bug: Bug, words: str, stories: int = STORIES) -> str | None:
    """The first failure with these words of a story that is told with the bug; None without one."""
    for seed in range(stories):
        try:
            with bug():
                tell(seed, STEPS)
        except Failed as failed:
            said = str(failed).splitlines()[0]
            print(f"{bug.__name__}: story {seed + 1}: {said}")
            if words in said:
                return said
    return None


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__.replace("_", "-"))
def test_a_bug_that_is_put_back_is_found(bug: Bug) -> None:
    """Within 20,000 steps, a tenth of those that the whole tier makes; a rare one within twice."""
    stories = RARE.get(bug, STORIES)
    assert found(bug, BUGS[bug], stories), f"not found in {stories * STEPS:,} steps"


@contextmanager
def patch_of_what_has_changed() -> Iterator[None]:
    """As a bug of above once the function that it stands for takes something else."""

    def needed(link: Any) -> str | None:
        return None

    with patch.object(pruning, "_needed_at_source", needed):
        yield


def test_a_patch_that_only_breaks_is_no_bug_that_was_found() -> None:
    said = found(patch_of_what_has_changed, "a fault of ours", stories=1)
    assert said is not None
    assert [words for words in BUGS.values() if words in said] == []
