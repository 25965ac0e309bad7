"""The requests of `RolePort` over a control connection, and their dry twins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from backstay.adapters.host import translate_roles
from backstay.domain.roles import (
    DiscardClones,
    HaltReceives,
    OpenPromoted,
    SetReadonly,
    SwapRoles,
)
from backstay.domain.steps import ItemFailure
from backstay.ports.host import RootState


class RoleRequests:
    """What a host is asked when roles move; whoever asks adds `_do` and `_each`."""

    if TYPE_CHECKING:

        async def _do(self, request: str, body: object) -> None: ...
        async def _each(self, request: str, body: object) -> tuple[ItemFailure, ...]: ...

    async def halt(self, step: HaltReceives) -> None:
        """See `RolePort`."""
        await self._do("halt", translate_roles.halt(step))

    async def swap_roles(self, step: SwapRoles) -> None:
        """See `RolePort`."""
        await self._do("roles", translate_roles.swap_roles(step))

    async def set_readonly(self, step: SetReadonly) -> None:
        """See `RolePort`."""
        await self._do("readonly", translate_roles.set_readonly(step))

    async def open_promoted(self, step: OpenPromoted) -> None:
        """See `RolePort`."""
        await self._do("open", translate_roles.open_promoted(step))

    async def discard_clones(self, step: DiscardClones) -> tuple[ItemFailure, ...]:
        """See `RolePort`."""
        return await self._each("discard", translate_roles.discard_clones(step))


class DryRoleRequests:
    """What the host would run for the same; whoever asks adds `would` and `claim`."""

    if TYPE_CHECKING:

        async def would(self, request: str, body: object) -> object: ...
        async def claim(self, roots: Sequence[str]) -> tuple[RootState, ...]: ...

    async def halt(self, step: HaltReceives) -> None:
        """See `RolePort`."""
        await self.would("halt", translate_roles.halt(step))

    async def swap_roles(self, step: SwapRoles) -> None:
        """See `RolePort`."""
        await self.would("roles", translate_roles.swap_roles(step))

    async def set_readonly(self, step: SetReadonly) -> None:
        """See `RolePort`."""
        await self.would("readonly", translate_roles.set_readonly(step))

    async def open_promoted(self, step: OpenPromoted) -> None:
        """See `RolePort`."""
        await self.would("open", translate_roles.open_promoted(step))

    async def discard_clones(self, step: DiscardClones) -> tuple[ItemFailure, ...]:
        """See `RolePort`."""
        await self.would("discard", translate_roles.discard_clones(step))
        return ()

    async def take_over(self, writers: Mapping[str, str]) -> tuple[RootState, ...]:
        """See `RolePort`: what the roots say now."""
        return await self.claim(tuple(writers))
