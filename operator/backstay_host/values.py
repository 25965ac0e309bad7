"""The values of the protocol that a stream needs, too.

They are apart from `protocol` because every stream is a new process: making the dataclasses of
all requests takes a quarter of a second at each start on an emulated host.
"""

from __future__ import annotations

from dataclasses import dataclass, field

STREAM_MODES = frozenset({"Lec", "Lc", "Lecw"})
"""Large blocks, embedded and compressed data as they are; without embedded data, which nothing
that is encrypted takes; raw."""


@dataclass(frozen=True, slots=True)
class PoolFacts:
    """One pool of `zpool list -Hp -o name,guid,health,size,free`."""

    name: str
    guid: int
    health: str
    size_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class TokenFacts:
    """A decoded resume token, or only its text when ZFS could not decode it (`to_guid` 0)."""

    text: str
    to_name: str
    to_guid: int
    from_guid: int
    received_bytes: int
    raw: bool


@dataclass(frozen=True, slots=True)
class SendOrder:
    """One `zfs send`: full (no base), incremental from a base, or resumed by `token`.

    `base` is `dataset@name` or `dataset#name`, for a clone also its origin, which is of another
    dataset; `base_guid` and `guid` are re-read before the send.
    """

    dataset: str
    dataset_guid: int
    snapshot: str
    guid: int
    base: str | None = None
    base_guid: int | None = None
    token: str | None = None
    mode: str = "Lec"
    """Flags of zfs-send(8), one of `STREAM_MODES`; a token has its own."""
    of_replica: bool = False
    """The snapshot is locked, not the dataset, which goes on receiving."""


@dataclass(frozen=True, slots=True)
class ReceiveOrder:
    """One `zfs receive -s -u`; `properties` are set with `-o` on a seed (empty on increments).

    `seed` refuses when the dataset exists (a resumed seed: when it has no token). With `origin`
    (`dataset@name`, by GUID) a seed becomes a clone of that snapshot.
    """

    dataset: str
    lineage: str
    seed: bool
    resumed: bool
    properties: dict[str, str]
    origin: str | None = None
    origin_guid: int | None = None


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a *Direct* send goes: the target's ssh server, and the ticket that admits it there.

    Only one of `host_keys` is accepted. `key` is the private data key: it is kept in memory for
    as long as the stream runs, and all that it opens is the `stream` of a ticket.
    """

    address: str
    port: int
    user: str
    host_keys: list[str]
    key: str = field(repr=False)
    ticket: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Ticket:
    """`ticket`: admit one `stream` connection that runs these orders one after the other.

    Exactly one of the lists is not empty. `stall_s`: no byte for so long → the group is killed.
    `compressed` (zstd) must be alike at both ends; `buffer_bytes` (mbuffer) is of this end alone.
    `rate_bytes_s`: the sends put no more than that on the line, together with those of all other
    streams of the session that have the same rate; 0: as much as it takes.
    """

    sends: list[SendOrder]
    receives: list[ReceiveOrder]
    stall_s: float = 60.0
    compressed: bool = False
    buffer_bytes: int = 0
    rate_bytes_s: int = 0
    destination: Destination | None = None


@dataclass(frozen=True, slots=True)
class ItemOutcome:
    """What became of one item; `reason` is empty on success."""

    name: str
    reason: str
    message: str
