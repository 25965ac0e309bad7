"""The control connection: greeting, frames, deadlines, heartbeats, losses."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from pathlib import Path

import pytest

from backstay.adapters.host import connection
from backstay.adapters.host.endpoint import Launcher
from backstay.domain.errors import Refused, Stalled, Unreachable, Waiting
from backstay.domain.steps import CreateParents, Prune
from backstay.domain.zfs import Guid, SnapshotRef
from backstay.ports.host import Endpoint, SurveyRequest
from fakes.peers import Bench, FixedClock

SERVE = """
greet()
while True:
    frame = get()
    polite(frame)
    if frame["request"] == "hello":
        answer(frame, facts())
    elif frame["request"] == "claim":
        claimed(frame)
    else:
        answer(frame, {"items": []})
"""
PRUNE = Prune(snapshots=(SnapshotRef(dataset="tank/a", name="x", guid=Guid(7)),), bookmarks=())


@pytest.mark.fault("noisy login shell")
async def test_the_greeting_is_found_behind_the_noise_of_a_login_shell(bench: Bench) -> None:
    host = bench.host('write(b"Welcome!\\nLast login: today\\n\\xff\\xfe noise\\n")' + SERVE)
    facts = await host.hello()
    assert facts.zfs_version == "2.3.9"
    assert facts.clock_skew_s == pytest.approx(10.0, abs=5.0)


async def test_half_the_round_trip_counts_for_a_clock_and_no_login(bench: Bench) -> None:
    class Ticking(FixedClock):
        elapsed_s = 0.0

        def monotonic_s(self) -> float:
            return self.elapsed_s

    clock, host = Ticking(), bench.host(SERVE)
    setup = host._setup

    def login(endpoint: Endpoint) -> Launcher:
        clock.elapsed_s += 30
        return setup.launcher(endpoint)

    def travel(_host: str, _request: str) -> None:
        clock.elapsed_s += 4

    host._setup = dataclasses.replace(setup, clock=clock, launcher=login, on_request=travel)
    facts = await host.hello()
    # The host says 1000 s, it was 990 s here when we asked, and 994 s when the answer came.
    assert (facts.clock_skew_s, facts.clock_uncertainty_s) == (8.0, 2.0)


@pytest.mark.fault("noisy login shell")
async def test_a_greeting_on_the_line_of_an_unfinished_prompt_is_found(bench: Bench) -> None:
    host = bench.host('write(b"Enter the dungeon: ")' + SERVE)
    assert (await host.hello()).hostname == "h"


@pytest.mark.parametrize("noise", ['b"talk\\n" * 20000', 'b"x" * 300000'])
async def test_endless_noise_is_no_greeting(bench: Bench, noise: str) -> None:
    host = bench.host(f"write({noise})\ntime.sleep(60)")
    with pytest.raises(Stalled) as error:
        await host.hello()
    assert error.value.reason == "ProtocolError"
    assert "no greeting" in error.value.message


@pytest.mark.parametrize("call", ["greet(protocol=2)", 'greet(mark="backstay-host/2 ")'])
async def test_another_protocol_version_is_named(bench: Bench, call: str) -> None:
    host = bench.host(f"{call}\ntime.sleep(60)")
    with pytest.raises(Stalled, match="speaks protocol 2, this operator 1") as error:
        await host.hello()
    assert error.value.reason == "ProtocolError"


async def test_only_noise_and_an_end_is_no_host_program(bench: Bench) -> None:
    host = bench.host('write(b"This account is for sftp only.\\n")')
    with pytest.raises(Stalled, match="no greeting") as error:
        await host.hello()
    assert error.value.reason == "ProtocolError"


async def test_answers_find_their_requests(bench: Bench) -> None:
    host = bench.host(
        """
greet()
for _ in range(3):
    frame = get()
    roots = [root["name"] for root in frame["body"]["roots"]]
    said = {"datasets": [], "pools": [], "absent": roots, "proxmox_paths": [], "busy": []}
    answer({"id": frame["id"] - 1}, {})  # late, nobody waits for it any more
    answer(frame, said)
