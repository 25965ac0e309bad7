"""The ssh connection that carries a host's streams, so that only the first one has to log in.

It is apart from the control channel, whose heartbeats must not wait behind bulk data
(docs/adr/0007). A stream whose trunk is not there, or takes no more sessions (`MaxSessions` of
sshd_config(5)), connects by itself: ssh(1) does so when its ControlPath leads nowhere.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from backstay.adapters.host.process import Child

OPEN_S = 15.0
"""A login takes this long at most before streams rather connect by themselves."""
HOLD = ("sh", "-c", "echo open; exec cat")
"""What a trunk runs at the host: it ends when our end of its input does, however we end."""


class Trunk:
    """At most one connection; opened when the first stream asks, closed with the host."""

    def __init__(self) -> None:
        self._child: Child | None = None
        self._opening = asyncio.Lock()

    async def open(self, argv: Sequence[str]) -> None:
        """The connection stands, or it was tried."""
        async with self._opening:
            if self._child is not None and self._child.process.returncode is None:
                return
            await self._end()
            pipe = asyncio.subprocess.PIPE
            self._child = child = await Child.start(argv, stdin=pipe, stdout=pipe)
            assert child.process.stdout is not None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(OPEN_S):
                    # Whatever comes first, comes from a session: ssh listens by then.
                    await child.process.stdout.read(1)

    async def close(self) -> None:
        """No connection stands, and its process has ended."""
        async with self._opening:
            await self._end()

    async def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            await child.end()
