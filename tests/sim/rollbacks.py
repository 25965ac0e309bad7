"""Room for a rollback: somebody looks at what is in its way, and approves that it goes."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

from backstay.api.kinds import YIELD
from backstay.controllers.look import look_around
from backstay.domain.errors import BackstayError
from backstay.plan.resolve import ResolvedPair
from backstay.plan.room import RouteLook, offer_room
from backstay.report.room import yield_of
from sim.estate import Estate
from sim.server import NAMESPACE
from sim.weather import Weather

ANSWERS_S = 60.0
"""Who looks gives up after it."""
FOR = timedelta(minutes=2)
"""So long no point is taken: less than a story's calm."""


class Rollbacks:
    """Admins who want a source to go back, as `kubectl backstay yield` lets them."""

    def __init__(self, estate: Estate, weather: Weather) -> None:
        self._estate, self._weather, self._dice = estate, weather, estate.dice

    async def make_room(self) -> None:
        """What of ours is newer than another tool's snapshot may go, of all sources of a pair.

        Replicas that are ahead then differ: somebody has to mend them.
        """
        pair = self._dice.choice(sorted(self._estate.specs))
        looks = await self._look(pair)
        shown = offer_room(f"{NAMESPACE}/{pair}", looks, None)
        if not shown.members or shown.lost:
            return
        document = yield_of(shown, self._estate.world.now + FOR).document()
        self._estate.server.annotate("ReplicationPair", pair, YIELD, json.dumps(document))
        for member in shown.members:
            places = (member.source.name, *(target.dataset for target in member.targets))
            self._estate.wronged.update(places)

    async def _look(self, pair: str) -> tuple[RouteLook, ...]:
        """What the pair's sources are sent to; nothing where that cannot be seen."""
        for process in self._weather.processes:
            if process.engine is None or process.is_stopped:
                continue
            resolved = process.engine.shares.resolve(NAMESPACE, pair)
            if isinstance(resolved, ResolvedPair):
                look = look_around(resolved, process.engine.shares, process.clock)
                try:
                    return await asyncio.wait_for(look, ANSWERS_S)
                except (BackstayError, TimeoutError):
                    return ()
        return ()