polite(get())
"""
    )
    requests = [SurveyRequest(roots=((name, False),), sync=False) for name in "abc"]
    listings = await asyncio.gather(*(host.survey(r) for r in requests))
    assert [listing.absent for listing in listings] == [("a",), ("b",), ("c",)]


@pytest.mark.parametrize(
    ("reason", "kind", "word"),
    [
        ("TargetBusy", Waiting, "SourceBusy"),
        ("FenceBusy", Waiting, "FenceBusy"),
        ("HigherTerm", Refused, "Superseded"),
        ("ForeignWriter", Refused, "ForeignWriter"),
        ("NoRights", Stalled, "NoRights"),
        ("NeverHeardOf", Stalled, "InternalError"),
    ],
)
async def test_a_refusal_says_what_to_do_next(
    bench: Bench, reason: str, kind: type[Exception], word: str
) -> None:
    host = bench.host(
        SERVE.replace(
            '    else:\n        answer(frame, {"items": []})',
            f'    else:\n        refuse(frame, "{reason}", "because", higherTerm=9)',
        )
    )
    with pytest.raises(kind) as error:
        await host.prune(PRUNE)
    assert getattr(error.value, "reason", "") == word
    assert "fra/zfs-a: because" in str(error.value)
    assert getattr(error.value, "higher_term", 9) == 9


async def test_items_that_failed_are_told_one_by_one(bench: Bench) -> None:
    host = bench.host(
        SERVE.replace(
            '{"items": []}',
            '{"items": [{"name": "tank/a@x", "reason": "SnapshotHeld", "message": "held"}]}',
        )
    )
    (failed,) = await host.prune(PRUNE)
    assert (failed.name, failed.reason, failed.message) == ("tank/a@x", "SourceBusy", "held")
    with pytest.raises(Waiting, match="tank/a@x: held"):
        await host.create_parents(CreateParents(root="tank", datasets=("tank/b",)))


async def test_a_lost_connection_fails_all_that_wait(bench: Bench) -> None:
    host = bench.host("greet()\nget()\nos._exit(3)")
    request = SurveyRequest(roots=(), sync=False)
    outcomes = await asyncio.gather(
        *(host.survey(request) for _ in range(3)), return_exceptions=True
    )
    assert [type(o) for o in outcomes] == [Unreachable] * 3
    assert bench.hosts.sessions() == 0


@pytest.mark.rule("Deadlines")
@pytest.mark.fault("half-open line, or all packets lost for minutes")
async def test_a_host_that_falls_silent_is_given_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = bench.host("greet()\nget()\ntime.sleep(60)")
    async with host.connected():
        monkeypatch.setattr(connection, "SILENT_S", 0.2)
        with pytest.raises(Unreachable, match="fell silent"):
            await host.survey(SurveyRequest(roots=(), sync=False))
    assert not host.is_connected


@pytest.mark.parametrize("broken", ['b"\\xff\\xff\\xff\\xff"', '(5).to_bytes(4, "big") + b"not j"'])
async def test_a_broken_frame_ends_the_connection(bench: Bench, broken: str) -> None:
    host = bench.host(f"greet()\nget()\nwrite({broken})\ntime.sleep(60)")
    with pytest.raises(Stalled) as error:
        await host.hello()
    assert error.value.reason == "ProtocolError"


@pytest.mark.parametrize(
    "answer",
    [
        '"result": facts(), "commands": 5',
        '"result": facts(), "commands": [[5]]',
        '"error": {"reason": "NoZfs"}',
        '"error": {"reason": "HigherTerm", "message": "", "higherTerm": "9"}',
        '"commands": []',
    ],
)
async def test_an_answer_of_another_shape_ends_the_connection(bench: Bench, answer: str) -> None:
    host = bench.host(f'greet()\nput({{"id": get()["id"], {answer}}})\ntime.sleep(60)')
    async with host.connected():
        with pytest.raises(Stalled, match="fra/zfs-a: an answer w") as error:
            await host.hello()
        assert error.value.reason == "ProtocolError"
        assert not host.is_connected


async def test_a_result_with_a_wrong_field_is_a_protocol_error(bench: Bench) -> None:
    host = bench.host(SERVE.replace("facts()", "facts(uid=[])"))
    with pytest.raises(Stalled, match=r"HostFacts\.uid") as error:
        await host.hello()
    assert error.value.reason == "ProtocolError"


# --- heartbeats ---------------------------------------------------------------------------------

BEATS = """
greet()
frame = get()
put({"beat": "n1"})
told = get()
answer(frame, facts(hostname=json.dumps(told)))
polite(get())
"""


async def test_a_heartbeat_is_answered_with_what_is_left_of_the_lease(bench: Bench) -> None:
    host = bench.host(BEATS)
    bench.office.remaining = 7.25
    assert json.loads((await host.hello()).hostname) == {"beat": "n1", "remainingS": 7.25}


@pytest.mark.rule("Single writer, fenced at the host")
async def test_without_a_lease_no_heartbeat_is_answered(bench: Bench) -> None:
    host = bench.host(
        """
