"""Names that tell whose a thing is, and never order anything."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from backstay.domain.zfs import Bookmark, Guid, Snapshot
from backstay.plan.naming import (
    bookmark_name,
    bookmark_tag,
    is_ours,
    lineage_id,
    short_id,
    snapshot_name,
    snapshot_time,
)

AT = datetime(2026, 11, 22, 3, 15, 0, 123_999, tzinfo=UTC)
SHORT = short_id("dr/backstay")


def snapshot(name: str) -> Snapshot:
    return Snapshot(dataset="tank/a", name=name, guid=Guid(1), createtxg=1)


def bookmark(name: str, guid: int) -> Bookmark:
    return Bookmark(dataset="tank/a", name=name, guid=Guid(guid), createtxg=1)


@pytest.mark.rule("Unique names")
class TestSnapshotNames:
    def test_are_as_documented(self) -> None:
        assert snapshot_name(AT, "0a1b2c3d", "beef") == "backstay_20261122T031500.123Z_0a1b2c3dbeef"

    def test_are_in_utc_whatever_the_zone(self) -> None:
        there = AT.astimezone(timezone(timedelta(hours=5, minutes=30)))
        assert snapshot_name(there, SHORT, "beef") == snapshot_name(AT, SHORT, "beef")

    @pytest.mark.rule("RPO truth")
    def test_never_claim_to_be_newer_than_their_content(self) -> None:
        at = snapshot_time(snapshot_name(AT, SHORT, "beef"))
        assert at == AT.replace(microsecond=123_000)
        assert at <= AT

    @pytest.mark.parametrize(
        "name",
        [
            "daily-2026-11-22",
            "backstay_20261122T031500.123Z_0a1b2c3dbee",
            "backstay_20261122T031500.123Z_0a1b2c3dbeefx",
            "backstay_20261399T031500.123Z_0a1b2c3dbeef",
            "xbackstay_20261122T031500.123Z_0a1b2c3dbeef",
        ],
    )
    def test_of_others_have_no_time(self, name: str) -> None:
        assert snapshot_time(name) is None

    def test_tell_the_installation(self) -> None:
        ours = snapshot(snapshot_name(AT, SHORT, "beef"))
        assert is_ours(ours, SHORT)
        assert not is_ours(ours, short_id("dr/other"))
        assert not is_ours(snapshot("manual"), SHORT)


@pytest.mark.rule("Bookmark with snapshot")
class TestBookmarkNames:
    def test_carry_lineage_guid_and_txg(self) -> None:
        name = bookmark_name("0123456789abcdef", Guid(0xABC), 42)
        assert name == "backstay_0123456789abcdef_0000000000000abc_42"
        tag = bookmark_tag(bookmark(name, 0xABC))
        assert tag is not None
        assert (tag.lineage, tag.guid) == ("0123456789abcdef", 0xABC)

    def test_that_lie_about_the_guid_are_not_ours(self) -> None:
        name = bookmark_name("0123456789abcdef", Guid(0xABC), 42)
        assert bookmark_tag(bookmark(name, 0xABD)) is None

    def test_of_others_are_not_ours(self) -> None:
        assert bookmark_tag(bookmark("zrepl_cursor", 1)) is None


def test_a_lineage_is_of_one_source_and_one_target() -> None:
    one = lineage_id(Guid(1), Guid(2), "vault/a")
    assert one == lineage_id(Guid(1), Guid(2), "vault/a")
    others = {
        lineage_id(Guid(9), Guid(2), "vault/a"),
        lineage_id(Guid(1), Guid(9), "vault/a"),
        lineage_id(Guid(1), Guid(2), "vault/b"),
    }
    assert len(others | {one}) == 4
