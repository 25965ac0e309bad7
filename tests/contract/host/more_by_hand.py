"""More of the contract on real pools, by hand: `pytest tests/contract/host/more_by_hand.py`.

Roles, promotions, divergence, raw streams and transports: on emulated hosts about an hour, so that
`make test` runs them on the fake hosts alone.
"""

from __future__ import annotations

import pytest

from contract.host.cases_cycle import *  # noqa: F403
from contract.host.cases_lineage import *  # noqa: F403
from contract.host.cases_promotion import *  # noqa: F403
from contract.host.cases_raw import *  # noqa: F403
from contract.host.cases_roles import *  # noqa: F403
from contract.host.cases_takeover import *  # noqa: F403
from contract.host.cases_transports import *  # noqa: F403

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]  # type: ignore[assignment,unused-ignore]
