"""What commands do to the terminal: colours, columns, and what hosts say."""

from __future__ import annotations

import re

import pytest

from fakes import reported
from fakes.commandline import ran
from fakes.reader import FakeReader

ANSI = re.compile("\x1b")


@pytest.mark.parametrize("command", ["status", "explain erp", "doctor", "sync erp --wait"])
def test_no_colour_reaches_a_pipe_and_none_where_it_is_not_wanted(
    kube: FakeReader, command: str
) -> None:
    kube.put(reported.pair("erp", met="False", lag_s=900, lastHandledRequest="old"))
    assert not ANSI.search(ran(kube, *command.split()).output)
    # A terminal, on which only the spinner of sync moves its cursor.
    assert not ANSI.search(ran(kube, *command.split(), FORCE_COLOR="1", NO_COLOR="1").stdout)


def test_a_terminal_has_colour(kube: FakeReader) -> None:
    kube.put(reported.pair("db", met="False", lag_s=900))
    assert ANSI.search(ran(kube, "status", FORCE_COLOR="1").output)


HOSTILE = "\x1b]0;owned\x07 [red]x[/red] \x9b31m\nsecond line"


@pytest.mark.parametrize("command", ["status", "explain erp", "doctor"])
def test_what_a_host_said_cannot_steer_the_terminal(kube: FakeReader, command: str) -> None:
    kube.objects.clear()
    kube.put(reported.pair("erp", ready=("False", "TransferFailed", HOSTILE)))
    kube.put(reported.site("a", trouble=("TransferFailed", HOSTILE)))
    said = ran(kube, *command.split()).stdout
    assert "owned" in said
    assert "[red]x[/red]" in said
    assert not any(c in said for c in "\x1b\x07\x9b")
    assert "\nsecond" not in said


@pytest.mark.parametrize("command", ["status", "explain erp", "doctor"])
def test_80_columns_are_kept(kube: FakeReader, command: str) -> None:
    long = "disk7: " + "no space is left in the pool and nothing can be received " * 4
    kube.put(reported.pair("db", ready=("False", "InsufficientSpace", long)))
    kube.put(reported.site("c", trouble=("Unreachable", long)))
    said = ran(kube, *command.split(), COLUMNS="80").stdout
    assert max(len(line) for line in said.splitlines()) <= 80
