"""Objects for a preview: what the cluster holds, with manifests laid over it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from backstay.controllers.edge import KIND_NAMES
from backstay.controllers.keys import ObjectKey
from backstay.controllers.registry import Invalid, Registry
from backstay.domain.errors import BackstayError
from backstay.ports.kube import KubePort


class ManifestError(Exception):
    """A manifest cannot be used; says which one and why."""


@dataclass(slots=True)
class Laid:
    """Objects by kind and name, Secrets by namespace and name, and the pairs from manifests."""

    registry: Registry
    secrets: dict[tuple[str, str], dict[str, bytes]] = field(default_factory=dict)
    pairs: list[ObjectKey] = field(default_factory=list)


async def lay(kube: KubePort, files: Iterable[Path], namespace: str) -> tuple[Laid, str | None]:
    """What the cluster would hold if the manifests were applied, and why it could not be read.

    Raises `ManifestError` for a manifest that its model refuses.
    """
    laid, unread = Laid(Registry()), None
    try:
        for kind in KIND_NAMES:
            async for body in kube.list_all(kind):
                laid.registry.put(kind, body)
    except BackstayError as error:
        unread = error.message
    for file in _expanded(files):
        for body in _documents(file):
            _put(laid, file, body, namespace)
    return laid, unread


def _expanded(files: Iterable[Path]) -> list[Path]:
    """The files, with folders replaced by the manifests in them, in the order of their names."""
    found = []
    for file in files:
        found += sorted(file.glob("*.y*ml")) if file.is_dir() else [file]
    return found


def _documents(file: Path) -> list[dict[str, Any]]:
    try:
        documents = list(yaml.safe_load_all(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ManifestError(f"{file}: {error}") from error
    found = []
    for document in filter(None, documents):
        if not isinstance(document, dict) or not isinstance(document.get("metadata"), dict):
            raise ManifestError(f"{file}: a document is no Kubernetes object")
        found += document.get("items", [document])
    return found


def _put(laid: Laid, file: Path, body: Mapping[str, Any], namespace: str) -> None:
    kind, metadata = str(body.get("kind")), dict(body["metadata"])
    metadata.setdefault("namespace", namespace)
    name = metadata.get("name")
    if not isinstance(name, str):
        raise ManifestError(f"{file}: a {kind} has no metadata.name")
    if kind == "Secret":
        laid.secrets[metadata["namespace"], name] = _data(file, body)
    if kind not in KIND_NAMES:
        return
    key = ObjectKey(kind, metadata["namespace"], name)
    known = laid.registry.entry(key)
    metadata.setdefault("uid", known.ref.uid if known else "")
    laid.registry.put(kind, {**body, "metadata": metadata})
    entry = laid.registry.entry(key)
    if entry is not None and isinstance(entry.value, Invalid):
        raise ManifestError(f"{file}: {key}: " + "; ".join(entry.value.errors))
    if kind == "ReplicationPair":
        laid.pairs.append(key)


def _data(file: Path, body: Mapping[str, Any]) -> dict[str, bytes]:
    try:
        # YAML folds long values into lines.
        data = {
            k: base64.b64decode("".join(v.split()), validate=True)
            for k, v in (body.get("data") or {}).items()
        }
    except (binascii.Error, AttributeError) as error:
        raise ManifestError(f"{file}: the data of a Secret is not base64") from error
    return data | {k: str(v).encode() for k, v in (body.get("stringData") or {}).items()}
