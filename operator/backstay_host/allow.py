"""What one key may touch at this host: a list of datasets for each direction.

The lists come from the forced command of the key (`gate`). Every request is looked at as it came,
before anything is read or run; a request that has no row here is refused.

| request         | where each dataset that it names must lie                          |
|-----------------|--------------------------------------------------------------------|
| survey          | at or below a prefix of either list                                |
| snapshot, sends | at or below a prefix of `--send`                                   |
| prune           | at or below a prefix of `--send`, or below one of `--receive`      |
| claim           | at or below a prefix of `--receive`                                |
| create          | the root at or below, the datasets below a prefix of `--receive`   |
| receives, abort, posture, rollback | below a prefix of `--receive`                   |
| rename, clone, promote, label | below a prefix of `--receive`, or where its pool's replicas are |
|                 | set aside; a survey may look there, too                            |

Nor may what is received be mounted by itself, with a mount point that its stream names: a seed is
given `canmount` or `volmode`, and neither it nor a replica any value that makes it usable.

A prefix is compared by whole components: `tank/vm` is not above `tank/vm2`. There are no wildcards.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from backstay_host import protocol
from backstay_host.moves import aside_root
from backstay_host.refusal import Refused
from backstay_host.zfs.names import dataset_of

TAME: Mapping[str, frozenset[str]] = {
    "canmount": frozenset({"off", "noauto"}),
    "mountpoint": frozenset({"none", "legacy"}),
    "exec": frozenset({"off"}),
    "setuid": frozenset({"off"}),
    "devices": frozenset({"off"}),
}
"""Properties of a replica that have only these values behind a gate."""
NEXT_STEP = "`kubectl backstay grant SITE/HOST` prints the line for authorized_keys that admits it"


@dataclass(frozen=True, slots=True)
class Allowed:
    """The lists of a key; an empty one admits nothing in its direction."""

    send: tuple[str, ...] = ()
    receive: tuple[str, ...] = ()
    only_streams: bool = False
    """Whether the key opens no session of its own, only streams with a ticket."""


@dataclass(frozen=True, slots=True)
class _Demand:
    """A dataset that a request names, and the lists that can admit it."""

    dataset: str
    send: bool = False
    receive: bool = False
    replica: bool = False
    """Only strictly below a prefix of `--receive`: the root itself is nobody's replica."""
    aside: bool = False
    """Also where replicas are set aside, in a pool with a prefix of `--receive`."""


def is_within(name: str, prefix: str) -> bool:
    """Whether a dataset is the prefix or lies below it; never for what is no dataset."""
    parts, above = name.split("/"), prefix.split("/")
    return _is_plain(parts) and _is_plain(above) and parts[: len(above)] == above


def is_below(name: str, prefix: str) -> bool:
    """Whether a dataset lies strictly below the prefix."""
    return is_within(name, prefix) and len(name) > len(prefix)


def check(allowed: Allowed, body: object) -> None:
    """Every dataset of the request lies where the lists admit it; else `NotAllowed`."""
    for demand in _demands(body):
        if not _admits(allowed, demand):
            raise _refusal(allowed, demand)
    for dataset, properties, is_new in _settings(body):
        _check_tame(dataset, properties)
        if is_new:
            _check_unmounted(dataset, properties)


def check_token(allowed: Allowed, order: protocol.SendOrder, facts: protocol.TokenFacts) -> None:
    """The token sends what the order says, out of a dataset of `--send`.

    ZFS sends what the token names and does not look at the order; it finds the snapshot by its
    GUID, which was read to be that of the order's (`zfs_send_resume_impl`, libzfs_sendrecv.c).
    """
    if facts.to_guid != order.guid:
        named = f"GUID {facts.to_guid} ({facts.to_name[:80]!r})" if facts.to_guid else "nothing"
        said = f"the resume token for {order.dataset}@{order.snapshot} (GUID {order.guid}) names "
        raise Refused("NotAllowed", f"{said}{named}: a key with a --send list cannot send that")
    demand = _Demand(dataset_of(facts.to_name), send=True)
    if not _admits(allowed, demand):
        raise _refusal(allowed, demand)


def _settings(body: object) -> Iterator[tuple[str, Mapping[str, str], bool]]:
    """What the request sets on which dataset, and whether that is a new one."""
    match body:
        case protocol.Posture():
            yield body.dataset, body.properties, False
        case protocol.Label():
            yield from ((mark.dataset, mark.properties, False) for mark in body.items)
        case protocol.Clone():
            yield from ((wanted.dataset, wanted.properties, True) for wanted in body.clones)
        case protocol.Ticket():
            for order in body.receives:
                yield order.dataset, order.properties, order.seed and not order.resumed


