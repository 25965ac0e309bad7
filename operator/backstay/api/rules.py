"""Rules of the API, each said once: CEL for the API server, a check for the models, a sentence.

The API server and the models must judge alike, so both read the same value. A sentence names what
is wrong and what to do; it may quote the object with `{name}` placeholders, which become a CEL
concatenation on the server.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

T = TypeVar("T")
VALIDATIONS = "x-kubernetes-validations"


def cel_text(text: str) -> str:
    """Return a CEL string literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def cel_matches(expression: str, pattern: str) -> str:
    """Return CEL that is true when the whole of a string matches."""
    return f"{expression}.matches({cel_text(f'^(?:{pattern})$')})"


@dataclass(frozen=True, slots=True)
class Quote(Generic[T]):
    """A part of the object that a sentence quotes: how CEL and Python find its text."""

    cel: str
    text: Callable[[T], str]


@dataclass(frozen=True, slots=True)
class Rule(Generic[T]):
    """A rule about one object of the schema.

    `holds` is None for transition rules (`oldSelf`): only the API server sees the old object.
    """

    cel: str
    message: str
    holds: Callable[[T], bool] | None = None
    quotes: dict[str, Quote[T]] = field(default_factory=dict)

    def sentence(self, value: T) -> str:
        """Return the message with the quoted parts of this value filled in."""
        return self.message.format(**{name: q.text(value) for name, q in self.quotes.items()})

    def validation(self) -> dict[str, str]:
        """Return the entry of `x-kubernetes-validations`."""
        if not self.quotes:
            return {"rule": self.cel, "message": self.message}
        plain = self.message.format(**{name: f"<{name}>" for name in self.quotes})
        pieces = re.split(r"\{(\w+)\}", self.message)
        expressions = [
            self.quotes[piece].cel if at % 2 else cel_text(piece)
            for at, piece in enumerate(pieces)
            if piece
        ]
        # `message` is what the server falls back to when the expression fails.
        return {
            "rule": self.cel,
            "message": plain,
            "messageExpression": " + ".join(expressions),
        }


def broken(rules: tuple[Rule[T], ...], value: T) -> list[str]:
    """Return the sentences of all rules that a value breaks, in the order of the rules."""
    return [rule.sentence(value) for rule in rules if rule.holds and not rule.holds(value)]


@dataclass(frozen=True, slots=True)
class Text:
    """A rule about a string: its pattern and length, and the sentence for who breaks it.

    CEL and not `pattern`: the server's own message for a pattern shows a regular expression and
    does not say what to write instead.
    """

    pattern: str
    max_length: int
    message: str

    def check(self, text: str) -> str:
        """Return the text unchanged; ValueError with the sentence when it breaks the rule."""
        if len(text) > self.max_length:
            raise ValueError(f"Too long: may not be more than {self.max_length} bytes")
        if not re.fullmatch(self.pattern, text):
            raise ValueError(self.message)
        return text

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Make pydantic check the string."""
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Put the rule into the schema."""
        found = handler(schema)
        found["maxLength"] = self.max_length
        found[VALIDATIONS] = [{"rule": cel_matches("self", self.pattern), "message": self.message}]
        return found


@dataclass(frozen=True, slots=True)
class Keyed:
    """A list whose entries are told apart by one field, as the API server does it.

    Uniqueness comes with it, and server-side apply merges entry by entry.
    """

    key: str

    def check(self, entries: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the entries unchanged; ValueError when two have the same key."""
        seen: set[Any] = set()
        for entry in entries:
            key = getattr(entry, self.key)
            if key in seen:
                raise ValueError(f'Duplicate value: {{"{self.key}":"{key}"}}')
            seen.add(key)
        return entries

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Make pydantic check the keys."""
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Put the key into the schema."""
        found = handler(schema)
        found["x-kubernetes-list-type"] = "map"
        found["x-kubernetes-list-map-keys"] = [self.key]
        return found
