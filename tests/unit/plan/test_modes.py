"""Encrypted sources travel raw, and only where the replica's own encryption still fits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backstay.domain.pairs import Conflict
from backstay.domain.steps import Base, Increment, Resume, Seed
from backstay.domain.zfs import STREAM, Dataset
from backstay.plan.basis import AlreadyThere, Basis, DropToken, find_basis
from backstay.plan.modes import stream_mode
from backstay.plan.posture import seed_properties
from backstay.plan.transfers import plan_transfers
from unit.plan.sides import SHORT, guid_of, point, replica, set_name, source, source_of, world

pytestmark = pytest.mark.rule("Raw lineage")


def encrypted(dataset: Dataset, *, pinned: str | None = "Lecw", changed: str = "") -> Dataset:
    """The dataset with encryption: an IV set of its own for each point, another for `changed`."""
    odd = {guid_of("disk", letter) for letter in changed}
    said = {STREAM: pinned} if dataset.properties and pinned else {}
    return replace(
        dataset,
        encrypted=True,
        properties={**dataset.properties, **said},
        snapshots=tuple(replace(s, ivset=s.guid + 1 + (s.guid in odd)) for s in dataset.snapshots),
        bookmarks=tuple(replace(b, ivset=b.guid + 1) for b in dataset.bookmarks),
    )


def basis(at_source: str, at_target: str, to: str, *, changed: str = "") -> Basis:
    """How set `to` travels; the replica's IV sets of the sets `changed` are others."""
    held = encrypted(replica(at_target), changed=changed)
    return find_basis(encrypted(source(at_source)), held, point(at_source, to), SHORT)


def conflict(decided: Basis, reason: str) -> Conflict:
    """The conflict, which is of that reason and needs a human."""
    assert isinstance(decided, Conflict), decided
    assert decided.reason == reason
    assert decided.diverged
    return decided


def test_a_seed_is_raw_and_says_so_on_the_replica() -> None:
    origin = encrypted(source("a"))
    assert find_basis(origin, None, point("a", "a"), SHORT) == Seed()
    assert stream_mode(origin, None, None) == "Lecw"
    assert stream_mode(origin, None, replica("")) == "Lecw"
    assert seed_properties(origin, "feed", "Lecw")[STREAM] == "Lecw"


def test_the_stream_of_an_encrypted_source_is_raw_and_no_other_is() -> None:
    situation = world(source={"disk": "a#", "plain": "a#"})
    origin = encrypted(situation.source.datasets[source_of("disk")])
    mixed = situation.with_source(datasets={**situation.source.datasets, source_of("disk"): origin})
    planned = plan_transfers(mixed.seen)
    raw = {t.member: t.mode for lane in planned.lanes for p in lane.pipes for t in p.transfers}
    assert raw == {"disk": "Lecw", "plain": "Lec"}


def test_what_lands_below_encryption_travels_without_embedded_data() -> None:
    """`incompatible embedded data stream feature with encrypted receive` (libzfs_sendrecv.c)."""
    root = replace(replica(""), encrypted=True)
    assert stream_mode(source("a"), None, root) == "Lc"
    assert stream_mode(source("a"), None, replica("")) == "Lec"
    pinned = replace(
        replica("a"), encrypted=True, properties={**replica("").properties, STREAM: "Lc"}
    )
    assert stream_mode(source("a"), pinned, root) == "Lc"
    assert isinstance(find_basis(source("a b"), pinned, point("a b", "b"), SHORT), Increment)


@pytest.mark.parametrize("at_source", ["a b c", "a #b c"])
def test_an_increment_starts_from_the_newest_with_the_same_guid_and_iv_set(at_source: str) -> None:
    decided = basis(at_source, "a b", "c")
    assert isinstance(decided, Increment)
    assert decided.base.guid == guid_of("disk", "b")
    assert basis("a b", "a b", "b") == AlreadyThere()


def test_an_older_base_serves_once_the_replica_was_rolled_back_to_it() -> None:
    full_name = f"{source_of('disk')}@{set_name('a')}"
    base = Base(full_name=full_name, guid=guid_of("disk", "a"))
    assert basis("a b c", "a", "c") == Increment(base=base)