def _check_tame(dataset: str, properties: Mapping[str, str]) -> None:
    for name, value in properties.items():
        if value not in TAME.get(name, {value}):
            said = f"{dataset} may not get {name}={value[:80]} from a key with a --receive list"
            raise Refused("NotAllowed", f"{said}, only {' or '.join(sorted(TAME[name]))}")


def _check_unmounted(dataset: str, properties: Mapping[str, str]) -> None:
    """`canmount` fits file systems only and `volmode` volumes only: ZFS refuses the other kind."""
    if "canmount" not in properties and properties.get("volmode") != "none":
        said = f"a new {dataset} by a key with a --receive list must set canmount=noauto"
        raise Refused("NotAllowed", f"{said} (a file system) or volmode=none (a volume)")


def _is_plain(parts: Sequence[str]) -> bool:
    return not any(part in ("", ".", "..") or "@" in part or "#" in part for part in parts)


def _admits(allowed: Allowed, demand: _Demand) -> bool:
    name = demand.dataset
    return (
        (demand.send and any(is_within(name, prefix) for prefix in allowed.send))
        or (demand.receive and any(is_within(name, prefix) for prefix in allowed.receive))
        or (demand.replica and any(is_below(name, prefix) for prefix in allowed.receive))
        or (demand.aside and any(_is_aside(demand, aside_root(p)) for p in allowed.receive))
    )


def _is_aside(demand: _Demand, root: str) -> bool:
    """The root itself can be looked at, and is not to be moved."""
    return is_within(demand.dataset, root) and (demand.receive or demand.dataset != root)


def _refusal(allowed: Allowed, demand: _Demand) -> Refused:
    lists = []
    if demand.send:
        lists.append(f"at or below a dataset of --send ({_listed(allowed.send)})")
    if demand.receive or demand.replica:
        where = "at or below" if demand.receive else "below"
        lists.append(f"{where} a dataset of --receive ({_listed(allowed.receive)})")
    said = f"{demand.dataset[:255]!r} does not lie {' or '.join(lists)}, which is all that the key "
    return Refused("NotAllowed", f"{said}may touch: {NEXT_STEP}")


def _listed(prefixes: Sequence[str]) -> str:
    return ", ".join(prefixes)[:500] or "empty"


def _demands(body: object) -> Iterator[_Demand]:
    match body:
        case protocol.Hello() | protocol.Cancel() | protocol.Goodbye():
            return
        case protocol.Survey():
            for root in body.roots:
                yield _Demand(root.name, send=True, receive=True, aside=True)
        case protocol.TakeSnapshot():
            yield from (_Demand(target.dataset, send=True) for target in body.targets)
            yield from (_Demand(bookmark.dataset, send=True) for bookmark in body.bookmarks)
        case protocol.Prune():
            names = (dataset_of(doomed.name) for doomed in body.items)
            yield from (_Demand(name, send=True, replica=True) for name in names)
        case protocol.Ticket():
            yield from _of_orders(body)
        case protocol.Claim() | protocol.CreateParents():
            yield from _below_roots(body)
        case protocol.AbortReceive() | protocol.Posture():
            yield _Demand(body.dataset, replica=True)
        case protocol.Rollback():
            yield from (_Demand(item.dataset, replica=True) for item in body.items)
        case _:
            yield from (_Demand(name, replica=True, aside=True) for name in _moved(body))


def _moved(body: object) -> Iterator[str]:
    match body:
        case protocol.Rename():
            for move in body.moves:
                yield from (move.dataset, move.to)
        case protocol.Clone():
            for wanted in body.clones:
                yield from (dataset_of(wanted.snapshot), wanted.dataset)
        case protocol.Promote():
            for item in body.items:
                yield from (item.dataset, dataset_of(item.origin))
        case protocol.Label():
            yield from (mark.dataset for mark in body.items)
        case _:
            raise Refused("NotAllowed", f"a key with lists may not ask for {type(body).__name__}")


def _below_roots(body: protocol.Claim | protocol.CreateParents) -> Iterator[_Demand]:
    match body:
        case protocol.Claim():
            yield from (_Demand(root, receive=True) for root in body.roots)
        case protocol.CreateParents():
            yield _Demand(body.root, receive=True)
            yield from (_Demand(dataset, replica=True) for dataset in body.datasets)


def _of_orders(body: protocol.Ticket) -> Iterator[_Demand]:
    for send in body.sends:
        yield _Demand(send.dataset, send=True)
        if send.base is not None:
            yield _Demand(dataset_of(send.base), send=True)
    for receive in body.receives:
        if receive.origin is not None:
            yield _Demand(dataset_of(receive.origin), receive=True)
        yield _Demand(receive.dataset, replica=True)
