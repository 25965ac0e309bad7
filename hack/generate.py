"""Write what is made from the models: CRDs, the chart's copies of them, the list of reasons.

With --check nothing is written; the exit status is 1 when a file is not fresh.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from backstay.api.crds import crd
from backstay.api.kinds import GROUP
from backstay.api.v1alpha1 import KINDS
from backstay.api.words import ConditionType, Reason, Word

ROOT = Path(__file__).resolve().parent.parent
CRD_FOLDERS = (ROOT / "crds", ROOT / "charts" / "backstay" / "files" / "crds")
MARK = "# Made by `make generate` from operator/backstay/api; do not edit.\n"


class _Plain(yaml.SafeDumper):
    """YAML without anchors: people read these files."""

    def ignore_aliases(self, data: Any) -> bool:
        """Say that every value is written out."""
        return True


def generated() -> dict[Path, str]:
    """Return every generated file with the text that it should have."""
    files = {ROOT / "docs" / "reasons.md": reasons_page()}
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
            *_table("Reason", sorted(Reason)),
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


def main(arguments: list[str]) -> int:
    """Write or check the files; return the exit status."""
    check = arguments == ["--check"]
    if arguments and not check:
        print("usage: generate.py [--check]", file=sys.stderr)
        return 2
    changed = {
        path: text
        for path, text in generated().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    }
    stale = stale_crds()
    for path in sorted([*changed, *stale]):
        verb = "is not fresh" if check else ("is written" if path in changed else "is removed")
        print(f"{path.relative_to(ROOT)} {verb}")
    if check:
        if changed or stale:
            print("run `make generate` and commit the result")
        return 1 if changed or stale else 0
    for path, text in changed.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for path in stale:
        path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
