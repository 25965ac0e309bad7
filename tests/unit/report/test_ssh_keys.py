"""Which keys look as ssh wants them."""

from __future__ import annotations

import base64

import pytest

from backstay.report.ssh_keys import host_key_fault, private_key_fault, public_key
from fakes.ssh_keys import SECRET, armour, host_key, openssh, openssh_with_public

PEM = armour(b"RSA PRIVATE KEY", base64.encodebytes(SECRET))


@pytest.mark.parametrize("data", [openssh(), openssh().rstrip(), PEM])
def test_a_whole_key_without_passphrase_is_plausible(data: bytes) -> None:
    assert private_key_fault(data) is None


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"ssh-ed25519 AAAA backstay", "public key"),
        (b"hunter2", "no private key"),
        (openssh()[:60], "not a whole one"),
        (openssh().replace(b"\n", b"\r\n"), "Windows"),
        (openssh(b"aes256-ctr"), "passphrase"),
        (armour(b"ENCRYPTED PRIVATE KEY", b"AAAA\n"), "passphrase"),
        (armour(b"RSA PRIVATE KEY", b"Proc-Type: 4,ENCRYPTED\n\nAAAA\n"), "passphrase"),
        (armour(b"OPENSSH PRIVATE KEY", b"AAAA\n"), "damaged"),
        (armour(b"OPENSSH PRIVATE KEY", b"b3BlbnNzaC1rZXktdjEA\n"), "not a whole key"),
        (armour(b"RSA PRIVATE KEY", b"!!!!\n"), "damaged"),
        (armour(b"CERTIFICATE", b"AAAA\n"), "does not read"),
    ],
)
def test_a_fault_is_named_without_a_byte_of_the_key(data: bytes, fault: str) -> None:
    said = private_key_fault(data)
    assert said is not None
    assert fault in said
    assert "hunter2" not in said
    assert "AAAA" not in said


def test_a_host_key_holds_the_type_that_stands_before_it() -> None:
    assert host_key_fault(host_key("ssh-ed25519")) is None
    assert host_key_fault(host_key("ecdsa-sha2-nistp256")) is None


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (host_key("ssh-ed25519", "ssh-rsa"), "does not hold a key of type ssh-ed25519"),
        ("ssh-ed25519 AAAA", "does not hold"),
        ("ssh-ed25519 AAAAA", "damaged"),
        ("ssh-ed25519", "damaged"),
        (host_key("ssh-ed25519")[:40], "ends too early"),
    ],
)
def test_a_damaged_host_key_is_named(line: str, fault: str) -> None:
    said = host_key_fault(line)
    assert said is not None
    assert fault in said


def test_the_public_half_is_read_and_nothing_else() -> None:
    kind, _, encoded = (public_key(openssh_with_public()) or "").partition(" ")
    assert kind == "ssh-ed25519"
    assert base64.b64decode(encoded).endswith(b"k" * 32)
    assert SECRET not in base64.b64decode(encoded)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hunter2",
        PEM,
        openssh(),
        openssh_with_public(b'ssh-ed25519" no-pty,command="id'),
        openssh_with_public(b"ssh-\n"),
        *(openssh_with_public()[:cut] for cut in (40, 80, 120)),
    ],
)
def test_a_key_without_a_public_half_in_clear_has_none(data: bytes) -> None:
    assert public_key(data) is None
