"""The CRDs are structural, bounded and described, and the generator refuses what it cannot say."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import Field

from backstay.api.crds import crd, root_schema
from backstay.api.kinds import KindInfo
from backstay.api.rules import VALIDATIONS
from backstay.api.v1alpha1 import KINDS, Resource
from backstay.api.v1alpha1.meta import SpecModel, Status

ROOT = Path(__file__).parents[3]
# https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
FORBIDDEN = {
    "$ref", "$defs", "definitions", "dependencies", "deprecated", "discriminator", "id",
    "patternProperties", "readOnly", "writeOnly", "xml", "uniqueItems", "title", "const",
    "propertyNames", "prefixItems", "anyOf", "oneOf", "allOf", "not", "pattern",
}  # fmt: skip
BY_KIND = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.info.kind)


def parts(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every schema within a schema, with its path."""
    yield path, schema
    for name, part in schema.get("properties", {}).items():
        yield from parts(part, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from parts(schema[key], f"{path}[{key}]")


def faults(path: str, schema: dict[str, Any]) -> Iterator[str]:
    """Yield what keeps a schema from being structural, bounded and described."""
    for word in sorted(FORBIDDEN & schema.keys()):
        yield f"{path}: {word}"
    kind = schema.get("type")
    if kind not in ("object", "array", "string", "integer", "boolean"):
        yield f"{path}: type {kind}"
    if kind == "array" and "maxItems" not in schema:
        yield f"{path}: a list without maxItems"
    if kind == "object" and "additionalProperties" in schema and "maxProperties" not in schema:
        yield f"{path}: a map without maxProperties"
    if kind == "string" and not {"maxLength", "enum", "format"} & schema.keys():
        yield f"{path}: a string without maxLength"
    if "[" not in path.rpartition(".")[2] and not schema.get("description", "").endswith("."):
        yield f"{path}: no description that is a sentence"
    if "default" in schema and schema.get("default") in (None, "", [], {}):
        yield f"{path}: an empty default"


@BY_KIND
def test_schemas_are_structural_bounded_and_described(kind: type[Resource]) -> None:
    own = {".apiVersion", ".kind", ".metadata"}
    found = [
        fault
        for path, part in parts(root_schema(kind))
        if path not in own
        for fault in faults(path, part)
    ]
    assert found == []


@BY_KIND
def test_a_new_object_was_never_observed(kind: type[Resource]) -> None:
    status = root_schema(kind)["properties"]["status"]
    assert status["default"] == {"observedGeneration": -1}
    conditions = status["properties"]["conditions"]
    assert conditions["x-kubernetes-list-type"] == "map"
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]


@BY_KIND
def test_kinds_have_names_columns_and_a_status_of_their_own(kind: type[Resource]) -> None:
    made = crd(kind)
    version = made["spec"]["versions"][0]
    assert made["metadata"]["name"] == f"{kind.info.plural}.backstay.dev"
    assert made["spec"]["scope"] == "Namespaced"
    assert made["spec"]["names"]["categories"] == ["backstay"]
    assert version["subresources"] == {"status": {}}
    ready = [column for column in version["additionalPrinterColumns"] if column["name"] == "READY"]
    assert [column["jsonPath"] for column in ready] == [
        '.status.conditions[?(@.type=="Ready")].status'
    ]


def test_times_are_columns_of_dates() -> None:
    columns = [column for kind in KINDS for column in kind.info.columns]
    times = [column for column in columns if column.json_path.lower().endswith(("time", "stamp"))]
    assert len(times) == 4
    assert {column.type for column in times} == {"date"}


@BY_KIND
def test_rules_say_what_to_do_in_one_line(kind: type[Resource]) -> None:
    rules = [rule for _, part in parts(root_schema(kind)) for rule in part.get(VALIDATIONS, ())]
    assert rules
    for rule in rules:
        assert "\n" not in rule["message"]
        assert ":" in rule["message"] or "write " in rule["message"]
        assert "{" not in rule["message"]


def made(spec: type[SpecModel]) -> type[Resource]:
    """Return a kind with this spec."""

    class Thing(Resource):
        info = KindInfo("Thing", "thing", "things", "th", ())
        kind: Literal["Thing"] = "Thing"
        spec: Any
        status: Status = Status()

    Thing.model_fields["spec"].annotation = spec
    Thing.model_rebuild(force=True)
    return Thing


class Loop(SpecModel):
    """A schema that contains itself."""

    inner: Loop | None = None


class Either(SpecModel):
    """A union that no structural schema can say."""

    port: int | str = Field(default=1)


def test_recursion_is_refused() -> None:
    with pytest.raises(ValueError, match="Loop contains itself"):
        root_schema(made(Loop))


def test_unions_are_refused() -> None:
    with pytest.raises(ValueError, match="a union of 2 types"):
        root_schema(made(Either))


def test_generated_files_are_fresh() -> None:
    argv = [sys.executable, str(ROOT / "hack" / "generate.py"), "--check"]
    checked = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert checked.stdout == ""
    assert checked.returncode == 0
