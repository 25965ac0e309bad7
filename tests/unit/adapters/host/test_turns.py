"""Requests of one connection take turns: what is late or waits costs nothing else anything."""

from __future__ import annotations

import asyncio

import pytest

from backstay.adapters.host import connection, hosts
from backstay.domain.errors import Waiting
from backstay.ports.host import SurveyRequest
from fakes.peers import Bench

BUSY = """
greet()
def beat():
    while True:
        put({"beat": "n"})
        time.sleep(0.05)
threading.Thread(target=beat, daemon=True).start()
while True:
    frame = get()
    if "id" not in frame:
        continue
    if frame["request"] == "survey":
        time.sleep(1.0)
        answer(frame, {"datasets": [], "pools": [], "absent": [], "proxmox_paths": [], "busy": []})
    else:
        polite(frame)
        answer(frame, facts())
"""


@pytest.mark.rule("Deadlines")
@pytest.mark.rule("Isolation")
async def test_a_request_past_its_deadline_takes_nothing_else_along(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "GRACE_S", 0.0)
    host = bench.host(BUSY)
    async with host.connected() as there:
        monkeypatch.setitem(hosts.DEADLINE_S, "survey", 0.1)
        with pytest.raises(Waiting) as error:
            await host.survey(SurveyRequest(roots=(), sync=False))
        assert error.value.reason == "Timeout"
        assert host.is_connected
        assert (await host.hello()).uid == 0
        assert there.is_open


@pytest.mark.rule("Deadlines")
async def test_a_greeting_does_not_end_the_survey_that_it_waits_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(hosts.DEADLINE_S, "hello", 0.3)
    monkeypatch.setitem(hosts.PATIENCE_S, "hello", 0.3)
    host = bench.host(BUSY)
    async with host.connected():
        survey = asyncio.create_task(host.survey(SurveyRequest(roots=(), sync=False)))
        await asyncio.sleep(0.1)
        with pytest.raises(Waiting, match="busy with `survey`: `hello` had no turn"):
            await host.hello()
        assert not (await survey).datasets
        assert (await host.hello()).uid == 0, "it has its whole deadline once it is its turn"


SLOW = """
greet()
frame = get()
said = {"datasets": [], "pools": [], "absent": [], "proxmox_paths": [], "busy": []}
data = json.dumps({"id": frame["id"], "result": said, "commands": []}).encode()
write(len(data).to_bytes(4, "big"))
for byte in data:
    write(bytes([byte]))
    time.sleep(0.01)
polite(get())
"""


@pytest.mark.rule("Deadlines")
async def test_an_answer_that_arrives_slowly_is_a_sign_of_life(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listing of some megabytes on a line of one megabit."""
    host = bench.host(SLOW)
    async with host.connected():
        monkeypatch.setattr(connection, "SILENT_S", 0.4)
        assert not (await host.survey(SurveyRequest(roots=(), sync=False))).datasets
