"""The host program on real pools keeps the contract that the fake hosts keep.

The cases that take a minute each on emulated hosts are in `more_by_hand.py`.
"""

from __future__ import annotations

import pytest

from contract.host.cases_branches import *  # noqa: F403
from contract.host.cases_fence import *  # noqa: F403
from contract.host.cases_interrupted import *  # noqa: F403
from contract.host.cases_reads import *  # noqa: F403
from contract.host.cases_transfers import *  # noqa: F403
from contract.host.cases_writes import *  # noqa: F403

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]  # type: ignore[assignment,unused-ignore]
