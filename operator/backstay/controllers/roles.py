"""Moves a role at one host: look, plan the next stage, act, look again, until nothing is left.

Nothing is remembered between two looks: whoever calls again, after a crash or as another leader,
goes on from what is there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from backstay.act.roles import carry_out
from backstay.api.words import Reason
from backstay.domain.pairs import Conflict
from backstay.domain.roles import DemotionTask, PromotionTask, RoleStep
from backstay.domain.zfs import HostListing
from backstay.plan.demotion import demotion_roots, plan_demotion, plan_demotion_undo
from backstay.plan.promotion import plan_undo
from backstay.plan.promotion_path import plan_promotion, promotion_roots
from backstay.ports.clock import Clock
from backstay.ports.host import SurveyRequest
from backstay.ports.roles import RolePort

MAX_LOOKS = 24
"""Seven stages, each of which may find something busy a few times."""
BUSY_S = 2.0
"""Whatever opened a device (udev, say) closes it within moments."""
MAX_BUSY = 5

_Plan: TypeAlias = Callable[[HostListing], tuple[RoleStep, ...] | Conflict]


async def promote(host: RolePort, task: PromotionTask, clock: Clock) -> Conflict | None:
    """The points of the task are the primary and can be used, or why they are not yet."""
    request = SurveyRequest(roots=promotion_roots(task), sync=False)
    return await _converge(host, request, lambda seen: plan_promotion(task, seen), clock)


async def undo_promotion(host: RolePort, task: PromotionTask, clock: Clock) -> Conflict | None:
    """The replicas are what they were before the promotion, or why they cannot be."""
    request = SurveyRequest(roots=promotion_roots(task), sync=False)
    return await _converge(host, request, lambda seen: plan_undo(task, seen), clock)


async def demote(host: RolePort, task: DemotionTask, clock: Clock) -> Conflict | None:
    """The sources of the task are read-only secondaries, or why they are not yet."""
    request = SurveyRequest(roots=demotion_roots(task), sync=True)
    return await _converge(host, request, lambda seen: plan_demotion(task, seen), clock)


async def undo_demotion(host: RolePort, task: DemotionTask, clock: Clock) -> Conflict | None:
    """The sources are writable again, or why they cannot be."""
    request = SurveyRequest(roots=demotion_roots(task), sync=False)
    return await _converge(host, request, lambda seen: plan_demotion_undo(task, seen), clock)


async def _converge(
    host: RolePort, request: SurveyRequest, plan: _Plan, clock: Clock
) -> Conflict | None:
    busy = 0
    for _ in range(MAX_LOOKS):
        steps = plan(await host.survey(request))
        if isinstance(steps, Conflict):
            return steps
        if not steps:
            return None
        failed = await carry_out(host, steps)
        if failed is not None:
            busy += 1
            if failed.reason != Reason.SOURCE_BUSY or busy > MAX_BUSY:
                return failed
            await clock.sleep(BUSY_S)
    return Conflict(
        reason=Reason.INTERNAL_ERROR,
        message=f"{host.name}: moving the role did not come to an end after {MAX_LOOKS} looks",
    )
