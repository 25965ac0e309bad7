"""Frames and values between the operator and the host program.

A frame is a 4-byte big-endian length and that many bytes of UTF-8 JSON, at most
`MAX_FRAME_BYTES`. The program's first output is one line, `HELLO_MARK` plus a JSON greeting;
whatever a login shell printed before it is noise and is skipped by the reader (at most 64 KiB).
A host that cannot run the program prints HELLO_MARK and {"error": {"reason", "message"}} instead
(reasons NoPython, NoRights; NotAllowed from a gate).

operator -> host   {"id": 7, "request": "survey", "term": 3, "dryRun": false, "deadlineS": 60,
                    "body": {...}}
                   {"beat": "<nonce>", "remainingS": 21.5}
host -> operator   {"id": 7, "result": {...}, "commands": [["zfs", "list", ...], ...]}
                   {"id": 7, "error": {"reason": "...", "message": "...", "higherTerm": 9},
                    "commands": [...]}
                   {"beat": "<nonce>"}                       asks for a heartbeat
                   {"progress": {"ticket": "...", "index": 0, "bytes": 123}}
                   {"ended": {"ticket": "...", "outcomes": [...]}}

`commands` are the argument vectors that were run (or, with `dryRun`, would be run); of a request
that changes something only the changing ones. Heartbeats: a session ends when none was answered
within 30 s of its start, or `remainingS` after the host asked the one answered last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from backstay_host.codec import MAX_FRAME_BYTES, ProtocolError, encode_frame, from_json, to_json
from backstay_host.moves import (
    Clone,
    Doomed,
    Label,
    Mark,
    Move,
    NewClone,
    Promote,
    Promotion,
    Rename,
    Rewind,
    Rollback,
)
from backstay_host.role_values import (
    DiscardClones,
    DoomedClone,
    Halt,
    Named,
    Opening,
    OpenPromoted,
    RoleChange,
    SetReadonly,
    SwapRoles,
)
from backstay_host.values import (
    Destination,
    ItemOutcome,
    PoolFacts,
    ReceiveOrder,
    SendOrder,
    Ticket,
    TokenFacts,
)

PROTOCOL_VERSION = 1
HELLO_MARK = "backstay-host/1 "
MAX_NOISE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Greeting:
    """First line of the program: who it is. `socket` and `zip` are paths at the host."""

    protocol: int
    python: str
    nonce: str
    program: list[str]
    """Argument vector that starts the program again (`… stream TICKET` is appended)."""
    version: str = ""
    """`version.protocol_version`: an installed program must have that of the operator."""
    tools: list[str] = field(default_factory=list)
    """Programs for streams that the host has, of `carriers.TOOLS`."""


# --- requests -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hello:
    """`hello`: asks for the host's facts. Read only."""


@dataclass(frozen=True, slots=True)
class Claim:
    """`claim`: make the frame's term the writer of these receive roots (the fence, step 3).

    Kills every holder of a lower term at the host, takes the term lock, writes
    `dev.backstay:writer` where it is absent or lower and ours. A foreign id is reported, not
    touched, unless `takeover` and `replaces` names that very writer. `leader` tells one process
    from another: a term belongs to the first that claims the host with it, and every other one is
    refused with `higherTerm`.
    """

    installation: str
    roots: list[str]
    leader: str
    takeover: bool = False
    replaces: dict[str, str] = field(default_factory=dict)
    """Root → the text of the foreign writer that is taken over; one that was not seen is not."""


@dataclass(frozen=True, slots=True)
class SurveyRoot:
    """One dataset to look at; `recursive` includes everything below it."""

    name: str
    recursive: bool = False


@dataclass(frozen=True, slots=True)
class Survey:
    """`survey`: list datasets, snapshots, bookmarks, tokens, pools. Read only, but for `sync`.

    `ours` is the installation's short id: `written@` is asked for the newest snapshot whose name
    carries it. With `sync`, `zpool sync` of the pools concerned comes first.
    """

    roots: list[SurveyRoot]
    ours: str
    sync: bool = False
    settings: list[str] = field(default_factory=list)
    """Native properties that are listed where they are set on the dataset itself."""


@dataclass(frozen=True, slots=True)
class Target:
    """A dataset by name and identity."""

    dataset: str
    guid: int


@dataclass(frozen=True, slots=True)
class NewBookmark:
    """A bookmark to be made of `dataset@snapshot`.

    Its short name is `backstay_<lineage>_<guid, 16 hex digits>_<createtxg>`.
    """

    dataset: str
    snapshot: str
    lineage: str


@dataclass(frozen=True, slots=True)
class TakeSnapshot:
    """`snapshot`: one `zfs snapshot a@x b@x …` (all or nothing, one pool), then the bookmarks.

    Refused with `NewLineage` if a dataset's GUID is not the planned one (checked after the
    snapshot, before any bookmark). Empty `targets` makes only the bookmarks.
    """

    targets: list[Target]
    snapshot: str
    bookmarks: list[NewBookmark]


@dataclass(frozen=True, slots=True)
class CreateParents:
    """`create`: make missing file systems below a receive root, parents first, never mounted."""

    root: str
    datasets: list[str]


@dataclass(frozen=True, slots=True)
class Prune:
    """`prune`: destroy these by identity; one failure isolates one item.

    Never recursive or forced.
    """

    items: list[Doomed]


