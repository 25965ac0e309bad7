"""Result files, and the README that is made of them."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

README_HEAD = """\
# Measured figures

Made by `make bench` out of the files in [results](results); do not edit. A figure is a ratio of
medians of one run, in which the tools took turns on the same hosts; seconds stand beside it only to
give a feeling for the size, for they are those of this machine. Every cycle is checked by GUID on
both hosts, outside of the measured time; a tool that left something out gets no figure.

    make bench              # everything, several hours on two cores
    uv run --group bench python benchmarks/run.py --help
"""


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table."""

    what: str
    ratio: str
    seconds: str


@dataclass(slots=True)
class Result:
    """All of one scenario's run."""

    scenario: str
    title: str
    parameters: dict[str, Any]
    machine: dict[str, Any]
    figures: list[Figure] = field(default_factory=list)
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Further tables by their title; equal keys in each row."""
    notes: list[str] = field(default_factory=list)
    """What the figures do not say."""
    rounds: list[dict[str, Any]] = field(default_factory=list)
    """Everything that was measured, as it came."""

    def write(self, folder: Path) -> Path:
        """The result lies in the folder under today's date; one of the same day is replaced."""
        now = datetime.now(UTC)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{now:%Y-%m-%d}-{self.scenario}.json"
        content = {"measured_at": f"{now:%Y-%m-%dT%H:%MZ}", **asdict(self)}
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        return path


def median(values: Sequence[float]) -> float:
    """The median, rounded to what can be trusted."""
    return round(statistics.median(values), 2)


def seconds(values: Sequence[float]) -> str:
    """Median and range, as text."""
    if len(values) == 1:
        return f"{values[0]:.1f} s"
    return f"{statistics.median(values):.1f} s ({min(values):.1f} to {max(values):.1f})"


def one_in(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Our median as a part of their median: `1/9.3`, or `1.2 ×` when we are slower."""
    mine, other = statistics.median(ours), statistics.median(theirs)
    return f"1/{other / mine:.1f}" if mine <= other else f"{mine / other:.1f} ×"


def write_readme(results: Path, readme: Path) -> None:
    """The README shows the newest result of each scenario."""
    newest: dict[str, tuple[Path, dict[str, Any]]] = {}
    for path in sorted(results.glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        newest[content["scenario"]] = (path, content)
    parts = [README_HEAD]
    if not newest:
        parts.append("No run at full size has been recorded yet.\n")
    parts += [_section(path.name, content) for path, content in newest.values()]
    readme.write_text("\n".join(parts), encoding="utf-8")


def _section(file: str, content: dict[str, Any]) -> str:
    lines = [f"## {content['title']}", ""]
    lines += [
        f"{content['measured_at']}, {_machine(content['machine'])}; [{file}](results/{file})."
    ]
    lines += ["", f"Parameters: {_words(content['parameters'])}.", ""]
    rows = [[f["what"], f["ratio"], f["seconds"]] for f in content["figures"]]
    lines += _table(["figure", "ratio", "seconds"], rows)
    for title, table in content["tables"].items():
        lines += ["", f"{title}:", ""]
        lines += _table(list(table[0]), [[str(v) for v in row.values()] for row in table])
    if content["notes"]:
        lines += ["", "What this does not say, and how it was done:", ""]
        lines += [f"* {note}" for note in content["notes"]]
    return "\n".join([*lines, ""])


def _machine(machine: dict[str, Any]) -> str:
    here = (
        f"commit {machine['commit']}, {machine['cores']} cores ({machine['cpu']}), "
        f"{machine['memory_gib']} GiB"
    )
    if not machine["hosts"]:
        return f"{here}, Python {machine['python']}"
    host = machine["hosts"][0]
    return (
        f"{here}; {len(machine['hosts'])} hosts: {host['virtualization']}, "
        f"{host['cores']} core and {host['memory_gib']} GiB each, {host['zfs']}, kernel "
        f"{host['kernel']}, Python {host['python']}"
    )


def _words(parameters: dict[str, Any]) -> str:
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in parameters.items())


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return lines + [
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows
    ]
