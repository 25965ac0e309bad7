"""What the user must be allowed to do, for which command."""

from __future__ import annotations

from backstay.api.kinds import GROUP
from backstay.api.v1alpha1 import KINDS
from backstay.ports.kube import Access

READERS = ("status", "doctor", "preview", "grant", "yield")

LISTS: tuple[Access, ...] = tuple(
    Access(verb="list", resource=model.info.plural, group=GROUP) for model in KINDS
)
"""All that `READERS` and completion cannot do without."""
GETS: tuple[Access, ...] = tuple(
    Access(verb="get", resource=model.info.plural, group=GROUP) for model in KINDS
)
"""All that explain and, of some kinds, those of `GETTERS` cannot do without."""
GETTERS = {
    "sites": ("explain", "grant"),
    "protectionpolicies": ("explain",),
    "replicationpairs": ("explain", "sync", "resolve", "yield"),
}
PATCH_PAIR = Access(verb="patch", resource="replicationpairs", group=GROUP)
GET_SECRET = Access(verb="get", resource="secrets")
GET_LEASE = Access(verb="get", resource="leases", group="coordination.k8s.io")
GET_CRD = Access(verb="get", resource="customresourcedefinitions", group="apiextensions.k8s.io")

NEEDS: tuple[tuple[Access, tuple[str, ...]], ...] = (
    *((access, READERS) for access in LISTS),
    *((access, GETTERS[access.resource]) for access in GETS),
    (PATCH_PAIR, ("sync", "resolve", "yield")),
    (GET_LEASE, ("status", "explain", "sync", "doctor")),
    (GET_SECRET, ("preview", "yield", "doctor", "grant")),
    (GET_CRD, ("doctor",)),
)
"""In the namespace that is looked at; the Lease in the operator's, CRDs in the whole cluster."""
