"""What a person's requests look like on the wire, and what the answers mean."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from backstay.adapters.clock import SystemClock
from backstay.adapters.kube.client import KubeClient, default_namespace
from backstay.adapters.kube.reader import KubeReader
from backstay.domain.errors import Stalled, Unreachable
from backstay.ports.kube import Access, Gone

PAIRS = "/apis/backstay.dev/v1alpha1/namespaces/ns/replicationpairs"
CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/sites.backstay.dev"
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


@dataclass(slots=True)
class Server:
    """Answers by (method, path), 404 for others; remembers what it was asked."""

    answers: dict[tuple[str, str], tuple[int, dict[str, Any]]] = field(default_factory=dict)
    asked: list[tuple[str, str, str, Any]] = field(default_factory=list)
    reader: KubeReader | None = None

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.text()
        # As it was sent: aiohttp would undo the quoting.
        path = request.raw_path.partition("?")[0]
        given = json.loads(body) if body else None
        self.asked.append((request.method, path, request.content_type, given))
        status, found = self.answers.get((request.method, path), (404, {"message": "not found"}))
        return web.json_response(found, status=status)


def kubeconfig(folder: Path, port: int) -> str:
    file = folder / "kubeconfig"
    config = {
        "current-context": "x",
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "ns"}}],
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    file.write_text(json.dumps(config), encoding="utf-8")
    return str(file)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    found, app = Server(), web.Application()
    app.router.add_route("*", "/{tail:.*}", found.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    client = KubeClient(kubeconfig(tmp_path, runner.addresses[0][1]))
    found.reader = KubeReader(client, SystemClock(), ["ns"], lambda _verb, _reason: None)
    yield found
    await client.close()
    await runner.cleanup()


def reader(server: Server) -> KubeReader:
    assert server.reader is not None
    return server.reader


async def test_one_object_is_read_with_its_kind_or_is_none(server: Server) -> None:
    server.answers["GET", f"{PAIRS}/erp"] = (200, {"metadata": {"name": "erp"}})
    found = await reader(server).read_object("ReplicationPair", "ns", "erp")
    assert found is not None
    assert found["kind"] == "ReplicationPair"
    assert await reader(server).read_object("ReplicationPair", "ns", "nope") is None


async def test_a_name_stays_one_name_whatever_is_typed(server: Server) -> None:
    assert await reader(server).read_object("ReplicationPair", "ns", "a/../b?x=1#y") is None
    assert server.asked[-1][1] == f"{PAIRS}/a%2F..%2Fb%3Fx=1%23y"


async def test_a_request_to_look_patches_one_annotation_and_nothing_else(server: Server) -> None:
    server.answers["PATCH", f"{PAIRS}/erp"] = (200, {"metadata": {"name": "erp"}})
    await reader(server).request_look("ReplicationPair", "ns", "erp", "now-1")
    assert server.asked == [
        (
            "PATCH",
            f"{PAIRS}/erp",
            "application/merge-patch+json",
            {"metadata": {"annotations": {"backstay.dev/requested-at": "now-1"}}},
        )
    ]


async def test_a_refused_or_a_late_request_to_look_has_a_typed_error(server: Server) -> None:
    with pytest.raises(Gone):
        await reader(server).request_look("ReplicationPair", "ns", "erp", "now-1")
    server.answers["PATCH", f"{PAIRS}/erp"] = (403, {"message": "forbidden"})
    with pytest.raises(Stalled, match="403 forbidden"):
        await reader(server).request_look("ReplicationPair", "ns", "erp", "now-1")


async def test_a_crd_is_found_or_none_or_forbidden(server: Server) -> None:
    assert await reader(server).read_crd("Site") is None
    server.answers["GET", CRD] = (200, {"spec": {"versions": []}})
    assert await reader(server).read_crd("Site") == {"spec": {"versions": []}}
    server.answers["GET", CRD] = (403, {"message": "forbidden"})
    with pytest.raises(Stalled):
        await reader(server).read_crd("Site")


@pytest.mark.parametrize("allowed", [True, False])
@pytest.mark.parametrize("namespace", ["ns", None])
async def test_a_right_is_asked_of_the_api_server(
    server: Server, allowed: bool, namespace: str | None
) -> None:
    server.answers["POST", REVIEWS] = (201, {"status": {"allowed": allowed}})
    access = Access(verb="get", resource="leases", group="coordination.k8s.io")
    assert await reader(server).may(access, namespace) is allowed
    asked = server.asked[-1][3]["spec"]["resourceAttributes"]
    where = {} if namespace is None else {"namespace": namespace}
    assert asked == {"verb": "get", "resource": "leases", "group": "coordination.k8s.io"} | where


async def test_an_answer_without_a_verdict_is_no_permission(server: Server) -> None:
    server.answers["POST", REVIEWS] = (201, {})
    assert await reader(server).may(Access(verb="get", resource="secrets"), "ns") is False


@pytest.mark.parametrize("text", ["", "- a: b", "a: : b", "contexts: 3"])
async def test_a_broken_kubeconfig_is_unreachable_and_names_no_namespace(
    tmp_path: Path, text: str
) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(text, encoding="utf-8")
    client = KubeClient(str(file))
    try:
        with pytest.raises(Unreachable, match="no credentials"):
            await KubeReader(client, SystemClock(), [], lambda _v, _r: None).read_crd("Site")
    finally:
        await client.close()
    assert default_namespace(str(file)) == "default"
