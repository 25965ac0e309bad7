"""Carries out one round of what was decided about diverged replicas."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from backstay.act.route import as_conflict
from backstay.domain.errors import Stalled, Waiting
from backstay.domain.pairs import Conflict
from backstay.domain.steps import ItemFailure
from backstay.plan.resolution import Round
from backstay.ports.host import HostPort


class _Named(Protocol):
    @property
    def dataset(self) -> str: ...


ItemT = TypeVar("ItemT", bound=_Named)


async def carry_out(target: HostPort, planned: Round) -> dict[str, Conflict]:
    """Each member's commands were run in order until the first that failed; why, by its target."""
    failures: dict[str, Conflict] = {}
    for abort in planned.aborts:
        try:
            await target.abort_receive(abort)
        except (Waiting, Stalled) as error:
            failures[planned.member_of[abort.dataset]] = as_conflict(error)
    await _run(planned, planned.marks, target.label, failures)
    await _run(planned, planned.moves, target.rename, failures)
    await _run(planned, planned.clones, target.clone, failures)
    await _run(planned, planned.promotions, target.promote, failures)
    await _run(planned, planned.rewinds, target.rollback, failures)
    return failures


async def _run(
    planned: Round,
    items: Sequence[ItemT],
    request: Callable[[Sequence[ItemT]], Awaitable[tuple[ItemFailure, ...]]],
    failures: dict[str, Conflict],
) -> None:
    """Those of the members that have not failed yet; one request, if there are any."""
    left = [item for item in items if planned.member_of[item.dataset] not in failures]
    if not left:
        return
    try:
        for failed in await request(left):
            why = Conflict(reason=failed.reason, message=failed.message)
            failures[planned.member_of[failed.name]] = why
    except (Waiting, Stalled) as error:
        failures |= {planned.member_of[item.dataset]: as_conflict(error) for item in left}
