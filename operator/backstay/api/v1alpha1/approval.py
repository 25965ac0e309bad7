"""The value of the annotation `backstay.dev/resolve`: what somebody approved, in JSON.

It is bound to the very datasets, base and points that were looked at, all by GUID: when any of
them is another, it is void. It is used once, and may stay where it is.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, StrictInt, ValidationError, model_validator

from backstay.api.rules import Keyed, Text
from backstay.api.v1alpha1.fields import Dataset
from backstay.api.v1alpha1.meta import SpecModel, problems

ANNOTATION_LENGTH = 128 * 1024
"""Half of what all annotations of an object may take."""

GuidText: TypeAlias = Annotated[
    str, Text("[1-9][0-9]{0,19}", 20, "write a GUID in decimal, as `zfs get -Hp guid` does")
]
ApprovalId: TypeAlias = Annotated[
    str, Text("[0-9a-f]{8,32}", 32, "write 8 to 32 hex digits that no earlier approval had")
]


class ApprovedMember(SpecModel):
    """One dataset at the target, as it was looked at."""

    dataset: Dataset = Field(description="The dataset at the target.")
    guid: GuidText = Field(description="Its GUID.")
    base: GuidText | None = Field(
        default=None, description="GUID of the newest snapshot that the source knows."
    )
    lose: tuple[GuidText, ...] = Field(
        default=(),
        max_length=4096,
        description="GUIDs of all its snapshots and bookmarks that are newer, oldest first.",
    )
    written_bytes: StrictInt | None = Field(
        default=None, ge=0, description="Bytes written since its newest snapshot."
    )


class ApprovalSpec(SpecModel):
    """What is to be done, once, to exactly these datasets."""

    id: ApprovalId = Field(description="Tells this approval from every other one.")
    how: Literal["SetAside", "Rollback", "Reseed", "Adopt"] = Field(description="What to do.")
    members: Annotated[tuple[ApprovedMember, ...], Keyed("dataset")] = Field(
        min_length=1, max_length=1000, description="The datasets."
    )

    @model_validator(mode="after")
    def _names_what_is_lost(self) -> Self:
        # No rule of the API server: it does not look into annotations.
        if self.how == "Rollback" and any(
            member.base is None or member.written_bytes is None for member in self.members
        ):
            raise ValueError(
                "a rollback names the base and the bytes written: let `kubectl backstay resolve` "
                "write it"
            )
        return self


def parse_approval(text: str) -> ApprovalSpec | str:
    """The approval, or what is wrong with the text."""
    if len(text) > ANNOTATION_LENGTH:
        return f"it has {len(text)} characters, at most {ANNOTATION_LENGTH} are read"
    try:
        return ApprovalSpec.model_validate_json(text)
    except ValidationError as error:
        return problems(error)[0]
