"""Manifests laid over what the cluster holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from backstay.app.manifests import ManifestError, lay
from backstay.controllers.keys import ObjectKey
from backstay.domain.errors import Unreachable
from fakes import objects
from fakes.kube import FakeKube


def manifest(folder: Path, name: str, *bodies: dict[str, Any]) -> Path:
    file = folder / name
    file.write_text("\n---\n".join(json.dumps(body) for body in bodies), encoding="utf-8")
    return file


async def test_a_manifest_wins_over_the_cluster_and_its_pairs_are_shown(tmp_path: Path) -> None:
    kube = FakeKube()
    for stored in (objects.site("a"), objects.site("b"), objects.policy(), objects.pair("p")):
        kube.put(stored)
    edited = objects.changed(objects.pair("p"), spec={"suspend": True})
    del edited["metadata"]["namespace"]
    laid, unread = await lay(kube, [manifest(tmp_path, "pair.yaml", edited)], "ns")
    assert unread is None
    assert laid.pairs == [ObjectKey("ReplicationPair", "ns", "p")]
    found = laid.registry.pair("ns", "p")
    assert found is not None
    assert found.spec.suspend
    assert {entry.ref.name for entry in laid.registry.entries("Site")} == {"a", "b"}


async def test_without_a_cluster_the_manifests_are_enough(tmp_path: Path) -> None:
    kube = FakeKube()
    kube.failure = Unreachable("Unreachable", "no connection")
    secret = {
        "kind": "Secret",
        "metadata": {"name": "key"},
        "data": {"ssh-privatekey": "YWJj"},
        "stringData": {"note": "x"},
    }
    manifest(tmp_path, "1.yaml", objects.pair("p"), objects.site("a"))
    manifest(tmp_path, "2.yml", secret, {"kind": "ConfigMap", "metadata": {"name": "other"}})
    laid, unread = await lay(kube, [tmp_path], "ns")
    assert unread == "no connection"
    assert laid.registry.pair("ns", "p") is not None
    assert laid.secrets == {("ns", "key"): {"ssh-privatekey": b"abc", "note": b"x"}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "bad.yaml"),
        ("just text", "no Kubernetes object"),
        ("kind: Site\nmetadata: {}", "no metadata.name"),
        ("kind: Site\nmetadata: {name: a}\nspec: {hosts: []}", "Site ns/a: spec.hosts"),
        ("kind: Secret\nmetadata: {name: a}\ndata: {x: '%'}", "not base64"),
    ],
)
async def test_a_bad_manifest_is_named_with_its_fault(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ManifestError, match=said):
        await lay(FakeKube(), [file], "ns")
