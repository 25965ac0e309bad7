"""Reasons of failures → what the loop must do next, in one table.

Reasons are words of the API (`api.words.Reason`); adapters do not import the API, so they are
plain strings here and a test holds them against it.
"""

from __future__ import annotations

from backstay.domain.errors import BackstayError, Refused, Stalled, Unreachable, Waiting

UNREACHABLE = "Unreachable"
TIMEOUT = "Timeout"
KEY_REFUSED = "KeyRefused"
HOST_KEY_CHANGED = "HostKeyChanged"
NO_PYTHON = "NoPython"
NO_ZFS = "NoZfs"
NO_RIGHTS = "NoRights"
PROTOCOL_ERROR = "ProtocolError"
FENCE_BUSY = "FenceBusy"
SUPERSEDED = "Superseded"
FOREIGN_WRITER = "ForeignWriter"
TRANSFER_FAILED = "TransferFailed"
SOURCE_BUSY = "SourceBusy"
INTERNAL_ERROR = "InternalError"

RETRY_S = {
    # Seconds until another look is worth it.
    SOURCE_BUSY: 5.0,
    FENCE_BUSY: 5.0,
    TIMEOUT: 30.0,
    # What a request found is not what the plan was made of: a fresh observation judges it.
    "SourceMissing": 5.0,
    "NewLineage": 5.0,
    "NoCommonBase": 5.0,
    "NameCollision": 5.0,
    "TargetModified": 5.0,
    "TargetHasForeignData": 5.0,
    "StaleReceiveState": 5.0,
    "ParentMissing": 5.0,
    "ReceiveRootMissing": 30.0,
    TRANSFER_FAILED: 30.0,
    # Space comes back by hand or by retention, never within seconds.
    "InsufficientSpace": 120.0,
}
"""Reasons that change by themselves, or that the next observation names better."""

STALLED = frozenset(
    {
        KEY_REFUSED,
        HOST_KEY_CHANGED,
        NO_PYTHON,
        NO_ZFS,
        NO_RIGHTS,
        PROTOCOL_ERROR,
        INTERNAL_ERROR,
        "GroupTooLarge",
        "OutsideReceiveRoots",
    }
)
REFUSED = frozenset({SUPERSEDED, FOREIGN_WRITER})

KNOWN = frozenset({UNREACHABLE}) | RETRY_S.keys() | STALLED | REFUSED
"""Every reason that this adapter can give."""


def failure(reason: str, message: str, higher_term: int | None = None) -> BackstayError:
    """The error for a reason; an unknown reason is a fault of ours and says so."""
    if reason == UNREACHABLE:
        return Unreachable(reason, message)
    if reason in REFUSED:
        return Refused(reason, message, higher_term=higher_term)
    if reason in RETRY_S:
        return Waiting(reason, message, retry_after_s=RETRY_S[reason])
    if reason in STALLED:
        return Stalled(reason, message)
    return Stalled(INTERNAL_ERROR, f"{reason}: {message}")