greet()
hello = get()
put({"beat": "n1"})
answer(hello, facts())
survey = get()
heard = [survey.get("request") or "an answer"]
answer({"id": 2}, {"datasets": [], "pools": [], "absent": heard, "proxmox_paths": [], "busy": []})
polite(get())
"""
    )
    bench.office.remaining = 0.0
    await host.hello()
    # What the host hears next is the next request: the beat before it was left unanswered.
    assert (await host.survey(SurveyRequest(roots=(), sync=False))).absent == ("survey",)


# --- one connection, opened on demand -----------------------------------------------------------


async def test_a_connection_is_opened_once_and_closed_when_idle(bench: Bench) -> None:
    host = bench.host(SERVE, idle_s=0.0)
    async with host.connected():
        await asyncio.gather(host.hello(), host.hello())
        assert bench.hosts.sessions() == 1
        (launcher,) = bench.office.launchers
    async with asyncio.timeout(20):
        while bench.hosts.sessions() or not launcher.closed:
            await asyncio.sleep(0.001)
    await host.hello()
    assert len(bench.office.launchers) == 2


async def test_an_endpoint_has_one_port_and_an_edited_one_another(bench: Bench) -> None:
    host = bench.host(SERVE)
    same = bench.hosts.open(dataclasses.replace(host.endpoint))
    edited = bench.hosts.open(dataclasses.replace(host.endpoint, port=23))
    assert same is host
    assert edited is not host


CLAIMS = """
greet()
log = pathlib.Path({log!r})
while True:
    frame = get()
    polite(frame)
    with log.open("a") as file:
        file.write("%s %d %s\\n" % (frame["request"], frame["term"], frame["body"].get("roots")))
    if frame["request"] == "claim":
        claimed(frame)
    elif {die} and log.read_text().count("prune") == 1:
        os._exit(1)
    else:
        answer(frame, {{"items": []}})
"""


async def test_a_new_connection_repeats_the_claim_before_it_changes_anything(bench: Bench) -> None:
    log = bench.file("log")
    host = bench.host(CLAIMS.format(log=str(log), die=True))
    await host.claim(["tank/r"])
    with pytest.raises(Unreachable):
        await host.prune(PRUNE)
    await host.prune(PRUNE)
    assert log.read_text().splitlines() == [
        "claim 1 ['tank/r']",
        "prune 1 None",
        "claim 1 ['tank/r']",
        "prune 1 None",
    ]
    assert [request for _, request in bench.office.requests] == ["claim", "prune"] * 2


@pytest.mark.rule("Single writer, fenced at the host")
async def test_a_new_term_is_claimed_before_anything_changes(bench: Bench) -> None:
    log = bench.file("log")
    host = bench.host(CLAIMS.format(log=str(log), die=False))
    await host.prune(PRUNE)
    bench.office.term = 2
    await host.prune(PRUNE)
    await host.prune(PRUNE)
    assert log.read_text().splitlines() == [
        "claim 1 []",
        "prune 1 None",
        "claim 2 []",
        "prune 2 None",
        "prune 2 None",
    ]


async def test_closing_ends_the_process_and_what_it_started(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "GOODBYE_S", 0.0)
    note = bench.file("pid")
    host = bench.host(
        f"""
import subprocess
note = pathlib.Path({str(note)!r})
subprocess.Popen(["sh", "-c", f"trap '' TERM; echo $$ > {{note}}; exec sleep 600"])
while not note.exists() or not note.read_text():
    time.sleep(0.002)
"""
        + SERVE.replace("polite(frame)", 'time.sleep(600 if frame["request"] == "goodbye" else 0)')
    )
    await host.hello()
    await host.close()
    async with asyncio.timeout(20):
        while is_running(int(note.read_text())):
            await asyncio.sleep(0.001)


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
