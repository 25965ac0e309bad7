"""Logs of these tests are values, not lines on the terminal."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest
import structlog

pytest.register_assert_rewrite("contract.host", "fakes")
"""Before the conftest of any folder below imports them."""


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[MutableMapping[str, Any]]]:
    """What was logged so far."""
    with structlog.testing.capture_logs() as captured:
        yield captured
