"""A tiny language for promotions: members `ROOT/name` that become `FINAL/name` at set b."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from backstay.domain.pairs import Conflict
from backstay.domain.roles import (
    PRIMARY,
    PROMOTED_FROM,
    ROLE_EPOCH,
    SECONDARY,
    Promoted,
    PromotionTask,
)
from backstay.domain.zfs import (
    LINEAGE,
    ROLE,
    SOURCE_GUID,
    Dataset,
    DatasetKind,
    Guid,
    HostListing,
    Snapshot,
)
from backstay.plan.promotion import aside_name
from unit.plan.sides import set_name

ROOT, FINAL = "vault/recv", "vault/vm"
EPOCH = 4
PLENTY = 1 << 40


def point(dataset: str, letter: str) -> Snapshot:
    """Set `letter` of the member that the dataset is of; its GUID does not depend on the place."""
    number = ord(letter) - ord("a") + 1
    member = ord(dataset.rsplit("/", 1)[-1][-1])
    return Snapshot(
        dataset=dataset, name=set_name(letter), guid=Guid(member * 100 + number), createtxg=number
    )


def dataset(name: str, letters: str = "", **facts: object) -> Dataset:
    """A volume with these points, read-only, to which nothing was written."""
    made = Dataset(
        name=name,
        kind=DatasetKind.VOLUME,
        guid=Guid(7),
        createtxg=1,
        written_bytes=0,
        readonly=True,
        volsize_bytes=1 << 20,
        snapshots=tuple(point(name, letter) for letter in letters),
    )
    return replace(made, **facts)  # type: ignore[arg-type]


def member(name: str, chosen: str = "b", **facts: object) -> Promoted:
    """A member `ROOT/name`, to be promoted to `FINAL/name` at a set."""
    made = Promoted(
        name=name,
        replica=f"{ROOT}/{name}",
        guid=Guid(ord(name[-1])),
        point=point(name, chosen).guid,
        final=f"{FINAL}/{name}",
    )
    return replace(made, **facts)  # type: ignore[arg-type]


def task(*members: Promoted) -> PromotionTask:
    """The promotion of these members, to epoch 5."""
    return PromotionTask(host="b/two", key="k1", members=members, expected_epoch=EPOCH)


TASK = task(member("d0"), member("d1"))
OURS = {ROLE: SECONDARY, ROLE_EPOCH: str(EPOCH)}


def replica(name: str, letters: str = "a b c", **facts: object) -> Dataset:
    """A replica with points under its name."""
    properties = {LINEAGE: f"l{name}", SOURCE_GUID: "3", **OURS}
    found = dataset(f"{ROOT}/{name}", letters.replace(" ", ""), properties=properties)
    return replace(found, **{"guid": Guid(ord(name[-1])), **facts})  # type: ignore[arg-type]


def aside(name: str, letters: str = "a b c", **facts: object) -> Dataset:
    """The same, set aside by the task."""
    of = next(m for m in TASK.members if m.name == name)
    found = replica(name, letters)
    place = aside_name(TASK, of)
    return replace(
        found,
        name=place,
        snapshots=tuple(replace(s, dataset=place) for s in found.snapshots),
        properties={**found.properties, PROMOTED_FROM: found.name},
        **facts,  # type: ignore[arg-type]
    )


def clone(name: str, **facts: object) -> Dataset:
    """The clone of set b of the replica that was set aside, under its final name."""
    origin = f"{aside(name).name}@{set_name('b')}"
    made = dataset(f"{FINAL}/{name}", origin=origin, properties=dict(OURS))
    return replace(made, **{"guid": Guid(1000 + ord(name[-1])), **facts})  # type: ignore[arg-type]


def promoted(name: str, **facts: object) -> Dataset:
    """The final dataset with the history of the point."""
    properties = {ROLE: PRIMARY, ROLE_EPOCH: str(EPOCH + 1)}
    made = dataset(f"{FINAL}/{name}", "ab", properties=properties)
    return replace(made, **{"guid": Guid(1000 + ord(name[-1])), **facts})  # type: ignore[arg-type]


SWAPPED: Mapping[str, str] = {ROLE: PRIMARY, ROLE_EPOCH: str(EPOCH + 1)}
PARENTS = [
    dataset(name, kind=DatasetKind.FILESYSTEM, available_bytes=PLENTY)
    for name in ("vault", ROOT, FINAL)
]


def listing(*datasets: Dataset, busy: tuple[str, ...] = ()) -> HostListing:
    """The target's host with these datasets."""
    return HostListing(datasets={d.name: d for d in (*PARENTS, *datasets)}, busy=busy)


def reason(decided: object) -> str:
    """Why there are no steps."""
    assert isinstance(decided, Conflict), decided
    return decided.reason


BOTH = (replica("d0"), replica("d1"))
CLONED = (aside("d0"), aside("d1"), clone("d0"), clone("d1"))
