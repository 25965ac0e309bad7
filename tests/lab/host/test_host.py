"""What differs between hosts and accounts, and what a pool may hold, on a real host."""

from __future__ import annotations

import pytest

from backstay_host import protocol
from lab.host.conftest import Connect
from lab.host.scene import LINEAGE, OURS, Scene, stamp
from unit.host.client import HostError
from worlds.api import LabHost


@pytest.mark.fault("noisy login shell", "other locale")
@pytest.mark.parametrize("login", ["noisy", "german"])
def test_a_noisy_or_foreign_account_is_served_like_any_other(
    lab_hosts: list[LabHost], connect: Connect, login: str
) -> None:
    client = connect(lab_hosts[-1], login=login)
    assert client.request("hello", protocol.Hello())["uid"] == 0
    body = protocol.Survey([protocol.SurveyRoot("tank/no such dataset")], OURS)
    assert client.request("survey", body)["absent"] == ["tank/no such dataset"]


@pytest.mark.rule("Destroy by identity")
@pytest.mark.fault(
    "foreign snapshots on both sides", "foreign holds on both sides", "forged user property"
)
def test_points_are_made_read_and_destroyed_by_identity(scene: Scene) -> None:
    forged = "x\\n{0}\\tdev.backstay:writer\\t9:evil".format(scene.root)  # noqa: UP030, UP032
    scene.host.run(f'zfs set dev.backstay:source="$(printf "{forged}")" {scene.volume}')
    first, second = scene.snapshot(1), scene.snapshot(2)
    scene.host.run(f"zfs snapshot {scene.volume}@manual; zfs hold keep {scene.volume}@{stamp(2)}")
    scene.write(1)
    facts = scene.facts()
    assert facts[scene.root]["properties"] == {"dev.backstay:writer": f"1:{scene.installation}"}
    assert "9:evil" in facts[scene.volume]["properties"]["dev.backstay:source"]
    assert facts[scene.volume]["since"] == stamp(2)
    assert facts[scene.volume]["written_since"] > 500_000

    bookmark = f"{scene.volume}#{first['bookmarks'][0]}"
    items = [
        protocol.Doomed(f"{scene.volume}@{stamp(1)}", first["guid"]),
        protocol.Doomed(f"{scene.volume}@{stamp(2)}", second["guid"]),
        protocol.Doomed(f"{scene.volume}@manual", first["guid"]),
        protocol.Doomed(bookmark, first["guid"]),
    ]
    outcomes = scene.client.request("prune", protocol.Prune(items))["items"]
    scene.host.run(f"zfs release keep {scene.volume}@{stamp(2)}")
    assert [item["reason"] for item in outcomes] == ["", "SnapshotHeld", "IdentityChanged", ""]
    left = scene.facts()[scene.volume]
    assert [name for name, _, _ in left["snapshots"]] == [stamp(2), "manual"]
    assert [guid for _, guid, _ in left["bookmarks"]] == [second["guid"]]
    taken = protocol.TakeSnapshot(
        [protocol.Target(scene.volume, left["guid"] + 1)],
        stamp(3),
        [protocol.NewBookmark(scene.volume, stamp(3), LINEAGE)],
    )
    with pytest.raises(HostError) as error:
        scene.client.request("snapshot", taken)
    assert error.value.reason == "NewLineage"
