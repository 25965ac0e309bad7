"""`create`, `abort`, `posture`: changes below a receive root that touch no data of a point."""

from __future__ import annotations

from backstay_host.fence import DatasetLock
from backstay_host.identity import (
    check_owner,
    check_replica,
    read_identities,
    read_local_properties,
    with_parents,
)
from backstay_host.protocol import AbortReceive, CreateParents, Done, ItemOutcome, Posture
from backstay_host.refusal import Refused
from backstay_host.request import Request
from backstay_host.zfs import argv, names


def create(request: Request, body: CreateParents) -> Done:
    """The file systems exist below the receive root, parents first, unmounted.

    What existed before is left as it is. Raises the fence's words; a failure ends the request,
    since those behind it lie below it.
    """
    names.dataset(body.root)
    for dataset in body.datasets:
        if not names.dataset(dataset).startswith(f"{body.root}/"):
            raise Refused("BadRequest", f"{dataset} is not below {body.root}")
    locks = [DatasetLock(dataset, None, shared=False) for dataset in body.datasets]
    with request.fenced() as term_fds, request.locked(locks) as lock_fds:
        _check_root(request, body.root)
        existing = read_identities(request, body.datasets)
        for dataset in body.datasets:
            if dataset not in existing:
                request.change(argv.create_parent(dataset), term_fds + lock_fds).checked()
    return _done(body.datasets)


def abort(request: Request, body: AbortReceive) -> Done:
    """The partial receive with this token is gone; of an interrupted first one, the dataset, too.

    Raises `StaleReceiveState` when there is none or it has another token, `LineageMismatch`, and
    the fence's words. Seen on 2.3.9: local properties of `receive -o` are readable on a partially
    received new dataset, so its lineage is known.
    """
    names.dataset(body.dataset)
    names.lineage(body.lineage)
    names.token(body.token)
    with request.fenced() as term_fds, request.locked(_locks(request, body.dataset)) as lock_fds:
        _check_replica(request, body.dataset, body.lineage)
        now = read_identities(request, [body.dataset]).get(body.dataset)
        if now is None or now.token != body.token:
            raise Refused("StaleReceiveState", f"{body.dataset} has not the planned resume token")
        request.change(argv.abort_receive(body.dataset), term_fds + lock_fds).checked()
    return _done([body.dataset])


def posture(request: Request, body: Posture) -> Done:
    """The replica has these properties. Raises `LineageMismatch` and the fence's words."""
    names.dataset(body.dataset)
    names.lineage(body.lineage)
    if not names.properties(body.properties):
        raise Refused("BadRequest", "no properties given")
    with request.fenced() as term_fds, request.locked(_locks(request, body.dataset)) as lock_fds:
        _check_replica(request, body.dataset, body.lineage)
        vector = argv.set_properties(body.properties, [body.dataset])
        request.change(vector, term_fds + lock_fds).checked()
    return _done([body.dataset])


def _locks(request: Request, dataset: str) -> list[DatasetLock]:
    """The dataset by name and by the GUID that it has now."""
    here = read_identities(request, [dataset]).get(dataset)
    return [DatasetLock(dataset, None if here is None else here.guid, shared=False)]


def _check_root(request: Request, root: str) -> None:
    properties = read_local_properties(request, [root])
    if request.host.fence is not None and not request.dry_run:
        owner = check_owner(request.host.fence, root, properties)
        if owner.root != root:
            raise Refused("NotClaimed", f"{root} is no receive root of ours")


def _check_replica(request: Request, dataset: str, lineage: str) -> None:
    properties = read_local_properties(request, with_parents([dataset]))
    if request.host.fence is not None and not request.dry_run:
        check_owner(request.host.fence, dataset, properties)
    check_replica(lineage, dataset, properties)


def _done(items: list[str]) -> Done:
    return Done([ItemOutcome(name, "", "") for name in items])
