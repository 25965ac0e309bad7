"""What the user must be allowed to do, for which command."""

from __future__ import annotations

from backstay.api.kinds import GROUP
from backstay.api.v1alpha1 import KINDS
from backstay.ports.kube import Access

READERS = ("status", "doctor", "preview", "grant")

LISTS: tuple[Access, ...] = tuple(
    Access(verb="list", resource=model.info.plural, group=GROUP) for model in KINDS
)
"""All that status, doctor, preview and completion cannot do without."""
GETS: tuple[Access, ...] = tuple(
    Access(verb="get", resource=model.info.plural, group=GROUP) for model in KINDS
)
"""All that explain and, for pairs, following a sync cannot do without."""
PATCH_PAIR = Access(verb="patch", resource="replicationpairs", group=GROUP)
GET_SECRET = Access(verb="get", resource="secrets")
GET_LEASE = Access(verb="get", resource="leases", group="coordination.k8s.io")
GET_CRD = Access(verb="get", resource="customresourcedefinitions", group="apiextensions.k8s.io")

NEEDS: tuple[tuple[Access, tuple[str, ...]], ...] = (
    *((access, READERS) for access in LISTS),
    *((access, ("explain", "sync", "grant")) for access in GETS),
    (PATCH_PAIR, ("sync",)),
    (GET_LEASE, ("status", "explain", "sync", "doctor")),
    (GET_SECRET, ("preview", "doctor", "grant")),
    (GET_CRD, ("doctor",)),
)
"""In the namespace that is looked at; the Lease in the operator's, CRDs in the whole cluster."""
