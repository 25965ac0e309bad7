"""What ZFS prints, by samples of real hosts, and what may be said to it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.domain import moves, roles, zfs
from backstay_host import protocol
from backstay_host.refusal import Refused
from backstay_host.zfs import argv, failures, names, parsing

SAMPLES = Path(__file__).parent / "samples"


def _sample(name: str) -> str:
    return (SAMPLES / name).read_text(encoding="utf-8")


def _failures(name: str) -> dict[str, str]:
    parts = re.split(r"^=== (\S+)\n", _sample(name), flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


REASONS = {
    "no-such-dataset": "NoSuchDataset",
    "snapshot-exists": "NameCollision",
    "bookmark-exists": "NameCollision",
    "parent-missing": "TargetMissing",
    "dataset-exists": "NameCollision",
    "held": "SnapshotHeld",
    "held-with-another": "SnapshotHeld",
    "cloned": "HasClones",
    "no-such-snapshot": "NoSuchDataset",
    "no-such-bookmark": "NoSuchDataset",
    "target-exists": "TargetHasForeignData",
    "no-common-base": "NoCommonBase",
    "target-missing": "TargetMissing",
    "receive-parent-missing": "TargetMissing",
    "empty-stream": "BadStream",
    "garbage-stream": "BadStream",
    "cut-stream": "BadStream",
    "garbled-stream": "BadStream",
    "partial-state": "TargetHasForeignData",
    "partial-state-busy": "TargetBusy",
    "abort-nothing": "StaleReceiveState",
    "abort-no-dataset": "NoSuchDataset",
    "token-garbage": "TokenUseless",
    "token-snapshot-gone": "TokenUseless",
    "token-snapshot-recreated": "TokenUseless",
    "send-no-base": "SourceChanged",
    "modified-target": "TargetModified",
    "quota": "InsufficientSpace",
    "quota-big": "InsufficientSpace",
    "out-of-space": "InsufficientSpace",
    "no-rights-snapshot": "NoRights",
    "no-rights-destroy": "NoRights",
    "no-rights-receive": "NoRights",
    "no-rights-set": "NoRights",
    "bad-property": "InternalError",
    "no-such-pool": "NoSuchDataset",
}


def test_every_sample_of_a_failure_has_its_word() -> None:
    found = {
        name: failures.reason_of(text) for name, text in _failures("zfs-2.3.9-failures.txt").items()
    }
    assert found == REASONS


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ("IV set guid mismatch. See the 'zfs receive' man page section", "RawLineageBroken"),
        ("IV set guid missing. See errata 4 at https://openzfs.org/", "RawLineageBroken"),
        ("inherited key must be loaded", "KeyNotAvailable"),
    ],
)
def test_refusals_of_raw_streams_have_their_words(said: str, word: str) -> None:
    """From libzfs_sendrecv.c; no samples of a host."""
    assert failures.reason_of(f"cannot receive incremental stream: {said}") == word


def test_an_unknown_failure_is_told_with_its_words_and_its_status() -> None:
    refused = failures.failure("zfs receive", 3, "cannot receive: something new\n")
    assert refused.reason == failures.UNKNOWN
    assert refused.message == "zfs receive exited with 3: cannot receive: something new"
    assert "signal 9" in failures.failure("zfs send", -9, "").message


def test_a_sender_without_a_reader_was_ended_by_the_other_side() -> None:
    assert failures.failure("zfs send", -13, "").reason == "PeerEnded"


def test_datasets_are_read_column_by_column() -> None:
    columns = argv.DATASET_COLUMNS[:-2]  # the sample is older than the last two
    rows = parsing.rows(_sample("zfs-2.3.9-datasets.txt"), len(columns))
    volume = dict(zip(columns, rows[2], strict=True))
    assert volume["guid"] == "12834784679718180224"
    assert volume["volsize"] == "67108864"
    with pytest.raises(Refused, match="UnexpectedOutput"):
        parsing.rows("a\tb\nc\n", 2)
    with pytest.raises(Refused, match="UnexpectedOutput"):
        parsing.pools("tank\tmany\tONLINE\t1\t1\n")


def test_a_resume_token_is_read_by_its_fields() -> None:
    facts = parsing.token_facts("1-a-b-c", _sample("zfs-2.3.9-token.txt"))
    assert facts == protocol.TokenFacts(
        text="1-a-b-c",
        to_name="tank/hostprog/v@a",
        to_guid=0xF6BDAA5FDB9A7128,
        from_guid=0x3B4DDCD84FF5B7D8,
        received_bytes=0x17D2480,
        raw=True,
    )
    assert parsing.token_facts("1-a-b-c", "").to_guid == 0


@pytest.mark.fault("forged user property")
def test_only_local_properties_are_taken_and_values_forge_nothing() -> None:
    found = parsing.local_properties_json(_sample("zfs-2.3.9-get-json.txt"))
    assert found["backup/hostprog"] == {argv.WRITER: "1:x"}
    assert set(found) == {"backup/hostprog", "tank/hostprog/v"}
    inherited = _sample("zfs-2.3.9-get-json.txt").replace("LOCAL", "INHERITED")
    assert set().union(*parsing.local_properties_json(inherited).values()) == set()
    assert parsing.local_properties_table("a\tk\tv\tk\ta\n", ["k"]) == {"a": {"k": "v"}}
    for forged in ("a\tk\n", "a\tk\tv\n", "a\tother:key\tx\tother:key\ta\n", "a\tk\tv\tk\tb\n"):
        with pytest.raises(Refused, match="UnexpectedOutput"):
            parsing.local_properties_table(forged, ["k"])


@pytest.mark.rule("Negotiated capabilities")
@pytest.mark.fault("forged user property")
@given(value=st.text("kab\t\n", max_size=24), other=st.sampled_from("ab"))
def test_no_value_forges_a_row_of_a_table(value: str, other: str) -> None:
    """Whatever stands in the one property that there is, nothing else is ever told."""
    hostile = [value, f"x\tk\ta\n{other}\tk\tv\tk\t{other}\n{value}", f"{value}\nb\tk\tv"]
    for text in hostile:
        try:
            found = parsing.local_properties_table(f"a\tk\t{text}\tk\ta\n", ["k"])
        except Refused:
            continue
        assert found == {"a": {"k": text}}


@pytest.mark.parametrize("lacking", argv.DATASET_COLUMNS[1:])
def test_facts_without_what_was_asked_for_are_no_facts(lacking: str) -> None:
    told = {key: {"value": "1", "source": {"type": "NONE"}} for key in argv.DATASET_COLUMNS[1:]}
    text = json.dumps({"datasets": {"tank": {"properties": told}}})
    assert set(parsing.facts_json(text, argv.DATASET_COLUMNS[1:])) == {"tank"}
    del told[lacking]
    text = json.dumps({"datasets": {"tank": {"properties": told}}})
    with pytest.raises(Refused, match=f"UnexpectedOutput: .*tank without.*{lacking}"):
        parsing.facts_json(text, argv.DATASET_COLUMNS[1:])


ONE, BIG = f"{1:016x}", "f" * 16


def test_programs_are_read_by_the_tables_that_they_return() -> None:
    found = {"t/a@s": f"{ONE} {BIG} 1f -", "t/b@s": f"{ONE} {ONE} 2 {BIG}"}
    made = {"t/a#x": 0, "t/b#x": 17}
    said = parsing.returned(json.dumps({"return": {"found": found, "made": made}}))
    known = {"t/a@s": (1, 2**64 - 1, 31, -1), "t/b@s": (1, 1, 2, 2**64 - 1)}
    assert parsing.marked(said, ["t/a@s", "t/b@s", "t/c@s"]) == (known, {"t/a#x"})
    assert parsing.marked({"found": [], "made": {}}, ["t/a@s"]) == ({}, set())
    assert parsing.marked(said, ["t/a@s"]) is None
    gone = {"gone": {"t/a@s": 0, "t/b@s": 16}}
    assert parsing.destroyed(gone, ["t/a@s", "t/b@s"]) == {"t/a@s"}
    assert parsing.destroyed(gone, ["t/b@s"]) is None
    assert parsing.differing({"t/a": "does not exist"}) == {"t/a": "does not exist"}
    assert parsing.differing([]) == {}


@pytest.mark.parametrize("said", ["", "{}", "[]", "5", '"return"', "[" * 5000, "9" * 5000])
def test_what_no_program_prints_is_not_read(said: str) -> None:
    assert parsing.returned(said) is None


@pytest.mark.parametrize(
    "facts",
    [
        *("1 2 3", "1 2 3 4", 5, None, "", [], f"{ONE} {ONE} 3", f"{ONE} {ONE} - -"),
        *(f"{ONE} -{ONE[1:]} 3 -", f"{ONE} {ONE} 3 - -", f"{ONE} {BIG}f 3 -", f"{ONE}\n{ONE} 3 -"),
    ],
)
def test_what_a_program_did_not_find_like_that_is_no_answer(facts: object) -> None:
    assert parsing.marked({"found": {"t/a@s": facts}, "made": {}}, ["t/a@s"]) is None


@pytest.mark.parametrize("said", [None, 5, "x", [1], {}, {"found": {}}, {"found": 5, "made": {}}])
def test_what_is_no_table_of_a_program_is_no_answer(said: object) -> None:
    assert parsing.marked(said, ["t/a@s"]) is None
    assert parsing.destroyed(said, ["t/a@s"]) is None
    wrong: list[object] = ["0", False, 0.0, None, {}]
    for errno in wrong:
        assert parsing.marked({"found": {}, "made": {"t/a#x": errno}}, []) is None
        assert parsing.destroyed({"gone": {"t/a@s": errno}}, ["t/a@s"]) is None
    if not isinstance(said, dict):
        assert parsing.differing(said) is None


def test_progress_of_a_send_is_its_last_number() -> None:
    lines = _sample("zfs-2.3.9-send-progress.txt").splitlines()
    assert [parsing.sent_bytes(line) for line in lines] == [None, None, 5242880, 22020096]


def test_proxmox_storages_are_the_pools_of_zfspool_sections() -> None:
    assert parsing.storage_paths(_sample("pve-8-storage.cfg.txt")) == ["rpool/data", "tank/vm"]


def test_missing_names_are_told_apart_from_every_other_complaint() -> None:
    text = (
        "cannot open 'a/b c': dataset does not exist\ncannot open 'p': no such pool\n"
        "cannot open 'x': I/O error\n"
    )
    assert parsing.missing(text) == ({"a/b c", "p"}, "cannot open 'x': I/O error")


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("zfs-2.3.9-0+deb13u1\nzfs-kmod-2.3.9-0+deb13u1\n", (2, 3, 9)),
        ("zfs-2.2.0-rc1\nzfs-kmod-2.2.0-rc1", (2, 2, 0)),
        ("zfs-2.4-pve1\n", (2, 4, 0)),
    ],
)
def test_versions_are_read_with_and_without_patch_level(
    text: str, numbers: tuple[int, int, int]
) -> None:
    assert parsing.version(text)[1] == numbers


NO_DATASETS = """
-r|/a|a/|a//b|a/../b|a/.|a@b|a#b|1a|a;b|a$b|a%recv|ä|a,b
"""


@pytest.mark.parametrize("name", ["", "a b\n", "a\tb", "x" * 256, *NO_DATASETS.strip().split("|")])
def test_what_is_no_dataset_is_refused(name: str) -> None:
    with pytest.raises(Refused, match="BadRequest"):
        names.dataset(name)


@given(st.text(max_size=40))
def test_a_name_that_passes_cannot_be_an_option_or_name_more(text: str) -> None:
    for check in (names.dataset, names.point, names.token, names.lineage, names.installation):
        try:
            passed = check(text)
        except Refused:
            continue
        assert passed == text
        assert not passed.startswith("-")
        assert not set(passed) & set("\n\t,;$%*\\'\"|&<>")


@pytest.mark.rule("No implicit destruction")
def test_no_argument_vector_can_destroy_more_than_it_names() -> None:
    send = protocol.SendOrder("t/v", 1, "b", 2, "t/v@a", 3)
    receive = protocol.ReceiveOrder("b/v", "l", True, False, {"readonly": "on"})
    vectors = [
        argv.send(send),
        argv.send(protocol.SendOrder("t/v", 1, "b", 2, token="1-a-b-c")),
        argv.receive(receive),
        argv.abort_receive("b/v"),
        argv.destroy_snapshots("t/v", ["a", "b"]),
        argv.destroy_bookmark("t/v#a"),
        argv.create_parent("b/r"),
        argv.set_properties({"readonly": "on"}, ["b/v"]),
        argv.take_snapshot(["t/v"], "a"),
        argv.make_bookmark("t/v@a", "t/v#a"),
    ]
    letters = {
        letter
        for vector in vectors
        for word in vector[2:]
        if word.startswith("-")
        for letter in word[1:]
    }
    assert letters == set("Lec" + "vP" + "t" + "i" + "s" + "u" + "o" + "A")
    assert {vector[1] for vector in vectors if vector[1] == "rollback"} == set()


@pytest.mark.rule("O(hosts) planning")
@pytest.mark.fault("member list above 128 KiB")
@given(st.lists(st.text(alphabet="abcdef/", min_size=1, max_size=250), max_size=2000))
def test_chunks_keep_every_name_in_order_and_fit(texts: list[str]) -> None:
    chunks = list(argv.chunks(texts))
    assert [name for chunk in chunks for name in chunk] == texts
    assert all(argv.size_bytes(chunk) <= argv.MAX_ARGV_BYTES for chunk in chunks)


def test_every_property_that_the_planner_goes_by_is_read() -> None:
    words = {
        value
        for module in (moves, roles, zfs)
        for value in vars(module).values()
        if isinstance(value, str) and value.startswith(zfs.PROPERTY_PREFIX)
    }
    assert words - {zfs.PROPERTY_PREFIX} == set(argv.USER_PROPERTIES)