@dataclass(frozen=True, slots=True)
class AbortReceive:
    """`abort`: `zfs receive -A`, only if local lineage and token are the given ones."""

    dataset: str
    lineage: str
    token: str


@dataclass(frozen=True, slots=True)
class Posture:
    """`posture`: set these properties on a replica of ours (lineage must match)."""

    dataset: str
    lineage: str
    properties: dict[str, str]


@dataclass(frozen=True, slots=True)
class Cancel:
    """`cancel`: kill the stream of a ticket and wait for its end; unknown tickets are fine."""

    ticket: str


@dataclass(frozen=True, slots=True)
class Goodbye:
    """`goodbye`: no further requests; the program ends once nothing runs."""


# --- results ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HostFacts:
    """Result of `hello`. `now` is the host's wall clock, seconds since the epoch."""

    hostname: str
    kernel: str
    zfs_version: str
    python_version: str
    uid: int
    now: float
    pools: list[PoolFacts]


@dataclass(frozen=True, slots=True)
class RootClaim:
    """What `claim` found or left on one root. `outcome`: Held, Missing, Foreign, Superseded."""

    root: str
    outcome: str
    writer: str


@dataclass(frozen=True, slots=True)
class Claimed:
    """Result of `claim`."""

    roots: list[RootClaim]


@dataclass(frozen=True, slots=True)
class DatasetFacts:
    """One dataset. Sizes in bytes, -1 where ZFS says `-`; points are (short name, guid, txg)."""

    name: str
    kind: str
    guid: int
    createtxg: int
    written: int
    since: str
    written_since: int
    referenced: int
    available: int
    volsize: int
    readonly: bool
    mounted: bool
    encrypted: bool
    origin: str
    token: TokenFacts | None
    properties: dict[str, str]
    snapshots: list[tuple[str, int, int]]
    bookmarks: list[tuple[str, int, int]]
    used: int
    encryption_root: str = ""
    key_status: str = ""
    """`available` or `unavailable`; empty where the dataset is not encrypted."""
    ivsets: dict[str, int] = field(default_factory=dict)
    """Of an encrypted dataset's newest points: `@snapshot` or `#bookmark` → `ivsetguid`."""
    settings: dict[str, str] = field(default_factory=dict)
    """Those of the request that are set on the dataset itself."""


@dataclass(frozen=True, slots=True)
class Surveyed:
    """Result of `survey`. `absent`: roots that do not exist. `busy`: datasets locked by a child."""

    datasets: list[DatasetFacts]
    pools: list[PoolFacts]
    absent: list[str]
    proxmox_paths: list[str]
    busy: list[str]


@dataclass(frozen=True, slots=True)
class MadeSnapshot:
    """A snapshot that exists after `snapshot`, with the bookmarks (short names) made of it."""

    dataset: str
    name: str
    guid: int
    createtxg: int
    bookmarks: list[str]
    ivset: int = -1
    """`ivsetguid` where the dataset is encrypted."""


@dataclass(frozen=True, slots=True)
class Snapshotted:
    """Result of `snapshot`."""

    made: list[MadeSnapshot]


@dataclass(frozen=True, slots=True)
class Done:
    """Result of every request that only changes something: an outcome an item."""

    items: list[ItemOutcome]


@dataclass(frozen=True, slots=True)
class Ticketed:
    """Result of `ticket`: the id, and what to run over a second ssh connection."""

    ticket: str
    command: list[str]


REQUESTS: Mapping[str, tuple[type, type]] = {
    "hello": (Hello, HostFacts),
    "claim": (Claim, Claimed),
    "survey": (Survey, Surveyed),
    "snapshot": (TakeSnapshot, Snapshotted),
    "create": (CreateParents, Done),
    "prune": (Prune, Done),
    "abort": (AbortReceive, Done),
    "posture": (Posture, Done),
    "ticket": (Ticket, Ticketed),
    "halt": (Halt, Done),
    "roles": (SwapRoles, Done),
    "readonly": (SetReadonly, Done),
    "open": (OpenPromoted, Done),
    "discard": (DiscardClones, Done),
    "cancel": (Cancel, Done),
    "goodbye": (Goodbye, Done),
    "rename": (Rename, Done),
    "clone": (Clone, Done),
    "promote": (Promote, Done),
    "rollback": (Rollback, Done),
    "label": (Label, Done),
}
"""Name of each request → its body and its result."""

READ_ONLY = frozenset({"hello", "survey", "goodbye"})

__all__ = [
    "MAX_FRAME_BYTES",
    "Clone",
    "Destination",
    "DiscardClones",
    "Doomed",
    "DoomedClone",
    "Halt",
    "ItemOutcome",
    "Label",
    "Mark",
    "Move",
    "Named",
    "NewClone",
    "OpenPromoted",
    "Opening",
    "PoolFacts",
    "Promote",
    "Promotion",
    "ProtocolError",
    "ReceiveOrder",
    "Rename",
    "Rewind",
    "RoleChange",
    "Rollback",
    "SendOrder",
    "SetReadonly",
    "SwapRoles",
    "Ticket",
    "TokenFacts",
    "encode_frame",
    "from_json",
    "to_json",
]
"""What `codec`, `moves`, `role_values` and `values` lend; all above is public, too."""
