"""One source, several targets: none of them loses its base silently when room is made."""

from __future__ import annotations

from typing import Any

import pytest

from fakes.lab import Lab
from fakes.yields import (
    KEPT,
    REPLICA,
    SOURCE,
    approve,
    in_the_way,
    newer,
    offer,
    points,
    yielding,
)


def fan_out(lab: Lab, retention: dict[str, Any], also: str = "fra") -> None:
    """`d0` goes to two hosts by two pairs, by the second one from Site `also`."""
    c = lab.world.host("ber/h", pools=("vault",))
    c.create("vault/backstay")
    lab.core.site("ber", c, roots=("vault/backstay",))
    lab.core.site(also, lab.a)
    lab.core.policy(retention=retention)
    lab.core.pair("erp", lab.volumes(1))
    at = {
        also: {"host": "h", "dataset": SOURCE},
        "ber": {"host": "h", "dataset": "vault/backstay/d0"},
    }
    datasets = [{"name": "d0", "at": at}]
    lab.core.pair("fan", {}, sites=[also, "ber"], preferredSite=also, datasets=datasets)


@pytest.mark.rule("Room for a rollback")
@pytest.mark.parametrize("also", ["fra", "ams"], ids=["one Site", "two Sites of one machine"])
async def test_the_targets_of_other_pairs_are_counted_in_and_take_no_point_either(
    lab: Lab, also: str
) -> None:
    fan_out(lab, KEPT, also)
    await lab.core.live(200)
    lab.a.snapshot(f"{SOURCE}@snap1")
    await newer(lab)
    shown = await offer(lab)
    (member,) = shown.members
    assert {(t.pair, t.base is None) for t in member.targets} == {
        ("dr/erp", False),
        ("dr/fan", False),
    }
    approve(lab, shown)
    await lab.core.live(5)
    assert in_the_way(lab) == []
    lab.a.write(SOURCE, 4096)
    await lab.core.live(13 * 60)
    assert in_the_way(lab) == []
    assert yielding(lab, "fan") == ("True", "MakesRoom")
    assert "dr/erp" in lab.core.message("fan", "Yielding")


@pytest.mark.rule("Room for a rollback")
async def test_another_pairs_last_base_is_not_lost_silently(lab: Lab) -> None:
    fan_out(lab, {"source": {"last": 1}, "target": {"last": 1}})
    await lab.core.live(200)
    lab.a.snapshot(f"{SOURCE}@snap1")
    await newer(lab)
    shown = await offer(lab)
    assert {t.pair for t in shown.lost} == {"dr/erp", "dr/fan"}


@pytest.mark.rule("Room for a rollback")
async def test_a_target_that_came_later_makes_the_approval_void(lab: Lab) -> None:
    await points(lab)
    shown = await offer(lab)
    other = lab.world.host("ber/h", pools=("vault",))
    other.create("vault/backstay")
    lab.core.site("ber", other, roots=("vault/backstay",))
    at = {
        "fra": {"host": "h", "dataset": SOURCE},
        "ber": {"host": "h", "dataset": "vault/backstay/d0"},
    }
    blockers = in_the_way(lab)
    lab.core.pair(
        "fan", {}, sites=["fra", "ber"], suspend=True, datasets=[{"name": "d0", "at": at}]
    )
    approve(lab, shown)
    await lab.core.live(5)
    assert set(blockers) <= set(in_the_way(lab))
    assert "was not counted in" in lab.core.message("erp", "Yielding")


@pytest.mark.rule("Room for a rollback")
async def test_a_base_that_went_since_makes_the_approval_void(lab: Lab) -> None:
    await points(lab)
    shown = await offer(lab)
    base = shown.members[0].targets[0].base
    assert base is not None
    lab.b.destroy(f"{REPLICA}@{base.name}")
    blockers = in_the_way(lab)
    approve(lab, shown)
    await lab.core.live(5)
    assert set(blockers) <= set(in_the_way(lab))
    assert f"the base that remains with {REPLICA} is another" in lab.core.message("erp", "Yielding")
