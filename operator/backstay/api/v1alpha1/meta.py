"""What all kinds share: metadata, conditions, and how models are read and written."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from backstay.api.kinds import KindInfo
from backstay.api.rules import VALIDATIONS, Keyed, Rule, broken
from backstay.api.v1alpha1.fields import Label, Message, Time


class Model(BaseModel):
    """A frozen value with camelCase names on the wire."""

    model_config = ConfigDict(
        frozen=True, alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
    )

    def document(self) -> dict[str, Any]:
        """Return the value as JSON-ready data with the names of the wire, without absent fields."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class SpecModel(Model):
    """A part of a spec: unknown fields are refused, and the class's rules hold."""

    model_config = ConfigDict(extra="forbid")
    rules: ClassVar[tuple[Rule[Any], ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, data: Any) -> Any:
        # As the API server has it: it drops nulls before it fills in defaults.
        if isinstance(data, dict):
            return {name: value for name, value in data.items() if value is not None}
        return data

    @model_validator(mode="after")
    def _obeys_its_rules(self) -> Self:
        sentences = broken(self.rules, self)
        if sentences:
            raise ValueError("; ".join(sentences))
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Put the class's rules beside its properties."""
        reference = handler(schema)
        if cls.rules:
            found = handler.resolve_ref_schema(reference)
            found[VALIDATIONS] = [rule.validation() for rule in cls.rules]
        return reference


class StatusModel(Model):
    """A part of a status: fields of other versions are ignored."""

    model_config = ConfigDict(extra="ignore")


class ObjectMeta(Model):
    """The part of the metadata that backstay reads."""

    model_config = ConfigDict(extra="ignore")

    name: str
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    annotations: dict[str, str] = {}
    finalizers: tuple[str, ...] = ()
    creation_timestamp: Time | None = None
    deletion_timestamp: Time | None = None


class Condition(StatusModel):
    """One statement about the object; its type and reason are words of `backstay.api.words`."""

    type: Label = Field(description="What the condition is about, in CamelCase.")
    status: Literal["True", "False", "Unknown"] = Field(
        description="Whether it is so; Unknown is never to be read as good."
    )
    reason: Label = Field(description="Why, as a CamelCase word that is part of the API.")
    message: Message = Field(
        description="Why, for people: the object, the number and the next step."
    )
    last_transition_time: Time = Field(description="When the status last changed.")
    observed_generation: int = Field(
        default=0, ge=0, description="The generation of the spec that was judged."
    )


class Status(StatusModel):
    """What every status holds."""

    observed_generation: int = Field(
        default=-1, ge=-1, description="The generation of the spec that this status is about."
    )
    conditions: Annotated[tuple[Condition, ...], Keyed("type")] = Field(
        default=(),
        max_length=16,
        description="Statements about the object; those that warn are present only while true.",
    )


class Resource(Model):
    """A whole object as the API server stores it."""

    model_config = ConfigDict(extra="forbid")
    info: ClassVar[KindInfo]

    api_version: Literal["backstay.dev/v1alpha1"] = "backstay.dev/v1alpha1"
    metadata: ObjectMeta


def problems(error: ValidationError) -> list[str]:
    """Return one line for each fault that a model found, with the path of the field first.

    A list whose entries are faulty is not also said to be too short, as pydantic has it.
    """
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    parents = {fault["loc"][:depth] for fault in faults for depth in range(len(fault["loc"]))}
    return [
        f"{'.'.join(str(part) for part in fault['loc'])}: "
        + str(fault["msg"]).removeprefix("Value error, ")
        for fault in faults
        if not (fault["type"] == "too_short" and fault["loc"] in parents)
    ]
