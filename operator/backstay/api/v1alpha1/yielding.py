"""The value of the annotation `backstay.dev/yield`: what may go so that a source can roll back.

It is bound to the very sources, snapshots and points that were looked at, by GUID: when anything
newer is there that it does not name, it is void. It ends by itself.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import AwareDatetime, Field, ValidationError

from backstay.api.rules import Keyed, Text
from backstay.api.v1alpha1.approval import ANNOTATION_LENGTH, GuidText
from backstay.api.v1alpha1.fields import Dataset
from backstay.api.v1alpha1.meta import SpecModel, problems

_NAME = "backstay_[0-9a-f]{8,32}_[0-9a-f]{16}_[0-9]{1,20}"

MarkName: TypeAlias = Annotated[
    str, Text(_NAME, 100, "write the name of a bookmark of backstay, without its dataset")
]
LineageId: TypeAlias = Annotated[
    str, Text("[0-9a-f]{8,32}", 32, "write a lineage as dev.backstay:lineage has it")
]


class CountedTargetSpec(SpecModel):
    """A target that the source is sent to, and what both have in common afterwards."""

    pair: str = Field(max_length=317, description="Its ReplicationPair, as namespace/name.")
    dataset: Dataset = Field(description="The dataset at the target.")
    lineage: LineageId = Field(description="The lineage of its bookmarks at the source.")
    base: GuidText | None = Field(
        default=None, description="GUID of the newest point that both keep; absent: none."
    )


class YieldedMemberSpec(SpecModel):
    """One source, as it was looked at."""

    dataset: Dataset = Field(description="The dataset at the source.")
    guid: GuidText = Field(description="Its GUID.")
    to: GuidText = Field(description="GUID of the snapshot that it is to be rolled back to.")
    snapshots: tuple[GuidText, ...] = Field(
        default=(), max_length=5000, description="GUIDs of our snapshots that are newer."
    )
    bookmarks: tuple[MarkName, ...] = Field(
        default=(), max_length=1000, description="Names of our bookmarks that are newer."
    )
    targets: tuple[CountedTargetSpec, ...] = Field(
        default=(), max_length=100, description="The targets that were counted in."
    )


class YieldSpec(SpecModel):
    """What may go of exactly these sources, and until when no new point is taken of them."""

    until: AwareDatetime = Field(description="When the pair goes on by itself.")
    members: Annotated[tuple[YieldedMemberSpec, ...], Keyed("dataset")] = Field(
        min_length=1, max_length=1000, description="The sources."
    )


def parse_yield(text: str) -> YieldSpec | str:
    """What was approved, or what is wrong with the text."""
    if len(text) > ANNOTATION_LENGTH:
        return f"it has {len(text)} characters, at most {ANNOTATION_LENGTH} are read"
    try:
        return YieldSpec.model_validate_json(text)
    except ValidationError as error:
        return problems(error)[0]
