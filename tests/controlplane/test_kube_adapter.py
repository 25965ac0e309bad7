"""The Kubernetes adapter against a real API server: what it promises in `ports/kube.py`."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from backstay.adapters.clock import SystemClock
from backstay.adapters.kube import objects as adapter
from backstay.adapters.kube.client import KubeClient
from backstay.adapters.kube.objects import KubeObjects
from backstay.domain.errors import Stalled, Unreachable
from backstay.ports.kube import Conflict, Gone, LeaseRecord, Notice, ObjectRef
from fakes import objects
from worlds.api import ControlPlane

STATUS: dict[str, Any] = {
    "observedGeneration": 1,
    "conditions": [
        {
            "type": "Ready",
            "status": "True",
            "reason": "UpToDate",
            "message": "all is well",
            "lastTransitionTime": "2030-01-01T00:00:00Z",
            "observedGeneration": 1,
        }
    ],
}


@dataclass(slots=True)
class World:
    plane: ControlPlane
    namespace: str
    kube: KubeObjects
    writes: list[tuple[str, str]]

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        return self.plane.kubectl("-n", self.namespace, *arguments, given=given)

    def create(self, body: dict[str, Any]) -> ObjectRef:
        name = body["metadata"]["name"]
        stored = {**body, "metadata": {"name": name, "namespace": self.namespace}}
        self.kubectl("create", "-f", "-", given=json.dumps(stored))
        uid = self.get(body["kind"], name)["metadata"]["uid"]
        return ObjectRef(kind=body["kind"], namespace=self.namespace, name=name, uid=uid)

    def get(self, kind: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", kind, name, "-o", "json"))
        return found

    def re_create(self, body: dict[str, Any]) -> ObjectRef:
        self.kubectl("delete", body["kind"], body["metadata"]["name"])
        return self.create(body)


@pytest.fixture
async def world(controlplane: ControlPlane) -> AsyncIterator[World]:
    namespace = f"t-{secrets.token_hex(4)}"
    controlplane.kubectl("create", "namespace", namespace)
    client = KubeClient(str(controlplane.kubeconfig))
    writes: list[tuple[str, str]] = []
    kube = KubeObjects(client, SystemClock(), [namespace], lambda *write: writes.append(write))
    yield World(controlplane, namespace, kube, writes)
    await client.close()
    controlplane.kubectl("delete", "namespace", namespace, "--wait=false")


async def test_a_status_is_replaced_as_a_whole(world: World) -> None:
    ref = world.create(objects.pair("p"))
    stored = await world.kube.replace_status(
        ref, {**STATUS, "activeSite": "a"}, reason="transition"
    )
    assert stored["status"]["activeSite"] == "a"
    await world.kube.replace_status(ref, STATUS, reason="transition")
    found = world.get("rpair", "p")
    assert found["status"]["conditions"] == STATUS["conditions"]
    assert "activeSite" not in found["status"]
    assert found["metadata"]["generation"] == 1
    assert world.writes == [("status", "transition")] * 2


async def test_a_status_never_reaches_an_object_that_was_re_created(world: World) -> None:
    old = world.create(objects.pair("p"))
    world.re_create(objects.pair("p"))
    with pytest.raises(Gone):
        await world.kube.replace_status(old, STATUS, reason="transition")
    assert "conditions" not in world.get("rpair", "p")["status"]


async def test_a_status_of_a_deleted_object_is_gone(world: World) -> None:
    old = world.create(objects.pair("p"))
    world.kubectl("delete", "rpair", "p")
    with pytest.raises(Gone):
        await world.kube.replace_status(old, STATUS, reason="transition")


async def test_a_status_that_the_schema_refuses_is_our_fault_and_not_a_missing_object(
    world: World,
) -> None:
    ref = world.create(objects.pair("p"))
    with pytest.raises(Stalled, match="conditions"):
        await world.kube.replace_status(ref, {"conditions": [{"type": "Ready"}]}, reason="x")


async def test_finalizers_are_added_and_removed_beside_those_of_others(world: World) -> None:
    ref = world.create(objects.pair("p"))
    await asyncio.gather(
        *(world.kube.patch_finalizers(ref, add=[f"backstay.dev/{n}"]) for n in ("a", "b", "c"))
    )
    assert set(world.get("rpair", "p")["metadata"]["finalizers"]) == {
        "backstay.dev/a",
        "backstay.dev/b",
        "backstay.dev/c",
    }
    await world.kube.patch_finalizers(ref, remove=["backstay.dev/b", "backstay.dev/never"])
    tried = len(world.writes)
    await world.kube.patch_finalizers(ref, remove=["backstay.dev/b"])
    assert len(world.writes) == tried
    await world.kube.patch_finalizers(ref, remove=["backstay.dev/a", "backstay.dev/c"])
    assert "finalizers" not in world.get("rpair", "p")["metadata"]


async def test_finalizers_never_reach_an_object_that_was_re_created(world: World) -> None:
    old = world.create(objects.pair("p"))
    world.re_create(objects.pair("p"))
    with pytest.raises(Gone):
        await world.kube.patch_finalizers(old, add=["backstay.dev/a"])
    assert "finalizers" not in world.get("rpair", "p")["metadata"]


async def test_all_pages_of_a_list_arrive(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "PAGE", 2)
    for number in range(5):
        world.create(objects.policy(f"p{number}"))
    found = [body async for body in world.kube.list_all("ProtectionPolicy")]
    assert [body["metadata"]["name"] for body in found] == [f"p{n}" for n in range(5)]
    assert {body["kind"] for body in found} == {"ProtectionPolicy"}
    assert [body async for body in world.kube.list_all("Site")] == []


async def test_secrets_are_read_and_a_missing_one_is_none(world: World) -> None:
    world.kubectl("create", "secret", "generic", "key", "--from-literal=ssh-privatekey=abc")
    assert await world.kube.get_secret(world.namespace, "key") == {"ssh-privatekey": b"abc"}
    assert await world.kube.get_secret(world.namespace, "none") is None


async def test_an_event_shows_at_its_object(world: World) -> None:
    ref = world.create(objects.pair("p"))
    for number in range(3):
        said = Notice(type="Warning", reason="NoZfs", message=f"message {number}")
        await world.kube.emit_event(ref, said)
    described = world.kubectl("describe", "rpair", "p")
    assert all(f"message {number}" in described for number in range(3))


async def test_a_lease_has_an_optimistic_lock(world: World) -> None:
    record = LeaseRecord(
        namespace=world.namespace,
        name="backstay",
        holder="one",
        duration_s=30,
        term=7,
        acquired_at=SystemClock().now(),
        renewed_at=SystemClock().now(),
    )
    assert await world.kube.read_lease(world.namespace, "backstay") is None
    created = await world.kube.create_lease(record)
    with pytest.raises(Conflict):
        await world.kube.create_lease(record)
    assert await world.kube.read_lease(world.namespace, "backstay") == created
    assert replace(created, resource_version="") == record
    taken = await world.kube.update_lease(replace(created, holder="two", term=8))
    with pytest.raises(Conflict):
        await world.kube.update_lease(replace(created, holder="one", term=9))
    released = await world.kube.update_lease(replace(taken, holder="", duration_s=1))
    assert (released.holder, released.term) == ("", 8)
    world.kubectl("delete", "lease", "backstay")
    with pytest.raises(Gone):
        await world.kube.update_lease(released)


async def test_credentials_that_were_rotated_are_read_again(world: World, tmp_path: Path) -> None:
    good = world.plane.kubeconfig.read_text(encoding="utf-8")
    rotating = tmp_path / "kubeconfig"
    world.plane.write_kubeconfig(rotating, "admin", "no-such-token")
    client = KubeClient(str(rotating))
    kube = KubeObjects(client, SystemClock(), [world.namespace], lambda *_: None)
    try:
        with pytest.raises(Stalled, match="401"):
            await kube.get_secret(world.namespace, "none")
        rotating.write_text(good, encoding="utf-8")
        assert await kube.get_secret(world.namespace, "none") is None
    finally:
        await client.close()


async def test_an_api_server_that_is_not_there_is_unreachable(world: World, tmp_path: Path) -> None:
    elsewhere = tmp_path / "kubeconfig"
    good = world.plane.kubeconfig.read_text(encoding="utf-8")
    elsewhere.write_text(good.replace(world.plane.url, "https://127.0.0.1:1"), encoding="utf-8")
    client = KubeClient(str(elsewhere))
    kube = KubeObjects(client, SystemClock(), [world.namespace], lambda *_: None)
    try:
        with pytest.raises(Unreachable):
            await kube.get_secret(world.namespace, "none")
        with pytest.raises(Unreachable):
            [body async for body in kube.list_all("Site")]
    finally:
        await client.close()
