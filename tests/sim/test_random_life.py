"""Random life and random faults: whatever happens, nothing is lost and the status is true.

A failure names its seed and the command that tells the same story again.
"""

from __future__ import annotations

import pytest

from sim.story import tell

STEPS = 2000
SEEDS = range(100)
"""100 stories of 2000 steps: 200,000 steps. `make sim-long` tells others, 5,000,000 steps long."""


@pytest.mark.rule("Fixpoint")
@pytest.mark.rule("RPO truth")
@pytest.mark.rule("Proven base")
@pytest.mark.rule("No wall clock")
@pytest.mark.rule("Atomic groups")
@pytest.mark.rule("Bookmark with snapshot")
@pytest.mark.rule("Pruning keeps the chain")
@pytest.mark.rule("No implicit destruction")
@pytest.mark.rule("A pipe cannot mix up members")
@pytest.mark.rule("Single writer, fenced at the host")
@pytest.mark.fault("acknowledgement lost (receive done, ssh dies)")
@pytest.mark.fault("source destroyed and recreated under the same name")
@pytest.mark.fault("clock steps by an hour", "two operators of one installation")
@pytest.mark.fault("leader stopped for a minute and woken")
@pytest.mark.parametrize("seed", [pytest.param(s, id=f"seed{s}-") for s in SEEDS])
def test_nothing_is_lost_and_the_status_is_true(seed: int) -> None:
    """Every check after every step, then calm: the same fixpoint as without any fault."""
    assert tell(seed, STEPS).steps >= STEPS
