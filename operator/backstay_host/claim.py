"""`claim`: this leader's term becomes the only one that acts here (the fence, step 3)."""

from __future__ import annotations

from backstay_host.fence import DatasetLock, Fence
from backstay_host.identity import parse_writer, read_identities, read_local_properties
from backstay_host.protocol import Claim, Claimed, RootClaim
from backstay_host.refusal import Refused
from backstay_host.request import Request
from backstay_host.zfs import argv, names

MAX_TERM = 10**18
"""What `identity.parse_writer` can read again; a leader a second for 30 thousand million years."""


def claim(request: Request, body: Claim, term: int) -> Claimed:
    """Nothing older runs any more, and the roots of the result with `Held` are ours.

    Even before the roots are read, every earlier leader of this installation is locked out of
    the host, its sources included. The fence is then in force for this session.

    | writer on the root              | outcome                               |
    |---------------------------------|---------------------------------------|
    | no such dataset                 | Missing                               |
    | none, or a lower term of ours   | Held (set)                            |
    | our term                        | Held                                  |
    | a higher term of ours           | Superseded                            |
    | another installation            | Foreign                         |
    | another one, to be taken over   | Held (set); Foreign if it is not the one seen |
    """
    for root in (*body.roots, *body.replaces):
        names.dataset(root)
    if not 1 <= term < MAX_TERM:
        raise Refused("BadRequest", f"a term is at least 1 and below {MAX_TERM}")
    fence = Fence(names.installation(body.installation), term, names.leader(body.leader))
    if request.dry_run:
        return _claim_roots(request, body, fence, ())
    known = request.host.fence
    if known is not None and known.installation != fence.installation:
        raise Refused("BadRequest", f"this session belongs to {known.installation}")
    fence.announce()
    fence.evict(request.deadline)
    request.host.fence = fence
    # Two that take over from one writer: the second finds the first.
    contended = [DatasetLock(root, None, shared=False) for root in body.replaces]
    with fence.term_shared() as fds, fence.locked(contended):
        return _claim_roots(request, body, fence, fds)


def _claim_roots(request: Request, body: Claim, fence: Fence, fds: tuple[int, ...]) -> Claimed:
    existing = set(read_identities(request, body.roots)) if body.roots else set()
    properties = read_local_properties(request, sorted(existing)) if existing else {}
    ours = f"{fence.term}:{fence.installation}"
    results: list[RootClaim] = []
    to_set: list[str] = []
    for root in body.roots:
        found = properties.get(root, {}).get(argv.WRITER, "")
        seen = body.replaces.get(root, "") if body.takeover else ""
        outcome = "Missing" if root not in existing else _judge(fence, found, seen)
        if outcome == "Set":
            to_set.append(root)
        writer = ours if outcome == "Set" else found
        results.append(RootClaim(root, "Held" if outcome == "Set" else outcome, writer))
    for chunk in argv.chunks(to_set):
        request.change(argv.set_properties({argv.WRITER: ours}, chunk), fds).checked()
    return Claimed(results)


def _judge(fence: Fence, found: str, replaced: str) -> str:
    owner = parse_writer("", found)
    if not found:
        return "Set"
    if owner.installation != fence.installation:
        return "Set" if found == replaced else "Foreign"
    if owner.term > fence.term:
        return "Superseded"
    return "Held" if owner.term == fence.term else "Set"
