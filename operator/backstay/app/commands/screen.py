"""The terminal: plain text or JSON, colours only where somebody sees them."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from backstay.app.commands.asked import Output

_STYLES: Mapping[str, str] = {
    **dict.fromkeys(("Stalled", "Breached", "bad"), "bold red"),
    **dict.fromkeys(("Unknown", "unknown"), "magenta"),
    **dict.fromkeys(("NotReady", "warn"), "yellow"),
    **dict.fromkeys(("Suspended", "note"), "cyan"),
}


class Screen:
    """Where a command writes. Rich obeys NO_COLOR and leaves colours out of files and pipes."""

    def __init__(self, output: Output) -> None:
        self.is_json = output == Output.JSON
        self.out = Console(highlight=False, soft_wrap=True)
        self.err = Console(highlight=False, soft_wrap=True, stderr=True)

    @property
    def width(self) -> int | None:
        """Columns to keep to; None for a file or a pipe, where nothing is cut."""
        if self.out.is_terminal or os.environ.get("COLUMNS"):
            return self.out.width
        return None

    def line(self, text: str, word: str | None = None) -> None:
        """The line is written, in the colour of a word that says how good it is."""
        self.out.print(self._coloured(printable(text), word))

    def entry(self, word: str, text: str, *more: str) -> None:
        """A word and what it is about are written beside each other, wrapped."""
        label = word
        for part in (text, *more):
            for line in _wrapped(printable(part), self.width):
                self.out.print(self._coloured(label.ljust(_LABEL), word), Text(line), sep="")
                label = ""

    def _coloured(self, text: str, word: str | None) -> Text:
        # Rich would still write it bold.
        return Text(text, style="" if self.out.no_color else _STYLES.get(word or "", ""))

    def document(self, document: Mapping[str, Any]) -> None:
        """The document is written as JSON."""
        typer.echo(json.dumps(document, indent=2))

    def agreed(self, question: str, *, yes: bool) -> bool:
        """Whether somebody said yes: beforehand, or now; nobody answers where JSON is read."""
        if yes:
            return True
        if self.is_json:
            self.complain("nothing is approved: with -o json say --yes, or --dry-run to look only")
            return False
        return typer.confirm(question, default=False)

    def complain(self, text: str) -> None:
        """The text is written to standard error."""
        self.err.print(Text(printable(text)))


_LABEL = 9


def _wrapped(text: str, width: int | None) -> Iterable[str]:
    if width is None:
        return [text]
    # An address or a dataset that is cut in two cannot be copied.
    room = max(20, width - _LABEL)
    return textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]


def printable(text: str) -> str:
    """The text on one line, with nothing in it that a terminal would obey."""
    return "".join(
        each if each.isprintable() else " " if each.isspace() else "\N{REPLACEMENT CHARACTER}"
        for each in text
    )
