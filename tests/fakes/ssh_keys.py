"""Keys that have the form of ssh keys and open nothing."""

from __future__ import annotations

import base64

SECRET = b"very-private-bytes"


def string(content: bytes) -> bytes:
    """The content with its length before it."""
    return len(content).to_bytes(4, "big") + content


def armour(kind: bytes, body: bytes) -> bytes:
    """The body between its BEGIN and END lines."""
    return b"-----BEGIN " + kind + b"-----\n" + body + b"-----END " + kind + b"-----\n"


def openssh(cipher: bytes = b"none") -> bytes:
    """A private key as ssh-keygen writes it."""
    blob = b"openssh-key-v1\0" + string(cipher) + string(b"none") + string(SECRET)
    return armour(b"OPENSSH PRIVATE KEY", base64.encodebytes(blob))


def openssh_with_public(kind: bytes = b"ssh-ed25519") -> bytes:
    """A private key with its public half, whose type this is, and something private behind."""
    public = string(kind) + string(b"k" * 32)
    head = string(b"none") + string(b"none") + string(b"") + (1).to_bytes(4, "big")
    blob = b"openssh-key-v1\0" + head + string(public) + string(SECRET)
    return armour(b"OPENSSH PRIVATE KEY", base64.encodebytes(blob))


def host_key(kind: str, named: str | None = None, content: bytes = b"x" * 32) -> str:
    """A host key of a type, or one that names another type inside."""
    blob = string((named or kind).encode()) + string(content)
    return f"{kind} {base64.b64encode(blob).decode()}"
