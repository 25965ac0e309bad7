"""What a host may send over its control connection, broken in every way: named, and never deaf.

`HYPOTHESIS_PROFILE=long pytest --timeout 0` gives each test 100,000 inputs, new ones in each run.
"""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backstay.adapters.host.connection import Answer, Connection
from backstay.adapters.host.process import Child
from backstay.adapters.host.transfers import _Side
from backstay.domain.errors import BackstayError, Stalled
from property.hostile import JSON, many

MEMBERS = ("d0", "d1")


class Host:
    """Stands for the ssh process: frames are fed to its stdout, and what was written is kept."""

    def __init__(self) -> None:
        self.stdout = asyncio.StreamReader()
        self.written = b""
        self.ended = False
        self.stderr = ""
        self.process = SimpleNamespace(stdin=self, stdout=self.stdout)

    def say(self, frame: Any) -> None:
        """The frame has come."""
        data = json.dumps(frame).encode()
        self.stdout.feed_data(len(data).to_bytes(4, "big") + data)

    def write(self, data: bytes) -> None:
        """Kept."""
        self.written += data

    async def drain(self) -> None:
        """Nothing is under way."""

    async def wait(self) -> int:
        """It has ended."""
        return 0

    async def end(self) -> int:
        """It is ended."""
        self.ended = True
        return 0


_INDEX = st.one_of(st.sampled_from([0, 1, 2, -1, -2, 2**64, True]), JSON)
_OUTCOME = st.fixed_dictionaries(
    {"name": st.just("d0"), "reason": st.sampled_from(["", "BadStream", "?"]), "message": JSON}
)
_TICKET = st.one_of(st.just("t"), st.just("t"), JSON)
_FRAME = st.one_of(
    st.fixed_dictionaries(
        {"progress": st.fixed_dictionaries({"ticket": _TICKET, "index": _INDEX, "bytes": _INDEX})}
    ),
    st.fixed_dictionaries(
        {
            "ended": st.fixed_dictionaries(
                {"ticket": _TICKET, "outcomes": st.one_of(st.lists(_OUTCOME, max_size=3), JSON)}
            )
        }
    ),
    st.fixed_dictionaries(
        {"id": st.one_of(st.just(1), JSON)},
        optional={
            "result": JSON,
            "error": st.one_of(
                JSON,
                st.fixed_dictionaries(
                    {"reason": st.one_of(st.just("NoZfs"), JSON), "message": JSON},
                    optional={"higherTerm": JSON},
                ),
            ),
            "commands": st.one_of(JSON, st.lists(st.lists(JSON, max_size=2), max_size=2)),
        },
    ),
    st.dictionaries(
        st.sampled_from(["id", "result", "error", "commands", "progress", "ended", "beat", "lost"]),
        JSON,
    ),
    JSON,
)


@many
@given(st.lists(_FRAME, max_size=4))
@example([{"progress": {"ticket": "t", "index": 2, "bytes": 1}}])
@example([{"progress": {"ticket": "t", "index": -1, "bytes": 1}}])
@example([{"progress": {"ticket": "t"}}])
@example([{"id": 1, "result": {}, "commands": 5}])
@example([{"id": 1, "error": 5}])
@example([{"id": 1, "result": {}, "error": {"reason": "NoZfs", "message": 5}}])
def test_a_connection_is_read_or_given_up_by_name(frames: list[Any]) -> None:
    asyncio.run(_hear(frames))


async def _hear(frames: list[Any]) -> None:
    host = Host()
    connection = Connection("fra/zfs-a", cast(Child, host), lambda: 20.0)
    side = _Side(cast(Any, SimpleNamespace(name="fra/zfs-a")), connection, members=len(MEMBERS))
    moved: dict[str, int] = {}
    side.progress = lambda index, size: moved.update({MEMBERS[index]: size})
    connection.listen("t", side._hear)
    asked = asyncio.create_task(connection.request({"request": "hello"}, 600.0))
    while not connection._pending:
        await asyncio.sleep(0)
    for frame in [*frames, {"beat": "the last one"}]:
        host.say(frame)
    while connection.is_open and b"the last one" not in host.written:
        assert not connection._reader.done(), "nobody reads it, and it counts as open"
        await asyncio.sleep(0)
    assert set(moved.values()) == set(side.moved.values())
    assert all(0 <= size < 1 << 64 for size in moved.values())
    if not connection.is_open:
        await connection._reader
        assert host.ended
        assert isinstance(side.lost, BackstayError)
        assert side.lost.reason == "ProtocolError"
    host.stdout.feed_eof()
    await connection._reader
    assert not connection.is_open
    (outcome,) = await asyncio.gather(asked, return_exceptions=True)
    assert isinstance(outcome, (Answer, BackstayError)), repr(outcome)


async def test_a_fault_of_a_listener_gives_the_connection_up() -> None:
    host = Host()
    connection = Connection("fra/zfs-a", cast(Child, host), lambda: 20.0)
    heard: dict[str, Any] = {}

    def listen(told: Any) -> None:
        heard.update(told)
        heard["progress"]["index"][0]

    connection.listen("t", listen)
    asked = asyncio.create_task(connection.request({"request": "hello"}, 600.0))
    host.say({"progress": {"ticket": "t", "index": {}}})
    with pytest.raises(Stalled, match="fra/zfs-a: KeyError") as error:
        await asked
    assert error.value.reason == "InternalError"
    assert not connection.is_open
    await connection.close()
    assert host.ended
