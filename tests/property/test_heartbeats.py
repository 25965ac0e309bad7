"""What an operator may answer to the host's heartbeats: a deadline, or the end of the session.

`HYPOTHESIS_PROFILE=long pytest --timeout 0` gives each test 100,000 inputs, new ones in each run.
"""

from __future__ import annotations

import json
import os
import threading
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from backstay_host.lease import Lease
from backstay_host.serve import Session
from property.hostile import JSON, Recorder, framed, many

_SECONDS = st.one_of(st.integers(-60, 60), st.floats(), JSON)
_BEATS = st.fixed_dictionaries(
    {"beat": st.one_of(st.sampled_from(["old", "new", "other"]), JSON)},
    optional={"remainingS": _SECONDS, "id": JSON, "request": JSON},
)


@many
@given(st.lists(_BEATS, max_size=4))
@example([{"beat": "new", "remainingS": 10**400}])
@example([{"beat": "new", "remainingS": "20"}])
@example([{"beat": "new", "remainingS": True}])
@example([{"beat": 5, "remainingS": 5}])
def test_a_heartbeat_says_how_long_or_ends_the_session(
    session: Session, frames: list[dict[str, Any]]
) -> None:
    session.host.children = Recorder()  # type: ignore[assignment]
    session._ended, session.lease = threading.Event(), Lease(90.0)
    for nonce, asked in (("old", 100.0), ("new", 103.0)):
        session.lease.ask(nonce, asked)
    session._inp = os.memfd_create("beats")
    for frame in frames:
        os.write(session._inp, framed(json.dumps(frame).encode()))
    os.lseek(session._inp, 0, os.SEEK_SET)
    session._read()
    os.close(session._inp)
    assert session._ended.is_set()
    assert session._calls.get_nowait() is None
    assert session.lease.remaining_s(0.0) == _deadline(frames)


def _deadline(frames: list[dict[str, Any]]) -> float:
    """When the Lease of these answers to beats, asked at 100 and 103, runs out."""
    deadline, open_ = 120.0, {"old": 100.0, "new": 103.0}
    for frame in frames:
        nonce: Any = frame["beat"]
        left: Any = frame.get("remainingS")
        is_number = isinstance(left, (int, float)) and type(left) is not bool
        if not is_number or not -1e308 < left < 1e308 or type(nonce) is not str:
            return deadline  # the rest was not read
        if nonce in open_:
            deadline = open_[nonce] + left
            open_ = {other: asked for other, asked in open_.items() if asked > open_[nonce]}
    return deadline
