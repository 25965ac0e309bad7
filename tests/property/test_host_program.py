"""The host program against hostile input: refused by name, bounded, and nothing outside its lists.

`HYPOTHESIS_PROFILE=long pytest --timeout 0` gives each test 100,000 inputs, new ones in each run.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from backstay_host import carriers, protocol, tickets
from backstay_host.allow import Allowed, check_token
from backstay_host.codec import MAX_FRAME_BYTES, ProtocolError, encode_frame, from_json, to_json
from backstay_host.gate import admitted_ticket, read_lists
from backstay_host.refusal import Refused
from backstay_host.serve import Call, Session, parse_call
from backstay_host.wire import read_frame
from backstay_host.zfs import names
from backstay_host.zfs.argv import LINEAGE
from property.hostile import (
    ANY_TEXT,
    DATASETS,
    FITTING,
    JSON,
    NAMES,
    POOLS,
    REQUESTS,
    TICKETS,
    Recorder,
    framed,
    many,
    refused,
    values,
)

ALLOWED = Allowed(("tank/v",), ("backup/r",))
ASIDE = "backup/backstay-aside"


# --- frames and values --------------------------------------------------------------------------


class Line:
    """A line that gives its bytes in pieces, and remembers the largest piece asked for."""

    def __init__(self, data: bytes, piece: int) -> None:
        self._left = data
        self._piece = piece
        self.largest = 0

    def read(self, size: int) -> bytes:
        """Up to so many bytes."""
        self.largest = max(self.largest, size)
        got, self._left = self._left[: min(size, self._piece)], self._left[min(size, self._piece) :]
        return got


@many
@given(
    st.one_of(
        st.binary(max_size=200),
        st.binary(max_size=200).map(framed),
        ANY_TEXT.map(lambda text: framed(text.encode("utf-8", "surrogatepass"))),
    ),
    st.integers(1, 9),
)
@example(b"\xff\xff\xff\xff" + b"x" * 99, 9)
@example(framed(b"[" * 200_000), 1 << 20)
@example(framed(b'{"a":' * 100_000), 1 << 20)
@example(framed(b'{"a": ' + b"9" * 100_000 + b"}"), 1 << 20)
@example(framed(b"\xef\xbb\xbf{}"), 9)
def test_any_bytes_are_frames_or_named(data: bytes, piece: int) -> None:
    line = Line(data, piece)
    with contextlib.suppress(ProtocolError):
        while (frame := read_frame(line.read)) is not None:
            assert isinstance(frame, dict)
    assert line.largest <= 1 << 20 < MAX_FRAME_BYTES


@many
@given(
    st.dictionaries(
        st.sampled_from(["id", "request", "term", "dryRun", "deadlineS", "body", "x"]), JSON
    )
)
def test_any_object_is_a_call_or_named(frame: dict[str, Any]) -> None:
    try:
        call = parse_call(frame, 5.0)
    except ProtocolError:
        return
    assert 5.0 < call.deadline <= 5.0 + 24 * 3600
    assert isinstance(call.name, str)


@many
@given(st.sampled_from([kind for pair in protocol.REQUESTS.values() for kind in pair]), JSON)
def test_any_json_is_a_message_or_named(kind: type, data: Any) -> None:
    with contextlib.suppress(ProtocolError):
        assert type(from_json(kind, data)) is kind


@many
@given(REQUESTS, st.data())
def test_a_request_with_one_wrong_part_is_named(body: Any, data: st.DataObject) -> None:
    assert from_json(type(body), to_json(body)) == body
    broken = to_json(body)
    spot = broken
    while isinstance(spot, (dict, list)) and spot:
        key = data.draw(st.sampled_from(list(spot) if isinstance(spot, dict) else range(len(spot))))
        if not isinstance(spot[key], (dict, list)) or data.draw(st.booleans()):
            spot[key] = data.draw(JSON)
            break
        spot = spot[key]
    error = refused(lambda: from_json(type(body), broken))
    assert error is None or type(body).__name__ in str(error)


@many
@given(st.one_of(TICKETS, TICKETS, values(protocol.Ticket)))
def test_a_ticket_that_passes_is_well_formed(body: protocol.Ticket) -> None:
    if refused(lambda: tickets.validate(body)) is not None:
        return
    assert bool(body.sends) != bool(body.receives)
    for send in body.sends:
        names.snapshot(f"{send.dataset}@{send.snapshot}")
        assert send.base is None or names.point(send.base)
        assert send.token is None or names.token(send.token)
    for receive in body.receives:
        names.dataset(receive.dataset)
        names.lineage(receive.lineage)
        assert receive.origin is None or names.snapshot(receive.origin)
        assert names.properties(receive.properties) == receive.properties
        assert receive.properties.get(LINEAGE, receive.lineage) == receive.lineage


@pytest.mark.parametrize(
    "number",
    [float("nan"), float("inf"), 10**400, -(10**4000), 2**64],
    ids=["nan", "inf", "400 digits", "4000 digits", "2^64"],
)
@pytest.mark.parametrize("field", ["stall_s", "guid"])
def test_a_number_that_cannot_be_reckoned_with_is_named(field: str, number: float) -> None:
    order = to_json(protocol.SendOrder("tank/v", 1, "b", 2))
    body = {"sends": [order], "receives": [], "stall_s": 60.0}
    (body if field == "stall_s" else order)[field] = number  # type: ignore[index]
    if (field, number) == ("stall_s", 2**64):
        assert refused(lambda: from_json(protocol.Ticket, body)) is None
    else:
        assert field in str(refused(lambda: from_json(protocol.Ticket, body)))


# --- names --------------------------------------------------------------------------------------

_CHECKS: list[Callable[[str], str]] = [
    *(names.dataset, names.short, names.snapshot, names.bookmark, names.point),
    *(names.lineage, names.installation, names.leader, names.token),
]


@many
@given(st.sampled_from(_CHECKS), st.one_of(ANY_TEXT, st.sampled_from(DATASETS)))
def test_a_name_that_passes_is_no_option_and_no_path(
    check: Callable[[str], str], text: str
) -> None:
    try:
        passed = check(text)
    except Refused:
        return
    assert passed == text
    assert passed.isascii()
    assert passed.isprintable()
    if check is names.dataset:
        assert not {"", ".", ".."} & set(passed.split("/"))
    if check is not names.short:
        assert not passed.startswith("-")


@many
@given(st.dictionaries(ANY_TEXT, ANY_TEXT, max_size=3))
def test_properties_are_ours_or_refused(wanted: dict[str, str]) -> None:
    with contextlib.suppress(Refused):
        names.properties(wanted)
        for name in wanted:
            assert name in names.POSTURE_PROPERTIES or name.startswith("dev.backstay:")


# --- the lists ----------------------------------------------------------------------------------


def lies_within(name: str, prefixes: tuple[str, ...]) -> bool:
    """The same question, asked of paths instead of names."""
    dataset = re.split("[@#]", name, maxsplit=1)[0]
    return any(PurePosixPath(dataset).is_relative_to(prefix) for prefix in prefixes)


@many
@given(ANY_TEXT)
def test_the_gate_admits_two_commands_and_no_text_beside_them(asked: str) -> None:
    with contextlib.suppress(Refused):
        admitted_ticket(asked)
        assert asked == "backstay-host serve" or asked.startswith("backstay-host stream ")


@many
@given(
    st.lists(
        st.one_of(st.sampled_from(["--send", "--receive"]), st.sampled_from(DATASETS), ANY_TEXT),
        max_size=6,
    )
)
def test_lists_are_names_of_datasets_or_refused(words: list[str]) -> None:
    with contextlib.suppress(Refused):
        lists = read_lists(words)
        for prefix in (*lists.send, *lists.receive):
            assert names.dataset(prefix) == prefix
        assert lists.send or lists.receive


@many
@given(ANY_TEXT, st.sampled_from(DATASETS), st.sampled_from([0, 1, 2, 2**64]))
def test_a_token_that_passes_names_the_snapshot_of_its_order(
    noise: str, dataset: str, guid: int
) -> None:
    order = protocol.SendOrder("tank/v", 1, "b", 1, token="1-a-b-c")
    for name in (noise, f"{dataset}@b", dataset + noise):
        facts = protocol.TokenFacts("1-a-b-c", name, guid, 0, 0, False)
        error = refused(lambda facts=facts: check_token(ALLOWED, order, facts))  # type: ignore[misc]
        if error is None:
            assert guid == order.guid
            assert lies_within(name, ("tank/v",))


def answered(session: Session, body: Any) -> tuple[dict[str, Any], list[list[str]]]:
    """The answer to a dry run of the request, and every command that was run or would be."""
    recorder = Recorder()
    session.host.children = recorder  # type: ignore[assignment]
    session.host.versions = None
    call = Call(1, NAMES[type(body)], 1, True, float("inf"), to_json(body))
    answer = session._answer(call)
    return answer, [*recorder.ran, *answer["commands"]]


@many
@given(REQUESTS)
def test_no_request_breaks_a_session(session: Session, body: Any) -> None:
    session.host.allowed = None
    answer, commands = answered(session, body)
    assert answer.get("error", {}).get("reason") != "InternalError", answer
    assert len(encode_frame(answer)) < 1 << 20
    for argv in commands:
        assert argv[0] in ("zfs", "zpool")


@many
@given(st.one_of(FITTING, FITTING, FITTING, REQUESTS))
def test_nothing_outside_the_lists_is_read_or_run(session: Session, body: Any) -> None:
    session.host.allowed = ALLOWED
    answer, commands = answered(session, body)
    assert answer.get("error", {}).get("reason") != "InternalError", answer
    if answer.get("error", {}).get("reason") == "NotAllowed":
        assert commands == []
    for tool, verb, *words in commands:
        named = [word for word in words if word.startswith(POOLS)]
        if tool == "zpool":
            assert verb in ("list", "sync")
        elif verb == "get":  # who writes here is marked at or above a replica
            above, lists = ("tank", "backup"), (*ALLOWED.send, *ALLOWED.receive, ASIDE)
            assert all(lies_within(w, lists) or w in above for w in named)
        elif verb in ("snapshot", "bookmark", "send"):
            assert all(lies_within(word, ALLOWED.send) for word in named)
        elif verb == "rollback":
            assert all(lies_within(w, ALLOWED.receive) and w != "backup/r@b" for w in named)
        elif verb in ("receive", "create"):
            assert all(lies_within(w, (*ALLOWED.receive, ASIDE)) and w != "backup/r" for w in named)
        else:
            lists = (*ALLOWED.send, *ALLOWED.receive, ASIDE)
            assert all(lies_within(word, lists) for word in named)


def test_without_lists_the_same_requests_do_reach_other_datasets(session: Session) -> None:
    """So that the test above can fail: each kind of change is really asked for, and recorded."""
    session.host.allowed = None
    verbs: set[str] = set()

    @settings(max_examples=500, derandomize=True, database=None)
    @given(FITTING)
    def record(body: Any) -> None:
        _, commands = answered(session, body)
        verbs.update(argv[1] for argv in commands if argv[-1].startswith(("tank/w", "backup/r2")))

    record()
    assert verbs >= {
        *("list", "get", "snapshot", "bookmark", "destroy", "set", "create", "receive", "send"),
        *("rename", "clone", "promote", "rollback"),
    }


# --- destinations -------------------------------------------------------------------------------


def _near(pattern: str) -> st.SearchStrategy[str]:
    return st.one_of(ANY_TEXT, st.from_regex(pattern, fullmatch=True))


@many
@given(
    st.builds(
        protocol.Destination,
        address=_near(r"[A-Za-z0-9:.-]{1,12}\n?"),
        port=st.integers(-1, 70_000),
        user=_near(r"-?[a-z_][a-z0-9_-]{0,8}\n?"),
        host_keys=st.lists(_near(r"ssh-[a-z]{3} [A-Za-z0-9+/]{4}[ \n]?={0,2}"), max_size=3),
        key=st.sampled_from(["-----BEGIN X PRIVATE KEY-----\nAAAA\n", "", "x"]),
        ticket=_near(rf"({carriers.TICKET}|TICKET)[ \n]?"),
    )
)
def test_a_destination_that_is_admitted_is_one_server_and_one_ticket(
    to: protocol.Destination,
) -> None:
    send = protocol.SendOrder("tank/v", 1, "b", 2)
    try:
        carriers.check(protocol.Ticket([send], [], destination=to))
    except Refused:
        return
    argv = carriers.link(to)
    assert argv[-3:] == ["--", to.address, f"backstay-host stream {to.ticket}"]
    assert not to.address.startswith("-")
    assert not any(c.isspace() for c in to.address + to.user + to.ticket)
    lines = carriers.known_hosts(to).splitlines()
    assert [line.split(" ")[0] for line in lines] == ["target"] * len(to.host_keys)
    assert all(len(line.split()) == 3 for line in lines)
