"""The fake hosts pass the contract suite that real hosts pass."""

from __future__ import annotations

import pytest

from contract.host.cases_branches import *  # noqa: F403
from contract.host.cases_cycle import *  # noqa: F403
from contract.host.cases_fence import *  # noqa: F403
from contract.host.cases_interrupted import *  # noqa: F403
from contract.host.cases_lineage import *  # noqa: F403
from contract.host.cases_promotion import *  # noqa: F403
from contract.host.cases_raw import *  # noqa: F403
from contract.host.cases_reads import *  # noqa: F403
from contract.host.cases_roles import *  # noqa: F403
from contract.host.cases_takeover import *  # noqa: F403
from contract.host.cases_transfers import *  # noqa: F403
from contract.host.cases_transports import *  # noqa: F403
from contract.host.cases_writes import *  # noqa: F403
from contract.host.fake_world import FakeContractWorld


@pytest.fixture
def world() -> FakeContractWorld:
    """Two fake hosts."""
    return FakeContractWorld()
