"""Whether ssh keys look as ssh wants them. Nothing of a private key is ever in what is said."""

from __future__ import annotations

import base64
import binascii
import re

_ARMOUR = re.compile(
    rb"-----BEGIN (?P<kind>[A-Z0-9 ]+)-----(?P<body>.*?)-----END (?P=kind)-----\s*", re.DOTALL
)
_OPENSSH_MAGIC = b"openssh-key-v1\0"
_PEM_KINDS = frozenset({b"RSA PRIVATE KEY", b"EC PRIVATE KEY", b"PRIVATE KEY"})
_ENCRYPTED_PEM = b"ENCRYPTED PRIVATE KEY"
_PUBLIC = (b"ssh-", b"ecdsa-", b"sk-")
_KIND = re.compile(rb"(?:ssh|ecdsa|sk)-[a-z0-9@.-]{1,60}")


def private_key_fault(data: bytes) -> str | None:
    """What is wrong with a private key, or None when it is plausible.

    Whether a host admits it, only the host can say.
    """
    text = data.strip()
    if not text:
        return "it is empty"
    if text.startswith(_PUBLIC):
        return "it is a public key: store the file without .pub"
    if b"\r" in text:
        return "its lines end as on Windows: convert it with dos2unix"
    found = _ARMOUR.fullmatch(text)
    if found is None:
        return "it is no private key, or not a whole one: store the file that ssh-keygen wrote"
    kind, body = found["kind"], found["body"]
    if kind == _ENCRYPTED_PEM or b"Proc-Type: 4,ENCRYPTED" in body:
        return _passphrase()
    if kind in _PEM_KINDS:
        return None if _decoded(body) else "its base64 is damaged: store the file again"
    if kind != b"OPENSSH PRIVATE KEY":
        return "it is of a kind that ssh does not read: make one with ssh-keygen -t ed25519"
    return _openssh_fault(_decoded(body))


def public_key(data: bytes) -> str | None:
    """The public half of a private key as ssh-keygen writes it; None where it is not in clear.

    Source: OpenSSH, PROTOCOL.key: magic, cipher, kdf, its options, count, then the public key.
    """
    found = _ARMOUR.fullmatch(data.strip())
    blob = _decoded(found["body"]) if found and found["kind"] == b"OPENSSH PRIVATE KEY" else None
    if blob is None or not blob.startswith(_OPENSSH_MAGIC):
        return None
    rest = blob[len(_OPENSSH_MAGIC) :]
    for _ in ("cipher", "kdf", "options of the kdf"):
        _, rest = _string(rest)
    public, _ = _string(rest[4:])
    kind, content = _string(public or b"")
    if public is None or kind is None or not _KIND.fullmatch(kind) or not content:
        return None
    return f"{kind.decode()} {base64.b64encode(public).decode()}"


def host_key_fault(line: str) -> str | None:
    """What is wrong with a host key as `type base64`, or None."""
    kind, _, encoded = line.partition(" ")
    blob = _decoded(encoded.encode())
    if blob is None:
        return "its base64 is damaged"
    named, rest = _string(blob)
    if named is None or named.decode(errors="replace") != kind:
        return f"it does not hold a key of type {kind}"
    content, _ = _string(rest)
    return None if content else "it ends too early: copy the whole line of ssh-keyscan"


def _openssh_fault(blob: bytes | None) -> str | None:
    """Source: OpenSSH, PROTOCOL.key: the magic, then the cipher's name, `none` if not encrypted."""
    if blob is None or not blob.startswith(_OPENSSH_MAGIC):
        return "its base64 is damaged: store the file again"
    cipher, rest = _string(blob[len(_OPENSSH_MAGIC) :])
    if cipher is None or not rest:
        return "it is not a whole key: store the file again"
    return None if cipher == b"none" else _passphrase()


def _passphrase() -> str:
    return "it has a passphrase, which nobody is there to type: ssh-keygen -p -N '' removes it"


def _decoded(body: bytes) -> bytes | None:
    try:
        return base64.b64decode(b"".join(body.split()), validate=True) or None
    except binascii.Error:
        return None


def _string(blob: bytes) -> tuple[bytes | None, bytes]:
    """The first length-prefixed string of a blob and the rest; None when it is cut short."""
    length = int.from_bytes(blob[:4], "big")
    if len(blob) < 4 or len(blob) < 4 + length:
        return None, b""
    return blob[4 : 4 + length], blob[4 + length :]
