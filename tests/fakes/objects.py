"""Bodies of objects as an API server would send them."""

from __future__ import annotations

import copy
import itertools
from typing import Any

_uids = itertools.count(1)
_versions = itertools.count(1)


def next_version() -> str:
    """The resourceVersion of a write."""
    return str(next(_versions))


def body(kind: str, name: str, spec: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    """An object of the kind in namespace `ns`, at generation 1, with a uid of its own."""
    return {
        "apiVersion": "backstay.dev/v1alpha1",
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": "ns",
            "uid": f"uid-{next(_uids)}",
            "generation": 1,
            "resourceVersion": next_version(),
            **metadata,
        },
        "spec": spec,
    }


def site(name: str, *, address: str = "192.0.2.1", **metadata: Any) -> dict[str, Any]:
    """A Site with one host `h1` and a receive root."""
    host = {
        "name": "h1",
        "address": address,
        "hostKeys": ["ssh-ed25519 AAAA"],
        "receiveRoots": ["tank/backstay"],
    }
    return body("Site", name, {"hosts": [host], "ssh": {"secretRef": {"name": "key"}}}, **metadata)


def policy(name: str = "gold", **metadata: Any) -> dict[str, Any]:
    """A Gold policy with replication and a backup of somebody else."""
    external = {"external": {"statement": "nightly"}}
    spec = {"class": "Gold", "replication": {}, "backup": external}
    return body("ProtectionPolicy", name, spec, **metadata)


def pair(name: str, **metadata: Any) -> dict[str, Any]:
    """A pair of one dataset from site `a` to site `b` under policy `gold`."""
    at = {
        "a": {"host": "h1", "dataset": f"tank/{name}"},
        "b": {"host": "h1", "dataset": f"tank/backstay/{name}"},
    }
    spec = {
        "policyRef": {"name": "gold"},
        "sites": ["a", "b"],
        "preferredSite": "a",
        "datasets": [{"name": "disk0", "at": at}],
    }
    return body("ReplicationPair", name, spec, **metadata)


def changed(old: dict[str, Any], *, spec: dict[str, Any] | None = None, **metadata: Any) -> Any:
    """The next version of the object, with a new generation if the spec changed."""
    new = copy.deepcopy(old)
    new["metadata"].update({"resourceVersion": next_version(), **metadata})
    if spec is not None:
        new["spec"].update(spec)
        new["metadata"]["generation"] += 1
    return new
