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
NOT_ALLOWED = "NotAllowed"
FED_PROGRAM_REFUSED = "FedProgramRefused"
PROTOCOL_ERROR = "ProtocolError"
POOL_DEGRADED = "PoolDegraded"
FENCE_BUSY = "FenceBusy"
SUPERSEDED = "Superseded"
FOREIGN_WRITER = "ForeignWriter"
NOT_LEADER = "NotLeader"
TRANSFER_FAILED = "TransferFailed"
TRANSFER_STALLED = "TransferStalled"
SECRET_MISSING = "SecretMissing"
SOURCE_BUSY = "SourceBusy"
INTERNAL_ERROR = "InternalError"

RETRY_S = {
    # Seconds until another look is worth it.
    SOURCE_BUSY: 5.0,
    FENCE_BUSY: 5.0,
    TIMEOUT: 30.0,
    POOL_DEGRADED: 60.0,
    # What a request found is not what the plan was made of: a fresh observation judges it.
    "SourceMissing": 5.0,
    "NewLineage": 5.0,
    "NoCommonBase": 5.0,
    "NameCollision": 5.0,
    "TargetModified": 5.0,
    "RawLineageBroken": 5.0,
    "TargetHasForeignData": 5.0,
    "StaleReceiveState": 5.0,
    "ApprovalVoid": 60.0,
    "RoleChanged": 5.0,
    "TargetIsPrimary": 5.0,
    "ParentMissing": 5.0,
    "OriginMissing": 5.0,
    "ReceiveRootMissing": 30.0,
    TRANSFER_FAILED: 30.0,
    TRANSFER_STALLED: 30.0,
    # A key is loaded by hand.
    "KeyNotAvailable": 120.0,
    # Space comes back by hand or by retention, never within seconds.
    "InsufficientSpace": 120.0,
}
"""Reasons that change by themselves, or that the next observation names better."""

STALLED = frozenset(
    {
        SECRET_MISSING,
        KEY_REFUSED,
        HOST_KEY_CHANGED,
        NO_PYTHON,
        NO_ZFS,
        NO_RIGHTS,
        NOT_ALLOWED,
        FED_PROGRAM_REFUSED,
        PROTOCOL_ERROR,
        INTERNAL_ERROR,
        "GroupTooLarge",
        "OutsideReceiveRoots",
        "SourceIsReplica",
    }
)
REFUSED = frozenset({SUPERSEDED, FOREIGN_WRITER, NOT_LEADER})

HOST_WORDS = {
    # Words of the host program → words of the API; those that are the same are left out.
    "HigherTerm": SUPERSEDED,
    "NotClaimed": INTERNAL_ERROR,
    "BadRequest": INTERNAL_ERROR,
    "LineageMismatch": "TargetHasForeignData",
    "RoleMismatch": "TargetIsPrimary",
    "IsReplica": "SourceIsReplica",
    "CloneModified": "TargetModified",
    "ReadonlyNotKept": SOURCE_BUSY,
    "HasChildren": SOURCE_BUSY,
    "UnexpectedOutput": PROTOCOL_ERROR,
    "OutputTooLarge": PROTOCOL_ERROR,
    "Stopped": TRANSFER_FAILED,
    "StreamLost": TRANSFER_FAILED,
    "Cancelled": TRANSFER_FAILED,
    "NoSuchTicket": TRANSFER_FAILED,
    "LinkFailed": TRANSFER_FAILED,
    "LinkRefused": TRANSFER_FAILED,
    "NoTool": TRANSFER_FAILED,
    # What was planned is no longer there; the next observation says what is (rule *Commit truth*).
    "SourceChanged": TRANSFER_FAILED,
    "IdentityChanged": "NameCollision",
    "ListChanged": "ApprovalVoid",
    "NotAtomic": INTERNAL_ERROR,
    "LeaseLost": NOT_LEADER,
    "PoolSuspended": POOL_DEGRADED,
    "TokenUseless": "StaleReceiveState",
    "PartialState": "StaleReceiveState",
    "SnapshotHeld": SOURCE_BUSY,
    "HasClones": SOURCE_BUSY,
    "TargetBusy": SOURCE_BUSY,
    "PeerEnded": TRANSFER_FAILED,
    "BadStream": TRANSFER_FAILED,
    "TargetMissing": "ParentMissing",
    "NoSuchDataset": "SourceMissing",
    "CannotMount": TRANSFER_FAILED,
    "Unsupported": TRANSFER_FAILED,
    "CommandFailed": TRANSFER_FAILED,
}

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


def api_word(host_word: str) -> str:
    """The API's word for a word of the host program."""
    return HOST_WORDS.get(host_word, host_word)


def host_failure(host_word: str, message: str, higher_term: int | None = None) -> BackstayError:
    """The error for a refusal of the host program."""
    return failure(api_word(host_word), message, higher_term)
