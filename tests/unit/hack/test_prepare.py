"""`make setup` names what is too small, and following its advice ends the complaint."""

from pathlib import Path

import pytest

import prepare
from worlds import identity


def test_a_small_disk_is_named_with_what_it_lacks_until_all_is_built() -> None:
    said = prepare.disk_complaint(Path("/cache"), 3.04, False)
    assert said is not None
    assert "/cache has 3.0 GiB free, the worlds need 12" in said
    assert "BACKSTAY_CACHE" in said
    assert prepare.disk_complaint(Path("/cache"), 3.0, True) is None
    assert prepare.disk_complaint(Path("/cache"), 12.0, False) is None


def test_a_first_build_that_was_interrupted_still_needs_its_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKSTAY_CACHE", str(tmp_path))
    monkeypatch.setattr(prepare, "DISK_GIB", 10**9)
    (tmp_path / "built" / "image-0123456789ab.unfinished").mkdir(parents=True)
    assert any("make room" in said for said in prepare.room_complaints())
    (tmp_path / "built" / "image-0123456789ab").mkdir()
    assert not any("make room" in said for said in prepare.room_complaints())


def test_smaller_hosts_fit_as_the_complaint_promises() -> None:
    said = prepare.memory_complaint(7.7, 2, 3072)
    assert said is not None
    assert "7.7 GiB of memory; 2 hosts of 3072 MiB and a control plane need 8.0" in said
    assert "LAB_MEMORY_MIB=2048" in said
    assert prepare.memory_complaint(7.7, 2, 2048) is None
    assert prepare.memory_complaint(8.0, 3, 3072) is not None


@pytest.mark.parametrize("count", ["0", "10", "12", "many", "", "-1"])
def test_a_number_of_hosts_that_cannot_be_is_named(
    count: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_HOSTS", count)
    with pytest.raises(SystemExit, match=f"LAB_HOSTS={count}: between 1 and 9"):
        identity.host_names()
    monkeypatch.setenv("LAB_HOSTS", "3")
    assert identity.host_names() == ["zfs-a", "zfs-b", "zfs-c"]
