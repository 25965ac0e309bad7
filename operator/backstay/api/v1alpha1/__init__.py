"""Version v1alpha1 of the API."""

from backstay.api.v1alpha1.meta import Condition, ObjectMeta, Resource, problems
from backstay.api.v1alpha1.protectionpolicy import ProtectionPolicy
from backstay.api.v1alpha1.replicationpair import ReplicationPair
from backstay.api.v1alpha1.site import Site

KINDS = (Site, ProtectionPolicy, ReplicationPair)

__all__ = [
    "KINDS",
    "Condition",
    "ObjectMeta",
    "ProtectionPolicy",
    "ReplicationPair",
    "Resource",
    "Site",
    "problems",
]
