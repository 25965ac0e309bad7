"""Write what is made from the models and the tests: CRDs, the chart's copies of them, the pages.

A mark of a test that no row knows, or a row that is neither proven nor excused, is an error, too.
With --check nothing is written; the exit status is 1 when a file is not fresh.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from backstay.api.crds import Schema, crd, root_schema
from backstay.api.kinds import GROUP
from backstay.api.rules import VALIDATIONS
from backstay.api.v1alpha1 import KINDS
from backstay.api.words import NOT_YET, ConditionType, Reason, Word
from proofs import pages

ROOT = Path(__file__).resolve().parent.parent
CRD_FOLDERS = (ROOT / "crds", ROOT / "charts" / "backstay" / "files" / "crds")
MARK = "# Made by `make generate` from operator/backstay/api; do not edit.\n"
_LEAST = ("minimum", "minLength", "minItems", "minProperties")
_MOST = ("maximum", "maxLength", "maxItems", "maxProperties")


class _Plain(yaml.SafeDumper):
    """YAML without anchors: people read these files."""

    def ignore_aliases(self, data: Any) -> bool:
        """Say that every value is written out."""
        return True


def generated() -> dict[Path, str]:
    """Return every generated file with the text that it should have."""
    files = {
        ROOT / "docs" / "reasons.md": reasons_page(),
        ROOT / "docs" / "api.md": api_page(),
    }
    for resource in KINDS:
        text = MARK + yaml.dump(
            crd(resource), Dumper=_Plain, sort_keys=False, width=100, allow_unicode=True
        )
        for folder in CRD_FOLDERS:
            files[folder / f"{GROUP}_{resource.info.plural}.yaml"] = text
    return files


def stale_crds() -> list[Path]:
    """Return CRD files that no model stands for any more."""
    wanted = set(generated())
    return [path for folder in CRD_FOLDERS for path in folder.glob("*") if path not in wanted]


def reasons_page() -> str:
    """Return the page that lists every condition type and reason."""
    return "\n".join(
        [
            "# Conditions and reasons",
            "",
            "Made by `make generate` from `operator/backstay/api/words.py`; do not edit.",
            "",
            "`kubectl describe` shows the conditions of every object. Types and reasons are part",
            "of the API; messages are for people and may change.",
            "",
            "## Condition types",
            "",
            *_table("Type", list(ConditionType)),
            "",
            "## Reasons",
            "",
            *_table("Reason", sorted(set(Reason) - NOT_YET)),
            "",
        ]
    )


def _table(head: str, words: list[Any]) -> list[str]:
    rows = [word for word in words if isinstance(word, Word)]
    return [
        f"| {head} | Meaning |",
        "|---|---|",
        *(f"| `{word.value}` | {word.meaning} |" for word in rows),
    ]


def api_page() -> str:
    """Return the page that lists every field of every kind, its bounds and its rules."""
    lines = [
        "# The API: every field",
        "",
        "Made by `make generate` from `operator/backstay/api`; do not edit. `kubectl explain`",
        "shows the same at the terminal. Conditions and reasons: [reasons.md](reasons.md).",
    ]
    for resource in KINDS:
        schema = root_schema(resource)
        info = resource.info
        lines += ["", f"## {info.kind} (`{info.short_name}`)", "", schema["description"]]
        for part in ("spec", "status"):
            lines += [
                "",
                f"### {info.kind} {part}",
                "",
                "| Field | Value | Meaning |",
                "|---|---|---|",
            ]
            lines += _field_rows(schema["properties"][part], part)
        lines += ["", f"### {info.kind} rules", ""]
        lines += [f"- `{path}`: {said}" for path, said in _sentences(schema, "")]
    return "\n".join([*lines, ""])


def _field_rows(schema: Schema, path: str) -> Iterator[str]:
    for name, part in schema.get("properties", {}).items():
        here = f"{path}.{name}"
        needed = " **required**" if name in schema.get("required", ()) else ""
        yield f"| `{here}` | {_value(part)}{needed} | {part['description'].replace('|', '/')} |"
        inner, suffix = _inner(part)
        yield from _field_rows(inner, here + suffix)


def _inner(schema: Schema) -> tuple[Schema, str]:
    """Return the schema that the fields of a list or map have, and how its path goes on."""
    if "items" in schema:
        return schema["items"], "[]"
    if "additionalProperties" in schema:
        return schema["additionalProperties"], ".*"
    return schema, ""


def _value(schema: Schema) -> str:
    """Return type, bounds and default in words."""
    if "enum" in schema:
        words = " \\| ".join(f"`{value}`" for value in schema["enum"])
    elif "format" in schema and schema["type"] == "string":
        words = {"date": "day", "date-time": "time"}[schema["format"]]
    else:
        words = "map" if "additionalProperties" in schema else str(schema["type"])
        words = "list" if "items" in schema else words
    least = next((schema[key] for key in _LEAST if key in schema), None)
    most = next((schema[key] for key in _MOST if key in schema), None)
    if least is not None and least == most:
        words += f" of {most}"
    elif least is not None and most is not None:
        words += f", {least} to {most}"
    elif most is not None:
        words += f", at most {most}"
    if "default" in schema and not isinstance(schema["default"], dict):
        words += f", default `{json.dumps(schema['default'])}`"
    return words


def _sentences(schema: Schema, path: str) -> Iterator[tuple[str, str]]:
    """Yield what the API server says of what it refuses, by the field that it says it of."""
    for rule in schema.get(VALIDATIONS, ()):
        yield path, rule["message"].replace("<", "\\<")
    for name, part in schema.get("properties", {}).items():
        yield from _sentences(part, f"{path}.{name}".lstrip("."))
    inner, suffix = _inner(schema)
    if suffix:
        yield from _sentences(inner, path + suffix)


def main(arguments: list[str]) -> int:
    """Write or check the files; return the exit status."""
    check = arguments == ["--check"]
    if arguments and not check:
        print("usage: generate.py [--check]", file=sys.stderr)
        return 2
    proven, problems = pages.pages(ROOT)
    for problem in problems:
        print(problem)
    changed = {
        path: text
        for path, text in (generated() | proven).items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    }
    stale = stale_crds()
    for path in sorted([*changed, *stale]):
        verb = "is not fresh" if check else ("is written" if path in changed else "is removed")
        print(f"{path.relative_to(ROOT)} {verb}")
    if check:
        if changed or stale:
            print("run `make generate` and commit the result")
        return 1 if changed or stale or problems else 0
    for path, text in changed.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for path in stale:
        path.unlink()
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
