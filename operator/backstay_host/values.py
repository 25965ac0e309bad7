"""The values of the protocol that a stream needs, too.

They are apart from `protocol` because every stream is a new process: making the dataclasses of
all requests takes a quarter of a second at each start on an emulated host.
"""

from __future__ import annotations

from dataclasses import dataclass


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

    `base` is `dataset@name` or `dataset#name`; `base_guid` and `guid` are re-read before the send.
    """

    dataset: str
    dataset_guid: int
    snapshot: str
    guid: int
    base: str | None = None
    base_guid: int | None = None
    token: str | None = None


@dataclass(frozen=True, slots=True)
class ReceiveOrder:
    """One `zfs receive -s -u`; `properties` are set with `-o` on a seed (empty on increments).

    `seed` refuses when the dataset exists (a resumed seed: when it has no token).
    """

    dataset: str
    lineage: str
    seed: bool
    resumed: bool
    properties: dict[str, str]


@dataclass(frozen=True, slots=True)
class Ticket:
    """`ticket`: admit one `stream` connection that runs these orders one after the other.

    Exactly one of the lists is not empty. `stall_s`: no byte for so long → the group is killed.
    """

    sends: list[SendOrder]
    receives: list[ReceiveOrder]
    stall_s: float = 60.0


@dataclass(frozen=True, slots=True)
class ItemOutcome:
    """What became of one item; `reason` is empty on success."""

    name: str
    reason: str
    message: str
