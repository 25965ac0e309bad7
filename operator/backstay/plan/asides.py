"""What was set aside, as the target's listing tells; it is the only record of it.

<pool>/backstay-aside/<id>   asideof    of what            lineage      branchedat
under way, a clone comes     X          the name it had    as X had it  GUID of the base
under way, a seed comes      X                             as X had it  —
done, kept                   X                             —            —
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from backstay.api.values import is_below
from backstay.api.words import Reason
from backstay.domain.moves import ASIDE_OF, BRANCHED_AT, aside_root
from backstay.domain.pairs import Conflict
from backstay.domain.zfs import LINEAGE, Dataset, Guid, Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Aside:
    """One dataset that was set aside, with the datasets right below it."""

    dataset: Dataset
    of: str
    children: tuple[Dataset, ...]

    @property
    def under_way(self) -> bool:
        """Whether its place is not filled again yet, or its children are not back."""
        return LINEAGE in self.dataset.properties

    @property
    def awaits_clone(self) -> bool:
        """Whether it is under way and a clone of it takes its place, not a seed."""
        return self.under_way and BRANCHED_AT in self.dataset.properties

    @property
    def branch_guid(self) -> Guid:
        """GUID of the snapshot at which the clone branches off; 0 where the mark is no number."""
        text = self.dataset.properties.get(BRANCHED_AT, "")
        return Guid(int(text)) if text.isascii() and text.isdigit() else Guid(0)

    @property
    def branch(self) -> Snapshot | None:
        """That snapshot, while it is still with the aside."""
        return self.dataset.snapshot_by_guid(self.branch_guid)


def asides_in(datasets: Mapping[str, Dataset]) -> tuple[Aside, ...]:
    """Everything that is set aside, by name."""
    return tuple(
        Aside(
            dataset=found,
            of=found.properties[ASIDE_OF],
            children=tuple(d for n, d in datasets.items() if n.rpartition("/")[0] == name),
        )
        for name, found in sorted(datasets.items())
        if name.rpartition("/")[0] == aside_root(name) and ASIDE_OF in found.properties
    )


def waiting_conflict(target: str, asides: Iterable[Aside]) -> Conflict | None:
    """Why nothing may come to a place whose former dataset is still being set aside."""
    for aside in asides:
        if not aside.under_way:
            continue
        is_clone_to_come = aside.awaits_clone and target == aside.of
        below = target.removeprefix(aside.of)
        is_child = is_below(target, aside.of) and any(
            below == rest or is_below(below, rest)
            for child in aside.children
            for rest in (child.name.removeprefix(aside.dataset.name),)
        )
        if is_clone_to_come or is_child:
            return Conflict(
                reason=Reason.SETTING_ASIDE,
                message=f"{aside.of} is being set aside as {aside.dataset.name}, and {target} is "
                f"not back in its place yet: the next passes go on; if they do not, see the "
                f"operator's log",
            )
    return None
