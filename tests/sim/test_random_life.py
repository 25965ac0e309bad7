"""Random life and random faults: whatever happens, nothing is lost and the status is true.

A failure names its seed: `pytest tests/sim -k 'seed17-'` tells the same story again.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from random import Random
from typing import Any

import pytest
import structlog

from sim.checks import Checks
from sim.simulation import Simulation

STEPS = 500
SEEDS = range(40)
"""40 stories of 500 steps: 20,000 steps."""
TAIL = 25


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[MutableMapping[str, Any]]]:
    """What was logged is a value, not lines on the terminal."""
    with structlog.testing.capture_logs() as captured:
        yield captured


@pytest.mark.rule("Fixpoint")
@pytest.mark.rule("RPO truth")
@pytest.mark.rule("Pruning keeps the chain")
@pytest.mark.rule("No implicit destruction")
@pytest.mark.rule("Atomic groups")
@pytest.mark.rule("Bookmark with snapshot")
@pytest.mark.parametrize("seed", [pytest.param(s, id=f"seed{s}-") for s in SEEDS])
async def test_nothing_is_lost_and_the_status_is_true(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invariants after each of 500 acts, then calm: the same fixpoint as without any fault."""
    dice = Random(seed)
    monkeypatch.setattr("secrets.token_hex", lambda size: dice.randbytes(size).hex())
    sim = Simulation(seed)
    checks = Checks(sim)
    try:
        for _ in range(STEPS):
            await sim.step()
            checks.after_a_step()
        await sim.calm()
        checks.after_a_step()
        await checks.at_rest()
    except AssertionError as failure:
        story = "\n".join(sim.told[-TAIL:])
        raise AssertionError(f"seed {seed}, step {len(sim.told)}: {failure}\n{story}") from failure
