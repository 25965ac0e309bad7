"""`halt`: what still works on replicas that are to be promoted is ended, and waited for."""

from __future__ import annotations

from backstay_host.fence import DatasetLock
from backstay_host.identity import (
    check_owner,
    read_identities,
    read_local_properties,
    with_parents,
)
from backstay_host.protocol import Done, Halt, ItemOutcome
from backstay_host.request import Request
from backstay_host.zfs import names


def halt(request: Request, body: Halt) -> Done:
    """No child of ours holds a lock of these replicas; what it did is unknown until read back.

    A killed `zfs` may still be at work in the kernel: its lock is free only when it has ended.
    Raises `TargetBusy` when one does not end in time, and the fence's words.
    """
    for dataset in body.datasets:
        names.dataset(dataset)
    with request.fenced():
        fence = request.host.fence
        if fence is None or request.dry_run:
            return _done(body)
        found = read_identities(request, body.datasets)
        wanted = with_parents(sorted(found))
        properties = read_local_properties(request, wanted) if wanted else {}
        for dataset in sorted(found):
            check_owner(fence, dataset, properties)
        fence.halt([DatasetLock(d, found[d].guid, shared=False) for d in found], request.deadline)
    return _done(body)


def _done(body: Halt) -> Done:
    return Done([ItemOutcome(name, "", "") for name in body.datasets])
