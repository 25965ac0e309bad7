"""A seed tells one story: what is found in it can be looked at again, in another process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
STEPS = 100
TOLD = """
import sys
from sim.story import tell
story = tell(int(sys.argv[1]), int(sys.argv[2]))
print("\\n".join(story.told))
print("\\n".join(" ".join(command) for command in story.estate.world.commands))
"""


def told(seed: int, hash_seed: str) -> list[str]:
    """All that happened and all that was run, in order, by a process with such hashes."""
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(TESTS)}
    command = [sys.executable, "-c", TOLD, str(seed), str(STEPS)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_a_seed_tells_the_same_story_whatever_the_order_of_sets() -> None:
    first = told(17, "1")
    assert sum(line.startswith("zfs ") for line in first) > STEPS / 10
    assert told(17, "2") == first
