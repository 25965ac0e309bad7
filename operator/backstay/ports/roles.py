"""A ZFS host where roles move: what promotion and demotion need beside `HostPort`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from backstay.domain.roles import (
    DiscardClones,
    HaltReceives,
    OpenPromoted,
    SetReadonly,
    SwapRoles,
)
from backstay.domain.steps import ItemFailure
from backstay.ports.host import HostPort, RootState


class RolePort(HostPort, Protocol):
    """One ZFS host under one leader's term; errors are those of `HostPort`."""

    async def halt(self, step: HaltReceives) -> None:
        """Nothing works on these replicas any more; what it did is unknown until observed."""
        ...

    async def swap_roles(self, step: SwapRoles) -> None:
        """All members have the new role and roleEpoch, read back.

        `Waiting` with reason `RoleChanged`: one was not as planned, and nothing was changed.
        """
        ...

    async def set_readonly(self, step: SetReadonly) -> None:
        """Every dataset of the step is read-only, or writable again, read back."""
        ...

    async def open_promoted(self, step: OpenPromoted) -> None:
        """The promoted datasets of the step can be used; readonly was taken off last."""
        ...

    async def discard_clones(self, step: DiscardClones) -> tuple[ItemFailure, ...]:
        """Each clone is gone, or is among the failures returned; what holds data of its own stays.

        What does not exist is gone.
        """
        ...

    async def take_over(self, writers: Mapping[str, str]) -> tuple[RootState, ...]:
        """Receive root → the other installation's writer, as it was seen: ours from now on.

        `Foreign` for a root whose writer is another one by now. What we held before stays ours.
        """
        ...
