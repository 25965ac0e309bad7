"""Manifests as a user writes them."""

from __future__ import annotations

import base64
from typing import Any

from worlds.api import LabHost

Document = dict[str, Any]
API = "backstay.dev/v1alpha1"
KEY = "ssh"
POLICY = "gold"
TREE = ("tree", "tree/home", "tree/home/ada")
VOLUMES = ("disk-0", "disk-1")
"""The datasets of the fixture `protected`: a recursive member and a group."""


def secret(private_key: bytes, name: str = KEY) -> Document:
    """The Secret with the key that the hosts admit."""
    data = {"ssh-privatekey": base64.b64encode(private_key).decode()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}


def host_entry(host: LabHost, *roots: str, **changes: Any) -> Document:
    """One entry of spec.hosts; `changes` replace fields."""
    entry: Document = {
        "name": host.name,
        "address": host.address,
        "port": host.port,
        "hostKeys": list(host.host_keys),
    }
    if roots:
        entry["receiveRoots"] = list(roots)
    return {**entry, **changes}


def site(name: str, *hosts: Document, key: str = KEY) -> Document:
    """A Site."""
    spec = {"hosts": list(hosts), "ssh": {"secretRef": {"name": key}}}
    return {"apiVersion": API, "kind": "Site", "metadata": {"name": name}, "spec": spec}


def policy(name: str = POLICY, *, rpo: str = "20m", interval: str = "10m") -> Document:
    """A ProtectionPolicy; with these times a pass runs only when something asks for it."""
    spec = {
        "class": "Gold",
        "rpo": rpo,
        "replication": {
            "interval": interval,
            "retention": {"source": {"last": 2}, "target": {"last": 4}},
        },
        "backup": {"external": {"statement": "restic, nightly, kept 30 days"}},
    }
    return {"apiVersion": API, "kind": "ProtectionPolicy", "metadata": {"name": name}, "spec": spec}


def member(name: str, source: str, target: str, *, recursive: bool = False) -> Document:
    """A member with its place at zfs-a (Site fra) and at zfs-b (Site muc)."""
    at = {"fra": {"host": "zfs-a", "dataset": source}, "muc": {"host": "zfs-b", "dataset": target}}
    return {"name": name, "at": at} | ({"recursive": True} if recursive else {})


def pair(name: str, *members: Document, grouped: bool = False, under: str = POLICY) -> Document:
    """A ReplicationPair from the Site fra to the Site muc."""
    spec: Document = {
        "policyRef": {"name": under},
        "sites": ["fra", "muc"],
        "preferredSite": "fra",
        "datasets": list(members),
    }
    if grouped:
        spec["consistencyGroup"] = True
    return {"apiVersion": API, "kind": "ReplicationPair", "metadata": {"name": name}, "spec": spec}


def between(document: Document, source: str, target: str) -> Document:
    """The pair between two other Sites than fra and muc."""
    renamed = {"fra": source, "muc": target}
    spec = document["spec"]
    members = [
        {**m, "at": {renamed[s]: place for s, place in m["at"].items()}} for m in spec["datasets"]
    ]
    places = {"sites": [source, target], "preferredSite": source, "datasets": members}
    return {**document, "spec": {**spec, **places}}
