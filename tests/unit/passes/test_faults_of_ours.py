"""A fault of ours in the work on an object is said in its status; the other objects go on."""

from __future__ import annotations

import random
from collections.abc import MutableMapping
from typing import Any, NoReturn

import pytest

from backstay.controllers.farewell import TRIES
from backstay.controllers.keys import Key, ObjectKey
from backstay.controllers.scheduler import Limits, Scheduler
from backstay.domain.errors import Stalled
from fakes.clock import FakeClock
from fakes.core import NAMESPACE
from fakes.lab import Lab

Logs = list[MutableMapping[str, Any]]

OBJECTS = [
    ("Site", "fra", "site_status"),
    ("ProtectionPolicy", "gold", "policy_status"),
    ("ReplicationPair", "erp", "pair_status"),
]


class NoWatch:
    def run_started(self, _key: object, late_s: float) -> None:
        pass

    def run_ended(self, _key: object, duration_s: float) -> None:
        pass


def boom(*_args: object, **_named: object) -> NoReturn:
    raise KeyError("x")


@pytest.mark.parametrize(("kind", "name", "broken"), OBJECTS)
async def test_a_fault_in_the_work_on_an_object_is_said_counted_and_raised(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, kind: str, name: str, broken: str
) -> None:
    lab.core.pair("erp", lab.volumes(1))
    await lab.core.live(300)
    before = lab.core.status(name, kind)
    with monkeypatch.context() as patched:
        patched.setattr(f"backstay.controllers.objects.{broken}", boom)
        with pytest.raises(KeyError):
            await lab.core.run(ObjectKey(kind, NAMESPACE, name))
    assert lab.core.condition(name, "Ready", kind) == ("Unknown", "InternalError")
    said = lab.core.message(name, "Ready", kind)
    assert said == (
        f"{kind} dr/{name}: a fault of backstay itself, please report it: KeyError('x')"
    )
    assert lab.core.faults == [kind]
    assert lab.core.status(name, kind).keys() == before.keys()
    await lab.core.run(ObjectKey(kind, NAMESPACE, name))
    assert lab.core.condition(name, "Ready", kind)[0] == "True"


@pytest.mark.rule("Isolation")
async def test_a_broken_object_backs_off_and_heals_and_the_others_go_on(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, logs: Logs
) -> None:
    clock = FakeClock()
    limits: Limits[Key] = Limits(resources=lambda _key: (), backoff_s=2.0)
    scheduler = Scheduler(clock, lab.core.run, limits, NoWatch(), random.Random(1))
    site, policy = (ObjectKey(kind, NAMESPACE, name) for kind, name, _ in OBJECTS[:2])
    monkeypatch.setattr("backstay.controllers.objects.site_status", boom)
    scheduler.start()
    scheduler.ring(site)
    scheduler.ring(policy)
    await clock.advance(60)
    assert lab.core.condition("fra", "Ready", "Site") == ("Unknown", "InternalError")
    assert lab.core.condition("gold", "Ready", "ProtectionPolicy") == ("True", "Valid")
    assert 3 <= lab.core.ran[site] <= 7
    assert {log["event"] for log in logs if log["log_level"] == "error"} == {"run-failed"}
    monkeypatch.undo()
    await clock.advance(120)
    assert lab.core.condition("fra", "Ready", "Site") == ("True", "Reachable")
    await scheduler.stop(0)


async def test_a_fault_in_its_farewell_does_not_keep_a_pair_for_ever(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.core.pair("erp", lab.volumes(1))
    await lab.core.live(300)
    monkeypatch.setattr("backstay.controllers.partings.plan_farewell", boom)
    pair = ObjectKey("ReplicationPair", NAMESPACE, "erp")
    lab.core.bodies[pair]["metadata"]["deletionTimestamp"] = "2026-11-22T03:00:00Z"
    lab.core.registry.put(pair.kind, lab.core.bodies[pair])
    for _ in range(TRIES):
        with pytest.raises(KeyError):
            await lab.core.run(pair)
    await lab.core.run(pair)
    assert pair not in lab.core.bodies
    assert [n.reason for n in lab.core.events if n.type == "Warning"] == ["BookmarksLeft"]


async def test_a_pair_whose_finalizer_is_refused_says_so_and_is_not_begun(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_args: object, **_named: object) -> NoReturn:
        raise Stalled("NoRights", "403 may not patch")

    with monkeypatch.context() as patched:
        patched.setattr(lab.core, "patch_finalizers", refuse)
        lab.core.pair("erp", lab.volumes(1))
        await lab.core.live(100)
        assert lab.core.condition("erp", "Ready") == ("False", "NoRights")
        assert "backstay.dev/bookmarks" in lab.core.message("erp", "Ready")
        assert lab.core.sent() == []
    await lab.core.live(100)
    assert lab.core.condition("erp", "Ready") == ("True", "UpToDate")
