"""Waiting for children costs no thread each: hosts are many."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from backstay.adapters.host.process import Child
from backstay.app.main import wait_for_children_without_threads


@pytest.fixture
def _the_watcher_of_before() -> Iterator[None]:
    before = asyncio.get_event_loop_policy()._watcher  # type: ignore[attr-defined]
    yield
    asyncio.get_event_loop_policy()._watcher = before  # type: ignore[attr-defined]


@pytest.mark.usefixtures("_the_watcher_of_before")
def test_children_are_waited_for_without_a_thread_each() -> None:
    async def live() -> None:
        before = threading.active_count()
        children = [await Child.start(["sleep", "60"]) for _ in range(10)]
        failing = await Child.start(["sh", "-c", "exit 3"])
        assert threading.active_count() == before
        assert await failing.wait() == 3
        assert {await child.end() for child in children} == {-15}

    wait_for_children_without_threads()
    asyncio.run(live())
