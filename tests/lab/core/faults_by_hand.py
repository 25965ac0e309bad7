"""The fault table on real pools, by hand: `pytest tests/lab/core/faults_by_hand.py`.

Each case has some passes over two hosts; on emulated ones that is half an hour and more, so that
`make test` makes these faults on the fake hosts alone.
"""

from __future__ import annotations

import pytest

from lab.core.faults_of_decisions import *  # noqa: F403
from lab.core.faults_of_hands import *  # noqa: F403
from lab.core.faults_of_lines import *  # noqa: F403
from lab.core.faults_of_moves import *  # noqa: F403
from lab.core.faults_of_objects import *  # noqa: F403
from lab.core.faults_of_streams import *  # noqa: F403

pytestmark = pytest.mark.timeout(900)
