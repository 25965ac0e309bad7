"""`prune`: destroy snapshots and bookmarks by identity; one failure isolates one item."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from backstay_host import programs
from backstay_host.fence import DatasetLock
from backstay_host.identity import (
    Identity,
    check_owner,
    owner_of,
    read_identities,
    read_local_properties,
    with_parents,
)
from backstay_host.protocol import Done, Doomed, ItemOutcome, Prune
from backstay_host.refusal import Refused
from backstay_host.request import Request
from backstay_host.zfs import argv, names, parsing
from backstay_host.zfs.programs import DESTROY


def prune(request: Request, body: Prune) -> Done:
    """Each item is gone, or its outcome says why not. Order of outcomes: that of the items.

    | the name now                        | outcome              |
    |-------------------------------------|----------------------|
    | bears the GUID given                | destroyed            |
    | does not exist                      | fine: it is gone     |
    | bears another GUID                  | `IdentityChanged`    |
    | is held, cloned, or its dataset busy | that, for this item |

    Snapshots below another installation's receive root are refused (`ForeignWriter`); bookmarks
    belong to who sends, and a source may be somebody's replica.
    """
    for item in body.items:
        names.point(item.name)
    request.host.points.forget({names.dataset_of(item.name) for item in body.items})
    outcomes: dict[str, ItemOutcome] = {}
    with request.fenced() as fds:
        wanted = {name for item in body.items for name in (item.name, names.dataset_of(item.name))}
        known = read_identities(request, sorted(wanted))
        doomed: dict[str, list[Doomed]] = {}
        for item in body.items:
            outcome = _already_decided(item, known)
            if outcome is None:
                doomed.setdefault(names.dataset_of(item.name), []).append(item)
            else:
                outcomes[item.name] = outcome
        properties = read_local_properties(request, _roots_to_read(request, doomed))
        locks = {name: DatasetLock(name, known[name].guid, shared=False) for name in doomed}
        gone = _at_once(request, doomed, locks, properties, fds)
        outcomes |= {name: _outcome(name, None) for name in gone}
        for dataset, items in doomed.items():
            left = [item for item in items if item.name not in gone]
            for outcome in _of_dataset(request, locks[dataset], left, properties, fds):
                outcomes[outcome.name] = outcome
    return Done([outcomes[item.name] for item in body.items])


def _already_decided(item: Doomed, known: dict[str, Identity]) -> ItemOutcome | None:
    now = known.get(item.name)
    if now is None:
        return ItemOutcome(item.name, "", "")
    if now.guid != item.guid:
        message = f"{item.name} has GUID {now.guid}, planned was {item.guid}"
        return ItemOutcome(item.name, "IdentityChanged", message)
    if names.dataset_of(item.name) not in known:
        return ItemOutcome(item.name, "UnexpectedOutput", f"{item.name} is of no dataset")
    return None


def _roots_to_read(request: Request, doomed: dict[str, list[Doomed]]) -> list[str]:
    return [] if request.dry_run else with_parents(list(doomed))


def _at_once(
    request: Request,
    doomed: dict[str, list[Doomed]],
    locks: dict[str, DatasetLock],
    properties: dict[str, dict[str, str]],
    fds: tuple[int, ...],
) -> set[str]:
    """Snapshots that one channel program a pool destroyed; it checks GUIDs in the very txg.

    What it leaves over is for plain commands, which say why.
    """
    gone: set[str] = set()
    for pool in sorted({name.split("/")[0] for name in doomed}):
        with ExitStack() as held:
            words: list[str] = []
            given = fds
            for dataset in (name for name in doomed if name.split("/")[0] == pool):
                snapshots = [item for item in doomed[dataset] if "@" in item.name]
                if not snapshots:
                    continue
                try:
                    _check_root(request, dataset, snapshots, properties)
                    given += held.enter_context(request.locked([locks[dataset]]))
                except Refused:
                    continue
                for item in snapshots:
                    words += [item.name, f"{item.guid:016x}"]
            if words:
                said = programs.run(request, pool, DESTROY, words, given)
                gone |= parsing.destroyed(said, asked=words[::2]) or set()
    return gone


def _check_root(
    request: Request,
    dataset: str,
    items: Sequence[Doomed],
    properties: dict[str, dict[str, str]],
) -> None:
    """Snapshots below a receive root are pruned by its writer only; raises as `check_owner`."""
    fence = request.host.fence
    snapshots = any("@" in item.name for item in items)
    if snapshots and fence is not None and owner_of(dataset, properties) is not None:
        check_owner(fence, dataset, properties)


def _of_dataset(
    request: Request,
    lock: DatasetLock,
    items: Sequence[Doomed],
    properties: dict[str, dict[str, str]],
    fds: tuple[int, ...],
) -> list[ItemOutcome]:
    if not items:
        return []
    dataset = lock.dataset
    snapshots = [item.name.partition("@")[2] for item in items if "@" in item.name]
    bookmarks = [item.name for item in items if "#" in item.name]
    try:
        _check_root(request, dataset, items, properties)
        with request.locked([lock]) as lock_fds:
            outcomes = _snapshots(request, dataset, snapshots, fds + lock_fds)
            vectors = [argv.destroy_bookmark(name) for name in bookmarks]
            for name, done in zip(
                bookmarks, request.change_all(vectors, fds + lock_fds), strict=True
            ):
                outcomes.append(_outcome(name, None if done.ok else done.refusal()))
            return outcomes
    except Refused as error:
        return [_outcome(item.name, error) for item in items]


def _snapshots(
    request: Request, dataset: str, snapshots: Sequence[str], fds: tuple[int, ...]
) -> list[ItemOutcome]:
    """Destroyed in one command, which is all or nothing; one by one where that fails."""
    together = [batch for batch in argv.chunks(snapshots) if batch]
    outcomes: list[ItemOutcome] = []
    for batch in together:
        done = request.change(argv.destroy_snapshots(dataset, batch), fds)
        if done.ok:
            outcomes += [_outcome(f"{dataset}@{name}", None) for name in batch]
        elif len(batch) == 1:
            outcomes.append(_outcome(f"{dataset}@{batch[0]}", done.refusal()))
        else:
            outcomes += [
                single for name in batch for single in _snapshots(request, dataset, [name], fds)
            ]
    return outcomes


def _outcome(name: str, error: Refused | None) -> ItemOutcome:
    if error is None or error.reason == "NoSuchDataset":
        return ItemOutcome(name, "", "")
    return ItemOutcome(name, error.reason, error.message)
