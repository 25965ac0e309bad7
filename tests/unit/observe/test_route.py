"""What is read again after a change, and what stays as it was read before."""

from __future__ import annotations

from backstay.observe.route import read_anew
from backstay.ports.host import SurveyRequest
from fakes.world import INSTALLATION, Flight, World

ROOT = "vault/recv"
ALL = SurveyRequest(roots=((ROOT, True),), sync=False)


async def test_a_second_look_at_some_datasets_forgets_no_stream_into_another_one() -> None:
    """A child that an earlier operator left behind is known by its lock alone."""
    host = World().host("muc/h", pools=("vault",))
    for name in ("x", "y"):
        host.create(f"{ROOT}/{name}")
    host.flights = [Flight(f"{ROOT}/{n}", 1, INSTALLATION, receives=True) for n in ("x", "y")]
    listing = await host.port().survey(ALL)
    assert listing.busy == (f"{ROOT}/x", f"{ROOT}/y")
    host.flights.clear()
    again = await read_anew(listing, host.port(), [f"{ROOT}/y"])
    assert again.busy == (f"{ROOT}/x",)
    assert again.datasets == listing.datasets
