"""Child processes of the operator: own process group, bounded stderr, an end that is waited for."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence

STDERR_LIMIT_BYTES = 16 * 1024
"""Enough for every message; a chatty remote side costs no more memory than this."""
_TERM_S = 2.0


class Child:
    """One running process; `end()` leaves nothing of its group behind."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self._kept = bytearray()
        self._reader = asyncio.create_task(self._keep_stderr())

    @classmethod
    async def start(
        cls,
        argv: Sequence[str],
        *,
        stdin: int = asyncio.subprocess.DEVNULL,
        stdout: int = asyncio.subprocess.DEVNULL,
        limit: int = 1 << 16,
    ) -> Child:
        """Start it in a process group of its own; stderr is kept, bounded."""
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=stdin,
            stdout=stdout,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            limit=limit,
        )
        return cls(process)

    async def _keep_stderr(self) -> None:
        assert self.process.stderr is not None
        while chunk := await self.process.stderr.read(4096):
            self._kept += chunk
            del self._kept[:-STDERR_LIMIT_BYTES]

    @property
    def stderr(self) -> str:
        """The last that it said."""
        return self._kept.decode(errors="replace")

    async def wait(self) -> int:
        """Its exit code, once all that it said was read."""
        code = await self.process.wait()
        await self._drained()
        return code

    async def _drained(self) -> None:
        # A grandchild may hold stderr open after its parent's end; nobody waits for that.
        await asyncio.wait({self._reader}, timeout=1.0)
        self._reader.cancel()

    async def end(self) -> int:
        """Ask the group to end, kill what is left after a moment, and wait."""
        if self.process.returncode is None:
            self._signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TERM_S):
                    await self.process.wait()
        self._signal(signal.SIGKILL)
        await self._discard_stdout()
        return await self.wait()

    async def _discard_stdout(self) -> None:
        """Read what nobody wants: a transport that is not read to its end is never closed."""
        stdout = self.process.stdout
        with contextlib.suppress(TimeoutError, RuntimeError):
            # RuntimeError: someone else reads it, and will come to the end.
            async with asyncio.timeout(1.0):
                while stdout is not None and await stdout.read(1 << 16):
                    pass

    def _signal(self, number: int) -> None:
        # The group outlives its leader while a grandchild does, so the id is still ours to use.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)
