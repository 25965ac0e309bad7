"""The tables as pages, and what is wrong with them: unknown names, missing and stale excuses."""

from __future__ import annotations

import difflib
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from proofs.faults import FAULTS
from proofs.marks import FAKE, WORLDS, Proof, collect
from proofs.rows import Row, Table
from proofs.rules import RULES

EXAMPLES = 3
"""So many tests are shown of each world; the others are counted."""
PAGES = {"docs/rules.md": RULES, "docs/faults.md": FAULTS}


def pages(root: Path) -> tuple[dict[Path, str], list[str]]:
    """The pages with the text that they should have, and all that is wrong with the tables."""
    found = collect(root)
    problems = list(found.problems)
    texts = {}
    for path, table in PAGES.items():
        texts[root / path] = page(table, found.proofs)
        problems += judge(table, found.proofs)
    return texts, problems


def judge(table: Table, proofs: Iterable[Proof]) -> list[str]:
    """Every row has either a proof or an excuse, and every mark has a row.

    A proof is one in a real world, or the row says why there is none.
    """
    mine = [p for p in proofs if p.kind == table.kind]
    proven = {p.name for p in mine}
    real = {p.name for p in mine if p.world not in FAKE}
    names = Counter(row.name for row in table.rows)
    what = f"the {table.kind}"
    return [
        *(f"{what} {name!r} is listed twice" for name, count in names.items() if count > 1),
        *(
            f"{proof.path}: {proof.test} names {what} {proof.name!r}, which is not listed"
            + _nearest(proof.name, names)
            for proof in {(p.path, p.test, p.name): p for p in mine}.values()
            if proof.name not in names
        ),
        *(
            f"{what} {row.name!r} is neither proven by a test nor excused"
            for row in table.rows
            if row.name not in proven and not row.excuse
        ),
        *(
            f"{what} {row.name!r} is proven: take its excuse away"
            for row in table.rows
            if row.name in proven and row.excuse
        ),
        *(
            f"{what} {row.name!r} is proven on doubles only, and does not say why (`fakes_only`)"
            for row in table.rows
            if row.name in proven - real and not row.fakes_only
        ),
        *(
            f"{what} {row.name!r} is proven in a real world: take its `fakes_only` away"
            for row in table.rows
            if row.name in real and row.fakes_only
        ),
    ]


def _nearest(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""


def page(table: Table, proofs: Iterable[Proof]) -> str:
    """Return the page of a table."""
    of_row: dict[str, list[Proof]] = defaultdict(list)
    for proof in proofs:
        if proof.kind == table.kind:
            of_row[proof.name].append(proof)
    excused = [row for row in table.rows if row.excuse]
    lines = [
        f"# {table.title}",
        "",
        "Made by `make generate` from `hack/proofs` and the marks of the tests; do not edit.",
        "",
        table.about,
        "",
        f"A test that proves a row is marked `pytest.mark.{table.kind}` with its name; up to",
        f"{EXAMPLES} tests of each world are shown. A row with neither a proof nor a reason is an",
        "error of `make check`, and so is one that is proven on doubles only (unit, property, sim,",
        "contract-fake) and does not say why. *By hand*: on real hosts, by `pytest` with that",
        "module's path; too long for `make test`.",
    ]
    if excused:
        lines += ["", "## Not proven yet", "", f"| {table.kind.capitalize()} | Why |", "|---|---|"]
        lines += [f"| {row.name} | {row.excuse} |" for row in excused]
    for section, rows in table.sections.items():
        lines += ["", f"## {section}", "", f"| {table.kind.capitalize()} | Expected | Proven by |"]
        lines += ["|---|---|---|", *(_line(row, of_row[row.name]) for row in rows)]
    return "\n".join([*lines, ""])


def _line(row: Row, proofs: list[Proof]) -> str:
    expected = f"{row.expected} *So far:* {row.so_far}" if row.so_far else row.expected
    why = f"<br>*On doubles only:* {row.fakes_only}" if row.fakes_only else ""
    return f"| {row.name} | {expected} | {_tests(proofs) or '—'}{why} |"


def _tests(proofs: list[Proof]) -> str:
    """The tests of each world; worlds with the same tests stand together."""
    worlds: dict[tuple[str, ...], list[str]] = {}
    for world in WORLDS:
        links = tuple(_link(proof) for proof in _in_turn([p for p in proofs if p.world == world]))
        if links:
            worlds.setdefault(links, []).append(world)
    return "<br>".join(
        f"**{', '.join(names)}** {', '.join(links[:EXAMPLES])}"
        + (f" +{len(links) - EXAMPLES}" if len(links) > EXAMPLES else "")
        for links, names in worlds.items()
    )


def _in_turn(proofs: list[Proof]) -> list[Proof]:
    """The first test of each file, then the second of each, and so on."""
    turn: Counter[str] = Counter()
    order = []
    for proof in proofs:
        turn[proof.path] += 1
        order.append((turn[proof.path], proof.path, proof))
    return [proof for _, _, proof in sorted(order, key=lambda one: one[:2])]


def _link(proof: Proof) -> str:
    file = PurePosixPath(proof.path).name
    return f"[{file}::{proof.test}](../{proof.path})"
