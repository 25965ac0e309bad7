"""A row of the tables: something that is promised, or that may go wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["rule", "fault"]
"""The mark that names a row: `pytest.mark.rule(…)` or `pytest.mark.fault(…)`."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row by the name that tests are marked with, and what is expected of it."""

    name: str
    expected: str
    excuse: str = ""
    """Why no test proves it yet. A row has either a proof or an excuse, never both or neither."""
    so_far: str = ""
    """What part of it is in force, where not all of it is."""
    fakes_only: str = ""
    """Why no test of it runs on real hosts or a real API server. A row has either one or this."""


@dataclass(frozen=True, slots=True)
class Table:
    """One page: its mark, its title, what it is about, and its rows by section."""

    kind: Kind
    title: str
    about: str
    sections: dict[str, tuple[Row, ...]]

    @property
    def rows(self) -> list[Row]:
        """All rows, in order."""
        return [row for rows in self.sections.values() for row in rows]
