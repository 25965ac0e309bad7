"""An operator's adapter with scripted host programs; every connection is closed at the end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fakes.peers import Bench


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """The adapter, with host programs of the test's own."""
    made = Bench(tmp_path)
    yield made
    await made.close()
