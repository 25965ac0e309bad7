"""CustomResourceDefinitions made from the models.

What pydantic emits is JSON Schema; the API server takes *structural* schemas only: no references,
no unions with null, no `additionalProperties: false`, no titles. The rewriting keeps every bound
and every rule, and knows no kind by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from backstay.api.kinds import CATEGORY, GROUP, VERSION, Column, KindInfo
from backstay.api.v1alpha1 import Resource

Schema: TypeAlias = dict[str, Any]

# Said here and not by the models: the server knows these fields itself, and refuses even a
# description of the metadata.
_OWN_FIELDS: dict[str, Schema] = {
    "apiVersion": {"type": "string", "description": "Version of the API that the object is of."},
    "kind": {"type": "string", "description": "Kind of the object."},
    "metadata": {"type": "object"},
}


def crd(resource: type[Resource]) -> Schema:
    """Return the CRD of a kind as data for YAML."""
    info = resource.info
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{info.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": _names(info),
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [_column(column) for column in info.columns],
                    "schema": {"openAPIV3Schema": root_schema(resource)},
                }
            ],
        },
    }


def root_schema(resource: type[Resource]) -> Schema:
    """Return the structural schema of a kind."""
    emitted = resource.model_json_schema(by_alias=True)
    structural = _structural(emitted, emitted.get("$defs", {}), ())
    structural["properties"] = _OWN_FIELDS | {
        name: schema for name, schema in structural["properties"].items() if name not in _OWN_FIELDS
    }
    structural["required"] = ["spec"]
    return structural


def _names(info: KindInfo) -> Schema:
    return {
        "kind": info.kind,
        "listKind": f"{info.kind}List",
        "plural": info.plural,
        "singular": info.singular,
        "shortNames": [info.short_name],
        "categories": [CATEGORY],
    }


def _column(column: Column) -> Schema:
    found: Schema = {
        "name": column.name,
        "type": column.type,
        "jsonPath": column.json_path,
        "description": column.description,
    }
    if column.priority:
        found["priority"] = column.priority
    return found


def _structural(schema: Schema, defs: dict[str, Schema], inside: tuple[str, ...]) -> Schema:
    """Return the schema without references, null unions and what the server refuses.

    Raises ValueError for a schema that has no structural form, recursion among them.
    """
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        if name in inside:
            raise ValueError(f"{name} contains itself: a structural schema has no recursion")
        siblings = {key: value for key, value in schema.items() if key != "$ref"}
        return _structural(defs[name] | siblings, defs, (*inside, name))
    if "anyOf" in schema:
        siblings = {key: value for key, value in schema.items() if key != "anyOf"}
        return _structural(_only_choice(schema["anyOf"]) | siblings, defs, inside)
    found: Schema = {}
    for key, value in schema.items():
        found |= _keyword(key, value, lambda part: _structural(part, defs, inside))
    if found.get("type") == "integer":
        found["format"] = "int64"
    return found


def _keyword(key: str, value: Any, structural: Callable[[Schema], Schema]) -> Schema:
    """Return what one keyword of pydantic becomes; nothing for what the server refuses."""
    match key:
        case "$defs" | "title":
            return {}
        case "additionalProperties" if value is False:
            return {}  # the server prunes, or refuses when asked to be strict
        case "properties":
            return {key: {name: structural(part) for name, part in value.items()}}
        case "items" | "additionalProperties":
            return {key: structural(value)}
        case "const":
            return {"enum": [value]}
        case "default":
            return _default(value)
        case _:
            return {key: value}


def _only_choice(choices: list[Schema]) -> Schema:
    """Return the one choice that is not null; absence says null in Kubernetes."""
    real = [choice for choice in choices if choice.get("type") != "null"]
    if len(real) != 1:
        raise ValueError(f"a union of {len(real)} types has no structural form")
    return real[0]


def _default(value: Any) -> Schema:
    """Return the default, or nothing for an empty one: absent and empty mean the same to us."""
    kept = _without_empty(value)
    return {} if kept is None else {"default": kept}


def _without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: _without_empty(each) for key, each in value.items()}
        return {key: each for key, each in kept.items() if each is not None} or None
    return None if value in ("", []) else value
