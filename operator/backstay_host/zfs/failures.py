"""What the messages of `zfs` mean, in one word each; pinned by samples of real hosts.

The word is a hint for people and for what to try next: whether something is there or diverged is
decided by looking, never by an error text (rule *Commit truth*). Order matters: the first
pattern that matches names the failure. Messages: `libzfs_sendrecv.c`, `libzfs_dataset.c`,
`libzfs_util.c`.
"""

from __future__ import annotations

import re
import signal

from backstay_host.refusal import Refused

_TABLE: tuple[tuple[str, str], ...] = (
    (
        r"^bad property list|^invalid option|^unrecognized command|^missing \w+ argument",
        "InternalError",
    ),
    (r"pool I/O is currently suspended|pool is suspended", "PoolSuspended"),
    (
        r"/dev/zfs and /proc/self/mounts|ZFS modules (?:are not|cannot be) (?:loaded|auto-loaded)"
        r"|zfs kernel module",
        "NoZfs",
    ),
    (r"does not have any resumable receive state", "StaleReceiveState"),
    (
        r"used in the initial send no longer exists"
        r"|is no longer the same snapshot used in the initial send"
        r"|resume token is corrupt|cannot resume send: (?:resume token|invalid)",
        "TokenUseless",
    ),
    (r"contains\s+partially-complete state", "PartialState"),
    (r"permission denied|Permission denied|must be root|Operation not permitted", "NoRights"),
    (r"out of space|No space left", "InsufficientSpace"),
    (r"quota exceeded|quota", "InsufficientSpace"),
    (r"IV set guid mis(?:match|sing)", "RawLineageBroken"),
    (r"key must be loaded", "KeyNotAvailable"),
    (r"has been modified\s+since most recent snapshot", "TargetModified"),
    (r"does not\s+match incremental source", "NoCommonBase"),
    (r"destination '[^']*' exists|destination has snapshots", "TargetHasForeignData"),
    (r"it's being held|being held", "SnapshotHeld"),
    (r"has dependent clones|has clones|is cloned", "HasClones"),
    (r"signal received|Broken pipe", "PeerEnded"),
    (
        r"checksum mismatch|incomplete stream|failed to read from stream|invalid stream"
        r"|invalid backup stream|bad magic number|stream ended",
        "BadStream",
    ),
    (r"incremental source \([^)]*\) does not exist", "SourceChanged"),
    (
        r"destination '[^']*' does not exist|parent does not exist"
        r"|unable to restore to destination",
        "TargetMissing",
    ),
    (
        r"dataset does not exist|no such pool|could not find any snapshots to destroy"
        r"|bookmark '[^']*' does not exist",
        "NoSuchDataset",
    ),
    (r"dataset is busy|pool or dataset is busy|Device busy|is busy", "TargetBusy"),
    (r"cannot mount|mountpoint or dataset is busy", "CannotMount"),
    (r"dataset already exists|bookmark exists|snapshot exists", "NameCollision"),
    (r"filesystem has children|volume has children|has children", "HasChildren"),
    (r"must be upgraded|unsupported|not supported", "Unsupported"),
)
_COMPILED = tuple((re.compile(pattern, re.MULTILINE), reason) for pattern, reason in _TABLE)

UNKNOWN = "CommandFailed"
REASONS = frozenset(reason for _, reason in _TABLE) | {UNKNOWN}
"""Every word that `reason_of` may answer."""


def reason_of(stderr: str) -> str:
    """The word for a failure with this message; `CommandFailed` when it is none that we know."""
    for pattern, reason in _COMPILED:
        if pattern.search(stderr):
            return reason
    return UNKNOWN


def failure(command: str, status: int, stderr: str) -> Refused:
    """The refusal that names a command which failed: word, exit status, its words."""
    words = stderr.strip()[:2000] or "no message"
    how = f"was killed by signal {-status}" if status < 0 else f"exited with {status}"
    reason = "PeerEnded" if status == -signal.SIGPIPE else reason_of(stderr)
    return Refused(reason, f"{command} {how}: {words}")