@pytest.mark.fault("manual non-raw receive into a raw replica")
def test_a_base_with_another_iv_set_is_refused_and_the_newest_that_fits_is_named() -> None:
    why = conflict(basis("a b c", "a b", "c", changed="b"), "RawLineageBroken")
    assert f"roll back to vault/recv/disk@{set_name('a')}" in why.message
    none_fits = conflict(basis("a b c", "a b", "c", changed="ab"), "RawLineageBroken")
    assert "rollback" not in none_fits.message
    assert "seeded anew" in none_fits.message


def test_an_iv_set_that_is_not_known_proves_nothing() -> None:
    origin, held = encrypted(source("a b")), encrypted(replica("a"))
    blind = replace(held, snapshots=tuple(replace(s, ivset=None) for s in held.snapshots))
    for one, other in ((origin, blind), (replace(source("a b"), encrypted=True), held)):
        decided = find_basis(one, other, point("a b", "b"), SHORT)
        assert "unknown" in conflict(decided, "RawLineageBroken").message


@pytest.mark.fault("someone snapshots the replica")
@pytest.mark.parametrize("held", ["a X", "a b~"])
def test_a_newer_foreign_snapshot_is_refused_and_named(held: str) -> None:
    """A plain stream is taken nevertheless; a raw one is not (`dmu_recv.c`)."""
    why = conflict(basis("a b", held, "b"), "RawLineageBroken")
    newest = replica(held).newest_snapshot
    assert newest is not None
    assert newest.full_name in why.message


def test_what_a_plain_replica_is_refused_for_comes_first() -> None:
    conflict(basis("a b", "a +", "b", changed="a"), "TargetModified")
    conflict(basis("a c", "a b", "c", changed="a"), "TargetAhead")
    conflict(basis("b", "a", "b", changed="a"), "NoCommonBase")


@pytest.mark.fault("raw flag flipped after the seed")
class TestPinned:
    """The mode of a pair never changes."""

    @pytest.mark.parametrize("held", ["a", "a b", "a >b", ">b", "a X", "a +"])
    def test_a_plain_replica_takes_nothing_of_an_encrypted_source(self, held: str) -> None:
        plain = replica(held)
        for pinned in (plain, replace(plain, properties={**plain.properties, STREAM: "Lec"})):
            decided = find_basis(encrypted(source("a b")), pinned, point("a b", "b"), SHORT)
            why = conflict(decided, "StreamModePinned")
            assert "seeded with `send -Lec`" in why.message

    def test_a_raw_replica_takes_nothing_of_a_plain_source(self) -> None:
        decided = find_basis(source("a b"), encrypted(replica("a")), point("a b", "b"), SHORT)
        assert "seeded with `send -Lecw`" in conflict(decided, "StreamModePinned").message

    def test_a_mode_that_this_version_does_not_know_is_kept_away_from(self) -> None:
        odd = encrypted(replica("a"), pinned="Lecx")
        decided = find_basis(encrypted(source("a b")), odd, point("a b", "b"), SHORT)
        conflict(decided, "StreamModePinned")

    def test_a_replica_that_says_nothing_is_what_it_shows(self) -> None:
        mute = encrypted(replica("a"), pinned=None)
        to = point("a b", "b")
        assert isinstance(find_basis(encrypted(source("a b")), mute, to, SHORT), Increment)
        below_encrypted = replace(replica("a"), encrypted=True)
        assert isinstance(find_basis(source("a b"), below_encrypted, to, SHORT), Increment)


@pytest.mark.rule("Resume tokens are untrusted input")
@pytest.mark.parametrize(("held", "seed"), [("a >b", False), (">b", True)])
def test_a_token_resumes_only_in_the_mode_of_the_pair(held: str, seed: bool) -> None:
    origin, partial = encrypted(source("a b")), encrypted(replica(held))
    assert partial.token is not None
    to = point("a b", "b")
    assert isinstance(find_basis(origin, partial, to, SHORT), DropToken)
    raw = replace(partial, token=replace(partial.token, raw=True))
    assert find_basis(origin, raw, to, SHORT) == Resume(token="1-b", seed=seed)
