"""Whole requests while `zfs` prints what it never should: refused by name, never an error of ours.

`HYPOTHESIS_PROFILE=long pytest --timeout 0` gives each test 100,000 inputs, new ones in each run.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backstay_host import lineage, places, programs, protocol, prune, roles, snapshots, survey
from backstay_host.children import Command, Finished
from backstay_host.clock import now_s
from backstay_host.fence import Fence
from backstay_host.refusal import Refused
from backstay_host.request import Host, Request
from backstay_host.zfs.failures import REASONS
from backstay_host.zfs.parsing import Version
from backstay_host.zfs.programs import DESTROY, MARK
from property.hostile import CELL, JSON, OURS, OUTPUT, Recorder

OPTIONS = frozenset({"-", "-Hp", "-t", "-o", "-r", "-d", "-s", "-j", "-p", "-nvt"})
LIES = frozenset(
    {
        *("UnexpectedOutput", "NewLineage", "NotAtomic", "NoZfs", "IdentityChanged"),
        *("ListChanged", "RoleChanged", "LineageMismatch", "ForeignWriter"),
    }
)
"""What a request can take a lie of the right shape for."""
DOOMED = ["tank/v@b", "tank/v@c", "tank/v#b", "backup/r/x@b"]
Act = Callable[[Request, Any], Any]
NEW, OLD = (2, 3, 9), (2, 2, 4)
SURVEY = protocol.Survey(
    [protocol.SurveyRoot("tank/v", True), protocol.SurveyRoot("backup/r")], "ab12", True
)
NAMES = ("survey", "survey before 2.3", "snapshot", "prune", "roles", "rollback")
REQUESTS: list[tuple[Act, Any, Version]] = [
    (survey.survey, SURVEY, NEW),
    (survey.survey, SURVEY, OLD),
    (
        snapshots.snapshot,
        protocol.TakeSnapshot(
            [protocol.Target("tank/v", 1), protocol.Target("tank/w", 1)],
            "b",
            [protocol.NewBookmark("tank/v", "b", "4c1f"), protocol.NewBookmark("tank", "a", "4c")],
        ),
        NEW,
    ),
    (prune.prune, protocol.Prune([protocol.Doomed(name, 1) for name in DOOMED]), NEW),
    (
        roles.swap,
        protocol.SwapRoles([protocol.RoleChange("tank/v", 1, "secondary", 1)], "secondary", 1),
        NEW,
    ),
    (
        lineage.rollback,
        protocol.Rollback([protocol.Rewind("backup/r/x", 1, "b", 1, [], -1, {})]),
        NEW,
    ),
]


class Honest(Recorder):
    """A `zfs` that also runs channel programs, of things that are all there."""

    def run(self, command: Command, deadline: float) -> Finished:
        """The output of one command."""
        done = super().run(command, deadline)
        if command.argv[:2] != ["zfs", "program"]:
            return done
        return Finished(command.argv, 0, _returned(command), "")


class Liar(Honest):
    """A `zfs` that answers one question, and any other now and then, as it never should."""

    def __init__(self, data: st.DataObject, lie_at: int) -> None:
        super().__init__()
        self._data = data
        self._lie_at = lie_at

    def run(self, command: Command, deadline: float) -> Finished:
        """The output of one command."""
        is_due = len(self.ran) == self._lie_at
        done = super().run(command, deadline)
        if not is_due and self._data.draw(st.integers(0, 9)) < 9:
            return done
        out = self._data.draw(st.one_of(_bent(done.out), _bent(done.out), _bent(done.out), OUTPUT))
        if self._data.draw(st.integers(0, 9)) < 9:
            return Finished(command.argv, 0, out, "")
        return Finished(command.argv, 1, out, self._data.draw(OUTPUT))


def _returned(command: Command) -> str:
    """What the channel program would print of things that are all there."""
    assert command.stdin is not None
    text = os.pread(command.stdin, 1 << 16, 0).decode()
    words = command.argv[5:]
    one = f"{1:016x}"
    if text == DESTROY:
        return json.dumps({"return": {"gone": dict.fromkeys(words[::2], 0)}})
    if text == MARK:
        found = {word: f"{one} {one} 1 -" for word in words if "@" in word}
        made = {f"tank/v#backstay_4c1f_{one}_1": 0}
        return json.dumps({"return": {"found": found, "made": made}})
    return json.dumps({"return": {}})


def _bent(text: str) -> st.SearchStrategy[str]:
    """The text with one part of it missing, doubled or replaced."""
    return st.builds(_bend, st.just(text), st.randoms(use_true_random=False), JSON, CELL)


def _bend(text: str, chance: Any, value: Any, cell: str) -> str:
    if text.startswith("{"):
        return json.dumps(_bend_json(json.loads(text), chance, value, cell))
    lines = [line.split("\t") for line in text.split("\n") if line]
    if not lines:
        return cell
    line = chance.choice(lines)
    at = chance.randrange(len(line))
    match chance.randrange(4):
        case 0:
            del line[at]
        case 1:
            line[at] = cell
        case 2:
            lines.remove(line)
        case _:
            lines.append([cell if n == at else old for n, old in enumerate(line)])
    return "".join("\t".join(line) + "\n" for line in lines)


def _bend_json(whole: Any, chance: Any, value: Any, cell: str) -> Any:
    spot = whole
    while True:
        key = chance.choice(list(spot))
        if not isinstance(spot[key], dict) or not spot[key] or chance.random() < 0.1:
            break
        spot = spot[key]
    match chance.randrange(4):
        case 0:
            del spot[key]
        case 1:
            spot[key] = value
        case 2:
            spot[key] = cell
        case _:
            spot[cell] = spot[key]
    return whole


@pytest.fixture(scope="module")
def fence() -> Iterator[Fence]:
    """The fence of a leader that has claimed a host, on which programs may be run."""
    with (
        tempfile.TemporaryDirectory(prefix="lies-") as folder,
        pytest.MonkeyPatch.context() as set_,
    ):
        set_.setattr(places, "RUN_FOLDER", Path(folder) / "run")
        for module in (programs, roles):
            set_.setattr(module, "may_run_programs", lambda: True)
        made = Fence("test/one", 1, "one")
        made.announce()
        yield made


def made_of(fence: Fence, tool: Recorder, version: Version) -> Request:
    """A request that runs its commands with this tool."""
    host = Host(tool, "ab12", fence=fence, versions=("", version))  # type: ignore[arg-type]
    return Request(host, now_s() + 60.0)


@pytest.mark.parametrize(("act", "body", "version"), REQUESTS, ids=NAMES)
def test_a_zfs_that_never_lies_is_believed(
    fence: Fence, act: Act, body: Any, version: Version
) -> None:
    """So that the test below gets to every list and to the programs."""
    tool = Honest()
    result = act(made_of(fence, tool, version), body)
    if isinstance(result, protocol.Done):
        assert {item.reason for item in result.items} == {""}
    if isinstance(result, protocol.Surveyed):
        assert result.datasets[0].since == OURS
        assert result.datasets[0].token is not None
        assert {argv[1] for argv in tool.ran} == {"get", "list", "send", "sync"}
    elif act is not lineage.rollback:
        assert "program" in {argv[1] for argv in tool.ran}


@pytest.mark.parametrize(("act", "body", "version"), REQUESTS, ids=NAMES)
@settings(max_examples=max(150, settings().max_examples))
@given(st.data())
@pytest.mark.fault("forged user property")
def test_whatever_zfs_prints_a_request_ends_by_name(
    fence: Fence, act: Act, body: Any, version: Version, data: st.DataObject
) -> None:
    honest = Honest()
    act(made_of(fence, honest, version), body)
    liar = Liar(data, data.draw(st.integers(0, len(honest.ran) - 1)))
    request = made_of(fence, liar, version)
    outcomes = []
    try:
        result = act(request, body)
    except Refused as error:
        outcomes.append(error.reason)
    else:
        assert protocol.from_json(type(result), json.loads(json.dumps(protocol.to_json(result))))
        if isinstance(result, protocol.Done):
            outcomes += [item.reason for item in result.items if item.reason]
    assert set(outcomes) <= REASONS | LIES
    for argv in [*liar.ran, *request.commands]:
        assert {word for word in argv if word.startswith("-")} <= OPTIONS
        assert not any("\0" in word or not word.isascii() for word in argv)
    destroyed = [argv[2] for argv in liar.ran if argv[1] == "destroy"]
    assert set(destroyed) <= {*DOOMED, "tank/v@b,c"}
