"""What `ssh` and the login shell say when no program answers → reasons.

Texts are of OpenSSH 8.4 to 10 (they are not translated) and of the shells in Debian; the account's
locale may translate the shell's, so exit codes are looked at, too.
"""

from __future__ import annotations

import re
from typing import TypeAlias

from backstay.adapters.host import reasons
from backstay.domain.errors import BackstayError

SSH_FAILED = 255
NOT_FOUND = 127
NOT_EXECUTABLE = 126

_Row: TypeAlias = tuple[str, str, str]
"""Pattern in stderr, reason, what to do about it."""

_OF_SSH: tuple[_Row, ...] = (
    (
        r"REMOTE HOST IDENTIFICATION HAS CHANGED|Host key verification failed"
        r"|No \S+ host key is known|no matching host key type found",
        reasons.HOST_KEY_CHANGED,
        "the host showed none of the pinned host keys: find out why before you change "
        "spec.hosts[].hostKeys",
    ),
    (
        r"Permission denied \((?:publickey|password|keyboard|gssapi|hostbased)",
        reasons.KEY_REFUSED,
        "the host refused the private key: add its public half to authorized_keys of the account",
    ),
    (
        r"Too many authentication failures|Load key .*|error in libcrypto|invalid format",
        reasons.KEY_REFUSED,
        "the private key could not be used: check the Secret's ssh-privatekey (no passphrase)",
    ),
)
_OF_THE_HOST: tuple[_Row, ...] = (
    (
        r"python3['’]?: .*(?:not found|No such file)|unknown command.*python3",
        reasons.NO_PYTHON,
        "install Python 3.11 or newer as python3",
    ),
    (
        r"PermissionError|Permission denied|Read-only file system",
        reasons.NO_RIGHTS,
        "the account may not do what is needed: log in as root, or behind the forced command",
    ),
    (
        r"account is currently not available|account has expired",
        reasons.NO_RIGHTS,
        "the account has no login shell: choose another one",
    ),
)


def classify(exit_code: int | None, stderr: str) -> BackstayError:
    """The failure of a connection on which no greeting came; by message, then by exit code."""
    said = _last_words(stderr)
    if exit_code in (NOT_FOUND, NOT_EXECUTABLE) and "backstay-host" in stderr:
        return reasons.failure(
            reasons.PROTOCOL_ERROR,
            f"{said}; the host program is not installed there: `kubectl backstay grant SITE/HOST` "
            f"prints how, or set spec.hosts[].program to Fed",
        )
    # Exit 255 is ssh's own word; a banner of the host may say anything beside it.
    for pattern, reason, advice in _OF_SSH if exit_code == SSH_FAILED else _OF_THE_HOST:
        if re.search(pattern, stderr):
            return reasons.failure(reason, f"{said}; {advice}")
    if exit_code == NOT_FOUND:
        return reasons.failure(
            reasons.NO_PYTHON, f"{said or 'command not found'}; install Python 3.11 or newer"
        )
    if exit_code == SSH_FAILED or exit_code is None or exit_code < 0:
        return reasons.failure(reasons.UNREACHABLE, said or "ssh ended without a word")
    return reasons.failure(
        reasons.PROTOCOL_ERROR,
        f"the host program did not start (exit {exit_code}): {said or 'no message'}",
    )


def _last_words(stderr: str, limit: int = 300) -> str:
    """The last line that says something, without what a changed key puts around it."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip(" @\r\n")]
    return lines[-1][:limit] if lines else ""
