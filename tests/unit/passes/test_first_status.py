"""A new object says at once what is known of it, which is that nothing is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from backstay.controllers.keys import ObjectKey
from backstay.report.events import turns
from fakes.core import NAMESPACE
from fakes.faults import RequestFault, RequestFaults
from fakes.lab import Lab

NEW = ObjectKey("Site", NAMESPACE, "new")


class Peek(RequestFaults):
    """No faults; looks at something whenever a greeting arrives."""

    def __init__(self, look: Callable[[], Mapping[str, Any]]) -> None:
        super().__init__()
        self._look = look
        self.seen: list[Mapping[str, Any]] = []

    def draw(self, request: str) -> RequestFault | None:
        if request == "hello":
            self.seen.append(self._look())
        return None


def new_site(lab: Lab) -> Peek:
    """A Site that was just applied, and what its status is while its host is asked."""
    host = lab.world.host("new/h", pools=("vault",))
    peek = host.faults = Peek(lambda: lab.core.statuses.get("Site/new", {}))
    lab.core.site("new", host)
    return peek


def ready(status: Mapping[str, Any]) -> tuple[str, str]:
    found = {c["type"]: (c["status"], c["reason"]) for c in status.get("conditions", ())}
    return found.get("Ready", ("", ""))


async def test_a_new_site_is_unknown_while_its_first_answer_is_awaited(lab: Lab) -> None:
    peek = new_site(lab)
    await lab.core.run(NEW)
    (first,) = peek.seen
    assert ready(first) == ("Unknown", "NeverObserved")
    assert first["reachable"] == "0/1"
    assert [(h["name"], h["reason"]) for h in first["hosts"]] == [("h", "NeverObserved")]
    assert "lastHandledRequest" not in first
    last = lab.core.status("new", "Site")
    assert ready(last) == ("True", "Reachable")
    assert last["reachable"] == "1/1"
    assert turns({}, first) == turns(first, last) == ()


async def test_what_was_learnt_once_is_not_taken_back(lab: Lab) -> None:
    """Neither by later looks, nor by a new leader, nor while a write of the status is awaited."""
    peek = new_site(lab)
    await lab.core.live(200)
    body = lab.core.bodies[NEW]
    lab.core.registry.observe_status(lab.core.registry.entries("Site")[-1].ref, {})
    await lab.core.live(60)
    body["status"] = lab.core.status("new", "Site")
    lab.core.restart()
    await lab.core.live(200)
    assert [ready(status)[0] for status in peek.seen] == ["Unknown"] + ["True"] * 8


async def test_a_new_pair_is_unknown_before_its_first_pass(lab: Lab) -> None:
    lab.core.pair("erp", lab.volumes(1))
    await lab.core.run(ObjectKey("ReplicationPair", NAMESPACE, "erp"))
    assert lab.core.condition("erp", "Ready") == ("Unknown", "WaitingForFirstPoint")
