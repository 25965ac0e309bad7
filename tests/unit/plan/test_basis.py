"""How a snapshot travels: seed, increment, resume, or a named reason why not."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from backstay.domain.pairs import Conflict
from backstay.domain.steps import Base, Increment, Resume, Seed
from backstay.domain.zfs import LINEAGE, ROLE, SOURCE_GUID, DatasetKind, Guid
from backstay.plan import basis as decisions
from backstay.plan.basis import AlreadyThere, Basis, DropToken
from backstay.plan.naming import bookmark_name
from unit.plan.sides import (
    SHORT,
    guid_of,
    lineage_for,
    point,
    replica,
    set_name,
    source,
    source_of,
)

find_basis = partial(decisions.find_basis, short_id=SHORT)


def basis(at_source: str, at_target: str, to: str) -> Basis:
    """The basis for set `to` of the source that a text describes."""
    return find_basis(source(at_source), replica(at_target), point(at_source, to))


def reason(decided: Basis) -> str:
    """The word of a conflict."""
    assert isinstance(decided, Conflict), decided
    return str(decided.reason)


def increment_from(letter: str) -> Increment:
    """An increment from a snapshot of the source."""
    full_name = f"{source_of('disk')}@{set_name(letter)}"
    return Increment(base=Base(full_name=full_name, guid=guid_of("disk", letter)))


@pytest.mark.rule("Seed only into nothing, and only what was planned")
class TestSeed:
    def test_goes_into_nothing(self) -> None:
        assert find_basis(source("a"), None, point("a", "a")) == Seed()

    @pytest.mark.parametrize("held", ["", "X", "a", "+", "X +"])
    def test_never_goes_onto_a_dataset_that_exists(self, held: str) -> None:
        assert not isinstance(basis("b", held, "b"), Seed)

    @pytest.mark.fault("target exists with foreign data")
    def test_never_goes_onto_a_dataset_that_backstay_did_not_make(self) -> None:
        foreign = replace(replica(""), properties={})
        decided = find_basis(source("a"), foreign, point("a", "a"))
        assert reason(decided) == "TargetHasForeignData"


@pytest.mark.rule("Proven base")
class TestIncrement:
    def test_starts_from_the_newest_snapshot_that_both_have(self) -> None:
        assert basis("a b c", "a b", "c") == increment_from("b")

    @pytest.mark.fault("target rolled back to an older common snapshot")
    def test_starts_from_an_older_common_snapshot_when_the_target_was_rolled_back(self) -> None:
        assert basis("a b c", "a", "c") == increment_from("a")

    @pytest.mark.fault("all source snapshots deleted")
    def test_starts_from_a_bookmark_when_the_snapshot_is_gone(self) -> None:
        decided = basis("a #b c", "a b", "c")
        name = bookmark_name(lineage_for("disk"), guid_of("disk", "b"), 200)
        assert isinstance(decided, Increment)
        assert decided.base == Base(
            full_name=f"{source_of('disk')}#{name}", guid=guid_of("disk", "b")
        )

    def test_starts_from_the_bookmark_of_its_own_lineage(self) -> None:
        """That of another target goes when that target has newer points."""
        decided = basis("a *b #b c", "a b", "c")
        assert isinstance(decided, Increment)
        assert f"_{lineage_for('disk')}_" in decided.base.full_name

    def test_is_not_needed_for_what_is_there(self) -> None:
        assert basis("a b", "a b", "b") == AlreadyThere()

    def test_never_starts_from_a_common_name(self) -> None:
        assert reason(basis("a' b", "a", "b")) == "NoCommonBase"

    def test_never_goes_back_in_time(self) -> None:
        """`send -i` from a bookmark to an older snapshot succeeds silently (openzfs#12657)."""
        assert reason(basis("a #b", "b", "a")) == "TargetAhead"

    @pytest.mark.fault("someone snapshots the replica")
    def test_tolerates_newer_foreign_snapshots_while_nothing_was_written(self) -> None:
        assert basis("a b", "a X", "b") == increment_from("a")

    def test_tolerates_what_another_installation_made_as_any_foreign_snapshot(self) -> None:
        """It took a snapshot of our replica: the source did not go back."""
        assert basis("a b", "a b~", "b") == increment_from("a")
        assert reason(basis("a b", "a b~ +", "b")) == "TargetModified"

    @pytest.mark.fault("someone writes to the replica")
    @pytest.mark.parametrize("held", ["a +", "a + X", "a X +", "a ?"])
    def test_is_refused_after_any_write_to_the_replica(self, held: str) -> None:
        decided = basis("a b", held, "b")
        assert reason(decided) == "TargetModified"
        assert isinstance(decided, Conflict)
        assert decided.diverged

    @pytest.mark.fault("source rolled back, target ahead")
    @pytest.mark.parametrize("at_source", ["a c", "a + c"])
    def test_is_refused_when_the_source_went_back(self, at_source: str) -> None:
        assert reason(basis(at_source, "a b", "c")) == "TargetAhead"

    def test_is_refused_when_a_point_of_the_same_name_has_another_guid(self) -> None:
        held = replica("a")
        stray = replace(held.snapshots[0], name=set_name("b"), guid=Guid(1), createtxg=1)
        decided = find_basis(
            source("a b"), replace(held, snapshots=(stray, *held.snapshots)), point("a b", "b")
        )
        assert reason(decided) == "NameCollision"

    @pytest.mark.fault("all source snapshots and bookmarks deleted")
    def test_is_refused_without_a_common_guid(self) -> None:
        assert reason(basis("b", "a", "b")) == "NoCommonBase"

    @pytest.mark.fault("source destroyed and recreated under the same name")
    def test_is_refused_when_the_source_was_recreated(self) -> None:
        recreated = replace(source("b"), guid=Guid(1))
        assert reason(find_basis(recreated, replica("a"), point("b", "b"))) == "NewLineage"

    def test_is_refused_into_a_dataset_of_another_kind(self) -> None:
        volume = replace(source("a b"), kind=DatasetKind.VOLUME)
        assert reason(find_basis(volume, replica("a"), point("a b", "b"))) == "NewLineage"

    def test_goes_on_when_the_source_was_restored_with_its_history(self) -> None:
        """A dataset renamed into place has another GUID; its snapshots prove the base."""
        restored = replace(source("a b"), guid=Guid(1))
        assert find_basis(restored, replica("a"), point("a b", "b")) == increment_from("a")


@pytest.mark.rule("Single writer, fenced at the host")
@pytest.mark.parametrize("held", ["", "a", "a +", ">b", "a >b"])
def test_a_primary_is_never_received_into(held: str) -> None:
    target = replica(held)
    primary = replace(target, properties={**target.properties, ROLE: "primary"})
    decided = find_basis(source("a b"), primary, point("a b", "b"))
    assert reason(decided) == "TargetIsPrimary"


@pytest.mark.rule("Resume tokens are untrusted input")
class TestToken:
    def test_of_an_increment_resumes(self) -> None:
        assert basis("a b", "a >b", "b") == Resume(token="1-b", seed=False)

    def test_of_a_seed_resumes(self) -> None:
        assert basis("a b", ">a", "b") == Resume(token="1-a", seed=True)

    def test_resumes_from_a_bookmark(self) -> None:
        assert basis("#a b", "a >b", "b") == Resume(token="1-b", seed=False)

    @pytest.mark.fault("token that nobody can read")
    def test_that_zfs_cannot_read_is_dropped(self) -> None:
        assert isinstance(basis("a b", "a >!", "b"), DropToken)
        assert isinstance(basis("a b", ">!", "b"), DropToken)

    @pytest.mark.fault("token's source snapshot destroyed")
    def test_of_a_snapshot_that_is_gone_is_dropped(self) -> None:
        assert isinstance(basis("a c", "a >b", "c"), DropToken)

    @pytest.mark.fault("token's source snapshot recreated under the same name")
    def test_of_a_snapshot_that_was_made_again_is_dropped(self) -> None:
        assert isinstance(basis("a b'", "a >b", "b'"), DropToken)

    def test_from_another_base_is_dropped(self) -> None:
        token = replica("a >c").token
        held = replace(replica("a b"), token=token)
        assert isinstance(find_basis(source("a b c"), held, point("a b c", "c")), DropToken)

    def test_that_goes_back_in_time_is_dropped(self) -> None:
        assert isinstance(basis("a #b", "b >a", "a"), DropToken)

    def test_of_a_foreign_snapshot_is_dropped(self) -> None:
        assert isinstance(basis("a X b", "a >X", "b"), DropToken)
        assert isinstance(basis("a b~ c", "a >b~", "c"), DropToken)

    @pytest.mark.parametrize("held", [">b", "a >b"])
    def test_of_another_dataset_is_dropped(self, held: str) -> None:
        target = replica(held)
        assert target.token is not None
        strange = replace(target.token, to_name=f"tank/other@{set_name('b')}")
        decided = find_basis(source("a b"), replace(target, token=strange), point("a b", "b"))
        assert isinstance(decided, DropToken)

    @pytest.mark.parametrize("held", [">b", "a >b"])
    def test_of_a_raw_stream_is_dropped(self, held: str) -> None:
        target = replica(held)
        assert target.token is not None
        raw = replace(target, token=replace(target.token, raw=True))
        assert isinstance(find_basis(source("a b"), raw, point("a b", "b")), DropToken)

    def test_of_a_full_stream_never_resumes_into_a_dataset_with_points(self) -> None:
        target = replica("a >b")
        assert target.token is not None
        full = replace(target, token=replace(target.token, from_guid=None))
        assert isinstance(find_basis(source("a b"), full, point("a b", "b")), DropToken)

    def test_of_an_increment_never_resumes_into_a_dataset_without_points(self) -> None:
        target = replica(">b")
        assert target.token is not None
        increment = replace(target, token=replace(target.token, from_guid=guid_of("disk", "a")))
        assert isinstance(find_basis(source("a b"), increment, point("a b", "b")), DropToken)

    @pytest.mark.parametrize(
        ("properties", "why"),
        [
            pytest.param({}, "TargetHasForeignData", id="of nobody"),
            pytest.param(
                {LINEAGE: "feedfacefeedface", SOURCE_GUID: "1"},
                "NewLineage",
                id="of another source",
            ),
        ],
    )
    def test_is_not_touched_on_a_dataset_that_is_not_of_this_lineage(
        self, properties: dict[str, str], why: str
    ) -> None:
        """`receive -A` after an interrupted first receive removes the whole dataset."""
        strange = replace(replica(">b"), properties=properties)
        assert reason(find_basis(source("a c"), strange, point("a c", "c"))) == why

    @pytest.mark.rule("Proven base")
    def test_does_not_hide_that_the_replica_was_written_to(self) -> None:
        """An interrupted increment leaves `written` of the replica at 0 (OpenZFS 2.3.9)."""
        assert reason(basis("a b", "a + >b", "b")) == "TargetModified"
