"""What ssh and login shells say → reasons of the API."""

from __future__ import annotations

import pytest

from backstay.adapters.host import reasons
from backstay.adapters.host.failures import classify
from backstay.api.words import Reason
from backstay.domain.errors import Refused, Stalled, Unreachable, Waiting
from backstay_host.zfs import failures as zfs_failures

CHANGED = """\
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!
Host key for [127.0.0.1]:22101 has changed and you have requested strict checking.
Host key verification failed.
"""
SAMPLES = [
    # exit code, stderr of OpenSSH 9.2 or of a shell, reason
    (255, CHANGED, "HostKeyChanged"),
    (
        255,
        "No ED25519 host key is known for [127.0.0.1]:22101 and you have requested strict "
        "checking.\nHost key verification failed.",
        "HostKeyChanged",
    ),
    (
        255,
        "Unable to negotiate with 127.0.0.1 port 22101: no matching host key type found. "
        "Their offer: ssh-ed25519",
        "HostKeyChanged",
    ),
    (255, "root@127.0.0.1: Permission denied (publickey).", "KeyRefused"),
    (255, "root@h: Permission denied (publickey,password,keyboard-interactive).", "KeyRefused"),
    (
        255,
        'Load key "/tmp/x/key": error in libcrypto\nroot@127.0.0.1: Permission denied (publickey).',
        "KeyRefused",
    ),
    (255, "Received disconnect from h port 22:2: Too many authentication failures", "KeyRefused"),
    (255, "ssh: connect to host 127.0.0.1 port 1: Connection refused", "Unreachable"),
    (255, "ssh: connect to host 192.0.2.1 port 22: Connection timed out", "Unreachable"),
    (255, "ssh: connect to host 192.0.2.1 port 22: No route to host", "Unreachable"),
    (255, "ssh: Could not resolve hostname nowhere: Name or service not known", "Unreachable"),
    (255, "kex_exchange_identification: Connection closed by remote host", "Unreachable"),
    (255, "Timeout, server 192.0.2.1 not responding.", "Unreachable"),
    (255, "", "Unreachable"),
    (255, "Banner: without a badge: Permission denied.\nConnection reset by h", "Unreachable"),
    (-9, "", "Unreachable"),
    (None, "", "Unreachable"),
    (127, "/bin/bash: line 1: python3: command not found", "NoPython"),
    (127, "sh: 1: python3: not found", "NoPython"),
    (127, "bash: Zeile 1: python3: Kommando nicht gefunden.", "NoPython"),
    (1, "This account is currently not available.", "NoRights"),
    (1, "PermissionError: [Errno 13] Permission denied: '/run/backstay'", "NoRights"),
    (1, "OSError: [Errno 30] Read-only file system: '/run/backstay'", "NoRights"),
    (0, "", "ProtocolError"),
    (1, "something else", "ProtocolError"),
]


@pytest.mark.fault("ssh refuses one more login (MaxStartups)")
@pytest.mark.parametrize(("code", "stderr", "reason"), SAMPLES)
def test_an_end_without_greeting_has_a_reason(code: int | None, stderr: str, reason: str) -> None:
    assert classify(code, stderr).reason == reason


@pytest.mark.fault("changed host key")
def test_a_changed_host_key_is_never_retried_nor_accepted() -> None:
    found = classify(255, CHANGED)
    assert isinstance(found, Stalled)
    assert "pinned" in found.message


def test_the_message_ends_with_what_to_do() -> None:
    found = classify(127, "bash: python3: command not found")
    assert found.message == (
        "bash: python3: command not found; install Python 3.11 or newer as python3"
    )


def test_every_reason_is_a_word_of_the_api() -> None:
    words = {str(word) for word in Reason}
    assert words >= reasons.KNOWN
    assert words >= set(reasons.HOST_WORDS.values())


def test_every_word_of_the_host_program_has_a_next_move() -> None:
    said = {reasons.api_word(word) for word in zfs_failures.REASONS}
    assert said <= reasons.KNOWN


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("Unreachable", Unreachable),
        ("SourceBusy", Waiting),
        ("InsufficientSpace", Waiting),
        ("KeyRefused", Stalled),
        ("ForeignWriter", Refused),
        ("Superseded", Refused),
        ("NotLeader", Refused),
        ("NoSuchWordAtAll", Stalled),
    ],
)
def test_a_reason_decides_the_next_move(reason: str, kind: type[Exception]) -> None:
    found = reasons.failure(reason, "because")
    assert type(found) is kind
    assert "because" in found.message


def test_a_busy_dataset_is_looked_at_again_soon() -> None:
    found = reasons.failure("SourceBusy", "busy")
    assert isinstance(found, Waiting)
    assert found.retry_after_s < 10


@pytest.mark.parametrize(
    ("code", "stderr"),
    [
        (127, "bash: line 1: backstay-host: command not found"),
        (127, "bash: Zeile 1: backstay-host: Kommando nicht gefunden."),
        (126, "sh: 1: backstay-host: Permission denied"),
    ],
)
def test_a_host_without_the_installed_program_is_told_how_to_get_it(code: int, stderr: str) -> None:
    found = classify(code, stderr)
    assert found.reason == "ProtocolError"
    assert "kubectl backstay grant" in found.message
