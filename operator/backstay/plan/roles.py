"""Roles of the two ends of a pair: who may be sent, who may be received into.

    source              target                  ->
    none or primary     none or secondary       fine, if their roleEpochs are equal
    secondary           any                     SourceIsSecondary: it was demoted
    any                 primary                 TargetIsPrimary   (plan.basis)
    epoch 3             epoch 4                 RoleEpochDiffers: the source was left behind
    epoch 3             promoted at epoch 4     RoleEpochDiffers   (left_behind)
    any                 being promoted          TargetIsPrimary    (left_behind)

Only what is set on the dataset itself counts: children inherit it, and other tools copy it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from backstay.api.words import Reason
from backstay.domain.moves import ASIDE_OF
from backstay.domain.pairs import Conflict
from backstay.domain.roles import PRIMARY, PROMOTED_FROM, SECONDARY, role_state
from backstay.domain.zfs import LINEAGE, ROLE, Dataset


def role_conflict(source: Dataset, replica: Dataset | None) -> Conflict | None:
    """Why nothing may be sent from `source` into its replica, judged by the roles of both."""
    state = role_state(source)
    if state is None:
        return Conflict(
            reason=Reason.ROLE_EPOCH_DIFFERS,
            message=f"{source.name} has a role or roleEpoch that backstay does not write: look at "
            f"`zfs get -s local all {source.name}`",
        )
    if state.role == SECONDARY:
        return Conflict(
            reason=Reason.SOURCE_IS_SECONDARY,
            message=f"{source.name} was demoted (roleEpoch {state.epoch}): replicate from the "
            f"primary, or promote this one again",
        )
    is_ours = replica is not None and LINEAGE in replica.properties
    if replica is None or not is_ours or replica.properties.get(ROLE) == PRIMARY:
        return None
    seen = role_state(replica)
    return None if seen is not None and seen.epoch == state.epoch else _differ(source, replica)


def moved_replicas(datasets: Mapping[str, Dataset]) -> Mapping[str, Sequence[Dataset]]:
    """What was set aside, by the names that it had."""
    found: dict[str, list[Dataset]] = {}
    for dataset in datasets.values():
        of = dataset.properties.get(PROMOTED_FROM) or dataset.properties.get(ASIDE_OF)
        if of is not None:
            found.setdefault(of, []).append(dataset)
    return found


def left_behind(source: Dataset, moved: Sequence[Dataset]) -> Conflict | None:
    """Whether the replica is being promoted, or was in a move of the role that `source` missed.

    `moved`: what was set aside under the replica's name. Otherwise an old primary that comes back
    would be seeded anew, right where its successor's history lies.
    """
    state = role_state(source)
    for dataset in moved:
        if PROMOTED_FROM in dataset.properties:
            return Conflict(
                reason=Reason.TARGET_IS_PRIMARY,
                message=f"{dataset.name} is the replica of {source.name} and is being promoted: "
                f"nothing is sent until that has ended, or was undone",
            )
        seen = role_state(dataset)
        if seen is None or state is None or seen.epoch > state.epoch:
            return _differ(source, dataset)
    return None


def _differ(source: Dataset, other: Dataset) -> Conflict:
    said = role_state(other) or "a role that backstay does not write"
    return Conflict(
        reason=Reason.ROLE_EPOCH_DIFFERS,
        message=f"{other.name} has {said}, the source {source.name} has {role_state(source)}: the "
        f"role has moved without one of them; nothing is sent until it is decided which is right",
    )
