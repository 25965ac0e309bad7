"""Protocol values ↔ values of the domain."""

from __future__ import annotations

import dataclasses

from backstay.adapters.host import translate, translate_roles
from backstay.domain.roles import (
    CloneRef,
    DiscardClones,
    HaltReceives,
    OpenPromoted,
    RoleChange,
    RoleState,
    SetReadonly,
    SwapRoles,
)
from backstay.domain.steps import Base, Increment, Resume, Seed, Transfer
from backstay.domain.zfs import Dataset, DatasetKind, Guid, SnapshotRef, WrittenSince
from backstay_host import protocol as wire
from fakes.facts import FACTS

TRANSFER = Transfer(
    member="d0",
    source_dataset="tank/d0",
    source_guid=Guid(7),
    snapshot="b",
    guid=Guid(2),
    target_dataset="backup/d0",
    lineage="feed",
    how=Seed(),
    properties={"readonly": "on"},
    size_bytes=1,
)


def listed(facts: wire.DatasetFacts) -> Dataset:
    """The dataset of a survey with only this one."""
    said = wire.Surveyed(datasets=[facts], pools=[], absent=[], proxmox_paths=[], busy=[])
    return translate.host_listing(said).datasets["tank/d0"]


def test_an_unknown_size_is_unknown_and_never_zero() -> None:
    found = listed(FACTS)
    assert found.written_bytes is None
    assert found.written_since == WrittenSince(snapshot="backstay_x", size_bytes=None)
    zero = listed(dataclasses.replace(FACTS, written=0, written_since=0))
    assert zero.written_bytes == 0
    assert zero.written_since == WrittenSince(snapshot="backstay_x", size_bytes=0)
    assert listed(dataclasses.replace(FACTS, since="")).written_since is None


def test_a_dataset_says_whose_key_it_has() -> None:
    assert listed(FACTS).encryption_root is None
    raw = listed(dataclasses.replace(FACTS, encrypted=True, encryption_root="tank/d0"))
    assert raw.encryption_root == "tank/d0"


def test_steps_of_roles_are_said_in_words_of_the_wire() -> None:
    change = RoleChange(dataset="tank/d0", guid=Guid(7), found=RoleState("", 0))
    swap = translate_roles.swap_roles(SwapRoles(changes=(change,), to=RoleState("primary", 1)))
    assert swap == wire.SwapRoles([wire.RoleChange("tank/d0", 7, "", 0)], "primary", 1)
    opened = translate_roles.open_promoted(
        OpenPromoted(targets=(("tank/d0", Guid(7), True),), epoch=1)
    )
    assert opened == wire.OpenPromoted([wire.Opening("tank/d0", 7, True)], 1)
    closed = translate_roles.set_readonly(SetReadonly(datasets=(("tank/d0", Guid(7)),), on=True))
    assert closed == wire.SetReadonly([wire.Named("tank/d0", 7)], on=True)
    clone = CloneRef(
        dataset="tank/d0",
        guid=Guid(7),
        origin=SnapshotRef(dataset="tank/a", name="x", guid=Guid(3)),
    )
    gone = translate_roles.discard_clones(DiscardClones(clones=(clone,)))
    assert gone == wire.DiscardClones([wire.DoomedClone("tank/d0", 7, "tank/a@x", 3)])
    assert translate_roles.halt(HaltReceives(datasets=("tank/d0",))) == wire.Halt(["tank/d0"])


def test_points_are_ordered_by_txg_whatever_the_host_says() -> None:
    found = listed(FACTS)
    assert [s.name for s in found.snapshots] == ["a", "b"]
    assert found.snapshots[0].full_name == "tank/d0@a"
    assert found.bookmarks[0].guid == 1
    assert found.kind is DatasetKind.VOLUME
    assert found.origin is None


def test_a_token_of_a_full_stream_has_no_base() -> None:
    token = listed(FACTS).token
    assert token is not None
    assert (token.to_guid, token.from_guid, token.received_bytes) == (9, None, 3)


def test_a_token_that_zfs_cannot_decode_is_text_only() -> None:
    assert FACTS.token is not None
    broken = dataclasses.replace(FACTS.token, to_guid=0)
    found = listed(dataclasses.replace(FACTS, token=broken))
    assert found.token is None
    assert found.unreadable_token == "1-a"
    assert listed(dataclasses.replace(FACTS, token=None)).unreadable_token is None


def test_a_seed_names_no_base_and_no_token() -> None:
    send, receive = translate.send_order(TRANSFER), translate.receive_order(TRANSFER)
    assert (send.dataset, send.dataset_guid, send.snapshot, send.guid) == ("tank/d0", 7, "b", 2)
    assert (send.base, send.base_guid, send.token) == (None, None, None)
    assert (receive.seed, receive.resumed) == (True, False)
    assert receive.properties == {"readonly": "on"}


def test_an_increment_names_its_base_by_identity() -> None:
    how = Increment(base=Base(full_name="tank/d0#m", guid=Guid(1)))
    step = dataclasses.replace(TRANSFER, how=how, properties={})
    send, receive = translate.send_order(step), translate.receive_order(step)
    assert (send.base, send.base_guid, send.token) == ("tank/d0#m", 1, None)
    assert (receive.seed, receive.resumed) == (False, False)


def test_a_resumed_stream_names_its_token() -> None:
    for seed in (True, False):
        step = dataclasses.replace(TRANSFER, how=Resume(token="1-a", seed=seed), properties={})
        send, receive = translate.send_order(step), translate.receive_order(step)
        assert (send.base, send.token) == (None, "1-a")
        assert (receive.seed, receive.resumed) == (seed, True)
