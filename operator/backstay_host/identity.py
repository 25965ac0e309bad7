"""Who a dataset is and whose it is, read right before something is done to it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from backstay_host.fence import Fence
from backstay_host.refusal import Refused
from backstay_host.request import Request
from backstay_host.zfs import argv, names, parsing
from backstay_host.zfs.failures import failure

_TERM = re.compile("[0-9]{1,18}")
_TRIES = 4
"""A dataset may vanish between two commands; each try leaves out what is gone."""


@dataclass(frozen=True, slots=True)
class Identity:
    """GUID and resume token (or '') of what bears a name now."""

    guid: int
    token: str


def read_identities(request: Request, wanted: Sequence[str]) -> dict[str, Identity]:
    """Identity of each of these datasets, snapshots and bookmarks that exists."""
    found: dict[str, Identity] = {}
    vectors = [argv.list_identities(chunk) for chunk in argv.chunks(sorted(set(wanted)))]
    for done in request.read_all(vectors):
        refuse_other_errors("zfs list", done.status, done.err)
        for name, (guid, token) in parsing.identities(done.out).items():
            found[name] = Identity(guid, token)
    return found


def refuse_other_errors(command: str, status: int, stderr: str) -> set[str]:
    """Names that a listing did not find; every other complaint of it is a failure by name."""
    if status == 0:
        return set()
    absent, rest = parsing.missing(stderr)
    if rest or not absent:
        raise failure(command, status, rest or stderr)
    return absent


def read_local_properties(request: Request, wanted: Sequence[str]) -> dict[str, dict[str, str]]:
    """Our user properties that were set on these very datasets; absent datasets are left out."""
    found: dict[str, dict[str, str]] = {}
    as_json = request.host.version(request.deadline)[1] >= parsing.JSON_SINCE
    for chunk in argv.chunks(sorted(set(wanted))):
        left = chunk
        for _ in range(_TRIES):
            done = request.read(argv.get_local(argv.USER_PROPERTIES, left, json=as_json))
            absent = refuse_other_errors("zfs get", done.status, done.err)
            left = [name for name in left if name not in absent]
            if not absent or not as_json or not left:
                break
        if left:
            found |= parse_local_properties(done.out, as_json)
    return found


def parse_local_properties(text: str, as_json: bool) -> dict[str, dict[str, str]]:
    """Output of `argv.get_local` in either form."""
    if as_json:
        return parsing.local_properties_json(text)
    return parsing.local_properties_table(text, argv.USER_PROPERTIES)


@dataclass(frozen=True, slots=True)
class Owner:
    """The writer of a receive root at or above a dataset."""

    root: str
    term: int
    installation: str
    text: str


def parse_writer(root: str, text: str) -> Owner:
    """The value of `dev.backstay:writer`; one that is not ours to read is another's."""
    term, colon, installation = text.partition(":")
    if not colon or not _TERM.fullmatch(term) or not installation:
        return Owner(root, 0, "", text)
    return Owner(root, int(term), installation, text)


def owner_of(dataset: str, properties: dict[str, dict[str, str]]) -> Owner | None:
    """The writer that counts for the dataset, among properties that were read.

    | marks, the nearest first   | counts                                                        |
    |----------------------------|---------------------------------------------------------------|
    | 3:us                       | that                                                          |
    | 2:us, then 3:us further up | 3:us: the nearer one is no receive root any more, and nobody  |
    |                            | claims it in later terms                                      |
    | 3:us, then 2:us or 3:us    | the nearest                                                   |
    | 2:us, 9:other, then 3:us   | 2:us: what lies above another's mark does not reach below it  |
    | 9:other, then whatever     | 9:other                                                       |
    """
    found: Owner | None = None
    for name in (dataset, *names.parents(dataset)):
        text = properties.get(name, {}).get(argv.WRITER)
        if text is None:
            continue
        owner = parse_writer(name, text)
        if found is not None and owner.installation != found.installation:
            break
        if found is None or owner.term > found.term:
            found = owner
    return found


def check_owner(fence: Fence, dataset: str, properties: dict[str, dict[str, str]]) -> Owner:
    """The dataset lies in a receive root that our term has claimed (fence step 3)."""
    owner = owner_of(dataset, properties)
    if owner is None:
        raise Refused("NotClaimed", f"no receive root of ours holds {dataset}")
    if owner.installation != fence.installation:
        raise Refused("ForeignWriter", f"{owner.root} is written by {owner.text}")
    if owner.term > fence.term:
        raise Refused("HigherTerm", f"{owner.root} is written by {owner.text}", owner.term)
    if owner.term < fence.term:
        raise Refused("NotClaimed", f"{owner.root} is not claimed for term {fence.term} yet")
    return owner


def check_replica(lineage: str, dataset: str, properties: dict[str, dict[str, str]]) -> None:
    """The dataset is a replica of this lineage and nobody's primary: of no role, or secondary."""
    own = properties.get(dataset, {})
    if own.get(argv.LINEAGE) != lineage:
        raise Refused(
            "LineageMismatch",
            f"{dataset} has lineage {own.get(argv.LINEAGE, 'none')}, planned was {lineage}",
        )
    if own.get(argv.ROLE, "secondary") != "secondary":
        raise Refused("RoleMismatch", f"{dataset} has the role {own[argv.ROLE]}")


def with_parents(datasets: Sequence[str]) -> list[str]:
    """The datasets and everything above them, each once."""
    return sorted({name for ds in datasets for name in (ds, *names.parents(ds))})
