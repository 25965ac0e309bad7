"""Carries out one step of a promotion, a demotion or an undo; each failure is a value.

Raised are only `Unreachable` and `Refused`: then nothing more is to be learnt now.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from backstay.act.route import as_conflict
from backstay.domain.errors import Stalled, Waiting
from backstay.domain.pairs import Conflict
from backstay.domain.roles import (
    BringBack,
    DiscardClones,
    HaltReceives,
    MakeClones,
    OpenPromoted,
    PromoteClones,
    Relabel,
    RoleStep,
    SetAside,
    SetReadonly,
    SwapRoles,
)
from backstay.domain.steps import AbortReceive, ItemFailure
from backstay.ports.roles import RolePort


async def carry_out(host: RolePort, steps: Sequence[RoleStep]) -> Conflict | None:
    """The steps were carried out in order, up to the first that failed, and why it did.

    After a failure part of that step may have been done: only another look tells.
    """
    for step in steps:
        try:
            failed = await _carry_out_one(host, step)
        except (Waiting, Stalled) as error:
            return as_conflict(error)
        if failed:
            first = failed[0]
            message = f"{host.name}: {first.name}: {first.message}"
            return Conflict(reason=first.reason, message=message)
    return None


async def _carry_out_one(host: RolePort, step: RoleStep) -> tuple[ItemFailure, ...]:
    match step:
        case AbortReceive():
            await host.abort_receive(step)
        case HaltReceives():
            await host.halt(step)
        case SwapRoles():
            await host.swap_roles(step)
        case SetReadonly():
            await host.set_readonly(step)
        case OpenPromoted():
            await host.open_promoted(step)
        case DiscardClones():
            return await host.discard_clones(step)
        case _:
            return await _move(host, step)
    return ()


async def _move(
    host: RolePort, step: SetAside | BringBack | MakeClones | PromoteClones | Relabel
) -> tuple[ItemFailure, ...]:
    """What changes which dataset a name stands for."""
    match step:
        case SetAside(marks=marks, moves=moves):
            return await host.label(marks) or await host.rename(moves)
        case BringBack(moves=moves):
            return await host.rename(moves)
        case MakeClones(clones=clones):
            return await host.clone(clones)
        case PromoteClones(promotions=promotions):
            return await host.promote(promotions)
        case Relabel(marks=marks):
            return await host.label(marks)
        case _:
            assert_never(step)
