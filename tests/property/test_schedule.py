"""Points on time and kept by the calendar, across days of 23 and 25 hours, leap days and new years.

The operator's schedule counts seconds and knows no zone; only what is kept goes by the calendar of
the Site. Both run here in the whole core, around each moment that a clock stumbles over.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from backstay.controllers.keys import ObjectKey
from backstay.domain.pairs import Keep
from backstay.plan.naming import snapshot_time
from fakes.core import NAMESPACE, Core
from fakes.world import World
from property.test_retention import TROUBLES, wanted

DISK, REPLICA = "tank/vm/d0", "backup/backstay/d0"
HOUR_S = 3600.0


class Place:
    """One pair under a policy, in a zone, from some days before a moment."""

    def __init__(self, zone: str, start: datetime, rpo: str, **keep: int) -> None:
        self.world = World(start=start)
        self.a = self.world.host("fra/h", pools=("tank",))
        self.b = self.world.host("muc/h", pools=("backup",))
        self.a.create(DISK, volume=True)
        self.b.create("backup/backstay")
        self.core = Core(self.world)
        self.core.site("fra", self.a)
        self.core.site("muc", self.b, roots=("backup/backstay",))
        for site in ("fra", "muc"):
            body = self.core.bodies[ObjectKey("Site", NAMESPACE, site)]
            self.core.apply("Site", site, {**body["spec"], "timeZone": zone})
        self.core.policy(rpo=rpo, retention={"source": keep, "target": keep})
        self.core.pair("erp", {"d0": (DISK, REPLICA)})
        self.ever: dict[str, None] = {}
        """Names of all points that ever arrived, oldest first."""

    async def live(self, seconds: float) -> None:
        """Somebody writes, and so much time passes; every key runs when it is due."""
        self.a.write(DISK, 100, overwrite=True)
        await self.core.live(seconds)
        self._note()

    async def passing(self, seconds: float) -> None:
        """Somebody writes, so much time passes, and then there is a pass."""
        self.a.write(DISK, 100, overwrite=True)
        await self.core.passing(seconds)
        self._note()

    def _note(self) -> None:
        self.ever |= dict.fromkeys(s.name for s in self.b.dataset(REPLICA).snapshots)

    def times(self) -> list[datetime]:
        """When the points were taken."""
        return [at for name in self.ever if (at := snapshot_time(name)) is not None]


@pytest.mark.rule("No wall clock")
@pytest.mark.parametrize(("moment", "zone"), TROUBLES)
async def test_points_come_on_time_whatever_the_calendar_does(moment: str, zone: str) -> None:
    """An RPO of 20 minutes, an hour before and after: no gap, no crowd, and never a breach."""
    place = Place(zone, datetime.fromisoformat(moment) - timedelta(hours=1), "20m", last=3)
    for _ in range(2 * 30):
        await place.live(120)
        assert place.core.condition("erp", "RPOMet") == ("True", "WithinRPO")
    gaps = [(b - a).total_seconds() for a, b in pairwise(place.times())]
    assert min(gaps) >= 600 - 1
    assert max(gaps) <= 600 + 61, "a look each minute"


@pytest.mark.rule("No wall clock")
@pytest.mark.parametrize(("moment", "zone"), TROUBLES)
async def test_what_is_kept_is_what_the_calendar_of_the_site_says(moment: str, zone: str) -> None:
    """Five days of points each two hours: what stays is what the oracle keeps of all that were."""
    keep = {"last": 2, "hourly": 5, "daily": 3, "weekly": 2, "monthly": 2, "yearly": 1}
    place = Place(zone, datetime.fromisoformat(moment) - timedelta(days=3), "4h", **keep)
    for _ in range(5 * 12):
        await place.passing(2 * HOUR_S)
    names = list(place.ever)
    rules = Keep(time_zone=zone, **keep)
    kept = [s.name for s in place.b.dataset(REPLICA).snapshots]
    assert kept == [n for i, n in enumerate(names) if wanted(names, i, rules)]
    # The source keeps the same, as it has taken no point that did not arrive.
    assert [s.name for s in place.a.dataset(DISK).snapshots] == kept


@pytest.mark.rule("No wall clock")
@pytest.mark.parametrize("jump_s", [-3600.0, 3600.0, -86_400.0])
async def test_a_clock_that_jumps_takes_nothing_away_and_skips_nothing(jump_s: float) -> None:
    """Nothing that the older clock took is pruned for it, and the next point comes all the same."""
    place = Place("Europe/Berlin", datetime.fromisoformat("2026-10-25T00:00+00:00"), "20m", last=4)
    for _ in range(30):
        await place.live(120)
    before = len(place.ever)
    place.world.now += timedelta(seconds=jump_s)
    for _ in range(15):
        await place.live(120)
        newest = list(place.ever)[-1]
        assert place.b.dataset(REPLICA).snapshots[-1].name == newest
    assert len(place.ever) - before in (2, 3, 4)
    assert len(place.b.dataset(REPLICA).snapshots) == 4
