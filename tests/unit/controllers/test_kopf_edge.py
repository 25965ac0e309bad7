"""Kopf tries for ever, writes nothing, and is not trusted to have found our kinds."""

from __future__ import annotations

import asyncio
import itertools
import random
from typing import Any, NamedTuple

import kopf
import pytest
from kopf._cogs.structs.references import Insights

from backstay.controllers.kopf_edge import (
    BACKOFF_CAP_S,
    Backoffs,
    _fail_unless_all_are_watched,
    watch_settings,
)


class _Uncopied(dict[str, Any]):
    """Fails when it is copied."""

    def __deepcopy__(self, _memo: object) -> Any:
        raise AssertionError("the object was copied")


class _Resource(NamedTuple):
    plural: str


def test_requests_are_tried_for_ever_with_growing_pauses_from_the_start_each_time() -> None:
    backoffs = Backoffs(random.Random(1))
    first = list(itertools.islice(backoffs, 500))
    again = list(itertools.islice(backoffs, 3))
    assert len(first) == 500
    assert max(first) <= BACKOFF_CAP_S
    assert first[0] < 2
    assert first[-1] >= BACKOFF_CAP_S / 2
    assert max(again) < 3


def test_kopf_writes_nothing_and_scans_nothing() -> None:
    settings = watch_settings()
    assert not settings.posting.enabled
    assert settings.scanning.disabled
    assert settings.peering.standalone
    assert settings.process.ultimate_exiting_timeout is None
    # The API server refuses "600.0".
    assert isinstance(settings.watching.server_timeout, int)


async def test_a_kind_that_kopf_has_not_found_is_a_failure() -> None:
    found: set[Any] = {_Resource("sites"), _Resource("protectionpolicies")}
    insights = Insights(watched_resources=found)
    check = asyncio.create_task(_fail_unless_all_are_watched(insights))
    await asyncio.sleep(0)
    assert not check.done()
    insights.ready_resources.set()
    with pytest.raises(LookupError, match="replicationpairs"):
        await check


def test_no_event_is_copied_for_handlers_that_there_are_not() -> None:
    storage = watch_settings().persistence.diffbase_storage
    raw: Any = {"metadata": _Uncopied(), "spec": _Uncopied(), "status": _Uncopied()}
    body = kopf.Body(raw)
    assert storage.build(body=body) == {}
    assert storage.fetch(body=body) is None
    patch = kopf.Patch()
    storage.store(body=body, patch=patch, essence=storage.build(body=body))
    assert not patch
